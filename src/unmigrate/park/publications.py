"""Publications FOR ALL TABLES: they publish the vault's tables too.

A subscriber that lacks these tables stops at the first change of one of them. Nothing we write may be left out of the log, as the vault
must outlive a crash (UNLOGGED tables would not), so this is said beforehand. And PostgreSQL refuses UPDATE and DELETE on a published
table without a replica identity: our tables without a primary key get one.

Publications of tables by name: a subscriber stops where it is sent a column or table that it has not. What is parked is taken out of
them, by a list of columns, and put in again when it comes back.
"""

from typing import Any

import psycopg

from unmigrate.errors import RefusedError

_ALL = "select quote_ident(pubname) from pg_publication where puballtables and (pubinsert or pubupdate or pubdelete) order by 1"
_WITHOUT = """
select format('%%I.%%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind in ('r', 'p') and c.relreplident = 'd'
  and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)"""


def remarks(connection: psycopg.Connection[Any]) -> tuple[str, ...]:
    """One line per publication that would carry the vault along, with what to do."""
    return tuple(
        f"publication {name} is FOR ALL TABLES, the vault's among them: a subscriber stops until it has them too (pg_dump -s -n "
        f"'unmigrate*'); better publish the application's schemas alone (FOR TABLES IN SCHEMA, since 15)"
        for (name,) in connection.execute(_ALL).fetchall()
    )


def identify(connection: psycopg.Connection[Any], schema: str) -> None:
    """Give tables of this schema that have no primary key a replica identity."""
    for (table,) in connection.execute(_WITHOUT, [schema]).fetchall():
        connection.execute(f"ALTER TABLE {table} REPLICA IDENTITY FULL")


_STRANGE = """
select p.oid::int8, quote_ident(p.pubname), c.oid::int8, format('%%I.%%I', t.schemaname, t.tablename), t.rowfilter,
  r.oid is not null, pg_has_role(p.pubowner, 'USAGE'), c.relreplident = 'f', t.schemaname ~ %(schemas)s,
  exists (select from unnest(t.attnames) n where n ~ '^_unmigrate_'), r.prattrs::int2[]
from pg_publication_tables t join pg_publication p on p.pubname = t.pubname
join pg_namespace n on n.nspname = t.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = t.tablename
left join pg_publication_rel r on r.prpubid = p.oid and r.prrelid = c.oid"""
_SCHEMAS = "^unmigrate_[0-9a-f]{6}_(old|new)$"
_MEMORY = """
create table if not exists unmigrate.published (publication oid, relation oid, filter text, primary key (publication, relation));
alter table unmigrate.published add column if not exists columns int2[]"""
_RETURNING = """
select quote_ident(p.pubname), format('%%I.%%I', n.nspname, c.relname), m.filter, m.publication::int8, m.relation::int8,
  exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = c.oid),
  exists (select from pg_attribute a where a.attrelid = c.oid and a.attname ~ '^_unmigrate_' and not a.attisdropped),
  (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attname !~ '^_unmigrate_'
      and coalesce(a.attnum = any (m.columns), true)),
  m.columns is not null
from unmigrate.published m join pg_publication p on p.oid = m.publication join pg_class c on c.oid = m.relation
join pg_namespace n on n.oid = c.relnamespace where n.nspname !~ %(schemas)s and pg_has_role(p.pubowner, 'USAGE')"""


def follow(connection: psycopg.Connection[Any], *, must: bool) -> frozenset[str]:
    """After things were parked or came back: publish what lives, by a list of columns, so that no subscriber meets what it lacks.

    Returns the publications changed (SQL names). must: raise RefusedError where that cannot be; else such a publication stays as it is.
    """
    if connection.info.server_version < 150000:  # no lists of columns
        return frozenset()
    changed = set()
    rows = connection.execute(_STRANGE, {"schemas": _SCHEMAS}).fetchall()
    for publication, name, relation, table, row_filter, listed, owned, full, parked, columns, only in rows:
        if not (parked or columns) or (parked and not listed):
            continue
        if not (listed and owned) or (columns and full and not parked):
            if must:
                raise _unpublishable(name, table, listed=listed, owned=owned)
            continue
        connection.execute(_MEMORY)
        connection.execute(
            "insert into unmigrate.published (publication, relation, filter, columns) values (%s, %s, %s, %s) on conflict do nothing",
            [publication, relation, row_filter, only],
        )
        connection.execute(f"ALTER PUBLICATION {name} DROP TABLE {table}")
        changed.add(name)
    there = connection.execute("select to_regclass('unmigrate.published') is not null").fetchone()
    if not there or not there[0]:
        return frozenset(changed)
    connection.execute(_MEMORY)
    returning = connection.execute(_RETURNING, {"schemas": _SCHEMAS}).fetchall()
    for name, table, row_filter, publication, relation, listed, some, living, only in returning:
        if listed:
            connection.execute(f"ALTER PUBLICATION {name} DROP TABLE {table}")
        where = f" WHERE ({row_filter})" if row_filter else ""
        connection.execute(f"ALTER PUBLICATION {name} ADD TABLE {table}{f' ({living})' if some or only else ''}{where}")
        changed.add(name)
        if not some:
            connection.execute("delete from unmigrate.published where publication = %s and relation = %s", [publication, relation])
    return frozenset(changed)


def _unpublishable(name: str, table: str, *, listed: bool, owned: bool) -> RefusedError:
    if not listed:
        reason, remedy = "names no tables", "name its tables (CREATE PUBLICATION … FOR TABLE …)"
    elif not owned:
        reason, remedy = "belongs to another role", "deploy as its owner"
    else:
        reason, remedy = "needs every column (REPLICA IDENTITY FULL)", "give the table a primary key as replica identity"
    message = f"publication {name} publishes {table} and {reason}: its subscribers would stop at the parked column"
    return RefusedError(message, code="published", remedy=f'{remedy}, or deploy it unguarded: mode = "off" in [park] of unmigrate.toml')
