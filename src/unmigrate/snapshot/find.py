"""Which snapshots are from before a migration. A snapshot taken while it was in flight is from neither side, and never qualifies.

The ledger's started_at is compared by the database's clock with the time of the snapshot, which is never before the state it holds. So
what passes holds nothing of the migration, and what was restored is looked at once more (`verify`) all the same.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from unmigrate.errors import RefusedError
from unmigrate.park import restore_points, vault
from unmigrate.park.restore_points import RestorePoint
from unmigrate.prisma.ledger import LedgerRow, read_ledger
from unmigrate.snapshot.provider import Snapshot


@dataclass(frozen=True, slots=True)
class Moments:
    """When a migration was applied. began: of the attempt that counts; flights: (from, to) of all attempts, to None while one is not
    finished; lsn: of the log right before it, None where no guarded deploy recorded it; stood: (from, to) of when it was applied before,
    and rolled back."""

    migration: str
    began: datetime
    flights: tuple[tuple[datetime, datetime | None], ...]
    lsn: str | None = None
    stood: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class Judged:
    """A snapshot, and why it does not qualify ("" when it does)."""

    snapshot: Snapshot
    reason: str

    def to_json(self) -> dict[str, Any]:
        return {**self.snapshot.to_json(), "qualifies": not self.reason, "reason": self.reason}


def moments(connection: psycopg.Connection[Any], schema: str, migration: str) -> Moments:
    """From the ledger; of a migration that was rolled back, from the vault. Raises RefusedError where neither knows it."""
    rows = [r for r in read_ledger(connection, schema) or () if r.migration_name == migration]
    rows = rows or _archived(connection, migration)
    if not rows:
        message = f"{migration} was never applied here, as far as the ledger and the vault know"
        raise RefusedError(message, code="not-applied", remedy="unmigrate status shows what is; or name the snapshot")
    live = [r for r in rows if r.rolled_back_at is None] or rows
    flights = tuple((r.started_at, _end(r)) for r in rows)
    points = [p for p in restore_points.read(connection) if migration in p.migrations]
    return Moments(migration, min(r.started_at for r in live), flights, points[-1].lsn if points else None, _stood(connection, migration))


def _end(row: LedgerRow) -> datetime | None:
    return row.finished_at or row.rolled_back_at


def _archived(connection: psycopg.Connection[Any], migration: str) -> list[LedgerRow]:
    """Ledger rows that the last rollback took out."""
    if vault.version(connection) is None:
        return []
    rows = connection.execute(
        "select row from unmigrate.ledger_row l join unmigrate.operation o on o.id = l.operation "
        "where row ->> 'migration_name' = %s order by o.started_at desc, archived_at",
        [migration],
    ).fetchall()
    times = ("finished_at", "rolled_back_at", "started_at")
    found = [LedgerRow(**{**row, **{t: datetime.fromisoformat(row[t]) if row[t] else None for t in times}}) for (row,) in rows]
    newest = max((r.started_at for r in found), default=None)
    return [r for r in found if r.started_at == newest or r.rolled_back_at is not None]


def _stood(connection: psycopg.Connection[Any], migration: str) -> tuple[tuple[datetime, datetime], ...]:
    """From when to when it was applied before rollbacks of ours took it out: deployed again, the ledger tells nothing of it."""
    if vault.version(connection) is None:
        return ()
    rows = connection.execute(
        "select row ->> 'started_at', archived_at from unmigrate.ledger_row where row ->> 'migration_name' = %s order by archived_at",
        [migration],
        binary=True,
    ).fetchall()
    return tuple((datetime.fromisoformat(began), ended) for began, ended in rows)


def judge(snapshot: Snapshot, of: Moments) -> str:
    """Why a snapshot is not from before the migration; "" when it is."""
    at = snapshot.created_at
    for began, ended in of.flights:
        if began <= at and (ended is None or at <= ended):
            return f"taken while {of.migration} was in flight: it may be half applied there"
    for began, ended in of.stood:
        if began <= at <= ended:
            return f"taken while {of.migration} was applied ({began:%Y-%m-%d %H:%M:%S %Z}), before it was rolled back and applied again"
    if at >= of.began:
        return f"taken after {of.migration} began ({of.began:%Y-%m-%d %H:%M:%S %Z})"
    if of.lsn and snapshot.lsn and _lsn(snapshot.lsn) > _lsn(of.lsn):
        return f"its LSN {snapshot.lsn} is after {of.lsn}, where {of.migration} began"
    return ""


def _lsn(text: str) -> int:
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def judged(snapshots: Iterable[Snapshot], of: Moments) -> list[Judged]:
    return [Judged(s, judge(s, of)) for s in snapshots]


def last_before(snapshots: Sequence[Snapshot], of: Moments) -> Snapshot:
    """The newest that qualifies. Raises RefusedError with the reasons of the nearest that do not."""
    found = judged(snapshots, of)
    good = [j.snapshot for j in found if not j.reason]
    if good:
        return max(good, key=lambda s: s.created_at)
    reasons = "; ".join(f"{j.snapshot.id} was {j.reason}" for j in found[-3:])
    message = f"no snapshot is from before {of.migration}{': ' + reasons if reasons else ': there is none'}"
    remedy = "restore to a point in time if your backups can (--lsn, --time), or roll back without one: unmigrate rollback"
    raise RefusedError(message, code="no-snapshot", remedy=remedy)


def require(snapshot: Snapshot, of: Moments) -> None:
    """Raises RefusedError for one that does not qualify."""
    if reason := judge(snapshot, of):
        raise RefusedError(f"{snapshot.id} was {reason}", code="snapshot-late", remedy=f"choose an older one: --before {of.migration}")


def held(snapshots: Sequence[Snapshot], points: Sequence[RestorePoint]) -> dict[str, RestorePoint]:
    """Snapshots that a restore point needs: the one it names, else the newest that is not after it."""
    found: dict[str, RestorePoint] = {}
    for point in points:
        if point.snapshot:
            found[point.snapshot] = point
            continue
        before = [s for s in snapshots if s.created_at <= point.at]
        if before:
            found[max(before, key=lambda s: s.created_at).id] = point
    return found


def require_free(snapshot: Snapshot, snapshots: Sequence[Snapshot], points: Sequence[RestorePoint]) -> None:
    """Raises RefusedError where dropping a snapshot would leave a restore point without one."""
    point = held(snapshots, points).get(snapshot.id)
    if point is not None:
        message = f"{snapshot.id} is what the restore point before {', '.join(point.migrations)} needs"
        raise RefusedError(message, code="held", remedy="purge the migration first (unmigrate purge), or consent: --force")
