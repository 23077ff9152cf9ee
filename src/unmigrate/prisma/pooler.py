"""Telling a transaction-mode pooler: behind one, locks and settings of a session do not hold, and nothing here may be trusted.

A pooler answers in the server's place, so the process id it gave on connecting is not the one that the server tells. One that keeps a
session on its server (session mode) does no harm: so two of our sessions are made to meet on one server process, which only a pooler
that shares servers between transactions lets them do.
"""

import threading
from collections.abc import Callable
from typing import Any

import psycopg

SECONDS = 3.0  # a session-mode pooler with one server only never answers the second session
_TRIES = 3
_PID = "select pg_catalog.pg_backend_pid()"


def shares_servers(connection: psycopg.Connection[Any], again: Callable[[], psycopg.Connection[Any]]) -> bool:
    """Whether this session, which has set nothing yet, is not alone on its server process. again: makes another like it.

    One query where the server itself answers. False also where the second session cannot be had.
    """
    mine = _pid(connection)
    if mine == connection.info.backend_pid:
        return False
    try:
        other = again()
    except psycopg.Error:
        return False
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(_meet(connection, other, mine)), daemon=True)
    thread.start()
    thread.join(SECONDS)
    other.close()
    thread.join(SECONDS)
    return any(found)


def _meet(connection: psycopg.Connection[Any], other: psycopg.Connection[Any], mine: int) -> bool:
    """The pooler gives the server used last to whoever asks next: ask in turn, and once while the other one is inside a transaction."""
    try:
        for _ in range(_TRIES):
            if _pid(other) == mine:
                return True
            other.execute("BEGIN")
            theirs = _pid(other)
            mine, before = _pid(connection), mine
            other.execute("ROLLBACK")
            if theirs == before or mine != before:
                return True
    except psycopg.errors.SyntaxErrorOrAccessRuleViolation:
        return True  # in statement mode BEGIN is refused
    except psycopg.Error:
        return False  # it was given up, see shares_servers
    return False


def _pid(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(_PID).fetchone()
    assert row is not None
    return int(row[0])
