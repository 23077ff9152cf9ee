"""Generated rows that refer to nothing once a migration adds its foreign keys, pointed at rows that exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

import psycopg

from unmigrate.scratch.complaints import NewKey, new_keys, referenced_columns
from unmigrate.scratch.edits import Editor
from unmigrate.scratch.shape import Column, Table, query, quoted, read_tables


class Orphans:
    """Of the tables that an Editor has, before the script runs."""

    def __init__(self, rows: Editor, sql: str) -> None:
        self.rows, self.sql = rows, sql

    @cached_property
    def _coming(self) -> list[tuple[NewKey, Table, list[Column]]]:
        """The keys whose table and columns are there. Of one column first: the others are then met with what these left."""
        found = []
        for key in sorted(new_keys(self.sql), key=lambda key: len(key.columns)):
            table = next((t for t in self.rows.tables.values() if t.head.name == key.table and key.schema in ("", t.head.schema)), None)
            if table and (columns := self.rows.columns_of(table, ", ".join(key.columns))):
                found.append((key, table, columns))
        return found

    def point(self, table: Table, columns: Sequence[Column], parent: str, constraint: str) -> str:
        """Give columns that become a foreign key the keys of rows that exist. Returns what was done, "" where nothing could be."""
        aim = self._aim(parent, len(columns), constraint) if columns else None
        found = self.rows.rows_of(aim[0].oid, [c.number for c in aim[1]]) if aim else []
        if not aim or not found:
            return ""
        keys = [[row[c.number] for c in aim[1]] for row in found]

        def nearest(n: int, now: Sequence[str | None]) -> Sequence[str | None]:
            """A column may belong to other keys too (the tenant of all): the row that agrees most with what is there."""
            turned = keys[n % len(keys) :] + keys[: n % len(keys)]
            return turned[0] if len(columns) == 1 else max(turned, key=lambda key: sum(a == b for a, b in zip(key, now, strict=True)))

        self.rows.set_rows(table, columns, nearest)
        return f"{table.head.label} was pointed at rows of {aim[0].head.label}"

    def point_others(self, but: str) -> str:
        """The same for all other foreign keys that the script adds and rows do not meet, lest each be an attempt of its own."""
        done = []
        for key, table, columns in self._coming:
            with suppress(psycopg.Error):  # its own attempt will tell
                if key.constraint != but and self._missing(table, columns, key):
                    done.append(self.point(table, columns, key.parent, key.constraint))
        return "; ".join(filter(None, done))

    def make_one(self) -> None:
        """Columns that stand in several of the keys, such as the tenant of all rows, get one value everywhere: else no two keys agree."""
        uses: Counter[tuple[int, int]] = Counter()
        classes: list[dict[tuple[int, int], tuple[Table, Column]]] = []
        for key, table, columns in self._coming:
            found = self._aim(key.parent, len(columns), key.constraint) if len(columns) > 1 else None
            for one, other in zip(columns, found[1] if found else (), strict=False):
                assert found is not None
                uses[table.oid, one.number] += 1
                pair = {(table.oid, one.number): (table, one), (found[0].oid, other.number): (found[0], other)}
                met = [c for c in classes if c.keys() & pair.keys()]
                classes = [c for c in classes if c not in met] + [{k: v for c in (*met, pair) for k, v in c.items()}]
        for members in classes:
            if max(uses[place] for place in members) > 1:
                self._set_all([*members.values()])

    def _set_all(self, members: Sequence[tuple[Table, Column]]) -> None:
        values = (row[c.number] for t, c in members for row in self.rows.rows_of(t.oid, [c.number])[:1])
        value = next(values, None)
        for table, column in members if value is not None else ():
            with suppress(psycopg.Error):  # unique by itself: that stays
                self.rows.set_values(table, [column], lambda _: value)

    def _missing(self, table: Table, columns: Sequence[Column], key: NewKey) -> bool:
        """Whether a row refers to none."""
        aim = self._aim(key.parent, len(columns), key.constraint)
        if not aim:
            return False
        met = " AND ".join(f"p.{quoted(b.name)} = t.{quoted(a.name)}" for a, b in zip(columns, aim[1], strict=True))
        there = " AND ".join(f"t.{quoted(c.name)} IS NOT NULL" for c in columns)
        sql = f"SELECT 1 FROM {table.head.source} t WHERE {there} AND NOT EXISTS (SELECT FROM {aim[0].head.source} p WHERE {met}) LIMIT 1"
        return bool(query(self.rows.connection, sql))

    def _aim(self, parent: str, count: int, constraint: str) -> tuple[Table, list[Column]] | None:
        """What a key of so many columns points to: a table, and the columns named, else those of its primary key."""
        heads = [head for head in self.rows.heads.values() if head.name == parent][:1]
        for table in read_tables(self.rows.connection, heads).values():
            named = [c for name in referenced_columns(self.sql, constraint) for c in table.columns if c.name == name]
            if len(named) == count:
                return table, named
            whole = [u.columns for u in table.unique_sets if not u.text and len(u.columns) == count and 0 not in u.columns]
            if whole:
                return table, [c for number in whole[0] for c in table.columns if c.number == number]
        return None
