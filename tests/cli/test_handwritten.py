"""A down.sql that manages transactions, from the folder to the database."""

from pathlib import Path

import pytest

from tests.command import run
from tests.support import deploy, prisma_url, write_project
from unmigrate.scratch.pool import Pool

OPERATOR = "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"
SCRIPTS = [("1_op", f"{OPERATOR}; CREATE TABLE t (id int)"), ("2_gone", "DROP OPERATOR === (int, int); CREATE TABLE extra (id int)")]


@pytest.mark.parametrize(("control", "expected"), [("BEGIN;\n{};\nCOMMIT;", 0), ("BEGIN; SAVEPOINT s; {}; COMMIT;", 3)])
def test_it_is_honoured_or_refused_with_its_reason(control: str, expected: int, tmp_path: Path, pool: Pool) -> None:
    project = write_project(tmp_path / "app", SCRIPTS)
    (project / "prisma/migrations/2_gone/down.sql").write_text(control.format(f"{OPERATOR}; DROP TABLE extra"))
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, SCRIPTS)
        status, printed = run("rollback", "--yes", "--accept-loss", "--project", project, "--url", prisma_url(pool.conninfo(name)))
        assert status == expected, printed
        there = connection.execute("select to_regclass('extra') is not null, count(*) from pg_operator where oprname = '==='").fetchone()
    pool.drop(name)
    assert there == ((False, 1) if expected == 0 else (True, 0))
    if expected:
        assert "correct its down.sql: it has SAVEPOINT s" in printed
        status, printed = run("down", "--project", project)
        assert (status, "correct its down.sql: it has SAVEPOINT s" in printed) == (3, True)
        for command in ("prove", "plan", "audit"):
            assert "its down.sql is not used: it has SAVEPOINT s" in " ".join(run(command, "--project", project)[1].split()), command
