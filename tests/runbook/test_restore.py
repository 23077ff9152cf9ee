"""The way by restoring: another database, the app moved there by its connection string; and back."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.runbook.shop import BAD_NAME, TOML, Shop, shop, some, wait_for
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

RESTORE = f"{sys.executable} {Path(__file__).parent / 'restore.py'}"
ALL = (
    TOML.replace(">= 3", ">= 2")
    + f"""
[snapshot]
create_command = "echo snap-1; echo made >> snapshots.log"
restore_command = "{RESTORE}"
[connection]
after = "sh bin/restart"
[connection.env_file]
file = ".env"
"""
)
COMMAND = ("run", "rollback", "--way", "restore", "--snapshot", "before", "--yes")


@pytest.fixture
def made(tmp_path: Path, pool: Pool) -> Iterator[Shop]:
    with shop(tmp_path, pool, toml=ALL, snapshot=True) as opened:
        (opened.root / "bin" / "restart").write_text("true\n")
        yield opened


def test_the_app_serves_from_the_restored_database(made: Shop) -> None:
    said = made.unmigrate(*COMMAND, "--accept-loss")
    assert said.exit_code == 0, said.text
    env = (made.root / ".env").read_text()
    assert f"/{made.database}_new?" in env
    assert env.startswith("# the shop\n")
    assert env.endswith("OTHER=1\n")
    assert made.ask("/version") == {"version": "v1"}
    number = made.ask("/orders", {"item": "afterwards"})["id"]
    assert made.ask(f"/orders/{number}") == {"id": number, "item": "afterwards"}
    assert made.ledger()[-1] == BAD_NAME, "the old database is kept as it was"
    report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
    assert "Lost**: public.Order (2 rows)" in report, "c, and what the check wrote before"
    assert "stays closed to writers" in report
    assert "- [ ] unmigrate carry-over --run" in report
    with made.connect() as connection:
        assert connection.execute("show default_transaction_read_only").fetchone() == ("on",)


def test_what_is_lost_is_told_before_anything_is_touched(made: Shop) -> None:
    """Not counted before it is restored; counted where it was restored already. Neither keeps writers away without consent."""
    given = ("run", "rollback", "--way", "restore", "--database", _restored(made))
    for words, told in ((COMMAND[:-1], "counted only once it is restored"), (given, "public.Order (1 row)")):
        dry = made.unmigrate(*words, "--dry-run")
        assert (dry.exit_code, told in dry.text, "needs --accept-loss" in dry.text) == (3, True, True), dry.text
        assert "carry-over" in dry.text
        said = made.unmigrate(*words, "--yes")
        assert (said.exit_code, told in said.text, "nothing was changed" in said.text) == (3, True, True), said.text
        assert made.unmigrate(*words, "--dry-run", "--accept-loss").exit_code == 0
    for name in ("maintenance.log", "restores.log"):
        assert not (made.root / name).exists()
    assert not made.told()
    assert f"/{made.database}?" in (made.root / ".env").read_text()


def _restored(made: Shop) -> str:
    """The snapshot, restored by somebody else."""
    with psycopg.connect(made.admin, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{made.database}_new" TEMPLATE "{made.database}_snap" OWNER unmigrate_migrator')
    return made.new_url


LATE = """import os, psycopg
with psycopg.connect(os.environ["LIBPQ"]) as connection:
    connection.execute("insert into \\"Order\\" (item) values ('late')")
"""


@pytest.mark.parametrize("way", ["resume", "abort"])
def test_rows_written_after_preflight_are_not_lost_without_consent(made: Shop, way: str) -> None:
    """Nothing was to be lost when it began; a row came in before writers were gone."""
    toml = ALL[: ALL.index("[[checks.http]]")] + ALL[ALL.index("[[flags]]") :]  # no check writes
    (made.root / "bin" / "late").write_text(LATE)
    (made.root / "unmigrate.toml").write_text(toml.replace("echo off >> flags.log", "$PYTHON bin/late"))
    with made.connect() as connection:
        connection.execute("delete from \"Order\" where item = 'c'")
    words = ("run", "rollback", "--way", "restore", "--database", _restored(made), "--yes")
    said = made.unmigrate(*words, LIBPQ=parse_url(made.url).conninfo)
    assert said.exit_code == 6, said.text
    assert "public.Order (1 row)" in said.text
    assert (said.text.count("unmigrate resume"), said.text.count("unmigrate abort")) == (1, 1), "each way is told once"
    assert f"/{made.database}?" in (made.root / ".env").read_text()
    if way == "resume":
        assert made.unmigrate("resume").exit_code == 6, "it is not consented to yet"
        said = made.unmigrate("resume", "--accept-loss")
        assert said.exit_code == 0, said.text
        assert f"/{made.database}_new?" in (made.root / ".env").read_text()
        return
    said = made.unmigrate("abort", "--yes")
    assert said.exit_code == 0, said.text
    assert made.ask("/version") == {"version": "v2"}
    with made.connect() as connection:
        assert connection.execute("show default_transaction_read_only").fetchone() == ("off",)
    wait_for(lambda: made.ask("/orders", {"item": "as before"}))  # its connection was ended


def test_no_secret_is_shown_or_recorded(tmp_path: Path, pool: Pool) -> None:
    talking = ALL.replace("echo on >> maintenance.log", "echo on >> maintenance.log; cat .env").replace(
        'deploy = "sh bin/deploy"', 'deploy = "sh bin/deploy; cat .env"'
    )
    with shop(tmp_path, pool, toml=talking, snapshot=True) as made:
        (made.root / "bin" / "restart").write_text("true\n")
        secret = "hu5h-" + "hu5h"
        made.url = made.url.replace("unmigrate_migrator@", f"unmigrate_migrator:{secret}@")
        (made.root / ".env").write_text(f"DATABASE_URL='{made.url}'\n")
        said = made.unmigrate(*COMMAND, "--accept-loss")
        assert said.exit_code == 0, said.text
        assert secret in (made.root / ".env").read_text()
        assert secret not in said.text
        kept = {path for path in made.state.rglob("*") if path.name == "private.json"}  # for carry-over --run
        for path in {*(made.root / "unmigrate-reports").iterdir(), *made.state.rglob("*")} - kept:
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path
        assert [(path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) for path in kept] == [(0o600, 0o700)]


def test_a_snapshot_from_after_the_migration_stops_before_the_switch(made: Shop) -> None:
    with made.connect() as connection:
        connection.execute("select 1")
    with psycopg.connect(made.admin, autocommit=True) as admin:
        made.stop()
        admin.execute(f'DROP DATABASE "{made.database}_snap"')
        admin.execute(f'CREATE DATABASE "{made.database}_snap" TEMPLATE "{made.database}"')
    made.deploy_app("v2")
    said = made.unmigrate(*COMMAND, "--accept-loss")
    assert said.exit_code == 6, said.text
    assert "is from after the migration" in said.text
    assert "goes on" not in said.text, "the same snapshot would be refused again"
    assert "in a new run" in said.text
    assert made.unmigrate("abort", "--yes").exit_code == 0
    wait_for(lambda: made.ask("/orders", {"item": "as before"}))


def test_when_a_snapshot_was_made_is_asked_before_anything_begins(made: Shop) -> None:
    """Where the provider knows it, although a command restores it; else it is said that only restoring tells."""
    told = "is seen once it is restored, with writers away"
    dry = made.unmigrate(*COMMAND[:-1], "--dry-run", "--accept-loss")
    assert (dry.exit_code, told in " ".join(dry.text.split())) == (0, True), dry.text
    knows = """[snapshot.command]
list = 'echo "[{\\"id\\": \\"before\\", \\"created_at\\": \\"%s\\"}]"'
create = "false"
restore = "false"
drop = "false"
"""
    for year, status in (("2999", 3), ("2001", 0)):
        (made.root / "unmigrate.toml").write_text(ALL.replace("[connection]", knows % f"{year}-01-01T00:00:00+00:00" + "[connection]", 1))
        said = made.unmigrate(*COMMAND[:-1], "--dry-run", "--accept-loss")
        assert (said.exit_code, told in " ".join(said.text.split())) == (status, False), said.text
        assert ("choose an older one" in said.text) == (status == 3)
    (made.root / "unmigrate.toml").write_text(ALL.replace("[connection]", knows % "2999-01-01T00:00:00+00:00" + "[connection]", 1))
    assert made.unmigrate(*COMMAND, "--accept-loss").exit_code == 3
    assert not (made.root / "maintenance.log").exists()
    assert not (made.root / "restores.log").exists()


def test_the_database_in_use_is_refused(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--way", "restore", "--database", made.url, "--yes", "--accept-loss")
    assert (said.exit_code, "nothing was changed" in said.text) == (3, True), said.text
    assert "is the database that the app uses now" in said.text


def test_a_writer_who_passes_maintenance_is_seen(made: Shop) -> None:
    """A session that switches read-only off for itself: the run goes no further."""
    from threading import Event, Thread

    stop = Event()

    def write() -> None:
        while not stop.is_set():
            try:
                with made.connect() as connection:
                    connection.execute("set default_transaction_read_only = off")
                    while not stop.wait(0.1):
                        connection.execute("insert into \"Order\" (item) values ('rogue')")
            except psycopg.Error:
                continue

    text = ALL.replace("wait = 20", "wait = 3")
    (made.root / "unmigrate.toml").write_text(text)
    made.git("commit", "-qam", "wait")
    thread = Thread(target=write)
    thread.start()
    try:
        said = made.unmigrate(*COMMAND, "--accept-loss")
    finally:
        stop.set()
        thread.join()
    assert said.exit_code == 6, said.text
    assert "writers are not gone" in said.text
    assert not (made.root / "restores.log").exists()
    assert made.unmigrate("abort", "--yes").exit_code == 0


KILLS = [
    "snapshot.apply done", "restore.prepare done", "restore.apply begins", "restore: restored", "restore: kept", "restore.apply done",
    "connection.prepare done", "connection: DATABASE_URL in .env", "connection.apply done", "app.apply begins", "inside-checks.apply done",
    "maintenance-off.prepare done", "maintenance-off.apply done", "outside-checks.apply done", "report.apply begins",
]  # fmt: skip


@pytest.mark.parametrize("at", some(KILLS))
def test_kill_and_resume(made: Shop, at: str) -> None:
    assert made.unmigrate(*COMMAND, "--accept-loss", kill=at).exit_code == -9
    said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    assert (made.root / ".env").read_text().count(f"/{made.database}_new?") == 1
    assert made.ask("/version") == {"version": "v1"}
    with made.connect() as connection:  # the old one
        assert connection.execute('select count(*) from "Order"').fetchone() == (4,), "a, b, c, and what the check wrote before"
    assert len(made.told()) == 2
    assert len(set((made.root / "restores.log").read_text().split())) == 1


@pytest.mark.parametrize("at", ["restore: kept", "connection.prepare done", "connection: DATABASE_URL in .env", "app.apply done"])
def test_kill_and_abort(made: Shop, at: str) -> None:
    before = (made.root / ".env").read_text()
    assert made.unmigrate(*COMMAND, "--accept-loss", kill=at).exit_code == -9
    said = made.unmigrate("abort", "--yes")
    assert said.exit_code == 0, said.text
    assert (made.root / ".env").read_text() == before
    assert wait_for(lambda: made.ask("/version")) == {"version": "v2"}
    wait_for(lambda: made.ask("/orders", {"item": "as before"}))


def test_abort_after_people_wrote_to_the_restored_one_names_the_rows(tmp_path: Path, pool: Pool) -> None:
    toml = ALL.replace('expect = { item = "check" }', 'expect = { item = "other" }') + "\n[checks]\nattempts = 1\n"
    with shop(tmp_path, pool, toml=toml, snapshot=True) as made:
        (made.root / "bin" / "restart").write_text("true\n")
        said = made.unmigrate(*COMMAND, "--accept-loss")
        assert said.exit_code == 6, said.text
        with psycopg.connect(made.admin.replace("dbname=template1", f"dbname={made.database}_new")) as there:
            assert there.execute("show default_transaction_read_only").fetchone() == ("on",)
        said = made.unmigrate("abort", "--yes")
        assert said.exit_code == 3, said.text
        assert "public.Order (" in said.text
        said = made.unmigrate("abort", "--yes", "--accept-loss")
        assert said.exit_code == 0, said.text
        assert f"/{made.database}?" in (made.root / ".env").read_text()
        report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
        assert "has rows that the old database has not: public.Order (" in report


def test_rows_written_while_an_abort_was_on_its_way_are_not_left_behind_unsaid(made: Shop) -> None:
    """Nobody had written when abort looked first; somebody did before maintenance was on again."""
    toml = ALL[: ALL.index("[[checks.http]]")] + ALL[ALL.index("[[flags]]") :]  # no check writes
    (made.root / "unmigrate.toml").write_text(toml)
    assert made.unmigrate(*COMMAND, "--accept-loss", kill="report.apply begins").exit_code == -9
    assert made.unmigrate("abort", "--yes", kill="maintenance-off.undo begins").exit_code == -9
    with psycopg.connect(parse_url(made.new_url).conninfo, autocommit=True, options="-c default_transaction_read_only=off") as there:
        there.execute("insert into \"Order\" (item) values ('in between')")
    said = made.unmigrate("resume")
    assert said.exit_code == 6, said.text
    assert "public.Order (1 row)" in said.text
    assert f"/{made.database}_new?" in (made.root / ".env").read_text()
    said = made.unmigrate("abort", "--yes", "--accept-loss")
    assert said.exit_code == 0, said.text
    assert f"/{made.database}?" in (made.root / ".env").read_text()


def test_a_database_of_another_history_is_refused(made: Shop) -> None:
    with psycopg.connect(parse_url(_restored(made)).conninfo, autocommit=True) as there:
        there.execute("insert into \"_prisma_migrations\" (id, checksum, finished_at, migration_name) values ('x', '', now(), '2_staging')")
    said = made.unmigrate("run", "rollback", "--way", "restore", "--database", made.new_url, "--yes", "--accept-loss")
    assert (said.exit_code, "nothing was changed" in said.text) == (3, True), said.text
    assert "2_staging was never applied here" in said.text


@pytest.mark.parametrize("at", ["", "snapshot.apply done"])
def test_a_protective_snapshot_by_template_is_made_once(tmp_path: Path, at: str) -> None:
    """PostgreSQL copies no database in use: the run's own session gives way, and comes back."""
    toml = TOML + '[snapshot]\nprovider = "template"\n[run]\nsnapshot = true\n'
    with open_server("embedded", environ=os.environ) as server, Pool(server) as own, shop(tmp_path, own, toml=toml) as made:
        own.admin.execute("ALTER ROLE unmigrate_migrator SUPERUSER")
        words = ("run", "rollback", "--yes", "--accept-loss", "--maintenance")
        said = made.unmigrate(*words, kill=at)
        if at:
            assert said.exit_code == -9
            said = made.unmigrate("resume")
        assert said.exit_code == 0, said.text
        copies = own.admin.execute("select datname from pg_database where datname like 'unmigrate%\\_run\\_2%'").fetchall()
        assert len(copies) == 1, copies


def test_what_a_provider_lacks_stops_before_harm(made: Shop) -> None:
    """The role may not make databases: known before people are told, and before writers are kept away."""
    (made.root / "unmigrate.toml").write_text(TOML + '[snapshot]\nprovider = "template"\n[run]\nsnapshot = true\n')
    said = made.unmigrate("run", "rollback", "--yes", "--accept-loss", "--maintenance")
    assert (said.exit_code, "nothing was changed" in said.text) == (4, True), said.text
    assert not made.told()
    assert not (made.root / "maintenance.log").exists()


@pytest.mark.parametrize("at", ["", "restore: restored", "snapshot.apply begins"])
def test_with_a_provider_of_ours(tmp_path: Path, at: str) -> None:
    """pg_dump: the last dump from before the migration is found, restored beside, and the app moved there."""
    toml = TOML.replace(">= 3", ">= 2") + '[connection.env_file]\n[snapshot.pg_dump]\ndirectory = "../dumps"\n[run]\nsnapshot = true\n'
    with open_server("embedded", environ=os.environ) as server, Pool(server) as own, shop(tmp_path, own, toml=toml) as made:
        own.admin.execute("ALTER ROLE unmigrate_migrator SUPERUSER")  # a server of its own: no other test sees this
        with made.connect() as connection:
            connection.execute("update \"_prisma_migrations\" set started_at = started_at - interval '1 day'")
        late = made.unmigrate("run", "rollback", "--way", "restore", "--yes", "--accept-loss")
        assert late.exit_code == 3, late.text
        assert "no snapshot is from before" in late.text
        with made.connect() as connection:
            connection.execute(
                f"update \"_prisma_migrations\" set started_at = now() + interval '1 day' where migration_name = '{BAD_NAME}'"
            )
            connection.execute(f"create temp table x as select * from \"_prisma_migrations\" where migration_name = '{BAD_NAME}'")
            connection.execute(f"delete from \"_prisma_migrations\" where migration_name = '{BAD_NAME}'")
            connection.execute('alter table "Order" drop column discount; drop table "Coupon"')
            from unmigrate.config import load
            from unmigrate.snapshot.open import open_provider

            made_id = open_provider(load(made.root), made.url, made.root, made.environ).create("before", print).id
            from tests.runbook.shop import BAD

            connection.execute(BAD)
            connection.execute('insert into "_prisma_migrations" select * from x')
            connection.execute(
                'update "_prisma_migrations" set started_at = now(), finished_at = now() where migration_name = %s', [BAD_NAME]
            )
        command = ("run", "rollback", "--way", "restore", "--yes", "--accept-loss")
        said = made.unmigrate(*command, kill=at)
        if at:
            assert said.exit_code == -9
            said = made.unmigrate("resume")
        assert said.exit_code == 0, said.text
        report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
        assert made_id in report
        assert wait_for(lambda: made.ask("/version")) == {"version": "v1"}
        if not at:
            _as_printed(made, report)
        with psycopg.connect(made.admin, autocommit=True) as admin:
            names = [r[0] for r in admin.execute("select datname from pg_database where datname like %s", [f"{made.database}%"])]
            assert len(names) == 2, names
            new = next(n for n in names if n != made.database)
            assert f"/{new}?" in (made.root / ".env").read_text()
            made.stop()
            admin.execute(f'DROP DATABASE "{new}" WITH (FORCE)')
        assert len(list((tmp_path / "dumps").glob("*run-*"))) == 1


def _as_printed(made: Shop, report: str) -> None:
    """What the report says to follow up is run as it is printed."""
    words = re.search(r"unmigrate (carry-over --run \S+)", report)
    assert words is not None
    said = made.unmigrate(*words[1].split())
    assert (said.exit_code, 'public."Order": 1 row new' in said.text) == (1, True), said.text
    said = made.unmigrate(*words[1].split(), "--merge", "--yes")
    assert said.exit_code == 0, said.text
    said = made.unmigrate(*words[1].split())
    assert (said.exit_code, "not known on this machine" in said.text) == (2, True), said.text
