"""`unmigrate refill` and `rollback --refill` as people type them."""

import json
from pathlib import Path

import psycopg
import pytest

from tests.command import run
from tests.snapshot.conftest import Do
from tests.snapshot.kit import Kit
from tests.support import deploy, record, write_project
from unmigrate.prisma.url import parse_url


def notes(kit: Kit) -> list[tuple[object, ...]]:
    with kit.source() as connection:
        return connection.execute('SELECT email, note FROM "User" ORDER BY id').fetchall()


WHOLE = [("u1", "n1"), ("u2", "n2"), ("u3", "n3"), ("since", None)]


def beside(kit: Kit) -> list[str]:
    with kit.source() as connection:
        return [n for (n,) in connection.execute("SELECT datname::text FROM pg_database WHERE datname ~ 'refill|unfinished'").fetchall()]


def test_rolled_back_and_refilled_at_once(kit: Kit, do: Do) -> None:
    do("snapshot", "create")
    kit.deploy_bad()
    assert do("rollback", "--yes")[0] == 3, "the lost column needs consent"
    status, printed = do("rollback", "--refill", "last", "--dry-run")
    assert (status, "then bring back" in printed) == (0, True), printed
    status, printed = do("rollback", "--refill", "last", "--yes")
    assert status == 0, printed
    assert "Comes back from the snapshot" in printed
    assert "Does not come back" not in printed
    assert 'public."User" (note): 3 of 3 rows brought back' in printed
    assert "the snapshot was taken" in printed
    assert notes(kit) == WHOLE
    assert beside(kit) == []


def test_refilled_later(kit: Kit, do: Do) -> None:
    first = json.loads(do("snapshot", "create", "--json")[1])["id"]
    kit.deploy_bad()
    status, printed = do("refill", "2_bad", "--snapshot", first, "--yes")
    assert (status, "knows no rollback" in printed or "is applied here" in printed) == (3, True), printed
    assert do("rollback", "--yes", "--accept-loss")[0] == 0
    status, printed = do("refill", "--dry-run")
    assert (status, 'merge public."User".note by key' in printed) == (0, True), printed
    assert do("refill")[0] == 3, "nobody is there to say yes"
    status, printed = do("refill", "--yes", "--json")
    assert status == 0, printed
    found = json.loads(printed)
    assert [(p["filled"], p["conflicts"]) for p in found["parts"]] == [(3, 0)]
    assert notes(kit) == WHOLE
    status, printed = do("refill", "2_bad", "--yes")
    assert (status, "by an earlier run" in printed) == (0, True)
    assert beside(kit) == []
    assert "refill" in do("status", "--json")[1]


def test_from_a_database_restored_already_which_is_only_read(kit: Kit, do: Do) -> None:
    first = json.loads(do("snapshot", "create", "--json")[1])["id"]
    kit.deploy_bad()
    name = f"{parse_url(kit.url).database}_by_hand"
    do("restore", first, "--to", name)
    given = kit.url.replace(parse_url(kit.url).database, name, 1)
    with psycopg.connect(parse_url(given).conninfo, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    status, printed = do("rollback", "--refill", given, "--yes")
    assert status == 0, printed
    assert notes(kit) == WHOLE


@pytest.mark.parametrize("how", ["after", "absent", "flight"])
def test_nothing_is_rolled_back_without_a_snapshot_that_fits(kit: Kit, do: Do, how: str) -> None:
    if how == "flight":
        kit.run("insert into _prisma_migrations (id, checksum, migration_name) values ('x', 'x', '0_other')")
        do("snapshot", "create")
        kit.run("delete from _prisma_migrations where id = 'x'")
    kit.deploy_bad()
    if how == "after":
        do("snapshot", "create")
    status, printed = do("rollback", "--refill", "last", "--yes")
    assert status == (5 if how == "flight" else 3), printed
    assert "no snapshot is from before" in printed or "in flight" in printed
    assert kit.value("select count(*) from _prisma_migrations where migration_name = '2_bad'") == 1
    assert beside(kit) == []


def test_by_hand_without_the_vault(kit: Kit, do: Do) -> None:
    first = json.loads(do("snapshot", "create", "--json")[1])["id"]
    kit.deploy_bad()
    kit.run('ALTER TABLE "User" ADD COLUMN note text')
    kit.run("delete from _prisma_migrations where migration_name = '2_bad'")
    status, printed = do("refill", "2_bad", "--yes")
    assert (status, "--column" in printed) == (2, True), printed
    status, printed = do("refill", "2_bad", "--column", 'public."User".note', "--snapshot", first, "--yes")
    assert status == 0, printed
    assert notes(kit) == WHOLE


def test_a_column_that_returns_as_not_null(fresh_url: str, tmp_path: Path) -> None:
    """Filled for the rows written since, and from the snapshot for the others."""
    init, bad = "CREATE TABLE t (id int PRIMARY KEY, code text NOT NULL)", "ALTER TABLE t DROP COLUMN code"
    project = write_project(tmp_path / "other", [("1_init", init), ("2_bad", bad)])
    where = ("--project", project, "--url", fresh_url)
    with psycopg.connect(parse_url(fresh_url).conninfo, autocommit=True) as connection:
        deploy(connection, [("1_init", init)])
        connection.execute("INSERT INTO t SELECT g, 'c' || g FROM generate_series(1, 5) g")
        run("snapshot", "create", *where)
        connection.execute(bad)
        record(connection, "2_bad", bad)
        connection.execute("INSERT INTO t VALUES (9)")
        status, printed = run("rollback", "--refill", "last", "--yes", *where)
        assert (status, "--refill SNAPSHOT" in printed) == (3, True), printed
        status, printed = run("rollback", "--refill", "last", "--fill", "public.t.code = 'none'", "--yes", *where)
        assert status == 0, printed
        found = connection.execute("SELECT id, code FROM t ORDER BY id").fetchall()
    assert found == [(1, "c1"), (2, "c2"), (3, "c3"), (4, "c4"), (5, "c5"), (9, "none")]


def test_purge_drops_what_refills_wrote_down(kit: Kit, do: Do) -> None:
    """When it is old, unless one could go on, or somebody made something of it."""
    do("snapshot", "create")
    kit.deploy_bad()
    assert do("rollback", "--refill", "last", "--yes", "--accept-loss")[0] == 0
    there = "select to_regnamespace('unmigrate_refill') is not null"
    status, printed = do("purge", "--yes")
    assert (status, "keep: unmigrate_refill: what 1 refill wrote down" in printed, kit.value(there)) == (0, True, True), printed
    kit.run("update unmigrate_refill.refill set done_at = null")
    status, printed = do("purge", "--days", "0", "--yes")
    assert (status, "keep: unmigrate_refill" in printed, "is not finished" in printed) == (0, True, True), printed
    kit.run("update unmigrate_refill.refill set done_at = now(); create view mine as select * from unmigrate_refill.conflict")
    status, printed = do("purge", "--days", "0", "--yes")
    assert (status, "view mine depends on" in printed, kit.value(there)) == (5, True, True), printed
    kit.run("drop view mine; create table unmigrate_refill.theirs (a int)")
    assert do("purge", "--days", "0", "--yes")[0] == 5, "somebody else's table keeps the schema, and all that is in it"
    assert kit.value("select count(*) from unmigrate_refill.refill") == 1
    kit.run("drop table unmigrate_refill.theirs")
    status, printed = do("purge", "--days", "0", "--dry-run", "--json")
    assert json.loads(printed)["statements"]["unmigrate_refill"][-1] == "DROP SCHEMA unmigrate_refill"
    assert kit.value(there)
    assert do("purge", "--now", "--yes")[0] == 0
    assert not kit.value(there)
    assert notes(kit) == WHOLE
    assert do("purge", "--now", "--yes")[0] == 0, "again is nothing"
