"""Looking at a restored database before anything is switched to it."""

import secrets
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import FailedError, RefusedError
from unmigrate.prisma.ledger import read_ledger, states

_TABLES = """
select n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not like 'pg\\_%' and n.nspname <> 'information_schema'
  and n.nspname <> 'unmigrate' and n.nspname not like 'unmigrate\\_%' and c.relname <> '_prisma_migrations' order by 1, 2"""
_CATALOGS = """
select count(pg_get_indexdef(i.indexrelid)), (select count(pg_get_constraintdef(oid)) from pg_constraint),
  (select count(pg_get_viewdef(oid)) from pg_class where relkind in ('v', 'm')), (select count(pg_get_triggerdef(oid)) from pg_trigger)
from pg_index i"""
_BROKEN = "select array_agg(indexrelid::regclass::text) from pg_index where not indisvalid or not indisready"


@dataclass(frozen=True, slots=True)
class Look:
    """What a restored database holds. counts: rows by table; fewer: {table: rows that the other has more}, of tables in both, None
    where they were not compared; missing: migrations applied at the other, not here, besides those that were to be away."""

    ledger: tuple[str, ...]
    counts: dict[str, int]
    fewer: dict[str, int] | None
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def look(
    restored: psycopg.Connection[Any], old: psycopg.Connection[Any] | None, migrations: tuple[str, ...], schema: str
) -> Look:  # fmt: skip
    """The ledger must be there without the migrations, nothing half applied, catalogs readable, all indexes valid.

    old: the database that the app uses now, to compare with. Raises RefusedError, FailedError: do not switch to it.
    """
    found = require_before(restored, old, migrations, schema)
    require_readable(restored)
    counts = _counts(restored)
    return _compared(tuple(n for n, s in found.items() if s == "applied"), counts, old, migrations, schema)


def require_before(
    restored: psycopg.Connection[Any], old: psycopg.Connection[Any] | None, migrations: tuple[str, ...], schema: str
) -> dict[str, str]:  # fmt: skip
    """States by migration, of a database that is from before these. Raises RefusedError, FailedError for one that is not."""
    if old is not None:
        require_other(restored, old)
    standby = restored.execute("select pg_is_in_recovery()").fetchone()
    if standby and standby[0]:
        raise FailedError("the restored database is a standby, which takes no writes", code="standby", remedy="promote it, and try again")
    rows = read_ledger(restored, schema)
    if rows is None:
        raise FailedError("the restored database has no _prisma_migrations table", code="no-ledger", remedy="choose another snapshot")
    found: dict[str, str] = {s.name: s.state for s in states((), rows)}
    if half := [name for name, state in found.items() if state == "failed"]:
        message = f"the snapshot was taken while {', '.join(half)} was in flight: it may be half applied"
        raise FailedError(message, code="in-flight", remedy=f"choose an older snapshot: --before {half[0]}")
    if late := [name for name in migrations if found.get(name) == "applied"]:
        message = f"the snapshot is from after the migration: it has {', '.join(late)}"
        raise FailedError(message, code="snapshot-after", remedy=f"choose an older snapshot: --before {late[0]}")
    return found


def _compared(
    applied: tuple[str, ...], counts: dict[str, int], old: psycopg.Connection[Any] | None, migrations: tuple[str, ...], schema: str
) -> Look:
    if old is None:
        return Look(applied, counts, None, ())
    there = _counts(old)
    fewer = {t: n - counts[t] for t, n in there.items() if t in counts and n > counts[t]}
    other = {s.name for s in states((), read_ledger(old, schema) or ()) if s.state == "applied"}
    return Look(applied, counts, fewer, tuple(sorted(other - set(applied) - set(migrations))))


def require_readable(connection: psycopg.Connection[Any]) -> None:
    """Raises FailedError where catalogs cannot be read, or an index is not valid."""
    try:
        connection.execute(_CATALOGS)
        row = connection.execute(_BROKEN).fetchone()
    except psycopg.Error as error:
        message = f"the restored catalogs cannot be read: {error.diag.message_primary or error}"
        raise FailedError(message, code="catalogs", remedy="choose another snapshot") from error
    if row and row[0]:
        message = f"indexes are not valid in the restored database: {', '.join(row[0][:3])}"
        raise FailedError(message, code="invalid-index", remedy="REINDEX them there, or choose another snapshot")


def _counts(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows of every table, counted: what is restored must be readable to its last page."""
    found = {}
    for schema, name in connection.execute(_TABLES).fetchall():
        row = connection.execute(f"select count(*) from {ident(schema)}.{ident(name)}").fetchone()
        found[f"{schema}.{name}"] = int(row[0]) if row else 0
    return found


def require_other(restored: psycopg.Connection[Any], old: psycopg.Connection[Any]) -> None:
    """Raises RefusedError where both are the same database, by whatever addresses: a lock that one session holds is met by the other."""
    key = secrets.randbits(62)
    with old.transaction():
        old.execute("select pg_advisory_xact_lock(%s)", [key])
        with restored.transaction():
            row = restored.execute("select pg_try_advisory_xact_lock(%s)", [key]).fetchone()
    if restored is old or not (row and row[0]):
        raise RefusedError("this is the database that the app uses now", code="same-database", remedy="restore into a new one")
