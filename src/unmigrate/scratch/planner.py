"""The rows of one table, before they are inserted: which value each column gets in the n-th row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import psycopg
from psycopg.errors import CheckViolation, NotNullViolation, UniqueViolation

from unmigrate.scratch.checks import Assignment, Solutions, mentions
from unmigrate.scratch.order import automatic
from unmigrate.scratch.shape import Column, ForeignKey, Rows, Table, literal
from unmigrate.scratch.values import Style, Values, seed_of


@dataclass(frozen=True, slots=True)
class Variation:
    """How a row is made: mixed (ordinary, edge and NULL rows in turn), plain (ordinary, no NULL), minimal (only what is
    required), default (all values, but defaults where there are any), or copy (a row that was accepted, with one column
    of each unique set changed); shift moves all values on, so that they differ from those that failed.
    """

    kind: str
    shift: int = 0


MIXED, PLAIN, MINIMAL = Variation("mixed"), Variation("plain"), Variation("minimal")
VARIATIONS = (
    MIXED, PLAIN, MINIMAL,
    *(Variation(kind, shift) for shift in (1, 2, 3) for kind in ("copy", "plain", "default")),
)  # fmt: skip
MOST_LINKED = 6  # parents that a table with several keys to them links
STRIDE = 7  # odd, so that a shift changes the value of a boolean


class Planner:
    def __init__(self, table: Table, values: Values, keys: Mapping[int, Sequence[Assignment]], late: frozenset[str], plain: bool) -> None:
        """keys: the rows known of parent tables, filled in while the plan is used. late: foreign keys left NULL."""
        self.table, self.values, self.keys, self.late = table, values, keys, late
        self.default = PLAIN if plain else MIXED
        self.solutions = Solutions()
        self.accepted: Assignment | None = None  # a row that the server took
        self.columns = {column.number: column for column in table.columns}
        self.foreign = {number for key in table.foreign_keys for number in key.columns}
        self.distinguishing = {
            column.number
            for column in table.columns
            for unique in table.unique_sets
            if column.number in unique.columns or mentions(unique.text, column.name)
        }
        # Wide keys first: narrower ones then find their shared columns settled. Keys to the table itself come last.
        self.ordered_keys = sorted(table.foreign_keys, key=lambda k: (k.parent == table.oid, -len(k.columns)))
        parents = Counter(key.parent for key in table.foreign_keys if key.parent != table.oid)
        self.linking = [key for key in self.ordered_keys if parents[key.parent] > 1]  # they link rows of one table with each other

    def key_pools(self) -> dict[int, list[str | None]]:
        """For each foreign key column the only values that it may have."""
        pools: dict[int, list[str | None]] = {}
        for key in self.table.foreign_keys:
            parents = [] if key.name in self.late else self._parents(key, 0)
            for number, parent_number in zip(key.columns, key.parent_columns, strict=True):
                options: list[str | None] = list(dict.fromkeys(row[parent_number] for row in parents))
                if not self.columns[number].not_null:
                    options.append(None)
                known = pools.get(number)
                pools[number] = options if known is None else [value for value in known if value in options]
        return pools

    def row(self, n: int, variation: Variation | None = None) -> Assignment:
        how = variation or self.default
        row: Assignment = {}
        for column in self.table.columns:
            if column.generated or column.automatic or column.number in self.foreign:
                continue
            self._set_value(row, column, n, how)
        for position, key in enumerate(self.ordered_keys):
            self._set_key(row, key, n, how, position)
        self.solutions.apply(row, n, how.shift)
        return row

    def varied(self, n: int, how: Variation, error: psycopg.Error | None) -> Assignment:
        """The row once more, made differently, and with what the last error asked for."""
        row = self._copied(self.accepted, n, how) if how.kind == "copy" and self.accepted else self.row(n, how)
        if isinstance(error, CheckViolation) and not how.shift:
            self.solutions.apply(row, n, 1)
        for column in self.table.columns:
            missing = isinstance(error, NotNullViolation) and error.diag.column_name == column.name
            if missing and row.get(column.number) is None:
                row[column.number] = self._ordinary(column, n)
            # Rows written with numbers of their own leave the sequence behind: after some tries, go far beyond them.
            behind = isinstance(error, UniqueViolation) and column.automatic and column.number in self.distinguishing
            if behind and how.shift > 1:
                row[column.number] = str(10_000 + 97 * how.shift + n)
        return row

    def _copied(self, accepted: Assignment, n: int, how: Variation) -> Assignment:
        """The accepted row but for one column of each unique set: keys first, then what has the most values."""
        fresh = self.row(n, Variation("plain", how.shift))
        row = dict(accepted)
        for unique in self.table.unique_sets:
            rank = {number: (number not in self.foreign, self._small(number)) for number in unique.columns if number in row}
            choice = sorted(rank, key=lambda number: rank[number])
            if choice and all(row[number] == accepted[number] for number in choice):
                changed = choice[(how.shift - 1) % len(choice)]
                together = next((key.columns for key in self.table.foreign_keys if changed in key.columns), (changed,))
                row.update({number: fresh[number] for number in together if number in fresh})
        return row

    def _small(self, number: int) -> bool:
        """Whether a column has few values."""
        column = self.columns.get(number)
        return column is not None and (self.values.types[column.type].kind == "e" or column.type_text == "boolean")

    def distinct(self, rows: Sequence[Assignment]) -> list[Assignment]:
        """The rows without those that repeat a unique key; another variation of them instead, where there is one."""
        kept: list[Assignment] = []
        for n, row in enumerate(rows):
            for shift in range(1, 9):
                if not self._repeats(row, kept):
                    break
                row = self.row(n, Variation("plain" if shift < 7 else "minimal", shift))
            if not self._repeats(row, kept):
                kept.append(row)
        return kept

    def explicit_keys(self, run: Callable[[str], Rows], numbers: Sequence[int], count: int) -> list[Assignment]:
        """Values for the columns that others point to, decided before the INSERT; sequences are asked for theirs."""
        rows: list[Assignment] = [self.row(n) for n in range(count)]
        rows = [{number: row.get(number) for number in numbers} for row in rows]
        for number in numbers:
            column = self.columns[number]
            if column.automatic:
                place = f"{literal(self.table.sql)}, {literal(column.name)}"
                source = f"pg_catalog.nextval(pg_catalog.pg_get_serial_sequence({place}))"
                source = source if column.identity else str(column.default)
                found = run(f"SELECT ({source})::text FROM pg_catalog.generate_series(1, {count})")
                for row, (value,) in zip(rows, found, strict=True):
                    row[number] = value
        return rows

    # ---- columns ----------------------------------------------------------------------------------------------------

    def _set_value(self, row: Assignment, column: Column, n: int, how: Variation) -> None:
        """Leaves the column out of the row where its default is to be used."""
        known = self.values.known(column.type)
        optional = column.default or not column.not_null
        if how.kind == "minimal" and column.number not in self.distinguishing and optional:
            if not column.default:
                row[column.number] = None
            return
        if column.default and (not known or (how.kind == "default" and column.number not in self.distinguishing)):
            return
        if not known and not column.not_null:
            row[column.number] = None
            return
        turn = n % 3 if how.kind == "mixed" and column.number not in self.distinguishing else 0
        if turn == 2 and not column.not_null:
            row[column.number] = None
        elif turn == 2 and column.default and "(" not in column.default:
            return
        elif not known:
            row[column.number] = "1"
        else:
            row[column.number] = self._ordinary(column, n + STRIDE * how.shift, Style.EDGE if turn else Style.ORDINARY)

    def _ordinary(self, column: Column, n: int, style: Style = Style.ORDINARY) -> str:
        text = self.values.text(column.type, column.typmod, seed_of(self.table.name, column.name), n, style)
        if column.type_text in ("json", "jsonb") and (column.default or "").startswith("'["):
            return f"[{text}]" if style is Style.ORDINARY else "[]"  # a later migration may well count on it
        return text

    # ---- foreign keys -----------------------------------------------------------------------------------------------

    def _parents(self, key: ForeignKey, n: int) -> Sequence[Assignment]:
        known = self.keys.get(key.parent, ())
        if known or key.parent != self.table.oid:
            return known
        if automatic(self.table, key.parent_columns) or self.foreign & set(key.parent_columns):
            return ()
        # The table's own rows, as they are going to be: each row points to the one before it.
        before = max(0, n - 1)
        return [{number: self._ordinary(self.columns[number], before) for number in key.parent_columns}]

    def _set_key(self, row: Assignment, key: ForeignKey, n: int, how: Variation, position: int) -> None:
        nullable = [number for number in key.columns if not self.columns[number].not_null and number not in row]
        own_first = key.parent == self.table.oid and n == 0 and not self.keys.get(key.parent)
        wants_null = (how.kind == "mixed" and n % 3 == 2) or how.kind == "minimal" or own_first
        options = [] if key.name in self.late or (wants_null and nullable) else list(self._parents(key, n))
        start = self._linked(key, len(options), n + how.shift)
        if start is None:
            start = (n + how.shift * (position + 1)) % len(options) if options else 0
        for parent in [*options[start:], *options[:start]]:
            wanted = {number: parent[other] for number, other in zip(key.columns, key.parent_columns, strict=True)}
            if all(row.get(number, value) == value for number, value in wanted.items()):
                row.update(wanted)
                return
        for number in nullable or [number for number in key.columns if number not in row]:
            row[number] = None if nullable else self._ordinary(self.columns[number], n)
        for number in key.columns:
            if number not in row:
                row[number] = self._ordinary(self.columns[number], n)

    def _linked(self, key: ForeignKey, count: int, n: int) -> int | None:
        """Which of so many parents, where the table links them: always from an earlier one to a later one, as what walks along would go
        round a circle for ever. None where it does not, or they are too few.
        """
        keys = [other for other in self.linking if other.parent == key.parent] if key in self.linking else []
        if not 1 < len(keys) <= min(count, MOST_LINKED):
            return None
        sets = sorted(combinations(range(min(count, MOST_LINKED)), len(keys)), key=lambda chosen: (chosen[-1] - chosen[0], chosen))
        return sets[n % len(sets)][keys.index(key)]

    def _repeats(self, row: Assignment, kept: Sequence[Assignment]) -> bool:
        for unique in self.table.unique_sets:
            if unique.text or any(number not in row for number in unique.columns):
                continue  # a condition or expression, or a number the server gives: the INSERT will tell
            values = [row[number] for number in unique.columns]
            if unique.nulls_distinct and None in values:
                continue
            if any(all(other.get(number) == row[number] for number in unique.columns) for other in kept):
                return True
        return False
