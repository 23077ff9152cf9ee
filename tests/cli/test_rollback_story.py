"""What a rollback says before it asks: the short story, and the whole plan on demand."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import check, run
from tests.support import deploy, prisma_url, write_project
from unmigrate.scratch.pool import Pool

COLUMNS = ", ".join(f"ADD COLUMN c{n} int" for n in range(12))
SCRIPTS = [
    ("1_init", "CREATE TABLE t (id int PRIMARY KEY, gone text); CREATE TABLE big (id int)"),
    ("2_more", f"ALTER TABLE t DROP COLUMN gone; CREATE TABLE u (id int); CREATE TABLE v (id int); ALTER TABLE big {COLUMNS}"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "app", SCRIPTS)


@pytest.fixture
def url(pool: Pool) -> Iterator[str]:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, SCRIPTS)
        connection.execute("INSERT INTO u VALUES (1), (2); INSERT INTO big VALUES (1" + ", 1" * 12 + ")")
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)


def test_the_short_story(project: Path, url: str) -> None:
    status, printed = run("rollback", "--dry-run", "--accept-loss", "--project", project, "--url", url)
    assert status == 0, printed
    assert re.search(r"Taken away, and copied to the vault\n  public\.", printed)
    assert "public.u (2 rows)" in printed
    assert "public.v" not in printed.split("Locks")[0]  # it is empty
    assert "and 5 more" in printed  # thirteen things go, eight are named
    assert re.search(r"Does not come back.*\n  public\.t\.gone: the migration dropped the column", printed)
    assert re.search(r"Locks for about \d+\.\d\d s", printed)
    assert "What was done, and what undoes it" not in printed
    assert "--verbose" in printed


def test_the_whole_plan_on_demand(project: Path, url: str) -> None:
    _, printed = run("rollback", "--verbose", "--dry-run", "--accept-loss", "--project", project, "--url", url)
    assert "What was done, and what undoes it" in printed
    assert "Options" in printed


def test_a_loss_is_refused_before_anybody_is_asked(project: Path, url: str) -> None:
    check(3, "loss", "rollback", "--project", project, "--url", url)
    check(3, "no-terminal", "rollback", "--accept-loss", "--project", project, "--url", url)
    assert run("status", "--project", project, "--url", url)[0] == 0


def test_nothing_lost_is_said(pool: Pool, tmp_path: Path) -> None:
    scripts = [SCRIPTS[0], ("2_more", "CREATE TABLE u (id int)")]
    project, name = write_project(tmp_path / "app", scripts), pool.create()
    with pool.connect(name) as connection:
        deploy(connection, scripts)
    _, printed = run("rollback", "--yes", "--project", project, "--url", prisma_url(pool.conninfo(name)))
    pool.drop(name)
    assert "Nothing is lost (1 added table or column is still empty)." in printed
    assert "Rolled back 2_more" in printed
