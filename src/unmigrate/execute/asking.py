"""Questions to the target that end in time, and see every row or fail."""

from typing import Any

import psycopg

COUNT_TIMEOUT = "15s"
UNKNOWN = -1


def carefully(connection: psycopg.Connection[Any]) -> None:
    """For the current transaction: no endless counts, no writes, and an error where row security would hide rows from us."""
    connection.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}'")
    connection.execute("SET LOCAL row_security = off; SET LOCAL transaction_read_only = on")


def number(connection: psycopg.Connection[Any], sql: str) -> tuple[int, str]:
    """The count, or UNKNOWN and why."""
    try:
        with connection.transaction():
            carefully(connection)
            row = connection.execute(sql).fetchone()
    except psycopg.Error as error:
        raise_if_lost(connection)
        return UNKNOWN, str(error.diag.message_primary or error)
    return (int(row[0]) if row else 0), ""


def raise_if_lost(connection: psycopg.Connection[Any]) -> None:
    if connection.closed:
        raise psycopg.OperationalError("the connection was lost")
