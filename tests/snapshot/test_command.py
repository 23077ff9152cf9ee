"""The command provider when commands misbehave: told in one line, without secrets, nothing left running."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.snapshot.commands import commands
from tests.snapshot.kit import SECRET, fails, quiet
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError, UsageError
from unmigrate.snapshot.command import Command
from unmigrate.snapshot.provider import At

URL = f"postgresql://me:{SECRET}@db.example:5432/app"
ONE = '[{"id": "a", "created_at": "2025-06-01T10:00:00+02:00"}]'


def provider(tmp_path: Path, **verbs: Any) -> Command:
    return Command(commands(**{"list": f"echo '{ONE}'", **verbs}), URL, tmp_path, {"PATH": os.environ["PATH"]})


def test_times_are_told_in_utc(tmp_path: Path) -> None:
    (found,) = provider(tmp_path).snapshots()
    assert found.created_at.isoformat() == "2025-06-01T08:00:00+00:00"
    assert (found.lsn, found.size, found.protected) == (None, None, False)


@pytest.mark.parametrize(
    ("printed", "wanted"),
    [
        ("nothing", "JSON"), ("", "JSON"), ("{}", "a list"), ('[{"id": "a"}]', "id and created_at"), ("[1]", "id and created_at"),
        ('[{"id": "a", "created_at": "2025-06-01T10:00:00"}]', "time zone"), ('[{"id": "a", "created_at": "noon"}]', "id and created_at"),
    ],
)  # fmt: skip
def test_what_breaks_the_contract_is_said(tmp_path: Path, printed: str, wanted: str) -> None:
    problem = fails("contract", FailedError, provider(tmp_path, list=f"echo '{printed}'").snapshots)
    assert wanted in str(problem)


def test_how_it_ends_says_what_it_means(tmp_path: Path) -> None:
    told = '{"error": "%s", "message": "because of $DATABASE_URL", "remedy": "call somebody"}'
    for status, kind, code in ((3, RefusedError, "busy"), (4, EnvironmentProblem, "expired"), (2, UsageError, "odd")):
        command = f"echo '{told % code}' >&2; exit {status}"
        assert fails(code, kind, lambda c=command: provider(tmp_path, create=c).create("x", quiet)).remedy == "call somebody"
    fails("program", FailedError, lambda: provider(tmp_path, create='echo "ERROR $DATABASE_URL" >&2; exit 1').create("x", quiet))
    fails(
        "disk-full", EnvironmentProblem, lambda: provider(tmp_path, create="echo 'No space left on device' >&2; exit 1").create("x", quiet)
    )
    fails("privilege", EnvironmentProblem, lambda: provider(tmp_path, create="echo 'permission denied' >&2; exit 1").create("x", quiet))
    fails("program", FailedError, lambda: provider(tmp_path, create="no-such-program").create("x", quiet))


def test_secrets_go_by_the_environment(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    show = (
        f"tr '\\0' ' ' < /proc/$$/cmdline > {seen}; echo >> {seen}; echo \"$DATABASE_URL $UNMIGRATE_LABEL\" >> {seen}; echo '{ONE[1:-1]}'"
    )
    provider(tmp_path, create=show).create("before-release", quiet)
    line, told = seen.read_text().rsplit("\n", 2)[:2]
    assert SECRET not in line
    assert told.endswith(f"{URL} before-release")


def test_what_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "later"
    slow = provider(tmp_path, create=f"(sleep 2; touch {mark}) & wait", wait=0.3)
    began = time.monotonic()
    fails("timeout", EnvironmentProblem, lambda: slow.create("x", quiet))
    assert time.monotonic() - began < 1.5
    time.sleep(2.2)
    assert not mark.exists()


def test_a_restore_over_the_source_is_seen(tmp_path: Path) -> None:
    over = provider(tmp_path, restore='echo "{\\"url\\": \\"$DATABASE_URL\\"}"')
    fails("same-database", FailedError, lambda: over.restore(At("a"), "new", quiet))
    fails("contract", FailedError, lambda: provider(tmp_path, restore='echo \'{"url": "mysql://x"}\'').restore(At("a"), "new", quiet))


def test_verbs_that_are_not_given(tmp_path: Path) -> None:
    bare = provider(tmp_path, protect=None, discard=None)
    assert len(bare.lacking()) == 2
    fails("no-protect", UsageError, lambda: bare.protect("a", True))
    fails("no-discard", UsageError, lambda: bare.discard("new"))
    assert "exited" not in " ".join(bare.lacking())
    assert provider(tmp_path, list="exit 7").lacking()[0].startswith("snapshot.command.list ended with 7")
