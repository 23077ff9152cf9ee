"""How long what is parked stays: 14 days, or what [park] says of its tables; with the time stamps that deploys and rollbacks really wrote."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.command import run
from tests.guard.conftest import Live
from tests.support import prisma_url, write_project
from unmigrate.config.load import load
from unmigrate.config.park import Park
from unmigrate.errors import UsageError
from unmigrate.park.purge import due, kept

INIT = 'CREATE TABLE t (id int PRIMARY KEY, a text); CREATE TABLE "Session" (id int PRIMARY KEY, body text); CREATE TABLE log (id int PRIMARY KEY, x int)'
ROWS = """INSERT INTO t SELECT g, repeat('a', 100) FROM generate_series(1, 5000) g; INSERT INTO "Session" VALUES (1, 'x');
INSERT INTO log VALUES (1, 1)"""
CHANGES = ["ALTER TABLE t DROP COLUMN a", 'DROP TABLE "Session"', "UPDATE log SET x = 2"]
Make = Callable[[str, str], Live]


@pytest.fixture
def it(live: Make) -> Live:
    found = live(INIT, ROWS)
    for change in CHANGES:
        found.deploy(change)
    return found


def left(it: Live, park: Park, later: timedelta) -> list[str]:
    """Migrations that keep something, were the clock that much later."""
    with it.connect() as connection:
        found = kept(connection)
    gone = due(found, datetime.now(UTC) + later, lambda k: park.days(k.tables))
    return [k.migration for k in found if k not in gone]


def test_fourteen_days_to_the_minute(it: Live) -> None:
    assert left(it, Park(), timedelta(days=14, minutes=-5)) == ["2", "3", "4"]
    assert left(it, Park(), timedelta(days=14)) == []


def test_tables_with_a_period_of_their_own(it: Live) -> None:
    park = Park(retention={"Session": 1, "public.log": 60})
    assert left(it, park, timedelta(hours=23)) == ["2", "3", "4"]
    assert left(it, park, timedelta(days=1)) == ["2", "4"]
    assert left(it, park, timedelta(days=14)) == ["4"]
    assert left(it, park, timedelta(days=60)) == []


def test_what_a_migration_keeps_goes_together(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy("; ".join(CHANGES))
    with it.connect() as connection:
        (one,) = kept(connection)
    assert one.tables == ("Session", "public.log", "public.t")
    assert Park(retention={"Session": 1, "log": 60}).days(one.tables) == 1
    assert Park(retention={"Session": 20, "log": 60}).days(one.tables) == 60
    assert Park(retention={"other.log": 1, "other.Session": 1}).days(one.tables) == 1  # of a parked table the schema is not known
    assert Park(retention={"other.log": 1}).days(one.tables) == 14


def test_the_size_of_what_is_kept(it: Live) -> None:
    it.run("ANALYZE t")
    with it.connect() as connection:
        column, table, rows = kept(connection)
    assert 450_000 < column.column_bytes < 600_000
    assert table.bytes > 0 and rows.bytes > 0 and not table.columns
    since = column.since
    assert since is not None and abs(datetime.now(UTC) - since) < timedelta(minutes=5)
    assert column.line(14).startswith(
        f"parked for 2 since {since:%Y-%m-%d %H:%M}, until {since + timedelta(days=14):%Y-%m-%d %H:%M}: 1 column (about 0.5 MB), "
    )


def test_status_and_purge_by_the_file(it: Live, tmp_path: Path) -> None:
    scripts = [(m.name, m.sql) for m in it.history]
    project, url = write_project(tmp_path / "app", scripts), prisma_url(it.work.pool.conninfo(it.name))
    (project / "unmigrate.toml").write_text('[park]\nretention = { "Session" = 1, log = 0 }\n')
    status, printed = run("status", "--json", "--project", project, "--url", url)
    assert status == 0, printed
    assert [(k["migration"], k["days"]) for k in json.loads(printed)["parked"]] == [("2", 14), ("3", 1), ("4", 0)]
    status, printed = run("purge", "--yes", "--project", project, "--url", url)
    assert status == 0, printed
    assert [line[:19] for line in printed.splitlines()] == ["keep: parked for 2 ", "keep: parked for 3 ", "drop: parked for 4 "]
    it.run("UPDATE unmigrate.way SET made_at = made_at - interval '1 day'")  # a day later
    run("purge", "--yes", "--project", project, "--url", url)
    assert left(it, Park(), timedelta()) == ["2"]


def test_copies_that_a_rollback_made_are_purged_too(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode="off")
    it.deploy("CREATE TABLE secret (id int)", accept_loss=True)
    it.run("INSERT INTO secret VALUES (1)")
    from unmigrate.execute.rollback import execute
    from unmigrate.plan.build import Request, build

    plan = build(it.work, Request(it.history, 1, rows=False), lambda _: None)
    done = execute(it.connect, plan, accept_loss=True)
    assert list(done.copies.values()) == ["public.secret"]
    with it.connect() as connection:
        (one,) = kept(connection)
    assert (one.guard, one.tables, one.migration) == (done.operation, ("public.secret",), "2")
    assert left(it, Park(), timedelta(days=13)) == ["2"]
    assert left(it, Park(retention={"secret": 2}), timedelta(days=2)) == []
    from unmigrate.park.purge import purge

    with it.connect() as connection:
        purge(connection, one.guard)
        assert kept(connection) == ()


def test_a_retention_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "unmigrate.toml"
    for wrong in ("retention = { t = -1 }", 'retention = { t = "x" }', "retention = 3"):
        file.write_text(f"[park]\n{wrong}\n")
        with pytest.raises(UsageError, match=r"unmigrate\.toml:2"):
            load(tmp_path)


def test_a_table_that_is_none_is_said(live: Make) -> None:
    from tests.support import migration
    from unmigrate.guard.build import guard

    it, said = live(INIT, ROWS), list[str]()
    next(guard(it.work, it.history, [migration("2", "SELECT 1")], said.append, Park(retention={"Sesion": 1, "public.Session": 1})))
    assert [s for s in said if s.startswith("note")] == ["note: park.retention names Sesion, which is no table"]
