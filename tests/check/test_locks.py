"""Locks that a check tells agree with what a second session meets that tries each kind of statement on each table.

The statements are those of the matrix (tests/inverse) and of their ways back. A sample of the cases; UNMIGRATE_LOCKS=full: all of them.
"""

import os
import zlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.inverse.case import Case
from tests.inverse.table import CASES
from tests.support import migration
from unmigrate.check.impact import STRENGTH
from unmigrate.check.observe import observe_up
from unmigrate.check.stage import Stage
from unmigrate.inverse.replay import ReplayError
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server
from unmigrate.sql import script
from unmigrate.sql.script import Statement

# A statement for each mode that it asks for, by the documentation of explicit locking; {0} is the table.
TRIES = {
    "ACCESS SHARE": "SELECT FROM ONLY {0} LIMIT 0",
    "ROW SHARE": "SELECT FROM ONLY {0} LIMIT 0 FOR UPDATE",
    "ROW EXCLUSIVE": "DELETE FROM ONLY {0} WHERE false",
    "SHARE UPDATE EXCLUSIVE": "COMMENT ON TABLE {0} IS 'second session'",
    "SHARE": "CREATE INDEX ON ONLY {0} ((1))",
    "SHARE ROW EXCLUSIVE": "CREATE TRIGGER second AFTER TRUNCATE ON {0} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "EXCLUSIVE": "LOCK TABLE ONLY {0} IN EXCLUSIVE MODE",
    "ACCESS EXCLUSIVE": "ALTER TABLE {0} REPLICA IDENTITY FULL",
}
CONFLICTS = {
    "ACCESS SHARE": {"ACCESS EXCLUSIVE"},
    "ROW SHARE": {"EXCLUSIVE", "ACCESS EXCLUSIVE"},
    "ROW EXCLUSIVE": {"SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"},
    "SHARE UPDATE EXCLUSIVE": {"SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE"},
    "SHARE": set(STRENGTH) - {"ACCESS SHARE", "ROW SHARE", "SHARE"},
    "SHARE ROW EXCLUSIVE": set(STRENGTH) - {"ACCESS SHARE", "ROW SHARE"},
    "EXCLUSIVE": set(STRENGTH) - {"ACCESS SHARE"},
    "ACCESS EXCLUSIVE": set(STRENGTH),
}
TABLES = """select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.oid >= 16384 and n.nspname !~ '^pg_' and c.relpersistence <> 't' order by 1"""
# what PostgreSQL answers where the lock was had and the statement makes no sense on this table
QUERIES = {"ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE"}
MEANINGLESS = ("0A000", "42809", "42501", "42P16", "42P17", "42P01", "55000", "42830", "2BP01", "42710")
CHOSEN = [c for c in CASES if os.environ.get("UNMIGRATE_LOCKS") == "full" or zlib.crc32(str(c).encode()) % 30 == 0]


@pytest.fixture(scope="module")
def pools(server: Server) -> Iterator[dict[bool, Pool]]:
    with Pool(server) as pool, Pool(server, trusted=True) as trusted:
        pool.admin.execute("CREATE ROLE matrix_reader")
        yield {False: pool, True: trusted}


@pytest.mark.parametrize("case", CHOSEN, ids=str)
def test_told_and_met(case: Case, pools: dict[bool, Pool], record_property: Any) -> None:
    pool = pools[case.trusted]
    stage = Stage(Workspace(pool), History(pool.connect(pool.create())))
    connection = stage.history.connection
    if case.setup:
        connection.execute(case.setup)
        stage.history.observer.reset()
    try:
        statements = compared(stage, pool, case.up)
        try:
            proof = stage.history.prove(migration("1", case.up))
        except ReplayError:
            proof = None
        if proof is not None and proof.statements:
            stage.history.connection.execute("SET check_function_bodies = off")
            statements += compared(stage, pool, ";\n".join(proof.statements))
        record_property("statements", statements)
    finally:
        name = stage.history.connection.info.dbname
        stage.close()
        pool.drop(name)


def compared(stage: Stage, pool: Pool, sql: str) -> int:
    """Compare after each statement; how many statements were."""
    effects = observe_up(stage, sql)
    if script.without_control(sql) is None or not effects or any(e.sqlstate for e in effects):
        return 0  # no one transaction holds it together: its locks are gone when the next statement runs
    connection = stage.history.connection
    tables = [name for (name,) in connection.execute(TABLES)]
    told: dict[str, set[str]] = {}
    connection.execute("BEGIN")
    with pool.connect(connection.info.dbname) as other:
        other.execute("SET lock_timeout = 15")
        try:
            for effect in effects:
                connection.execute(effect.statement.text)
                for lock in effect.locks:
                    told.setdefault(lock.table, set()).update(CONFLICTS[lock.mode])
                for table in tables:
                    met, tried = blocked(other, table)
                    wanted = told.get(table, set()) & tried
                    assert met == wanted or explained(effect.statement, wanted, met), (
                        f"{table}: told {sorted(wanted)}, met {sorted(met)} at: {effect.statement.text}"
                    )
        finally:
            connection.execute("ROLLBACK")
    return len(effects)


def explained(statement: Statement, told: set[str], met: set[str]) -> bool:
    """Where the two may differ, each as docs/check.md says."""
    if not told and met <= {"ACCESS EXCLUSIVE"}:
        return True  # ACCESS SHARE is not told: it stops nothing else
    if told == set(STRENGTH) and met >= QUERIES:
        return True  # a strong lock on an index alone: every query waits for it, commands that leave indexes alone do not
    # GRANT locks no table: it changes the table's row in the catalog, and other commands that change it wait
    return statement.node in ("GrantStmt", "GrantRoleStmt") and not told and not met & QUERIES


def blocked(other: psycopg.Connection[Any], table: str) -> tuple[set[str], set[str]]:
    """(modes whose statement waits, modes whose statement could be tried)."""
    met, tried = set(), set()
    for mode, sql in TRIES.items():
        other.execute("BEGIN")
        try:
            other.execute(sql.format(table))
            tried.add(mode)
        except psycopg.errors.LockNotAvailable:
            met.add(mode)
            tried.add(mode)
        except psycopg.Error as error:
            assert error.sqlstate in MEANINGLESS, error
        finally:
            other.execute("ROLLBACK")
    return met, tried
