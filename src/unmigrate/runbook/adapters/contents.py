"""What one database has that another, restored from its past, lacks: table by table, by content and not by count alone.

Rows deleted and as many added since leave the count as it was, so tables are compared by a digest of their rows as well.
"""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import sql

from unmigrate.runbook.model import Json
from unmigrate.words import amount

_TABLES = """
select c.oid, n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema'
  and n.nspname <> 'unmigrate' and n.nspname not like 'unmigrate\\_%%' and c.relname <> '_prisma_migrations' order by 2, 3"""
_COLUMNS = """
select attname::text, format_type(atttypid, atttypmod) from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"""
_FORMS = """
set local extra_float_digits = 3; set local bytea_output = hex; set local timezone = 'UTC'; set local datestyle = 'ISO, MDY';
set local intervalstyle = postgres; set local xmloption = content"""
_NAMED = 8
_SECONDS = 120  # for one table


def losses(old: psycopg.Connection[Any], new: psycopg.Connection[Any]) -> list[Json]:
    """Tables of `old` that `new` lacks, or holds with other content: {object, rows, why}.

    rows: how many fewer there are, None where only the content differs, or could not be compared. Columns that only one of them has, or has
    with another type, are not compared: they are the migration's own.
    """
    there = {(schema, name): oid for oid, schema, name in new.execute(_TABLES).fetchall()}
    found: list[Json] = []
    for oid, schema, name in old.execute(_TABLES).fetchall():
        other = there.get((schema, name))
        columns = _common(old, oid, new, other) if other is not None else []
        before = _content(old, schema, name, columns)
        after = _content(new, schema, name, columns) if other is not None else (0, "")
        if before is None or after is None:
            found.append({"object": f"{schema}.{name}", "rows": None, "why": f"not compared within {_SECONDS} s"})
        elif before[0] > after[0]:
            found.append({"object": f"{schema}.{name}", "rows": before[0] - after[0], "why": ""})
        elif before[1] != after[1] and other is not None:
            found.append({"object": f"{schema}.{name}", "rows": None, "why": "rows changed, replaced or deleted"})
    return found


def told(found: Sequence[Json]) -> str:
    """The losses in one line."""
    named = ", ".join(f"{x['object']} ({x['why'] if x['rows'] is None else amount(x['rows'], 'row')})" for x in found[:_NAMED])
    return named + (f", and {len(found) - _NAMED} more" if len(found) > _NAMED else "")


def _common(old: psycopg.Connection[Any], oid: int, new: psycopg.Connection[Any], other: int) -> list[str]:
    types = dict(new.execute(_COLUMNS, [other]).fetchall())
    return sorted(name for name, kind in old.execute(_COLUMNS, [oid]).fetchall() if types.get(name) == kind)


def _content(connection: psycopg.Connection[Any], schema: str, name: str, columns: list[str]) -> tuple[int, str] | None:
    """(rows, a digest of them in whatever order); None where that took too long."""
    table = sql.Identifier(schema, name)
    row = sql.SQL("row({})::text").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    query = sql.SQL("select count(*), coalesce(sum(hashtextextended({}, 0)::numeric), 0)::text from {}").format(row, table)
    try:
        with connection.transaction():
            connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(f"{_SECONDS}s")))
            connection.execute(_FORMS)
            found = connection.execute(query).fetchone()
    except psycopg.errors.QueryCanceled:
        return None
    return (int(found[0]), str(found[1])) if found else None
