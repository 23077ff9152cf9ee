"""Refill in trouble: a full disk, a kill of the whole command, a session that is ended. The same command goes on, and `status` says so."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.command import run
from tests.disk import resize, server_on
from tests.snapshot.kit import BAD, INIT, SECRET, Kit
from tests.support import deploy, record
from unmigrate.errors import PartialError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot import lost
from unmigrate.snapshot.job import Asked
from unmigrate.snapshot.merging import unfinished
from unmigrate.snapshot.refill import refill

MANY = 4000


@pytest.fixture
def kit(kit: Kit) -> Kit:
    """With many rows."""
    kit.run(f"insert into \"User\" (email, note) select 'm' || g, 'm' || g from generate_series(1, {MANY}) g")
    return kit


@pytest.mark.parametrize("moment", [0.3, 0.8, 1.2, 1.6, 2.2])
def test_the_command_killed_at_any_time(kit: Kit, project: Path, moment: float) -> None:
    where = ("--project", project, "--url", kit.url)
    run("snapshot", "create", *where)
    kit.deploy_bad()
    words = [sys.executable, "-m", "unmigrate", "rollback", "--refill", "last", "--yes", "--batch", "50", *map(str, where)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, text=True)
    time.sleep(moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(100):  # until the server has noticed
        if kit.value("select count(*) from pg_locks where locktype = 'advisory'") == 0:
            break
        time.sleep(0.05)
    if kit.value("select count(*) from _prisma_migrations where migration_name = '2_bad'"):
        status, printed = run("rollback", "--refill", "last", "--yes", *where)
    else:
        if kit.value("select to_regclass('unmigrate_refill.refill')"):
            assert kit.value("select count(*) from unmigrate_refill.refill") > 0
        status, printed = run("refill", "2_bad", "--yes", *where)
    assert status == 0, printed
    assert SECRET not in printed
    assert kit.value('select count(*) from "User" where note is not null') == MANY + 3
    assert kit.value('select count(*) from "User"') == MANY + 4
    with kit.source() as connection:
        assert connection.execute("select relname from pg_class where relname ~ '^stage_'").fetchall() == []


def test_a_session_that_is_ended_and_what_status_says(kit: Kit, project: Path) -> None:
    where = ("--project", project, "--url", kit.url)
    first = json.loads(run("snapshot", "create", "--json", *where)[1])["id"]
    kit.deploy_bad()
    run("rollback", "--yes", "--accept-loss", *where)
    name = f"{parse_url(kit.url).database}_old"
    run("restore", first, "--to", name, *where)
    url = parse_url(kit.url)
    from unmigrate.catalog.read import read_catalog
    from unmigrate.snapshot import urls

    def end(step: str) -> None:
        if step == "part 1 to 200 merged":
            kit.value("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'unmigrate'"
                      " and datname = current_database() and pid <> pg_backend_pid() and state like 'idle in%'")  # fmt: skip

    with connect(url) as live, connect(parse_url(urls.moved(kit.url, database=name))) as old:
        undone = lost.undone(live, None)
        assert undone is not None
        found = lost.find(lost.destroyed(undone.losses), read_catalog(live), read_catalog(old))
        with pytest.raises(PartialError) as partial:
            refill(lambda: connect(url), old, undone, found, Asked(first, 100, on_step=end))
        assert "again" in partial.value.remedy
        assert len(unfinished(live)) == 1
    status, printed = run("status", *where)
    assert f"a refill of 2_bad from {first}" in printed
    assert "is not finished: run the same command again" in printed
    status, printed = run("refill", "--yes", *where)
    assert status == 0, printed
    assert kit.value('select count(*) from "User" where note is not null') == MANY + 3
    assert "not finished" not in run("status", *where)[1]


def test_a_full_disk(tmp_path: Path, small_disk: Path, project: Path) -> None:
    resize(small_disk, 150)
    elsewhere = tmp_path / "pg_wal"
    with (
        server_on(small_disk, password=SECRET, wal=elsewhere) as url,
        psycopg.connect(parse_url(url).conninfo, autocommit=True) as connection,
    ):
        deploy(connection, [("1_init", INIT)])
        connection.execute("insert into \"User\" (note) select repeat('x', 150) from generate_series(1, 60000) g")
        where = ("--project", project, "--url", url, "--scratch", "embedded")
        assert run("snapshot", "create", *where)[0] == 0
        connection.execute(BAD)
        record(connection, "2_bad", BAD)
        assert run("rollback", "--yes", "--accept-loss", *where)[0] == 0
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (_free(small_disk) - 26_000_000))
        status, printed = run("refill", "--yes", *where)
        assert status in (4, 6), printed
        assert "the disk is full" in printed or "disk is full" in printed
        assert SECRET not in printed
        ballast.unlink()
        status, printed = run("refill", "--yes", *where)
        assert status == 0, printed
        assert connection.execute('select count(*) from "User" where note is not null').fetchone() == (60000,)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
