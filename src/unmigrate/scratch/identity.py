"""Whether two connections lead to one and the same database: a scratch server must not be the target."""

from typing import Any

import psycopg

from unmigrate.errors import RefusedError


def refuse_same_database(scratch: psycopg.Connection[Any], target: psycopg.Connection[Any]) -> None:
    """RefusedError where both connections are to the same database of the same running server."""
    one, other = _system(scratch), _system(target)
    if one is not None and other is not None and one != other:
        return
    if _running(scratch) == _running(target):
        raise RefusedError(
            f"the scratch database is the target database {target.info.dbname}",
            code="scratch-is-target",
            remedy="give another server as scratch, or none: the embedded one is used then",
        )


def _system(connection: psycopg.Connection[Any]) -> int | None:
    """The cluster's identifier, None where we may not ask. A restored copy has its origin's: it does not decide alone."""
    row = connection.execute("SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')").fetchone()
    if row is None or not row[0]:
        return None
    row = connection.execute("SELECT system_identifier FROM pg_catalog.pg_control_system()").fetchone()
    return int(row[0]) if row else None


def _running(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    """Start time (in microseconds) and database. Addresses do not count: one server has many."""
    row = connection.execute(
        "SELECT pg_catalog.pg_postmaster_start_time(), d.oid, d.datname FROM pg_catalog.pg_database AS d "
        "WHERE d.datname = pg_catalog.current_database()"
    ).fetchone()
    assert row is not None
    return tuple(row)
