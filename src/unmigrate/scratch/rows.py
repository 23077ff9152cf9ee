"""Generated rows in every table of a scratch database, whatever its constraints.

    fill(connection)                 every user table gets at least three rows
    fill(connection, tables=[oid])   these tables, and those of their parents that are empty

A table that has enough rows is left alone. Parents come before children; cycles of foreign keys are closed afterwards
where a key may be NULL, and inserted by one statement where it may not. The first rows are different on purpose: an
ordinary one, one with edge values, one with NULLs. Values come from names and row numbers alone, so two runs write the
same. All rows of a table are one INSERT; when it fails each row is tried in a few variations. What cannot be filled is
listed with its reason. Inside an open transaction every attempt has a savepoint. Tables are filled, never altered, but
for triggers and forced policies that reject every attempt: those are switched off for that INSERT (see force.py) and
named in the coverage's notes.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from unmigrate.scratch.checks import Assignment, Search, Solutions, domain_pools
from unmigrate.scratch.force import insert_without_guards
from unmigrate.scratch.order import Batch, in_order
from unmigrate.scratch.planner import PLAIN, VARIATIONS, Planner
from unmigrate.scratch.shape import (
    Head,
    Table,
    count_rows,
    key_columns,
    literal,
    query,
    quoted,
    read_heads,
    read_tables,
    read_types,
    referenced_columns,
)
from unmigrate.scratch.values import Values

PER_TABLE = 3  # rows, unless more or fewer are asked for
SAME_KEY = 4  # variations of a row that may meet the same taken key
NOT_NULL = "23502"  # SQLSTATE of a NULL in a NOT NULL column
KEYS_READ = 6  # rows of an already filled parent whose keys are used


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which tables have rows now, and why others have none, or fewer than asked for."""

    filled: dict[str, int] = field(default_factory=dict)  # schema.table, quoted where needed -> rows (counted up to what was asked for)
    empty: dict[str, str] = field(default_factory=dict)  # schema.table -> reason
    partial: dict[str, str] = field(default_factory=dict)  # filled with fewer rows than asked for: why
    notes: dict[str, str] = field(default_factory=dict)  # what had to be switched off to insert


def fill(
    connection: psycopg.Connection[Any],
    tables: Iterable[int] | None = None,
    per_table: int = PER_TABLE,
    *,
    plain: bool = False,
    leave: Collection[int] = (),
) -> Coverage:
    """Insert rows until each table has per_table of them.

    plain: ordinary values only, and no NULLs. leave: tables that get no rows, not even as parents of others.
    """
    return _Filler(connection, tables, per_table, plain, frozenset(leave)).run()


class _Filler:
    def __init__(
        self, connection: psycopg.Connection[Any], tables: Iterable[int] | None, per_table: int, plain: bool, leave: frozenset[int]
    ) -> None:
        self.connection, self.per_table, self.plain, self.leave = connection, per_table, plain, leave
        # A connection without autocommit opens a transaction by itself.
        idle = connection.info.transaction_status == TransactionStatus.IDLE
        self.in_transaction = not (connection.autocommit and idle)
        self.asked = list(tables) if tables is not None else None
        self.heads: dict[int, Head] = {}  # all tables that are looked at
        self.tables: dict[int, Table] = {}  # those that get rows
        self.referenced: dict[int, tuple[int, ...]] = {}
        self.have: dict[int, int] = {}
        self.keys: dict[int, list[Assignment]] = {}  # rows known of tables that others point to
        self.reasons: dict[int, str] = {}
        self.notes: dict[str, str] = {}
        self.solutions: dict[int, Solutions] = {}

    def run(self) -> Coverage:
        self._read()
        todo = list(self.tables.values())
        types = read_types(self.connection, {column.type for table in todo for column in table.columns})
        self.values = Values(types)
        if todo:
            self._try_unknown_types()
            domain_pools(self.query, self.values)
        batches = in_order(todo)
        for batch in batches:
            self._fill_batch(batch)
        # A trigger or a check may have needed rows that came later.
        for table in todo:
            if self.have[table.oid] == 0 and len(todo) > 1:
                self._fill_table(table, frozenset())
        for batch in batches:
            for table in batch.tables:
                self._close_cycles(table, batch.late[table.oid])
        return self._coverage()

    # ---- reading ----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """The tables that lack rows, and above them every parent without any. Parents with rows only give their keys."""
        wanted: Iterable[int] | None = self.asked
        while wanted is None or wanted:
            heads = read_heads(self.connection, wanted)
            self.heads.update(heads)
            sources = {oid: head.source for oid, head in heads.items()}
            self.have.update(count_rows(self.connection, sources, self.per_table))
            found = read_tables(self.connection, [head for head in heads.values() if self._lacking(head)])
            self.tables.update(found)
            known, self.referenced = self.referenced, referenced_columns(self.tables)
            parents = {key.parent for table in found.values() for key in table.foreign_keys}
            self._read_keys({oid for oid in parents if oid not in self.keys or self.referenced[oid] != known.get(oid)})
            if wanted is None:
                break
            wanted = {oid for oid in parents if not self.keys[oid]} - self.heads.keys() - self.leave

    def _lacking(self, head: Head) -> bool:
        """Whether a table gets rows: parents that nobody asked for only when they are empty."""
        if head.oid in self.leave:
            return False
        asked = self.asked is None or head.oid in self.asked
        return self.have[head.oid] < (self.per_table if asked else 1)

    def _read_keys(self, oids: Iterable[int]) -> None:
        """What foreign keys can point to in tables that have rows already."""
        wanted = {oid: self.referenced[oid] for oid in oids if oid in self.referenced}
        for oid in oids:
            self.keys[oid] = []
        parts = []
        for oid, (source, names) in key_columns(self.connection, wanted).items():
            texts = ", ".join(f"{quoted(names[number])}::text" for number in wanted[oid])
            parts.append(f"(SELECT {oid}::int8, ARRAY[{texts}] FROM {source} LIMIT {KEYS_READ})")
        for oid, row in self.query(" UNION ALL ".join(parts)) if parts else ():
            self.keys[oid].append(dict(zip(wanted[oid], row, strict=True)))

    def _try_unknown_types(self) -> None:
        """Types of extensions that values.py does not know: whatever text their input function takes."""
        needed = {column.type for table in self.tables.values() for column in table.columns}
        for oid in {base for kind in needed for base in self.values.unknown_bases(kind)}:
            accepted = []
            for guess in ("1", "2", "3", "a", "b", "c", "{}", "(1,1)", "(2,1)", "[1,2]", "1.0.0", "1.0.1", "a=1", ""):
                try:
                    self.query(f"SELECT {literal(guess)}::text::{self.values.types[oid].text}")
                    accepted.append(guess)
                except psycopg.Error:
                    continue
            if accepted:
                self.values.pools[oid] = accepted

    # ---- inserting --------------------------------------------------------------------------------------------------

    def _fill_batch(self, batch: Batch) -> None:
        if len(batch.tables) == 1 and not batch.circular:
            self._fill_table(batch.tables[0], batch.late[batch.tables[0].oid])
        else:
            self._fill_circle(batch)

    def _planner(self, table: Table, late: frozenset[str]) -> Planner:
        planner = Planner(table, self.values, self.keys, late, self.plain)
        if table.oid not in self.solutions:
            self._solve(table, planner)
        planner.solutions = self.solutions[table.oid]
        return planner

    def _solve(self, table: Table, planner: Planner, thorough: bool = False) -> None:
        self.solutions[table.oid] = planner.solutions = Solutions()
        if table.checks or table.bound or table.leaf_bounds:
            search = Search(self.query, table, self.values, planner.key_pools())
            planned = [planner.row(n) for n in range(self.per_table)]
            self.solutions[table.oid] = planner.solutions = search.solve(planned, thorough)

    def _fill_table(self, table: Table, late: frozenset[str]) -> None:
        if table.head.partitioned and not table.leaf_bounds:
            self.reasons[table.oid] = "a partitioned table without partitions holds no rows"
            return
        if late == frozenset() and table.oid in self.reasons:
            self.solutions.pop(table.oid, None)  # a second try: parents may have keys now
        planner = self._planner(table, late)
        numbers = range(self.have[table.oid], self.per_table)
        rows = planner.distinct([planner.row(n) for n in numbers])
        try:
            if len(rows) == len(numbers) and self._insert(table, rows) == len(rows):
                self.reasons.pop(table.oid, None)
                return
        except psycopg.Error as error:
            self.reasons[table.oid] = reason_of(error)
            self._recount(table)
            if self._orphaned(table, error):
                return
        self._solve(table, planner, thorough=True)
        for n in range(self.have[table.oid], self.per_table):
            if self.have[table.oid] > n:
                continue
            if not self._insert_varied(table, planner, n):
                break

    def _orphaned(self, table: Table, error: psycopg.Error) -> bool:
        """Whether the row failed because it needs a row of another table, which has none: no other values would do."""
        required = {column.number for column in table.columns if column.not_null}
        names = {column.number: column.name for column in table.columns}
        for key in table.foreign_keys:
            empty = key.parent != table.oid and key.parent in self.have and not self.have[key.parent] and not self.keys.get(key.parent)
            missing = error.sqlstate == NOT_NULL and error.diag.column_name in {names[n] for n in key.columns}
            if empty and required.issuperset(key.columns) and (missing or error.diag.constraint_name == key.name):
                return True
        return False

    def _insert_varied(self, table: Table, planner: Planner, n: int) -> bool:
        """One row, by as many variations as are allowed; each learns from the error before."""
        error: psycopg.Error | None = None
        taken: Counter[str] = Counter()
        for variation in VARIATIONS:
            row = planner.varied(n, variation, error)
            try:
                if self._insert(table, [row]):
                    planner.accepted = row
                    return True
                self.reasons[table.oid] = "a trigger or rule of the table swallows inserted rows"
            except psycopg.Error as problem:
                error = problem
                self.reasons[table.oid] = reason_of(problem)
                if isinstance(problem, UniqueViolation):
                    taken[problem.diag.message_detail or ""] += 1
                if taken and max(taken.values()) >= SAME_KEY:
                    break  # nothing but this key passes the table's other constraints
        if error is None or self.have[table.oid]:
            return False
        return self._insert_unguarded(table, planner, n, error)

    def _insert_unguarded(self, table: Table, planner: Planner, n: int, error: psycopg.Error) -> bool:
        rows = planner.distinct([planner.row(i, PLAIN) for i in range(n, self.per_table)])
        try:
            returned, guards = insert_without_guards(self.connection, table, error, self._statement(table, rows))
        except psycopg.Error:
            return False
        self._register(table, returned)
        if returned:
            self.notes[table.head.label] = f"inserted without {', '.join(guards)}, because: {self.reasons.pop(table.oid)}"
        return bool(returned)

    def _fill_circle(self, batch: Batch) -> None:
        """Tables whose required keys point at each other: one statement, at whose end alone the keys are checked."""
        planners = {table.oid: self._planner(table, batch.late[table.oid]) for table in batch.tables}
        count = self.per_table
        for table in batch.tables:
            fixed = planners[table.oid].explicit_keys(self.query, self.referenced.get(table.oid, ()), count)
            self.keys[table.oid] = fixed
        parts, planned = [], {}
        for table in batch.tables:
            planner = planners[table.oid]
            rows = [{**planner.row(n), **self.keys[table.oid][n]} for n in range(count)]
            planned[table.oid] = rows
            parts.append(f"t{table.oid} AS ({self._statement(table, rows)})")
        try:
            self.query(f"WITH {', '.join(parts)} SELECT 1")
            for table in batch.tables:
                self.have[table.oid] = count
        except psycopg.Error as error:
            for table in batch.tables:
                self.reasons[table.oid] = reason_of(error)
                self.keys[table.oid] = []

    def _statement(self, table: Table, rows: Sequence[Assignment]) -> str:
        columns = [column for column in table.columns if any(column.number in row for row in rows)]
        override = " OVERRIDING SYSTEM VALUE" if any(column.identity for column in columns) else ""
        names = {column.number: quoted(column.name) for column in table.columns}
        returned = ", ".join(f"{names[number]}::text" for number in self.referenced.get(table.oid, ()))
        tail = f" RETURNING ctid::text, ARRAY[{returned}]::text[]"
        settable = columns or [column for column in table.columns if not column.generated][:1]
        if not settable:
            return f"INSERT INTO {table.sql} DEFAULT VALUES{tail}"
        numbers = [column.number for column in settable]
        tuples = (", ".join(literal(row[c]) if c in row else "DEFAULT" for c in numbers) for row in rows)
        values = ", ".join(f"({one})" for one in tuples)
        return f"INSERT INTO {table.sql} ({', '.join(names[c] for c in numbers)}){override} VALUES {values}{tail}"

    def _insert(self, table: Table, rows: Sequence[Assignment]) -> int:
        if not rows:
            return 0
        deferred = [f"{quoted(table.head.schema)}.{quoted(key.name)}" for key in table.foreign_keys if key.deferred]
        returned = self.query(self._statement(table, rows), deferred)
        self._register(table, returned)
        return len(returned)

    def _register(self, table: Table, returned: Sequence[tuple[Any, ...]]) -> None:
        self.have[table.oid] += len(returned)
        numbers = self.referenced.get(table.oid, ())
        if numbers:
            known = self.keys.setdefault(table.oid, [])
            known += [dict(zip(numbers, row[1], strict=True)) for row in returned]

    def _recount(self, table: Table) -> None:
        """A trigger elsewhere may have inserted rows here since the tables were counted."""
        count = count_rows(self.connection, {table.oid: table.head.source}, self.per_table)[table.oid]
        if count > self.have[table.oid]:
            self.have[table.oid] = count
            self._read_keys([table.oid])

    def _close_cycles(self, table: Table, late: frozenset[str]) -> None:
        """Point the foreign keys that had to wait at rows that exist now."""
        columns = {column.number: column for column in table.columns}
        for key in table.foreign_keys:
            parents = self.keys.get(key.parent, [])[: max(1, self.per_table - 1)]  # the last row keeps its NULL
            if key.name not in late or not parents or not self.have[table.oid]:
                continue
            types = [columns[number].type_text for number in key.columns]
            tuples = []
            for n, parent in enumerate(parents):
                texts = [literal(parent[number]) for number in key.parent_columns]
                tuples.append(f"({n + 1}, {', '.join(f'{x}::{kind}' for x, kind in zip(texts, types, strict=True))})")
            names = [quoted(columns[number].name) for number in key.columns]
            nullable = [quoted(columns[number].name) for number in key.columns if not columns[number].not_null]
            aliases = [f"c{number}" for number in key.columns]
            sets = ", ".join(f"{name} = v.{alias}" for name, alias in zip(names, aliases, strict=True))
            unset = " AND ".join(f"t.{name} IS NULL" for name in nullable)
            sql = (
                f"UPDATE {table.head.source} t SET {sets} "
                f"FROM (SELECT ctid, tableoid, row_number() OVER () AS n FROM {table.head.source}) s "
                f"JOIN (VALUES {', '.join(tuples)}) v(n, {', '.join(aliases)}) ON v.n = s.n "
                f"WHERE t.ctid = s.ctid AND t.tableoid = s.tableoid AND {unset} RETURNING 1"
            )
            with contextlib.suppress(psycopg.Error):
                self.query(sql)  # should it fail, the rows stay with this key NULL

    def query(self, sql: str, deferred: Sequence[str] = ()) -> list[tuple[Any, ...]]:
        """Run one statement; when it fails, an open transaction goes on as if it had not been run."""
        if not self.in_transaction:
            return query(self.connection, sql)
        checks = "".join(f"SET CONSTRAINTS {name} IMMEDIATE;SET CONSTRAINTS {name} DEFERRED;" for name in deferred)
        with self.connection.cursor(row_factory=tuple_row) as cursor:
            try:
                cursor.execute(f"SAVEPOINT unmigrate_fill;{sql};{checks}RELEASE SAVEPOINT unmigrate_fill".encode())
            except psycopg.Error:
                self.connection.execute(b"ROLLBACK TO SAVEPOINT unmigrate_fill;RELEASE SAVEPOINT unmigrate_fill")
                raise
            cursor.nextset()
            return cursor.fetchall()

    def _coverage(self) -> Coverage:
        coverage = Coverage(notes=self.notes)
        for oid, head in self.heads.items():
            count, reason = self.have[oid], self.reasons.get(oid, "")
            if count:
                coverage.filled[head.label] = count
                if self._lacking(head):
                    coverage.partial[head.label] = reason or "no further row fits its unique keys"
            else:
                left = "left without rows on purpose" if oid in self.leave else "no row fits its keys"
                coverage.empty[head.label] = reason or left
        return coverage


def reason_of(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())[:300]
