"""Running migrations on a scratch database, as Prisma would, and observing what they did.

A file runs in one transaction of ours, so that what comes after can be tried and rolled back. A file that manages transactions
itself, or that PostgreSQL refuses to run in one, is committed for real, whole or statement by statement.
"""

from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from unmigrate.catalog.observer import Delta, Observer
from unmigrate.sql import prepared, script
from unmigrate.sql.words import says

Mode = Literal["transaction", "committed", "statements"]
INSUFFICIENT_PRIVILEGE = "42501"
SYNTAX_ERROR = "42601"
APPLIED = "unmigrate_applied"  # savepoint right after a migration
EXPECTS = (
    "give what the history expects to find with --setup FILE ([scratch] setup in unmigrate.toml), or a server that has it with --scratch"
)
NOT_IN_TRANSACTION = ("25001", "55P04")  # active_sql_transaction (CONCURRENTLY), unsafe_new_enum_value_usage


class ReplayError(Exception):
    """A migration failed on scratch. `sqlstate` is PostgreSQL's; `statement` the text it stopped at, if known."""

    def __init__(self, message: str, sqlstate: str | None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate

    @property
    def unreadable(self) -> bool:
        """Whether the file itself is at fault, wherever it is run: it does not parse, or ends inside a transaction."""
        return self.sqlstate in (None, SYNTAX_ERROR)

    @property
    def remedy(self) -> str:
        """What to do about it, in the words of the command line."""
        if self.unreadable:
            return "correct the file"
        if self.sqlstate == INSUFFICIENT_PRIVILEGE:
            return f"if you would run these migrations on this machine anyway: --trusted; else {EXPECTS}"
        return EXPECTS


@dataclass(frozen=True, slots=True)
class Applied:
    """How a migration ran. In mode "transaction" the transaction is still open, with the savepoint APPLIED at its end."""

    mode: Mode
    delta: Delta


def apply(connection: psycopg.Connection[Any], observer: Observer, sql: str) -> Applied:
    """Run one migration and observe it. Raises ReplayError; the database is then as before, if it could be."""
    blanked = script.without_control(sql)
    if blanked is not None:
        try:
            return Applied("transaction", observer.begin_with(f"{blanked}\n{left_behind(blanked)}", leave=f"SAVEPOINT {APPLIED}"))
        except psycopg.Error as error:
            connection.execute("ROLLBACK")
            if error.sqlstate not in NOT_IN_TRANSACTION:
                raise ReplayError(_message(error), error.sqlstate) from error
    return _apply_committed(connection, observer, sql)


_FORMATS = ("datestyle", "intervalstyle", "extra_float_digits", "quote_all_identifiers")
_RESET = "; ".join(f"RESET {name}" for name in ("statement_timeout", *_FORMATS, "ROLE"))
_SESSION = ("role", "statement_timeout", *_FORMATS)


def left_behind(sql: str) -> str:
    """Text to run after it: ends states of the session that a migration may leave and that are not for what comes after.

    Deploys are sessions of their own: what follows, ways back first, runs as whoever deploys. Nor are its limits of time for us.
    Temporary tables are gone by then, and with them what they have of the migration's types.
    """
    return f"; DISCARD TEMP; {_RESET}" if says(sql, _SESSION) else "; DISCARD TEMP"


def _apply_committed(connection: psycopg.Connection[Any], observer: Observer, sql: str) -> Applied:
    mark = observer.mark()
    mode = run(connection, sql)
    return Applied(mode, observer.catch_up(mark))


def run(connection: psycopg.Connection[Any], sql: str) -> Mode:
    """Run one migration for good, unobserved. Raises ReplayError."""
    mode: Mode = "committed"
    try:
        try:
            connection.execute(sql)
        except psycopg.Error as error:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
            if error.sqlstate not in NOT_IN_TRANSACTION:
                raise
            mode = "statements"
            for statement in script.split(sql):
                connection.execute(statement.text)
        connection.execute(left_behind(sql))
    except (psycopg.Error, script.ScriptError) as error:
        raise ReplayError(_message(error), getattr(error, "sqlstate", None)) from error
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        connection.execute("ROLLBACK")
        raise ReplayError("the file opens a transaction and never commits it: Prisma would report success and lose everything", None)
    prepared.look_again(connection)
    return mode


def _message(error: BaseException) -> str:
    diag = getattr(error, "diag", None)
    return " ".join(str((diag and diag.message_primary) or error).split())
