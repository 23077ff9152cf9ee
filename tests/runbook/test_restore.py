"""The way by restoring: another database, the app moved there by its connection string; and back."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.runbook.shop import BAD_NAME, TOML, Shop, shop, some, wait_for
from unmigrate.scratch.pool import Pool

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
    with made.connect() as connection:
        assert connection.execute("show default_transaction_read_only").fetchone() == ("on",)


def test_rows_written_since_are_not_lost_without_consent(made: Shop) -> None:
    said = made.unmigrate(*COMMAND)
    assert said.exit_code == 6, said.text
    assert "public.Order (2 rows)" in said.text
    assert f"/{made.database}?" in (made.root / ".env").read_text()
    said = made.unmigrate("abort", "--yes")
    assert said.exit_code == 0, said.text
    assert made.ask("/version") == {"version": "v2"}
    with made.connect() as connection:
        assert connection.execute("show default_transaction_read_only").fetchone() == ("off",)
    wait_for(lambda: made.ask("/orders", {"item": "as before"}))  # its connection was ended


def test_no_secret_is_shown_or_recorded(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool, toml=ALL, snapshot=True) as made:
        (made.root / "bin" / "restart").write_text("true\n")
        secret = "hu5h-" + "hu5h"
        made.url = made.url.replace("unmigrate_migrator@", f"unmigrate_migrator:{secret}@")
        (made.root / ".env").write_text(f"DATABASE_URL='{made.url}'\n")
        said = made.unmigrate(*COMMAND, "--accept-loss")
        assert said.exit_code == 0, said.text
        assert secret in (made.root / ".env").read_text()
        assert secret not in said.text
        for path in [*(made.root / "unmigrate-reports").iterdir(), *made.state.rglob("*")]:
            assert not path.is_file() or secret.encode() not in path.read_bytes(), path


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
    assert made.unmigrate("abort", "--yes").exit_code == 0
    wait_for(lambda: made.ask("/orders", {"item": "as before"}))


def test_the_database_in_use_is_refused(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--way", "restore", "--database", made.url, "--yes", "--accept-loss")
    assert said.exit_code == 6, said.text
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
