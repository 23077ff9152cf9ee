"""The source's log: has it been archived far enough to recover to a position or a time?"""

import time
from contextlib import closing
from typing import Any

import psycopg

from unmigrate.errors import EnvironmentProblem, RefusedError, UsageError
from unmigrate.prisma.url import DatabaseUrl, connect
from unmigrate.snapshot.provider import At, Say

_ARCHIVED = "select right(last_archived_wal, 16), last_failed_time > coalesce(last_archived_time, '-infinity') from pg_stat_archiver"
_MAY = "select has_function_privilege('pg_switch_wal()', 'execute')"
_POLL = 0.2  # seconds


def number(lsn: str) -> int:
    """Raises UsageError for what is no position."""
    high, sign, low = lsn.partition("/")
    try:
        if not sign:
            raise ValueError
        return (int(high, 16) << 32) + int(low, 16)
    except ValueError:
        raise UsageError(f"{lsn} is no position of the log", code="lsn", remedy="write it as 0/3000028") from None


def lacking(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """What is missing for recovery to a point, each with what to do."""
    row = connection.execute("select current_setting('archive_mode')").fetchone()
    if row and row[0] == "off":
        return ("archive_mode is off: set it on, with pgbackrest archive-push as archive_command",)
    row = connection.execute(_ARCHIVED).fetchone()
    failing = bool(row and row[1])
    return ("the last log file was not archived: see the server's log for archive_command's error (pgbackrest check)",) if failing else ()


def push(url: DatabaseUrl, at: At, say: Say, wait: float) -> None:
    """Have the log archived up to a point that is recent. A source that cannot be reached is left: what is archived must do.

    Raises RefusedError for a point in the future, EnvironmentProblem where it is not archived within `wait` seconds (a minute at most).
    """
    try:
        opened = connect(url)
    except (EnvironmentProblem, psycopg.OperationalError):
        say("the source cannot be reached: what its archive has must do")
        return
    with closing(opened) as connection:
        _refuse_future(connection, at)
        if at.lsn and _reaches(connection, at.lsn):
            return
        row = connection.execute(_MAY).fetchone()
        if not (row and row[0]):
            say("this role may not call pg_switch_wal(): what is archived by now must do")
            return
        connection.execute("select txid_current()")  # a commit behind the point, which recovery looks for
        row = connection.execute("select pg_switch_wal()::text").fetchone()
        assert row is not None
        _wait(connection, row[0], min(wait, 60.0))


def _refuse_future(connection: psycopg.Connection[Any], at: At) -> None:
    late = "select %s::pg_lsn > pg_current_wal_insert_lsn()" if at.lsn else "select %s::timestamptz > clock_timestamp()"
    row = connection.execute(late, [at.lsn or at.time]).fetchone()
    if row and row[0]:
        raise RefusedError(f"{at} is not yet", code="time", remedy="give a point that has been")


def _reaches(connection: psycopg.Connection[Any], lsn: str) -> bool:
    """Whether a file of the log behind the one with this position is archived."""
    row = connection.execute(_ARCHIVED).fetchone()
    file = connection.execute("select right(pg_walfile_name(%s), 16)", [lsn]).fetchone()
    return bool(row and row[0] and file and row[0] > file[0])


def _wait(connection: psycopg.Connection[Any], lsn: str, wait: float) -> None:
    file = connection.execute("select right(pg_walfile_name(%s), 16)", [lsn]).fetchone()
    end = time.monotonic() + wait
    while time.monotonic() < end:
        row = connection.execute(_ARCHIVED).fetchone()
        if row and row[0] and file and row[0] >= file[0]:
            return
        time.sleep(_POLL)
    message = f"the source's log is not archived within {wait:g} s"
    raise EnvironmentProblem(message, code="not-archived", remedy="pgbackrest check says why; see archive_command in the server's log")
