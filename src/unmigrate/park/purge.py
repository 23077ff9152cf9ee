"""Really dropping what was parked, later and on purpose: in small locks, one guarded migration after the other."""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import FailedError, RefusedError
from unmigrate.park import vault
from unmigrate.park.publications import follow
from unmigrate.prisma.ledger import LOCK_SECONDS, deploy_lock

# What steps before a switch leave on the application's tables when they are interrupted: while it is there, writes meet it.
_FOLLOWING = r"""
select format('DROP TRIGGER %%I ON %%I.%%I', g.tgname, n.nspname, c.relname)
from pg_trigger g join pg_proc p on p.oid = g.tgfoid join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace
where p.pronamespace = to_regnamespace(%(schema)s) and p.proname ~ %(function)s and g.tgparentid = 0 and not g.tgisinternal
  and n.nspname not like %(schema)s || '\_%%'
order by 1"""
_PRESENT = """
select format('ALTER TABLE %%I.%%I DROP CONSTRAINT %%I', n.nspname, c.relname, k.conname)
from pg_constraint k join pg_class c on c.oid = k.conrelid join pg_namespace n on n.oid = c.relnamespace
where k.conname ~ ('^_' || %(schema)s || '_present_') order by 1"""
_BUILT = r"""
select format('DROP INDEX %%I.%%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'i' and c.relname ~ ('^_' || %(schema)s || '_built_') order by 1"""
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
_COLUMN_SIZE = """
select coalesce(sum(s.avg_width * (1 - s.null_frac) * greatest(c.reltuples, 0)), 0)::int8
from pg_stats s join pg_namespace n on n.nspname = s.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = s.tablename
where s.attname ~ %s"""
# Parked tables by their own names, whose schemas nobody knows; and what the comments of images and copies say that they are of.
_TABLES = """
select c.relname::text, obj_description(c.oid, 'pg_class'), n.nspname ~ '_(old|new)$'
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname = any (%s) order by 1"""
_OF = re.compile(r'^(?:rows of )?((?:[^\s".:]+|"(?:[^"]|"")+")\.(?:[^\s".:]+|"(?:[^"]|"")+"))')
_GUARDS = """
select w.guard, min(w.migration), min(w.made_at) from unmigrate.way w group by w.guard
union all select o.id, o.migrations[1], o.started_at from unmigrate.operation o
where o.state in ('done', 'abandoned') and exists (select from pg_namespace n where n.nspname = 'unmigrate_' || o.id)
union all select substring(n.nspname from '^unmigrate_([0-9a-f]{6})$'), null, null from pg_namespace n
where n.nspname ~ '^unmigrate_[0-9a-f]{6}$' and not exists (select from unmigrate.way w where n.nspname = 'unmigrate_' || w.guard)
and not exists (select from unmigrate.operation o where o.kind = 'guard' and o.state not in ('done', 'abandoned')
  and n.nspname = 'unmigrate_' || (o.plan ->> 'guard'))"""
TRIES = 50


@dataclass(frozen=True, slots=True)
class Kept:
    """What one guarded migration keeps, or one rollback has copied. guard: its id, or the operation's.

    bytes: of parked tables, images and copies; column_bytes: of parked columns, which stay in their tables, as the statistics say.
    tables: "schema.table", without quotes; "table" where the schema is not known.
    """

    guard: str
    migration: str
    since: datetime | None
    bytes: int
    columns: tuple[str, ...]
    column_bytes: int = 0
    tables: tuple[str, ...] = ()

    def line(self, days: float | None = None) -> str:
        """days: how long it is kept."""
        since = f" since {self.since:%Y-%m-%d %H:%M}" if self.since else ""
        columns = "1 column" if len(self.columns) == 1 else f"{len(self.columns)} columns"
        about = f" (about {_size(self.column_bytes)})" if self.column_bytes else ""
        until = f", until {self.since + timedelta(days=days):%Y-%m-%d %H:%M}" if self.since and days is not None else ""
        return f"parked for {self.migration or self.guard}{since}{until}: {columns}{about}, {_size(self.bytes)} of tables and images"

    def to_json(self) -> dict[str, Any]:
        return {
            "guard": self.guard, "migration": self.migration, "since": self.since, "bytes": self.bytes, "columns": list(self.columns),
            "column_bytes": self.column_bytes, "tables": list(self.tables),
        }  # fmt: skip


def kept(connection: psycopg.Connection[Any]) -> tuple[Kept, ...]:
    """What the vault keeps, oldest first; empty where there is no vault."""
    if vault.version(connection) is None:
        return ()
    found = []
    for guard, migration, since in connection.execute(_GUARDS, binary=True).fetchall():
        size = connection.execute(_SIZE, [list(vault.guard_schemas(guard))]).fetchone()
        columns = tuple(f"{t}.{c}" for t, c in connection.execute(_PARKED_COLUMNS, [_pattern(guard)]))
        wide = connection.execute(_COLUMN_SIZE, [_pattern(guard)]).fetchone() if columns else None
        parts = int(size[0]) if size else 0, columns, int(wide[0]) if wide else 0
        found.append(Kept(guard, migration or "", since, *parts, _tables(connection, guard, columns)))
    return tuple(sorted(found, key=lambda k: (k.since is not None, k.since)))


def _tables(connection: psycopg.Connection[Any], guard: str, columns: Iterable[str]) -> tuple[str, ...]:
    """What is kept of which tables."""
    found = {match[1] for column in columns if (match := _OF.match(column))}
    bare = set()
    for name, comment, moved in connection.execute(_TABLES, [list(vault.guard_schemas(guard))]).fetchall():
        if moved:
            bare.add(name)
        elif match := _OF.match(comment or ""):
            found.add(match[1])
    return tuple(sorted({re.sub(r'"((?:[^"]|"")*)"', lambda m: m[1].replace('""', '"'), name) for name in found} | bare))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 50_000 else f"{count / 1e3:.1f} kB"


def due(found: tuple[Kept, ...], now: datetime, days: Callable[[Kept], float]) -> tuple[Kept, ...]:
    """Those kept longer than `days`; what no way leads to any more is always due."""
    return tuple(k for k in found if k.since is None or now - k.since >= timedelta(days=days(k)))


def statements(connection: psycopg.Connection[Any], guard: str) -> Iterator[str]:
    """What drops everything of one guarded migration, each a small lock of its own."""
    pattern = _pattern(guard)
    yield from leftovers(connection, guard, functions="")
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


def leftovers(connection: psycopg.Connection[Any], guard: str, *, functions: str = "^sync_") -> Iterator[str]:
    """What drops triggers, checks and indexes that steps before a switch put on the application's tables. functions: of the triggers."""
    schema = {"schema": vault.guard_schemas(guard)[0], "function": functions}
    for query in (_FOLLOWING, _PRESENT, _BUILT):
        for (sql,) in connection.execute(query, schema).fetchall():
            yield sql


def purge(
    connection: psycopg.Connection[Any], guard: str, *, lock_timeout_ms: int = 200, wait_seconds: float = LOCK_SECONDS,
    on_step: Callable[[str], None] = lambda _: None,
) -> tuple[str, ...]:  # fmt: skip
    """Forget the ways of one guarded migration, then drop what it kept. What is interrupted goes on when it is run again.

    Raises FailedError where a lock cannot be had; what was dropped until then is gone, the rest is kept. EnvironmentProblem where a
    deploy or rollback is at work for longer than `wait_seconds`, RefusedError where one was switched and has steps left.
    """
    with deploy_lock(connection, wait_seconds):
        for operation in vault.of_guard(connection, guard):
            if operation.state == "switched":
                message = f"operation {operation.id} ({', '.join(operation.migrations)}) is switched, and not finished"
                raise RefusedError(message, code="unfinished", remedy="unmigrate rollback finishes it first")
            vault.set_state(connection, operation.id, "abandoned")
        vault.forget_ways(connection, guard=guard)
        on_step("ways forgotten")
        done = []
        for sql in statements(connection, guard):
            patiently(connection, sql, lock_timeout_ms)
            done.append(sql)
            on_step(f"dropped {len(done)}")
        with connection.transaction():
            follow(connection, must=False)
    return tuple(done)


def patiently(connection: psycopg.Connection[Any], sql: str, lock_timeout_ms: int) -> None:
    """Run it under this lock_timeout, again and again. Raises FailedError."""
    for attempt in range(TRIES):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = {max(1, lock_timeout_ms)}")
                connection.execute(sql)
            return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            time.sleep(min(1.0, 0.02 * 1.5 ** min(attempt, 20)))
    message = f"no lock could be had in {TRIES} tries for: {' '.join(sql.split())[:160]}"
    raise FailedError(message, code="locks", remedy="end the sessions that hold it, and give the same command again")


def _pattern(guard: str) -> str:
    return f"^_unmigrate_{guard}_(old|new)_"
