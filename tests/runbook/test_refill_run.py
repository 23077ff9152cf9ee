"""The reverse way with a refill as a run: what the migration destroyed is back before the old app is, and nothing written since is lost."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.runbook.shop import BAD_NAME, TOML, Shop, shop, some
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

DUMPS = '[snapshot.pg_dump]\ndirectory = "../dumps"\n'
COMMAND = ("run", "rollback", "--refill", "last", "--maintenance", "--accept-loss", "--yes")
NOTES = [("a", "note of a"), ("b", "note of b"), ("c", None)]


@contextmanager
def destroyed(folder: Path) -> Iterator[tuple[Shop, psycopg.Connection[tuple[object, ...]]]]:
    """A shop whose migration dropped a column, a dump from before it, and the server's superuser."""
    with (
        open_server("embedded", environ=os.environ) as server,
        Pool(server) as own,
        shop(folder, own, toml=TOML + DUMPS, destroys=True) as made,
    ):
        own.admin.execute("ALTER ROLE unmigrate_migrator SUPERUSER")  # a server of its own: no other test sees this
        _dump_before(made)
        yield made, own.admin


def _dump_before(made: Shop) -> None:
    """As it would have been made before the deploy: the ledger is told that the deploy was later."""
    migration = (made.root / "prisma/migrations" / BAD_NAME / "migration.sql").read_text()
    with made.connect() as connection:
        kept = connection.execute('select id, discount from "Order" where discount <> 0').fetchall()
        row = connection.execute('delete from "_prisma_migrations" where migration_name = %s returning checksum', [BAD_NAME]).fetchone()
        assert row is not None
        connection.execute('alter table "Order" drop column discount, add column note text; drop table "Coupon"')
        connection.execute("update \"Order\" set note = 'note of ' || item where item in ('a', 'b')")
        connection.execute("delete from \"Order\" where item = 'c'")
        said = made.unmigrate("snapshot", "create", "--label", "before")
        assert said.exit_code == 0, said.text
        connection.execute(migration)
        connection.execute(
            'insert into "_prisma_migrations" (id, checksum, migration_name, started_at, finished_at, applied_steps_count) '
            "values ('bad', %s, %s, clock_timestamp(), clock_timestamp(), 1)",
            [row[0], BAD_NAME],
        )
        assert kept
        connection.execute("insert into \"Order\" (id, item, discount) values (3, 'c', 5)")


def look(made: Shop) -> list[tuple[str, str | None]]:
    with psycopg.connect(parse_url(made.url).conninfo) as connection:
        return connection.execute('select item, note from "Order" where id <= 3 order by id').fetchall()


def copies(admin: psycopg.Connection[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return admin.execute("select datname from pg_database where datname like '%refill%'").fetchall()


POINTS = [
    "refill-source.apply begins", "refill-source: restored", "refill-source.apply done", "reverse: committed", "refill.prepare done",
    "refill.apply done",
]  # fmt: skip


@pytest.mark.parametrize("at", some(["refill: merged", "", *POINTS], 9))
def test_what_was_destroyed_is_back_and_nothing_newer_is_lost(tmp_path: Path, at: str) -> None:
    with destroyed(tmp_path) as (made, admin):
        if at == "refill: merged":
            _told_before(made)
        said = made.unmigrate(*COMMAND, kill=at)
        if at:
            assert said.exit_code == -9, f"{at} was not met: {said.text}"
            said = made.unmigrate("resume")
        assert said.exit_code == 0, said.text
        assert look(made) == NOTES
        assert made.ask("/version") == {"version": "v1"}
        assert made.ledger() == ["20240101000000_init"]
        assert not copies(admin)
        report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
        assert re.search(r"Order.*note.*2 of 2 rows brought back", report), report
        assert 'Lost**: public."Order".discount' in report
        assert "note" not in next(line for line in report.splitlines() if "**Lost**" in line)


def _told_before(made: Shop) -> None:
    without = made.unmigrate("run", "rollback", "--dry-run")
    assert (without.exit_code, 'public."Order".note' in without.text, "--refill last" in without.text) == (3, True, True), without.text
    assert "would go through" not in without.text
    dry = made.unmigrate("run", "rollback", "--refill", "last", "--dry-run", "--accept-loss")
    assert dry.exit_code == 0, dry.text
    assert re.search(r'comes back from snapshot \S+: public\."Order"\.note', dry.text), dry.text
    assert "pg_restore" in dry.text
    assert "[refill]" in dry.text


@pytest.mark.parametrize("at", some(["maintenance-on.prepare done", "refill-source: restored"], 2))
def test_abort_before_the_switch_leaves_no_copy(tmp_path: Path, at: str) -> None:
    with destroyed(tmp_path) as (made, admin):
        assert made.unmigrate(*COMMAND, kill=at).exit_code == -9
        said = made.unmigrate("abort", "--yes")
        assert said.exit_code == 0, said.text
        assert not copies(admin)
        assert made.ledger()[-1] == BAD_NAME
        told = len(made.told())
        with made.connect() as connection:
            connection.execute(
                "update \"_prisma_migrations\" set started_at = started_at - interval '1 day' where migration_name = %s", [BAD_NAME]
            )
        said = made.unmigrate(*COMMAND)
        assert (said.exit_code, "no snapshot is from before" in said.text) == (3, True), said.text
        assert len(made.told()) == told
