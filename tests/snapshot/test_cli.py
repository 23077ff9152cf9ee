"""`unmigrate snapshot` and `unmigrate restore` as people type them."""

import json
from pathlib import Path
from typing import Any

import psycopg

from tests.snapshot.conftest import Do
from tests.snapshot.kit import Kit
from unmigrate.park import restore_points, vault
from unmigrate.prisma.url import parse_url


def made(do: Do, *words: str) -> dict[str, Any]:
    status, printed = do("snapshot", "create", "--json", *words)
    assert status == 0, printed
    found: dict[str, Any] = json.loads(printed)
    return found


def test_the_way_back_by_a_snapshot(kit: Kit, do: Do, project: Path) -> None:
    first = made(do, "--label", "before-release")
    assert "before-release" in first["id"]
    assert (project / "snapshots" / first["id"] / "unmigrate.json").exists()
    kit.deploy_bad()
    late = made(do)
    status, printed = do("snapshot", "list", "--before", "2_bad")
    assert status == 0
    assert f"{first['id']}: before it" in printed
    assert f"{late['id']}: no: taken after 2_bad began" in printed
    name = f"{parse_url(kit.url).database}_new"
    status, printed = do("restore", "--before", "2_bad", "--to", name, "--dry-run")
    assert (status, "pg_restore" in printed) == (0, True)
    status, printed = do("restore", "--before", "2_bad", "--to", name, "--url-file", str(project / "url"))
    assert status == 0, printed
    assert first["id"] in printed
    assert "public.User: 1 row fewer" in printed
    assert (project / "url").stat().st_mode & 0o777 == 0o600
    with psycopg.connect(parse_url((project / "url").read_text()).conninfo) as new:
        assert new.execute('select count(note) from "User"').fetchone() == (3,)
    status, printed = do("restore", "--before", "2_bad", "--to", name)
    assert (status, "by an earlier call" in printed) == (0, True)


def test_what_is_from_after_is_refused(kit: Kit, do: Do) -> None:
    kit.deploy_bad()
    status, printed = do("restore", "--before", "2_bad", "--to", "x")
    assert (status, "there is none" in printed) == (3, True)
    late = made(do)
    for words in (["--before", "2_bad"], [late["id"], "--before", "2_bad"]):
        status, printed = do("restore", *words, "--to", "x")
        assert (status, "taken after 2_bad began" in printed) == (3, True), printed
    status, printed = do("restore", "no-such", "--to", "x")
    assert (status, "snapshot list" in printed) == (2, True)
    status, printed = do("restore", "--to", "x")
    assert status == 2
    status, printed = do("restore", "--lsn", "0/1", "--to", "x")
    assert (status, "does not restore to an LSN" in printed) == (2, True)
    status, printed = do("restore", "--time", "2025-06-01T10:00:00", "--to", "x")
    assert status == 2
    status, printed = do("restore", late["id"], "--to", parse_url(kit.url).database)
    assert (status, "already" in printed) == (3, True)


def test_what_was_made_while_it_was_applied_is_not_from_before_it_was_applied_again(kit: Kit, do: Do) -> None:
    """The ledger forgets what was rolled back and deployed again; the vault does not."""
    kit.deploy_bad()
    between = made(do)
    status, printed = do("rollback", "--yes", "--accept-loss", "--scratch", "embedded")
    assert status == 0, printed
    kit.deploy_bad()
    status, printed = do("restore", "--before", "2_bad", "--to", "x")
    assert (status, "taken while 2_bad was applied" in printed) == (3, True), printed
    status, printed = do("restore", between["id"], "--before", "2_bad", "--to", "x")
    assert status == 3, printed


def test_a_restore_point_keeps_its_snapshot(kit: Kit, do: Do) -> None:
    old, needed, newer = made(do, "--label", "a"), made(do, "--label", "b"), None
    with kit.source() as connection:
        vault.create(connection)
        restore_points.record_now(connection, ["2_bad"])
    newer = made(do, "--label", "c")
    status, printed = do("snapshot", "drop", needed["id"], "--yes")
    assert (status, "restore point before 2_bad" in printed) == (3, True)
    assert do("snapshot", "drop", old["id"])[0] == 3, "nobody is there to say yes"
    status, printed = do("snapshot", "protect", old["id"])
    assert status == 0
    assert do("snapshot", "drop", old["id"], "--yes", "--force")[0] == 3
    assert json.loads(do("snapshot", "prune", "--keep", "1", "--yes", "--json")[1]) == {"dropped": []}
    do("snapshot", "protect", old["id"], "--off")
    assert json.loads(do("snapshot", "prune", "--keep", "1", "--yes", "--json")[1]) == {"dropped": [old["id"]]}
    assert do("snapshot", "drop", needed["id"], "--yes", "--force")[0] == 0
    assert [s["id"] for s in json.loads(do("snapshot", "list", "--json")[1])["snapshots"]] == [newer["id"]]


def test_dry_runs_change_nothing(kit: Kit, do: Do, project: Path) -> None:
    status, printed = do("snapshot", "create", "--dry-run")
    assert (status, "pg_dump --format=directory" in printed) == (0, True)
    assert not (project / "snapshots").exists()
    status, printed = do("snapshot", "create", "--provider", "template", "--dry-run", "--end-sessions")
    assert (status, "CREATE DATABASE" in printed, "pg_terminate_backend" in printed) == (0, True, True)
    status, printed = do("snapshot", "create", "--label", "No Such Label")
    assert status == 2
    status, printed = do("snapshot", "create", "--provider", "rds")
    assert (status, "[snapshot.rds]" in printed) == (2, True)
