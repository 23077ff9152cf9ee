"""What is stopped in the middle (Ctrl-C, a no, a closed pipe, the second of two) says truly what was done."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import check, run
from tests.support import connect, deploy, prisma_url, record, write_project
from tests.terminal import at_terminal
from unmigrate.scratch.pool import Pool

INIT = ("1_init", "CREATE TABLE t (id int PRIMARY KEY, gone text); CREATE TABLE u (id int PRIMARY KEY, gone text)")
TWO = [("2_t", "ALTER TABLE t DROP COLUMN gone"), ("3_u", "ALTER TABLE u DROP COLUMN gone")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "app", [INIT, *TWO])


@pytest.fixture
def url(pool: Pool) -> Iterator[str]:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, [INIT])
        connection.execute("INSERT INTO t VALUES (1, 'x'); INSERT INTO u VALUES (1, 'x')")
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)


def applied(url: str) -> list[str]:
    with connect(url) as connection:
        return [name for (name,) in connection.execute("select migration_name from _prisma_migrations order by 1")]


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "unmigrate", *map(str, words)]


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 3), (b"\x03", 130), (b"\x04", 130)])
def test_a_no(project: Path, url: str, answer: bytes, status: int) -> None:
    got, shown = at_terminal(command("deploy", "--project", project, "--url", url), "[y/N]", answer)
    assert (got, shown.splitlines()[-1]) == (status, "Stopped; nothing was changed.")
    assert applied(url) == ["1_init"]


def test_ctrl_c_in_the_middle(project: Path, url: str) -> None:
    """The first of two is deployed, the second waits for a lock."""
    with connect(url) as other:
        other.execute("BEGIN; LOCK TABLE u IN ROW EXCLUSIVE MODE")
        words = command("deploy", "--yes", "--project", project, "--url", url)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            said = next(line for line in process.stderr if line.startswith("waiting for locks"))
            assert f"pid {other.info.backend_pid} " in said
            process.send_signal(signal.SIGINT)
            _, last = process.communicate(timeout=60)
    assert process.returncode == 130
    assert last.splitlines()[-1] == "Stopped in the middle: unmigrate status tells what was done."
    assert applied(url) == ["1_init", "2_t"]


def test_the_second_is_refused(project: Path, url: str) -> None:
    with connect(url) as connection:
        connection.execute("CREATE VIEW on_u AS SELECT gone FROM u")  # of nobody's migration
    printed = check(6, "switch", "deploy", "--yes", "--project", project, "--url", url)
    assert "Deployed 2_t (operation" in printed and "error [switch]: Deployed 2_t; but not the next: " in printed
    assert "no migration made that: rolled back" in printed and "unmigrate deploy goes on" in printed
    with connect(url) as connection:
        connection.execute("DROP VIEW on_u")
    assert run("deploy", "--yes", "--project", project, "--url", url)[0] == 0
    with connect(url) as connection:
        connection.execute("CREATE VIEW on_t AS SELECT id FROM t; ALTER TABLE t ADD COLUMN gone int")
    printed = check(6, "drift", "rollback", "--last", "2", "--yes", "--project", project, "--url", url)
    assert "Rolled back 3_u" in printed and "then unmigrate rollback --to 1_init" in printed
    with connect(url) as connection:
        connection.execute("DROP VIEW on_t; ALTER TABLE t DROP COLUMN gone")
    assert run("rollback", "--to", "1_init", "--yes", "--project", project, "--url", url)[0] == 0
    assert applied(url) == ["1_init"]


def test_the_same_words_again_undo_nothing_more(project: Path, url: str) -> None:
    where = ("--yes", "--accept-loss", "--project", project, "--url", url)
    assert run("deploy", *where)[0] == 0
    assert run("rollback", "--last", "1", *where)[0] == 0
    printed = check(3, "rolled-back", "rollback", "--last", "1", *where)
    assert "next would be 2_t" in printed and "unmigrate rollback 2_t" in printed
    assert applied(url) == ["1_init", "2_t"]
    assert run("rollback", "2_t", *where)[0] == 0
    assert run("deploy", *where)[0] == 0
    assert run("rollback", *where)[0] == 0, "deployed since: they mean the last again"


def test_nobody_reads_on(project: Path, url: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    words = command("deploy", "--yes", "--project", project, "--url", url)
    assert subprocess.run(words, stdout=writer, stderr=writer, timeout=120).returncode == 0
    os.close(writer)
    assert applied(url) == ["1_init", "2_t", "3_u"]


def test_who_locks_a_table_that_is_looked_at(project: Path, url: str) -> None:
    assert run("deploy", "--yes", "--project", project, "--url", url)[0] == 0
    with connect(url) as other:
        other.execute("BEGIN; LOCK TABLE u")
        words = command("rollback", "--yes", "--project", project, "--url", url)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            assert f"pid {other.info.backend_pid} " in next(line for line in process.stderr if line.startswith("waiting for"))
            other.execute("COMMIT")
            process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_the_vault_keeps_is_not_lost_to_one_plan_for_all(project: Path, url: str) -> None:
    """The older one was deployed by Prisma, the newer one guarded."""
    with connect(url) as connection:
        connection.execute(TWO[0][1])
        record(connection, *TWO[0])
    where = ("--yes", "--accept-loss", "--project", project, "--url", url)
    assert run("deploy", *where)[0] == 0
    printed = check(3, "mixed", "rollback", "--last", "2", *where)
    assert "only 3_u was guarded" in printed
    assert "first unmigrate rollback 3_u" in printed
    assert run("rollback", "3_u", *where)[0] == 0
    with connect(url) as connection:
        assert connection.execute("select gone from u").fetchone() == ("x",)
