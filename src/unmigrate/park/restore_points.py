"""Restore points: where the write-ahead log and the application stood right before a migration was deployed.

A snapshot or point-in-time recovery to before the migration needs an LSN, not a time: recovery to a time fails where no transaction
follows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from unmigrate.park import vault


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """lsn: of the log right before the migrations; txid: of the transaction that applied them. snapshot: an id of a snapshot taken
    before, None where there is none. app: what git calls the version deployed with them, None where it is not known."""

    migrations: tuple[str, ...]
    lsn: str
    at: datetime
    txid: int
    snapshot: str | None = None
    app: str | None = None


def record_now(
    connection: psycopg.Connection[Any], migrations: Sequence[str], *, snapshot: str | None = None, app: str | None = None
) -> None:
    """Record one, inside the transaction that deploys these migrations."""
    connection.execute(
        "insert into unmigrate.restore_point (migrations, lsn, txid, snapshot, app) "
        "values (%s, pg_current_wal_lsn(), txid_current(), %s, %s)",
        [list(migrations), snapshot, app],
    )


def read(connection: psycopg.Connection[Any]) -> tuple[RestorePoint, ...]:
    """All restore points, oldest first; empty where there is no vault."""
    if vault.version(connection) is None:
        return ()
    sql = "select migrations, lsn::text, at, txid, snapshot, app from unmigrate.restore_point order by at, txid"
    rows = connection.execute(sql, binary=True)
    return tuple(RestorePoint(tuple(m), lsn, at, txid, snapshot, app) for m, lsn, at, txid, snapshot, app in rows)
