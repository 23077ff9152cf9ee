"""Generated rows changed so that a migration runs over them: what its author's rows must have been like.

A migration that adds a NOT NULL, a foreign key, a unique index or a new type fails on rows that were made without knowing
of it. `Appeaser` reads the server's error and gives the rows in the way values that fit: filled-in NULLs, keys of rows
that exist, distinct values, labels of the new type. What cannot be helped, such as a required column without default on a
table with rows, ends with the rows of that one table deleted, and said so.

    appeaser = Appeaser(connection, migration.sql)
    while True:
        try: run the migration
        except psycopg.Error as error:
            roll back; change = appeaser.appease(error)
            if change is None: raise

Only for scratch databases: it writes to and deletes from the tables of the user.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation

from unmigrate.scratch.checks import Assignment, Search
from unmigrate.scratch.complaints import (
    KEY,
    LABEL,
    PARENT,
    SYNTAX,
    TOO_LONG,
    adds_required_column,
    check_text,
    new_labels,
)
from unmigrate.scratch.edits import Editor
from unmigrate.scratch.orphans import Orphans
from unmigrate.scratch.planner import PLAIN
from unmigrate.scratch.rows import fill
from unmigrate.scratch.shape import (
    Check,
    Column,
    Table,
    count_rows,
    literal,
    query,
    quoted,
    read_tables,
    read_types,
)
from unmigrate.scratch.values import Values, short_text

# SQLSTATEs: data, constraints, cardinality, what a function raises, rows with pending events.
ABOUT_ROWS = ("22", "23", "21", "P0", "55006")
_TEXTS = ("text", "varchar", "bpchar", "citext", "name")
_SHAPE = re.compile(r"path element|scalar|array|object")
_LIST_WANTED = re.compile(r"(?:from|on|of) an? (?:object|non-array)|not an array")
_NUMBERS = ("int2", "int4", "int8", "numeric", "float4", "float8", "money")


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to the rows. emptied: the tables (schema.table) whose rows had to go, with all that point to them."""

    text: str
    emptied: tuple[str, ...] = ()


Remedy = Callable[[], str]  # does something; returns what, or "" when it does not apply


class Appeaser:
    """For one migration, in the state before it. The connection is outside of transactions, in autocommit."""

    def __init__(self, connection: psycopg.Connection[Any], sql: str) -> None:
        self.connection, self.sql = connection, sql
        self.seen: Counter[tuple[str, ...]] = Counter()
        self.left: set[int] = set()  # tables that had to be emptied
        self.rows = Editor(connection)
        self.orphans = Orphans(self.rows, sql)

    def appease(self, error: psycopg.Error) -> Change | None:
        """Change the rows that this error is about; None when it is about something else, or nothing is left to try."""
        in_trigger = "PL/pgSQL function" in (error.diag.context or "").replace("PL/pgSQL function inline_code_block", "")
        if not (error.sqlstate or "").startswith(ABOUT_ROWS) and not in_trigger:
            return None
        # What the migration names, read again: the last attempt may have changed it.
        self.rows.read(lambda head: bool(re.search(rf"(?<!\w){re.escape(head.name)}(?!\w)", self.sql)))
        table = self._table(error)
        sign = (error.sqlstate or "", table.head.label if table else "", error.diag.column_name or "", error.diag.message_primary or "")
        remedies = list(self._remedies(error, table))
        for remedy in remedies[self.seen[sign] :]:
            self.seen[sign] += 1
            try:
                if text := remedy():
                    return Change(text)
            except psycopg.Error:
                continue
        return self._empty(table)

    def _table(self, error: psycopg.Error) -> Table | None:
        """The table that the error names, if it is there before the migration."""
        schema, name = error.diag.schema_name, error.diag.table_name
        heads = [head for head in self.rows.heads.values() if head.name == name and (not schema or head.schema == schema)]
        if not heads:
            return None
        return self.rows.tables.get(heads[0].oid) or self.rows.add(heads[:1])[0]

    def _remedies(self, error: psycopg.Error, table: Table | None) -> Iterator[Remedy]:
        """From gentle to harsh."""
        state, message, detail = error.sqlstate or "", error.diag.message_primary or "", error.diag.message_detail or ""
        if state == "23502" and table:
            name = error.diag.column_name or ""
            column = next((c for c in table.columns if c.name == name), None)
            if column:
                yield lambda: self._fill_nulls(table, [column])
            elif adds_required_column(self.sql, name):
                return  # no row can have a column that is only being added
        elif state == "23503" and (key := KEY.search(detail)):
            value, found = key.group(2), PARENT.search(detail)
            if found and table:
                parent, columns = found.group(1), self.rows.columns_of(table, key.group(1))
                yield lambda: self.orphans.meet(table, columns, parent, error.diag.constraint_name or "")
                yield lambda: self.rows.set_values(table, [c for c in columns if not c.not_null], lambda _: None)
            if found:
                yield lambda: self._point_values(value, found.group(1))
            elif table:
                yield lambda: self._delete(table)
        elif state == "23505" and (key := KEY.search(detail)):
            value, columns = key.group(2), self.rows.columns_of(table, key.group(1)) if table else []
            if table and columns:
                yield lambda: self._make_distinct(table, columns)
                if message.startswith("duplicate key"):
                    yield lambda: self._delete_key(table, columns, value)
                yield lambda: self._delete_all_but_one(table)
            else:
                yield lambda: self._replace(value.split(", ")[0], lambda n: f"{value.split(', ')[0][:20]}-{n + 2}", None)
        elif state == "23514" and table and error.diag.constraint_name:
            yield lambda: self._meet_check(table, error.diag.constraint_name or "")
        elif LABEL.search(message) or SYNTAX.search(message):
            yield from self._retyped(message)
        elif state in ("22P02", "22023") and _SHAPE.search(message):
            yield lambda: self._reshape("[]" if _LIST_WANTED.search(message) else "{}")
        elif state == "22001" and (limit := TOO_LONG.search(message)):
            yield lambda: self._shorten(int(limit.group(1)))
        elif state == "22003":
            yield self._small_numbers
        if state[:2] in ("22", "23"):
            yield self._fill_all_nulls

    # ---- remedies ---------------------------------------------------------------------------------------------------

    def _fill_nulls(self, table: Table, columns: Sequence[Column], *, as_can_be: bool = False) -> str:
        """as_can_be: columns that stay as they are do not hinder the others."""
        planner = self.rows.planner(table)
        rows = [planner.row(n, PLAIN) for n in range(20, 32)]  # unlike the values that are there
        done = []
        for column in columns:
            values = [row[column.number] for row in rows if row.get(column.number) is not None]
            with suppress(*((psycopg.Error,) if as_can_be else ())):
                if values and self.rows.set_values(table, [column], lambda n, values=values: values[n % len(values)], only_null=True):  # type: ignore[misc]
                    done.append(column.name)
        return f"NULLs in {table.head.label} ({', '.join(done)}) were filled in" if done else ""

    def _fill_all_nulls(self) -> str:
        """The migration derives one table's rows from another's."""
        done = []
        for table in self.rows.tables.values():
            columns = [c for c in table.columns if not (c.not_null or c.generated or c.automatic)]
            if columns:
                with suppress(psycopg.Error):
                    done.append(self._fill_nulls(table, columns, as_can_be=True))
        return "; ".join(filter(None, done))

    def _point_values(self, value: str, parent: str) -> str:
        """The rows that miss their parent are made by the migration: change where their keys come from."""
        heads = [head for head in self.rows.heads.values() if head.name == parent]
        tables = read_tables(self.connection, heads[:1])
        for table in tables.values():
            primary = [unique.columns for unique in table.unique_sets if len(unique.columns) == 1 and unique.columns != (0,)]
            keys = [row[primary[0][0]] or "" for row in self.rows.rows_of(table.oid, primary[0])] if primary else []
            if keys:
                return self._replace(value, keys.__getitem__, keys)
        return ""

    def _delete_key(self, table: Table, columns: Sequence[Column], listed: str) -> str:
        if len(columns) != 1:
            return ""
        self.connection.execute(f"DELETE FROM {table.head.source} WHERE {quoted(columns[0].name)}::text = {literal(listed)}".encode())
        return f"the row {listed} of {table.head.label} was deleted"

    def _make_distinct(self, table: Table, columns: Sequence[Column]) -> str:
        foreign = {number for key in table.foreign_keys for number in key.columns}
        free = [c for c in columns if c.number not in foreign and self.rows.values.types[c.type].kind != "e" and c.type_text != "boolean"]
        if not free:
            return ""
        start = 50 + 20 * sum(self.seen.values())
        return self.rows.set_values(table, free[:1], lambda n: self.rows.value(table, free[0], start + n))

    def _meet_check(self, table: Table, name: str) -> str:
        """A check is added: search for values that pass it, among those that pass the others."""
        expression = check_text(self.sql, name)
        if not expression:
            return ""
        checked = replace(table, checks=(*table.checks, Check(name, (), expression)))
        planner = self.rows.planner(table)
        search = Search(lambda sql: query(self.connection, sql), checked, self.rows.values, planner.key_pools())
        columns = [c for c in table.columns if c.number in search.pools]
        if not columns:
            return ""
        texts = ", ".join(f"{quoted(c.name)}::text" for c in columns)
        found = query(self.connection, f"SELECT tableoid::int8, ctid::text, {texts} FROM {table.head.source} LIMIT 12")
        rows: list[Assignment] = [dict(zip([c.number for c in columns], row[2:], strict=True)) for row in found]
        solutions = search.solve(rows)
        for n, (place, row) in enumerate(zip(found, rows, strict=True)):
            for shift in range(8):
                with suppress(UniqueViolation):  # another row has these values: the next ones, then
                    solutions.apply(row, n, shift)
                    sets = ", ".join(f"{quoted(c.name)} = {literal(row[c.number])}" for c in columns)
                    where = f"tableoid = {place[0]}::oid AND ctid = '{place[1]}'::tid"
                    self.connection.execute(f"UPDATE {table.head.source} SET {sets} WHERE {where}".encode())
                    break
        return f"rows of {table.head.label} were made to pass {name}"

    def _delete(self, table: Table) -> str:
        self.connection.execute(f"DELETE FROM {table.head.source}".encode())
        return f"rows of {table.head.label} were deleted"

    def _delete_all_but_one(self, table: Table) -> str:
        source = table.head.source
        self.connection.execute(f"DELETE FROM {source} WHERE ctid <> (SELECT min(ctid) FROM {source})".encode())
        return f"all rows but one of {table.head.label} were deleted"

    def _retyped(self, message: str) -> Iterator[Remedy]:
        """A column gets a type that its values do not fit."""
        if label := LABEL.search(message):
            name, value = label.groups()
            yield lambda: self._relabel(name, value)
            yield lambda: self._delete_label(value)
        elif syntax := SYNTAX.search(message):
            kind, value = syntax.group(1), syntax.group(2)
            if value is not None:
                yield lambda: self._rewrite(kind, value)
            yield lambda: self._rewrite(kind, None)

    def _relabel(self, enum: str, value: str) -> str:
        bare = enum.strip('"')
        rows = query(
            self.connection,
            "SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FROM pg_catalog.pg_enum e "
            "JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid WHERE t.typname = %s",
            (bare,),
        )
        labels = [label for label in new_labels(self.sql, bare) or rows[0][0] or () if label != value]
        return self._replace(value, lambda n: labels[n % len(labels)], labels) if labels else ""

    def _delete_label(self, value: str) -> str:
        done = []
        for table in self.rows.tables.values():
            for column in table.columns:
                if value not in self.rows.values.types[column.type].labels:
                    continue
                where = f"{quoted(column.name)}::text = {literal(value)}"
                try:
                    if query(self.connection, f"DELETE FROM {table.head.source} WHERE {where} RETURNING 1"):
                        done.append(table.head.label)
                except psycopg.Error:
                    continue
        return f"rows of {', '.join(done)} with {value} were deleted" if done else ""

    def _rewrite(self, kind: str, value: str | None) -> str:
        """Texts that become numbers, documents, ...; without the value in the way: all texts that the migration names."""
        oid = query(self.connection, "SELECT pg_catalog.to_regtype(%s)::oid::int8", (kind.strip('"'),))[0][0]
        values = Values(read_types(self.connection, [oid] if oid else []))
        if not oid or not values.known(oid):
            return ""
        if value is not None:
            return self._replace(value, lambda n: values.text(oid, -1, 3, n), None)
        done = []
        for table in self.rows.tables.values():
            for column in table.columns:
                named = re.search(rf"(?<!\w){re.escape(column.name)}(?!\w)", self.sql)
                if named and self.rows.values.types[column.type].name in _TEXTS and not column.generated:
                    with suppress(psycopg.Error):
                        if self.rows.set_values(table, [column], lambda n: values.text(oid, -1, 3, n), only_set=True):
                            done.append(f"{table.head.label}.{column.name}")
        return f"values of {', '.join(done)} were replaced by such as fit" if done else ""

    def _replace(self, value: str, new: Callable[[int], str], labels: Sequence[str] | None) -> str:
        """In every column that holds the value, give all rows other ones. labels: the only ones that the new type has."""
        done = []
        for table in self.rows.tables.values():
            for column in table.columns:
                info = self.rows.values.types[column.type]
                member = self.rows.values.types.get(info.element) if info.category == "A" else info
                if column.generated or member is None or (member.name not in (*_TEXTS, "uuid") and member.kind != "e"):
                    continue
                fitting = list(labels or ())
                if member.kind == "e":
                    fitting = [label for label in fitting if label in member.labels]
                    if not fitting:
                        continue
                array = info.category == "A"
                where = f"{quoted(column.name)}::text LIKE {literal('%' + value.replace('_', chr(92) + '_') + '%')}"
                if not array:
                    where = f"{quoted(column.name)}::text = {literal(value)}"

                def pick(n: int, fitting: Sequence[str] = fitting, array: bool = array) -> str:
                    text = fitting[n % len(fitting)] if fitting else new(n)
                    return "{}" if array else text

                try:
                    found = query(self.connection, f"SELECT 1 FROM {table.head.source} WHERE {where} LIMIT 1")
                    # All rows: the next value of the same column would be in the way just as well.
                    if found and self.rows.set_values(table, [column], pick, only_set=True):
                        done.append(f"{table.head.label}.{column.name}")
                except psycopg.Error:
                    continue
        return f"values of {', '.join(done)} were replaced by such as fit" if done else ""

    def _reshape(self, document: str) -> str:
        """Documents of the other shape: the migration goes into their members."""
        done = []
        for table in self.rows.tables.values():
            for column in table.columns:
                if self.rows.values.types[column.type].name in ("json", "jsonb") and not column.generated:
                    with suppress(psycopg.Error):
                        if self.rows.set_values(table, [column], lambda _: document, only_set=True):
                            done.append(f"{table.head.label}.{column.name}")
        return f"documents of {', '.join(done)} became {document}" if done else ""

    def _shorten(self, length: int) -> str:
        done = []
        for table in self.rows.tables.values():
            for column in table.columns:
                name = quoted(column.name)
                if self.rows.values.types[column.type].name not in _TEXTS or column.generated:
                    continue
                found = query(self.connection, f"SELECT 1 FROM {table.head.source} WHERE length({name}) > {length} LIMIT 1")
                if found and self.rows.set_values(table, [column], lambda n: short_text(length, 3, n), only_set=True):
                    done.append(f"{table.head.label}.{column.name}")
        return f"values of {', '.join(done)} were shortened" if done else ""

    def _small_numbers(self) -> str:
        done = []
        for table in self.rows.tables.values():
            keys = {number for unique in table.unique_sets for number in unique.columns}
            keys |= {number for key in table.foreign_keys for number in key.columns}
            for column in table.columns:
                if self.rows.values.types[column.type].name not in _NUMBERS or column.generated or column.number in keys:
                    continue
                try:
                    if self.rows.set_values(table, [column], lambda n: str(n + 1), only_set=True):
                        done.append(f"{table.head.label}.{column.name}")
                except psycopg.Error:
                    continue
        return f"numbers of {', '.join(done)} were made small" if done else ""

    def _empty(self, table: Table | None) -> Change | None:
        """The rows of the table named by the error; next, of all that the migration names; last, of all there are."""
        named = [found.head for found in self.rows.tables.values()]
        for heads in ([table.head] if table else [], named, list(self.rows.heads.values())):
            counts = count_rows(self.connection, {head.oid: head.source for head in heads}, 1)
            with_rows = [head for head in heads if counts[head.oid]]
            if with_rows:
                self.connection.execute(f"TRUNCATE {', '.join(head.sql for head in with_rows)} CASCADE".encode())
                self.left |= {head.oid for head in with_rows}
                fill(self.connection, leave=self.left)  # what can do without them
                labels = tuple(head.label for head in with_rows)
                return Change(f"rows of {', '.join(labels)} were deleted, and those that need them", labels)
        return None
