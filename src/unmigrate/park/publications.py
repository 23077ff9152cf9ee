"""Publications FOR ALL TABLES: they publish the vault's tables too.

A subscriber that lacks these tables stops at the first change of one of them. Nothing we write may be left out of the log, as the vault
must outlive a crash (UNLOGGED tables would not), so this is said beforehand. And PostgreSQL refuses UPDATE and DELETE on a published
table without a replica identity: our tables without a primary key get one.
"""

from typing import Any

import psycopg

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
