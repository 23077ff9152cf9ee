"""The database that is read: one REPEATABLE READ, READ ONLY transaction, held for a limited time, each query limited as well.

Its own session cannot write (default_transaction_read_only), ends by itself when we are gone, and waits for no lock.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from unmigrate.prisma.url import DatabaseUrl, connect

LOCK_TIMEOUT_MS = 1000
_GUARD = (  # jit: the expressions that mask are long, and compiled for each batch
    "-c default_transaction_read_only=on -c lock_timeout={lock} -c idle_in_transaction_session_timeout={hold} -c row_security=off "
    "-c jit=off"
)


class LetGo(Exception):
    """The time to hold the source is over."""


class Source:
    """An open snapshot. `rows` runs one query in a savepoint: what fails leaves the rest as it was."""

    def __init__(self, connection: psycopg.Connection[Any], hold: float, statement: float) -> None:
        self.connection = connection
        self._until, self._statement = time.monotonic() + hold, statement
        self.began = time.monotonic()

    @property
    def held(self) -> float:
        """Seconds since the snapshot was taken."""
        return time.monotonic() - self.began

    def rows(self, sql: str, parameters: Any = None) -> list[Any]:
        """Rows of a query. Raises LetGo when the time is over, psycopg.Error of the query otherwise."""
        with self.limited() as connection:
            return connection.execute(sql, parameters).fetchall()

    @contextmanager
    def limited(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection, each statement limited; what fails is taken back. Raises as `rows`."""
        left = min(self._until - time.monotonic(), self._statement)
        if left <= 0:
            raise LetGo
        self.connection.execute(f"SAVEPOINT unmigrate_read; SET LOCAL statement_timeout = {max(1, int(left * 1000))}")
        try:
            yield self.connection
        except psycopg.Error:
            if not self.connection.closed:
                self.connection.execute("ROLLBACK TO SAVEPOINT unmigrate_read")
            raise
        self.connection.execute("RELEASE SAVEPOINT unmigrate_read")


def said(error: psycopg.Error) -> str:
    """PostgreSQL's words, without those that may quote a row's values (errors of class 22, data exceptions)."""
    if (error.sqlstate or "").startswith("22"):
        return f"a value there does not fit what is asked of it (SQLSTATE {error.sqlstate})"
    hidden = isinstance(error, psycopg.errors.InsufficientPrivilege) and "row-level security" in str(error)
    return " ".join(str(error.diag.message_primary or error).split()) + ("; a role with BYPASSRLS reads it" if hidden else "")


@contextmanager
def opened(url: DatabaseUrl, *, hold: float, statement: float) -> Iterator[Source]:
    """Take the snapshot, and let go of it at the end whatever happens. hold, statement: seconds. Raises as prisma.url.connect."""
    options = _GUARD.format(lock=LOCK_TIMEOUT_MS, hold=int((hold + 5) * 1000))
    given = psycopg.conninfo.conninfo_to_dict(url.conninfo).get("options", "")
    connection = connect(url, options=f"{given or ''} {options}".strip())
    try:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SELECT 1")  # the snapshot is taken by the first query
        yield Source(connection, hold, statement)
    finally:
        connection.close()
