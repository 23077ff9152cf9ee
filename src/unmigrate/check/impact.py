"""Locks, rewrites and scans, observed on scratch: read from pg_locks and the counters of the transaction that runs the statements.

A lock is told by the table it is on (an index's lock counts for its table), as it was called before; what the transaction itself made
is nobody's concern. "rewrite": the table or one of its indexes got a new file; "scan": it was read whole. ACCESS SHARE is left out:
it stops nothing but ACCESS EXCLUSIVE.
"""

from dataclasses import dataclass, field
from typing import Any

import psycopg

from unmigrate.plan.model import Lock

MODES = {
    "AccessShareLock": "ACCESS SHARE", "RowShareLock": "ROW SHARE", "RowExclusiveLock": "ROW EXCLUSIVE",
    "ShareUpdateExclusiveLock": "SHARE UPDATE EXCLUSIVE", "ShareLock": "SHARE", "ShareRowExclusiveLock": "SHARE ROW EXCLUSIVE",
    "ExclusiveLock": "EXCLUSIVE", "AccessExclusiveLock": "ACCESS EXCLUSIVE",
}  # fmt: skip
STRENGTH = tuple(MODES.values())
WORK = ("metadata", "scan", "rewrite")
FIRST_USER_OID = 16384

RELATIONS = """
select c.oid::int8, format('%I.%I', n.nspname, c.relname), c.relkind::text, coalesce(i.indrelid, c.oid)::int8, c.relfilenode::int8,
  case when c.relkind in ('r', 'm') then pg_catalog.pg_stat_get_xact_numscans(c.oid) else 0 end
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
left join pg_catalog.pg_index i on i.indexrelid = c.oid
where c.oid >= 16384 and c.relkind in ('r', 'p', 'm', 'v', 'f', 'i', 'I') and n.nspname <> 'pg_toast'"""

HELD = """
select l.relation::int8, array_agg(distinct l.mode), (select c.relfilenode::int8 from pg_catalog.pg_class c where c.oid = l.relation),
  pg_catalog.pg_stat_get_xact_numscans(l.relation)
from pg_catalog.pg_locks l
where l.pid = %s and l.locktype = 'relation' and l.granted and l.relation >= 16384
  and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = pg_catalog.current_database())
group by l.relation"""


@dataclass(slots=True)
class _Relation:
    name: str
    kind: str
    table: int
    file: int
    scans: int
    modes: set[str] = field(default_factory=set)


class Watch:
    """Follows one connection's transaction. Make it right after BEGIN, call `news` after each statement."""

    def __init__(self, connection: psycopg.Connection[Any], *, known: frozenset[int] | None = None, of: int | None = None) -> None:
        """known: only these relations count (default: all there are now). of: another backend to watch, whose counters are its own."""
        self._connection = connection
        self._pid = of or connection.info.backend_pid
        rows = connection.execute(RELATIONS).fetchall()
        self._relations = {oid: _Relation(*rest) for oid, *rest in rows if known is None or oid in known}

    @property
    def known(self) -> frozenset[int]:
        return frozenset(self._relations)

    @property
    def tables(self) -> list[str]:
        return sorted(relation.name for relation in self._relations.values() if relation.kind in ("r", "p"))

    def news(self, *, emptied: bool = False) -> tuple[Lock, ...]:
        """Locks taken and work done since the last call, the strongest per table. emptied: it was a TRUNCATE, which rewrites nothing."""
        found: dict[str, Lock] = {}
        for oid, modes, file, scans in self._connection.execute(HELD, [self._pid]):
            relation = self._relations.get(oid)
            if relation is None:
                continue
            owner = self._relations.get(relation.table, relation)
            work = self._work(relation, file, scans, emptied)
            mode = self._mode(relation, owner, {MODES[mode] for mode in modes}, work)
            if mode != "ACCESS SHARE":
                found[owner.name] = stronger(found.get(owner.name), Lock(owner.name, mode, work))  # type: ignore[arg-type]
        return tuple(found[name] for name in sorted(found))

    @staticmethod
    def _work(relation: _Relation, file: int | None, scans: int, emptied: bool) -> str:
        """What was done since the last look; a dropped relation has no file any more."""
        holds_rows = relation.kind in ("r", "m")
        work = "scan" if holds_rows and file is not None and scans > relation.scans else "metadata"
        if file is not None and file != relation.file and not emptied:
            work = "rewrite" if holds_rows else "scan"
        relation.file, relation.scans = file or relation.file, scans
        return work

    @staticmethod
    def _mode(relation: _Relation, owner: _Relation, modes: set[str], work: str) -> str:
        """The strongest new mode; where there is none but there was work, the strongest of all. Planning a query locks the table's indexes
        too, so that a strong lock on an index is one on its table."""
        fresh = modes - relation.modes
        relation.modes |= modes
        if relation is not owner:
            fresh = {mode for mode in fresh if STRENGTH.index(mode) >= STRENGTH.index("SHARE")}
        if not fresh and work != "metadata":
            fresh = owner.modes
        return max(fresh, key=STRENGTH.index, default="ACCESS SHARE")


def stronger(one: Lock | None, other: Lock) -> Lock:
    """The stronger mode and the greater work of two locks on one table."""
    if one is None:
        return other
    mode = max(one.mode, other.mode, key=STRENGTH.index)
    return Lock(one.table, mode, max(one.work, other.work, key=WORK.index))


def merged(parts: tuple[tuple[Lock, ...], ...]) -> tuple[Lock, ...]:
    """All locks of a series of statements in one transaction, the strongest per table."""
    found: dict[str, Lock] = {}
    for lock in (lock for part in parts for lock in part):
        found[lock.table] = stronger(found.get(lock.table), lock)
    return tuple(found[name] for name in sorted(found))
