"""`unmigrate plan` compares the ways by what the target and the snapshots say."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import run
from tests.snapshot.kit import SECRET, Kit
from unmigrate.prisma.url import parse_url
from unmigrate.snapshot import choice


@pytest.fixture
def plan(kit: Kit, project: Path) -> Callable[[], dict[str, Any]]:
    def planning() -> dict[str, Any]:
        _, printed = run("plan", "--json", "--project", project, "--url", kit.url)
        assert SECRET not in printed
        found: dict[str, Any] = json.loads(printed)
        return {f"{o['name']} {o['of']}".strip(): o for o in found["options"]}

    return planning


def create(kit: Kit, project: Path, *words: str) -> str:
    return str(json.loads(run("snapshot", "create", "--json", *words, "--project", project, "--url", kit.url)[1])["id"])


def best(found: dict[str, Any]) -> list[str]:
    return [name for name, o in found.items() if o["recommended"]]


def test_without_a_snapshot_nothing_is_promised(kit: Kit, plan: Callable[[], dict[str, Any]]) -> None:
    kit.deploy_bad()
    found = plan()
    assert best(found) == ["reverse"]
    assert not found["restore"]["possible"]
    assert not found["reverse-refill"]["possible"]
    assert found["roll-forward"]["rows_lost"] == {'public."User".note': None}


def test_each_way_with_its_price(kit: Kit, project: Path, plan: Callable[[], dict[str, Any]]) -> None:
    first = create(kit, project)
    second = create(kit, project, "--provider", "template", "--end-sessions")
    kit.deploy_bad()
    create(kit, project, "--label", "late")  # from after: it is none of the ways
    time.sleep(1.2)  # statistics are that late
    found = plan()
    assert best(found) == [f"reverse-refill {first}"]
    assert [name for name in found if name.startswith("restore")] == [f"restore {first}"], "of the configured provider"
    restore = found[f"restore {first}"]
    assert restore["rows_lost"] == {'public."User"': 1}
    assert restore["seconds"] > 0
    assert "MB/s: measured now" in restore["basis"]
    assert restore["disk"] > 0
    name = f"{parse_url(kit.url).database}_again"
    run("restore", first, "--to", name, "--project", project, "--url", kit.url)
    assert "when it was restored before" in plan()[f"restore {first}"]["basis"]
    (project / "unmigrate.toml").write_text('[snapshot]\nprovider = "template"\n')
    copied = plan()[f"restore {second}"]
    assert "a copy of files" in copied["basis"]
    assert copied["rows_lost"] == {'public."User"': 1}
    _, printed = run("plan", "--project", project, "--url", kit.url)
    assert f"→ reverse-refill {second}" in printed
    assert "recommended: brings back what was destroyed, and keeps every row written since" in printed
    assert "writers wait: about 0.01 s" in printed


def test_what_the_vault_has_is_better_than_any_snapshot(kit: Kit, project: Path, plan: Callable[[], dict[str, Any]]) -> None:
    create(kit, project)
    status, printed = run("deploy", "--yes", "--project", project, "--url", kit.url)
    assert status == 0, printed
    found = plan()
    assert best(found) == ["reverse-vault"]
    assert found["reverse-vault"]["rows_lost"] == {}


def test_a_provider_that_cannot_be_asked_stops_nothing(kit: Kit, project: Path, plan: Callable[[], dict[str, Any]]) -> None:
    kit.deploy_bad()
    (project / "unmigrate.toml").write_text('[snapshot.command]\nlist = "exit 4"\ncreate = "x"\nrestore = "x"\ndrop = "x"\n')
    found = plan()
    assert "snapshot.command.list ended with 4" in found["restore"]["needs"]
    assert best(found) == ["reverse"]


def test_counters_that_began_anew_say_nothing() -> None:
    then = {"rows": {"t": 10, "u": 5}, "reset": "a"}
    assert choice.written_since(then, {"rows": {"t": 12, "v": 3}, "reset": "a"}) == {"t": 2, "v": 3}
    assert choice.written_since(then, {"rows": {"t": 12}, "reset": "b"}) is None
    assert choice.written_since(then, {"rows": {"t": 2}, "reset": "a"}) is None
    assert choice.written_since(None, {"rows": {"t": 2}, "reset": "a"}) is None


def test_nothing_stays_of_the_measuring(kit: Kit) -> None:
    with kit.source() as connection:
        rates = choice.measured(connection)
        assert rates is not None
        assert rates.table > 1e6
        assert connection.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'unmigrate_probe%'").fetchone() == (0,)
