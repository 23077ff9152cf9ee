"""A deploy that policy wants a snapshot for: which one does, and what refuses."""

from datetime import UTC, datetime, timedelta

import pytest

from unmigrate.config.policy import Policy
from unmigrate.errors import RefusedError
from unmigrate.snapshot.demand import asks, require_snapshot
from unmigrate.snapshot.provider import Snapshot

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
NEEDED = {"2_drop": "its rows are lossy even so"}


def aged(*hours: float) -> list[Snapshot]:
    return [Snapshot(f"s{h:g}", "pg_dump", NOW - timedelta(hours=h)) for h in hours]


def test_nothing_is_asked_for() -> None:
    assert not asks(Policy(), NEEDED) and not asks(Policy(snapshot_hours=24), {})
    assert require_snapshot(Policy(), NEEDED, [], now=NOW, last=None).found is None
    assert require_snapshot(Policy(snapshot_hours=24), {}, [], now=NOW, last=None).found is None


def test_the_newest_that_does() -> None:
    found = require_snapshot(Policy(snapshot_hours=24), NEEDED, aged(30, 3, 20), now=NOW, last=NOW - timedelta(hours=25)).found
    assert found is not None and found.id == "s3"
    exactly = require_snapshot(Policy(snapshot_hours=24), NEEDED, aged(24), now=NOW, last=NOW - timedelta(hours=24)).found
    assert exactly is not None


@pytest.mark.parametrize(
    ("snapshots", "last", "says"),
    [
        ([], None, "there is none"),
        (aged(24.1), None, r"s24.1, is 24.1 hours old"),
        (aged(100), None, "is 4 days old"),
        (aged(3), NOW - timedelta(hours=2), "s3 is from before the last migration"),
        (aged(30, 3), NOW - timedelta(hours=2), "s3 is from before the last migration"),
    ],
)
def test_what_refuses(snapshots: list[Snapshot], last: datetime | None, says: str) -> None:
    with pytest.raises(RefusedError, match=says) as refused:
        require_snapshot(Policy(snapshot_hours=24), NEEDED, snapshots, now=NOW, last=last)
    assert refused.value.code == "no-restore-point" and "unmigrate snapshot create" in refused.value.remedy
