"""Everything that can be missing: it stops before harm, leaves nothing, and says what to do."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.disk import resize, server_on
from tests.snapshot.conftest import databases, url_of
from tests.snapshot.kit import SECRET, Kit, fails, quiet
from unmigrate.config.snapshot import PgDump as PgDumpConfig
from unmigrate.config.snapshot import Template as TemplateConfig
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import urls
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import At
from unmigrate.snapshot.template import Template

KILLED = """
import os, sys, threading, time
from pathlib import Path
from unmigrate.config.snapshot import PgDump as Config
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import At
provider = PgDump(Config(), sys.argv[1], Path(sys.argv[2]))
print("ready", flush=True)
provider.create("killed", print) if len(sys.argv) == 3 else provider.restore(At(sys.argv[3]), sys.argv[4], print)
"""


def test_a_full_disk_leaves_no_dump(kit: Kit, small_disk: Path) -> None:
    kit.run('insert into "User" (note) select md5(g::text) || md5((g + 1)::text) from generate_series(1, 60000) g')
    provider = PgDump(PgDumpConfig(directory=str(small_disk), compress=0), kit.url, Path("/"))
    fails("disk-full", EnvironmentProblem, lambda: provider.create("full", quiet))
    assert list(small_disk.iterdir()) == []
    kit.run('delete from "User" where id > 3')
    provider.create("fits", quiet)


def test_a_server_without_space_leaves_no_database(tmp_path: Path, small_disk: Path) -> None:
    resize(small_disk, 100)
    with server_on(small_disk, password=SECRET) as url:
        kit = Kit(PgDump(PgDumpConfig(), url, tmp_path), url)
        kit.begin()
        kit.run("insert into \"User\" (note) select repeat('x', 100) from generate_series(1, 200000) g")
        made = kit.provider.create("big", quiet)
        fails("disk-full", EnvironmentProblem, lambda: kit.provider.restore(At(made.id), "elsewhere", quiet))
        with kit.source() as connection:
            names = connection.execute("select datname::text from pg_database order by 1").fetchall()
        assert names == [("postgres",), ("template0",), ("template1",)]


def test_a_damaged_dump_is_not_restored(kit: Kit, pool: Pool) -> None:
    made = kit.provider.create("damaged", quiet)
    assert isinstance(kit.provider, PgDump)
    file = next((kit.provider.directory / made.id / "dump").glob("*.dat.gz"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    before = databases(pool)
    fails("damaged", RefusedError, lambda: kit.provider.restore(At(made.id), "elsewhere", quiet))
    assert databases(pool) == before


def test_without_the_right_to_read_all(kit: Kit, pool: Pool, project: Path, role: Callable[[str], str]) -> None:
    name = parse_url(kit.url).database
    provider = PgDump(PgDumpConfig(), url_of(pool, name, role("")), project)
    kit.run('REVOKE ALL ON "User" FROM PUBLIC')
    fails("privilege", EnvironmentProblem, lambda: provider.create("mine", quiet))
    assert provider.snapshots() == ()
    assert list(provider.directory.iterdir()) == []
    assert any("CREATEDB" in each for each in provider.lacking())


def test_without_the_right_to_make_databases(
    kit: Kit, pool: Pool, project: Path, role: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    made = kit.provider.create("good", quiet)
    name, before = parse_url(kit.url).database, databases(pool)
    mine = url_of(pool, name, role(""))
    fails("privilege", EnvironmentProblem, lambda: PgDump(PgDumpConfig(), mine, project).restore(At(made.id), "elsewhere", quiet))
    template = Template(TemplateConfig(), mine)
    assert "may not be connected to" in template.lacking()[0]
    with pool.server.connect() as connection:
        connection.execute("GRANT CONNECT ON DATABASE template1 TO PUBLIC")
    request.addfinalizer(lambda: _closed(pool))
    assert len(template.lacking()) == 2
    fails("privilege", EnvironmentProblem, lambda: template.create("mine", quiet))
    assert databases(pool) == before


def _closed(pool: Pool) -> None:
    with pool.server.connect() as connection:
        connection.execute("REVOKE CONNECT ON DATABASE template1 FROM PUBLIC")


def test_a_wrong_password_is_not_shown(kit: Kit, project: Path) -> None:
    gone = urls.moved(kit.url, database="no_such_database")
    fails("no-database", EnvironmentProblem, lambda: PgDump(PgDumpConfig(), gone, project).create("x", quiet))
    assert any("no_such_database" in each for each in Template(TemplateConfig(), gone).lacking())


def test_sessions_are_not_ended_without_consent(kit: Kit) -> None:
    provider = Template(TemplateConfig(), kit.url)
    with kit.source() as app:
        app.execute("set application_name = 'the app'")
        problem = fails("in-use", RefusedError, lambda: provider.create("busy", quiet))
        assert "the app" in str(problem)
        assert "--end-sessions" in problem.remedy
        assert app.execute("select 1").fetchone() == (1,)
        assert provider.snapshots() == ()
        made = Template(TemplateConfig(end_sessions=True), kit.url).create("consent", quiet)
        with pytest.raises(psycopg.OperationalError):
            app.execute("select 1")
    assert [s.id for s in provider.snapshots()] == [made.id]


def test_sessions_that_come_back_at_once_are_kept_waiting(kit: Kit) -> None:
    """A pool that reconnects in a loop, as apps have it."""
    code = (
        "import sys, psycopg\nwhile True:\n  try:\n    c = psycopg.connect(sys.argv[1], autocommit=True)\n"
        "    while True: c.execute('insert into \"User\" (note) values (1)')\n  except psycopg.Error: pass"
    )
    app = subprocess.Popen([sys.executable, "-c", code, parse_url(kit.url).conninfo])
    try:
        _writes(kit)
        provider = Template(TemplateConfig(end_sessions=True), kit.url)
        made = provider.create("consent", quiet)
        _writes(kit)
    finally:
        app.kill()
        app.wait()
    name = f"{parse_url(kit.url).database}_r"
    with kit.restored(provider.restore(At(made.id), name, quiet)) as copy:
        rows = copy.execute('select count(*) from "User"').fetchone()
    assert rows is not None
    assert 3 < rows[0] < kit.value('select count(*) from "User"'), "it wrote before, and after"


def _writes(kit: Kit) -> None:
    """Wait until a row has come."""
    there, end = kit.value('select count(*) from "User"'), time.monotonic() + 60
    while kit.value('select count(*) from "User"') == there:
        assert time.monotonic() < end, "nothing is written"
        time.sleep(0.05)


@pytest.mark.parametrize("moment", [0.05, 0.12, 0.2, 0.3, 0.5])
def test_killed_while_dumping(kit: Kit, project: Path, moment: float) -> None:
    _killed([kit.url, str(project)], moment)
    for each in kit.provider.snapshots():  # it was just in time, or is not there
        kit.provider.restore(At(each.id), f"{parse_url(kit.url).database}_k", quiet)
    kit.provider.create("after", quiet)
    assert isinstance(kit.provider, PgDump)
    assert not list(kit.provider.directory.glob("*.partial")), "what was left is swept away"


@pytest.mark.parametrize("moment", [0.05, 0.15, 0.25, 0.4, 0.6])
def test_killed_while_restoring(kit: Kit, project: Path, moment: float) -> None:
    made = kit.provider.create("good", quiet)
    name = f"{parse_url(kit.url).database}_k"
    _killed([kit.url, str(project), made.id, name], moment)
    restored = kit.provider.restore(At(made.id), name, quiet)
    with kit.restored(restored) as new:
        assert new.execute('select count(*) from "User"').fetchone() == (3,)
    kit.provider.discard(name)
    with kit.source() as connection:
        left = connection.execute("select count(*) from pg_database where datname like 'unmigrate\\_unfinished%'").fetchone()
    assert left == (0,)


def _killed(words: list[str], moment: float) -> None:
    """Run it as a process of its own, and kill it some time after it began."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(moment)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
