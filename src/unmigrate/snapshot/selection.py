"""What of a dump is restored where only the rows of some tables are needed: every definition, these rows, and what makes keys of them.

Triggers, rules, foreign keys and indexes that are not unique cost the most and tell nothing to a reader; they are left out.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import bare
from unmigrate.snapshot import toc

_WANTED = """
with recursive wanted as (
  select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where format('%%I.%%I', n.nspname, c.relname) = any (%s) or c.relname = '_prisma_migrations'
  union select i.inhrelid from pg_inherits i join wanted w on w.oid = i.inhparent)
select n.nspname::text, c.relname::text from wanted join pg_class c using (oid) join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r'"""
_ENTRY = re.compile(
    r"^-- TOC entry (\d+) .*\n(?:-- Dependencies: .*\n)?-- Name: (.*); Type: ([A-Z ]+); Schema: (.*); Owner: .*\n--\n\n(.*)", re.MULTILINE
)
_KEY = re.compile(r'ADD CONSTRAINT ("(?:[^"]|"")+"|\S+) (?:PRIMARY KEY|UNIQUE)')

Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """Numbers of the entries that are restored after the definitions; rows: those of them that have a file of their own."""

    entries: tuple[int, ...]
    rows: frozenset[int]

    def reads(self, file: str) -> bool:
        """Whether this file of the dump is read."""
        stem = file.rpartition("/")[2].partition(".")[0]
        return stem == "toc" or (stem.isdigit() and int(stem) in self.rows)


DEFINITIONS = Selection((), frozenset())  # and no rows


def tables_with_rows(made: psycopg.Connection[Any], tables: Collection[str]) -> tuple[Name, ...]:
    """(schema, name) of these tables, the ledger, and their partitions and the tables that inherit from them.

    Partitioned tables have no rows of their own, and are left out. made: a database that has the definitions.
    """
    return tuple(made.execute(_WANTED, [list(tables)]).fetchall())


def select(listed: str, script: str, names: Collection[Name]) -> Selection | None:
    """The rows of these tables, all sequences, and unique keys; None where rows of a table are not found.

    listed: what `pg_restore --list` says; script: the definitions with numbers, as `--schema-only --verbose` writes them.
    """
    listing = {entry.number: entry for entry in toc.entries(listed)}
    oids: dict[Name, int] = {}
    keys: list[int] = []
    unique: set[Name] = set()
    attached: list[tuple[int, Name]] = []
    for match in _ENTRY.finditer(script):
        number, name, kind, schema = int(match[1]), match[2], match[3], match[4]
        if kind == "TABLE" and number in listing:
            oids[schema, name] = listing[number].oid
        elif kind == "INDEX ATTACH":
            attached.append((number, (schema, name)))
        elif label := _unique(kind, name, script[match.start(5) :]):
            keys.append(number)
            unique.add((schema, label))
    rows = {entry.oid: entry.number for entry in listing.values() if entry.text.startswith("TABLE DATA ")}
    found = [rows.get(oids.get(name, 0)) for name in names]
    if None in found:
        return None
    sequences = [number for number, entry in listing.items() if entry.text.startswith("SEQUENCE SET ")]
    data = [number for number in found if number is not None]
    return Selection((*data, *sequences, *keys, *(number for number, name in attached if name in unique)), frozenset(data))


def _unique(kind: str, name: str, sql: str) -> str:
    """The name of the index that makes a key; "" for any other entry."""
    if kind == "INDEX":
        return name if sql.startswith("CREATE UNIQUE INDEX ") else ""
    match = _KEY.search(sql.partition(";\n")[0]) if kind == "CONSTRAINT" else None
    return bare(match[1]) if match else ""
