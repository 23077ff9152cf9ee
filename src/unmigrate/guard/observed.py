"""What the open transaction held and did on scratch: its locks, which tables it scanned or rewrote."""

from typing import Any

import psycopg

from unmigrate.plan.model import Lock

_STRENGTH = (
    "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock", "ShareRowExclusiveLock",
    "ExclusiveLock", "AccessExclusiveLock",
)  # fmt: skip
_NAMES = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
)  # fmt: skip
_TABLES = """
select c.oid::int8, format('%I.%I', n.nspname, c.relname), c.relfilenode::int8,
  coalesce(pg_stat_get_xact_numscans(c.oid), 0)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema$)' and c.relname <> '_prisma_migrations'"""
_LOCKS = "select relation::int8, mode from pg_locks where pid = pg_backend_pid() and locktype = 'relation' and granted"


class Watched:
    """Made at the beginning of a transaction, asked at its end."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._before = {oid: (name, node, scans) for oid, name, node, scans in connection.execute(_TABLES)}

    def restart(self) -> None:
        """What was scanned and rewritten until now was not done under the locks."""
        now = {oid: (node, scans) for oid, _, node, scans in self._connection.execute(_TABLES)}
        self._before = {oid: (name, *now[oid]) for oid, (name, _, _) in self._before.items() if oid in now}

    def locks(self) -> tuple[Lock, ...]:
        """The strongest lock on every table that was there at the beginning, by the name it had then."""
        now = {oid: (node, scans) for oid, _, node, scans in self._connection.execute(_TABLES)}
        strongest: dict[int, int] = {}
        for oid, mode in self._connection.execute(_LOCKS):
            if oid in self._before and mode in _STRENGTH:
                strongest[oid] = max(strongest.get(oid, 0), _STRENGTH.index(mode))
        found = []
        for oid, level in strongest.items():
            name, node, scans = self._before[oid]
            later = now.get(oid, (node, scans))
            work = "rewrite" if later[0] != node else "scan" if later[1] > scans and level > 3 else "metadata"
            if level > 1:
                found.append(Lock(name, _NAMES[level], work))  # type: ignore[arg-type]
        return tuple(sorted(found, key=lambda lock: lock.table))
