"""Generated rows that refer to nothing once a migration adds its foreign keys, pointed at rows that exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import NamedTuple

import psycopg

from unmigrate.scratch.complaints import new_keys, referenced_columns
from unmigrate.scratch.edits import Editor
from unmigrate.scratch.shape import Column, Table, query, quoted, read_tables


class Link(NamedTuple):
    """A foreign key to come: columns of a table, and those of the other table that they are to point to."""

    constraint: str
    table: Table
    columns: Sequence[Column]
    parent: Table
    targets: Sequence[Column]


class Orphans:
    """Of the tables that an Editor has, before the script runs."""

    def __init__(self, rows: Editor, sql: str) -> None:
        self.rows, self.sql = rows, sql
        self._looked_ahead = False

    def meet(self, table: Table, columns: Sequence[Column], parent: str, constraint: str) -> str:
        """Point these columns at rows that exist; the first time, those of all foreign keys that the script adds.

        Each by an attempt of its own would run the script as often as it has keys. Returns what was done, "" where nothing could be.
        """
        first, self._looked_ahead = not self._looked_ahead, True
        if first:
            self._make_one()
        link = self._link(constraint, table, columns, parent)
        done = [self._point(link)] if link else []
        for other in self._coming if first else ():
            with suppress(psycopg.Error):  # its own attempt will tell
                if other.constraint != constraint and self._missing(other):
                    done.append(self._point(other))
        return "; ".join(filter(None, done))

    @cached_property
    def _coming(self) -> list[Link]:
        """Of keys whose table and columns are there. Those of one column first: the others are then met with what these left."""
        found = []
        for key in sorted(new_keys(self.sql), key=lambda key: len(key.columns)):
            table = next((t for t in self.rows.tables.values() if t.head.name == key.table and key.schema in ("", t.head.schema)), None)
            columns = self.rows.columns_of(table, ", ".join(key.columns)) if table else []
            if table and (link := self._link(key.constraint, table, columns, key.parent)):
                found.append(link)
        return found

    def _link(self, constraint: str, table: Table, columns: Sequence[Column], parent: str) -> Link | None:
        """With the columns that the script names, else those of the other table's primary key."""
        heads = [head for head in self.rows.heads.values() if head.name == parent][:1] if columns else []
        for other in read_tables(self.rows.connection, heads).values():
            named = [c for name in referenced_columns(self.sql, constraint) for c in other.columns if c.name == name]
            if len(named) == len(columns):
                return Link(constraint, table, columns, other, named)
            whole = [u.columns for u in other.unique_sets if not u.text and len(u.columns) == len(columns) and 0 not in u.columns]
            if whole:
                return Link(constraint, table, columns, other, [c for number in whole[0] for c in other.columns if c.number == number])
        return None

    def _point(self, link: Link) -> str:
        found = self.rows.rows_of(link.parent.oid, [c.number for c in link.targets])
        keys = [[row[c.number] for c in link.targets] for row in found]

        def nearest(n: int, now: Sequence[str | None]) -> Sequence[str | None]:
            """A column may belong to other keys too (the tenant of all): the row that agrees most with what is there."""
            turned = keys[n % len(keys) :] + keys[: n % len(keys)]
            return turned[0] if len(now) == 1 else max(turned, key=lambda key: sum(a == b for a, b in zip(key, now, strict=True)))

        if not keys:
            return ""
        self.rows.set_rows(link.table, link.columns, nearest)
        return f"{link.table.head.label} was pointed at rows of {link.parent.head.label}"

    def _missing(self, link: Link) -> bool:
        """Whether a row refers to none."""
        met = " AND ".join(f"p.{quoted(b.name)} = t.{quoted(a.name)}" for a, b in zip(link.columns, link.targets, strict=True))
        there = " AND ".join(f"t.{quoted(c.name)} IS NOT NULL" for c in link.columns)
        none = f"NOT EXISTS (SELECT FROM {link.parent.head.source} p WHERE {met})"
        return bool(query(self.rows.connection, f"SELECT 1 FROM {link.table.head.source} t WHERE {there} AND {none} LIMIT 1"))

    def _make_one(self) -> None:
        """Columns that stand in several of the keys, such as the tenant of all rows, get one value everywhere: else no two keys agree."""
        uses: Counter[tuple[int, int]] = Counter()
        classes: list[dict[tuple[int, int], tuple[Table, Column]]] = []
        for link in self._coming:
            for one, other in zip(link.columns, link.targets, strict=True) if len(link.columns) > 1 else ():
                uses[link.table.oid, one.number] += 1
                pair = {(link.table.oid, one.number): (link.table, one), (link.parent.oid, other.number): (link.parent, other)}
                met = [c for c in classes if c.keys() & pair.keys()]
                classes = [c for c in classes if c not in met] + [{k: v for c in (*met, pair) for k, v in c.items()}]
        for members in classes:
            if max(uses[place] for place in members) > 1:
                self._set_all([*members.values()])

    def _set_all(self, members: Sequence[tuple[Table, Column]]) -> None:
        value = next((row[c.number] for t, c in members for row in self.rows.rows_of(t.oid, [c.number])[:1]), None)
        for table, column in members if value is not None else ():
            with suppress(psycopg.Error):  # unique by itself: that stays
                self.rows.set_values(table, [column], lambda _: value)
