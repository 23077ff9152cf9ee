"""Really dropping what was parked, later and on purpose: in small locks, one guarded migration after the other."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import FailedError
from unmigrate.park import vault

_PARKED_COLUMNS = """
select format('%%I.%%I', n.nspname, c.relname), quote_ident(a.attname)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
where a.attname ~ %s and not a.attisdropped and c.relkind in ('r', 'p') order by 1, 2"""
_PARKED_KEYS = """
select format('%%I.%%I', n.nspname, c.relname), quote_ident(k.conname) from pg_constraint k join pg_class c on c.oid = k.conrelid
join pg_namespace n on n.oid = c.relnamespace where k.contype = 'f' and k.conname ~ %s order by 1, 2"""
_PARKED_TYPES = """
select case t.typtype when 'd' then 'DOMAIN ' else 'TYPE ' end || format('%%I.%%I', n.nspname, t.typname)
from pg_type t join pg_namespace n on n.oid = t.typnamespace left join pg_class c on c.oid = t.typrelid
where t.typname ~ %s and t.typtype in ('e', 'd', 'c') and coalesce(c.relkind, 'c') = 'c' order by 1"""
_PARKED_SEQUENCES = """
select format('%%I.%%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'S' and c.relname ~ %s order by 1"""
_SIZE = """
select coalesce(sum(pg_total_relation_size(c.oid)), 0)::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p', 'm') and n.nspname = any (%s)"""
_GUARDS = """
select w.guard, min(w.migration), min(w.made_at) from unmigrate.way w group by w.guard
union all select substring(n.nspname from '^unmigrate_([0-9a-f]{6})$'), null, null from pg_namespace n
where n.nspname ~ '^unmigrate_[0-9a-f]{6}$' and not exists (select from unmigrate.way w where n.nspname = 'unmigrate_' || w.guard)"""
TRIES = 50


@dataclass(frozen=True, slots=True)
class Kept:
    """What one guarded migration keeps. bytes: of parked tables and images; columns stay in their tables and are not counted."""

    guard: str
    migration: str
    since: datetime | None
    bytes: int
    columns: tuple[str, ...]

    def line(self) -> str:
        since = f" since {self.since:%Y-%m-%d %H:%M}" if self.since else ""
        columns = "1 column" if len(self.columns) == 1 else f"{len(self.columns)} columns"
        return f"parked for {self.migration or self.guard}{since}: {columns}, {self.bytes / 1e6:.1f} MB of tables and images"

    def to_json(self) -> dict[str, Any]:
        return {
            "guard": self.guard, "migration": self.migration, "since": self.since, "bytes": self.bytes, "columns": list(self.columns),
        }  # fmt: skip


def kept(connection: psycopg.Connection[Any]) -> tuple[Kept, ...]:
    """What the vault keeps, oldest first; empty where there is no vault."""
    if vault.version(connection) is None:
        return ()
    found = []
    for guard, migration, since in connection.execute(_GUARDS).fetchall():
        size = connection.execute(_SIZE, [list(vault.guard_schemas(guard))]).fetchone()
        columns = tuple(f"{t}.{c}" for t, c in connection.execute(_PARKED_COLUMNS, [_pattern(guard)]))
        found.append(Kept(guard, migration or "", since, int(size[0]) if size else 0, columns))
    return tuple(sorted(found, key=lambda k: (k.since is not None, k.since)))


def due(found: tuple[Kept, ...], now: datetime, days: float) -> tuple[Kept, ...]:
    """Those kept longer than `days`; what no way leads to any more is always due."""
    return tuple(k for k in found if k.since is None or now - k.since >= timedelta(days=days))


def statements(connection: psycopg.Connection[Any], guard: str) -> Iterator[str]:
    """What drops everything of one guarded migration, each a small lock of its own."""
    pattern = _pattern(guard)
    for table, key in connection.execute(_PARKED_KEYS, [pattern]).fetchall():
        yield f"ALTER TABLE {table} DROP CONSTRAINT {key}"
    for table, column in connection.execute(_PARKED_COLUMNS, [pattern]).fetchall():
        yield f"ALTER TABLE {table} DROP COLUMN {column}"
    first, *parked = vault.guard_schemas(guard)
    for schema in parked:
        yield f"DROP SCHEMA IF EXISTS {ident(schema)} CASCADE"
    for (sequence,) in connection.execute(_PARKED_SEQUENCES, [pattern]).fetchall():
        yield f"DROP SEQUENCE {sequence}"
    for (type_,) in connection.execute(_PARKED_TYPES, [pattern]).fetchall():
        yield f"DROP {type_}"
    yield f"DROP SCHEMA IF EXISTS {ident(first)} CASCADE"  # last: by it an interrupted purge is known


def purge(
    connection: psycopg.Connection[Any], guard: str, *, lock_timeout_ms: int = 200, on_step: Callable[[str], None] = lambda _: None
) -> tuple[str, ...]:
    """Forget the ways of one guarded migration, then drop what it kept. What is interrupted goes on when it is run again.

    Raises FailedError where a lock cannot be had; what was dropped until then is gone, the rest is kept.
    """
    vault.forget_ways(connection, guard=guard)
    on_step("ways forgotten")
    done = []
    for sql in statements(connection, guard):
        _patiently(connection, sql, lock_timeout_ms)
        done.append(sql)
        on_step(f"dropped {len(done)}")
    return tuple(done)


def _patiently(connection: psycopg.Connection[Any], sql: str, lock_timeout_ms: int) -> None:
    for attempt in range(TRIES):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {max(1, lock_timeout_ms)}")
                connection.execute(sql)
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(min(1.0, 0.02 * 1.5 ** min(attempt, 20)))
    raise FailedError(
        f"no lock could be had for: {sql}", code="locks", remedy="end the sessions that hold it, and run unmigrate purge again"
    )


def _pattern(guard: str) -> str:
    return f"^_unmigrate_{guard}_(old|new)_"
