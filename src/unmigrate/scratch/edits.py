"""Writing into rows that are there already, by their position: what appeasing a migration is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from unmigrate.scratch.planner import Planner
from unmigrate.scratch.shape import (
    Column,
    Head,
    Table,
    key_columns,
    literal,
    query,
    quoted,
    read_heads,
    read_tables,
    read_types,
    referenced_columns,
)
from unmigrate.scratch.values import Values, seed_of

MOST_ROWS = 200  # of a table that are rewritten


class Editor:
    """The tables of a scratch database that somebody is concerned with, and edits of their rows."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.heads: dict[int, Head] = {}  # all tables
        self.tables: dict[int, Table] = {}  # those concerned
        self.values = Values({})

    def read(self, concerned: Callable[[Head], bool]) -> None:
        self.heads = read_heads(self.connection, None)
        self.tables = {}
        self.values = Values({})
        self.add([head for head in self.heads.values() if concerned(head)])

    def add(self, heads: Sequence[Head]) -> list[Table]:
        found = read_tables(self.connection, heads)
        types = {column.type for table in found.values() for column in table.columns}
        self.values.types = {**self.values.types, **read_types(self.connection, types)}
        self.tables.update(found)
        return list(found.values())

    def planner(self, table: Table) -> Planner:
        keys = {oid: self.rows_of(oid, numbers) for oid, numbers in referenced_columns({table.oid: table}).items()}
        return Planner(table, self.values, keys, frozenset(), True)

    def columns_of(self, table: Table, listed: str) -> list[Column]:
        names = [name.strip().strip('"') for name in listed.split(",")]
        found = [column for name in names for column in table.columns if column.name == name]
        return found if len(found) == len(names) else []

    def rows_of(self, oid: int, numbers: Sequence[int]) -> list[dict[int, str | None]]:
        sources = key_columns(self.connection, {oid: numbers})
        if oid not in sources:
            return []
        source, names = sources[oid]
        texts = ", ".join(f"{quoted(names[number])}::text" for number in numbers)
        rows = query(self.connection, f"SELECT {texts} FROM {source} LIMIT 12")
        return [dict(zip(numbers, row, strict=True)) for row in rows]

    def value(self, table: Table, column: Column, n: int) -> str | None:
        if not self.values.known(column.type):
            return None
        return self.values.text(column.type, column.typmod, seed_of(table.name, column.name), n)

    def set_values(
        self,
        table: Table,
        columns: Sequence[Column],
        value: Callable[[int], str | None],
        *,
        only_null: bool = False,
        only_set: bool = False,
    ) -> str:
        """Set the columns of the first rows to value(0), value(1), ...; "" when there was no such row."""
        if not columns or not table.columns:
            return ""
        where = " AND ".join(f"{quoted(c.name)} IS {'NOT ' if only_set else ''}NULL" for c in columns) if only_null or only_set else "true"
        rows = query(self.connection, f"SELECT tableoid::int8, ctid::text FROM {table.head.source} WHERE {where} LIMIT {MOST_ROWS}")
        return self._update(table, columns, rows, [[value(n)] * len(columns) for n in range(len(rows))])

    def set_rows(self, table: Table, columns: Sequence[Column], values: Callable[[int, Sequence[str | None]], Sequence[str | None]]) -> str:
        """Set the columns of each of the first rows to values(number, what they are now); "" when there was no row."""
        texts = ", ".join(f"{quoted(c.name)}::text" for c in columns)
        rows = query(self.connection, f"SELECT tableoid::int8, ctid::text, {texts} FROM {table.head.source} LIMIT {MOST_ROWS}")
        return self._update(table, columns, [row[:2] for row in rows], [values(n, row[2:]) for n, row in enumerate(rows)])

    def _update(self, table: Table, columns: Sequence[Column], rows: Sequence[Any], values: Sequence[Sequence[str | None]]) -> str:
        """rows: where each stands, as (tableoid, ctid)."""
        if not rows:
            return ""
        sets = ", ".join(f"{quoted(c.name)} = v.x{i}::{c.type_text}" for i, c in enumerate(columns))
        names = ", ".join(f"x{i}" for i in range(len(columns)))
        tuples = ", ".join(
            f"({oid}::oid, '{ctid}'::tid, {', '.join(f'{literal(value)}::text' for value in new)})"
            for (oid, ctid), new in zip(rows, values, strict=True)
        )
        source = f"(VALUES {tuples}) v(o, c, {names})"
        self.connection.execute(f"UPDATE {table.head.source} t SET {sets} FROM {source} WHERE t.tableoid = v.o AND t.ctid = v.c".encode())
        return f"{table.head.label} ({', '.join(c.name for c in columns)}) got other values"
