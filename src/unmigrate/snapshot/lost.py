"""What undone migrations had destroyed, as parts that can be brought back from a snapshot: tables, columns, values.

Names are those from before the migrations, which the live database has again since the way back, and the snapshot has still.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal

import psycopg

from unmigrate.catalog.model import Catalog, Object
from unmigrate.errors import RefusedError
from unmigrate.guard.keys import ForeignKey, foreign_keys, row_key
from unmigrate.park import vault
from unmigrate.plan.model import Loss, from_json
from unmigrate.prisma.ledger import read_ledger, states

Kind = Literal["rows", "columns", "edits", "deletes"]
_LAST = """
select o.id, o.plan, (select l.xmin::text from unmigrate.ledger_row l, unmigrate.meta m
  where l.operation = o.id and age(m.xmin) > age(l.xmin) limit 1)
from unmigrate.operation o where o.kind = 'rollback' and o.state = 'done' and (%(name)s::text is null or %(name)s = any (o.migrations))
order by o.started_at desc limit 1"""

_OF_COLUMN = re.compile(r'\.(?:"(?:[^"]|"")+"|[^."]+)$')


@dataclass(frozen=True, slots=True)
class Undone:
    """A rollback in the vault. xid: of the transaction that switched, None where it is not known: in a database that was dumped and
    loaded since, rows have other writers, which shows in a vault that is younger than what it recorded. losses, checksums
    ({migration: sha256}) and down (statements of the switch) of its plan; failed: the migration was half applied."""

    operation: str
    migrations: tuple[str, ...]
    losses: tuple[Loss, ...]
    xid: str | None
    checksums: dict[str, str] = field(default_factory=dict)
    down: tuple[str, ...] = ()
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """name and type as SQL. empty: SQL for the value it returned with, as text; None where that is not one value for all rows."""

    name: str
    type: str
    empty: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One table's share. kind: what is done (see `merge`): "rows" of a table that was dropped return, "columns" of one that was not.

    key: what identifies a row, () for a table without, whose rows are brought back only while it is empty. columns: what is brought
    back, of "rows" all of them. nulls: rows without any value in `columns` matter too. alone: all rows in one batch, as they refer to
    each other. rehearsed: what the migration itself changed or deleted (see `rehearse`). referring: foreign keys of rows that would go, or
    change, along with one that is deleted.
    """

    number: int
    table: str
    kind: Kind
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    triggers: tuple[tuple[str, str], ...] = ()
    nulls: bool = True
    alone: bool = False
    partitioned: bool = False
    rehearsed: bool = False
    referring: tuple[ForeignKey, ...] = ()

    @property
    def source(self) -> str:
        """The table as FROM and UPDATE want it: without the tables that inherit from it, which are parts of their own."""
        return self.table if self.partitioned else f"ONLY {self.table}"


@dataclass(frozen=True, slots=True)
class Found:
    """parts in the order in which they are to be brought back; left_out: (object, why) of what cannot be."""

    parts: tuple[Part, ...]
    left_out: tuple[tuple[str, str], ...]


def undone(connection: psycopg.Connection[Any], name: str | None) -> Undone | None:
    """The last rollback (of this migration) that the vault knows. Raises RefusedError while one is unfinished."""
    if vault.version(connection) is None:
        return None
    if waiting := vault.operations(connection, unfinished=True):
        message = f"operation {waiting[0].id} ({', '.join(waiting[0].migrations)}) is not finished"
        raise RefusedError(message, code="unfinished", remedy="unmigrate rollback finishes it first")
    row = connection.execute(_LAST, {"name": name}).fetchone()
    if row is None:
        return None
    plan = from_json(row[1])
    down = tuple(step.sql for step in plan.steps if step.phase != "finish" and step.transactional)
    return Undone(row[0], plan.migrations, plan.losses, row[2], plan.checksums, down, plan.failed)


def refuse_applied(connection: psycopg.Connection[Any], schema: str, migrations: Sequence[str]) -> None:
    """What is still applied has first to be rolled back: its tables and columns are not there to be filled."""
    found = {s.name: s.state for s in states((), read_ledger(connection, schema) or ())}
    for name in migrations:
        if found.get(name) in ("applied", "failed"):
            message = f"{name} is {found[name]} here: what it destroyed has no place to return to"
            raise RefusedError(message, code="applied", remedy=f"unmigrate rollback {name} --refill SNAPSHOT does both")


def destroyed(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Of a plan's losses those that a snapshot can give back."""
    return tuple(loss for loss in losses if loss.kind in ("column", "table"))


def changed(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """Of a plan's losses those that only a rehearsal tells: what the migration itself did to rows."""
    return tuple(loss for loss in losses if loss.kind == "values")


def tables(losses: Iterable[Loss]) -> tuple[str, ...] | None:
    """Tables whose rows are read to bring these back; None where the migration is rehearsed, which may read any."""
    found = tuple(losses)
    if changed(found):
        return None
    return tuple(sorted({x.object if x.kind == "table" else _OF_COLUMN.sub("", x.object) for x in found}))


def find(losses: Sequence[Loss], live: Catalog, old: Catalog) -> Found:
    """Tables, columns and changed values, looked up in both databases."""
    left: list[tuple[str, str]] = []
    tables = [t for loss in losses if loss.kind == "table" and (t := _table(loss.object, live, old, left))]
    columns: dict[str, list[Object]] = {}
    for loss in losses:
        if loss.kind == "column" and (column := _column(loss.object, live, old, left)):
            columns.setdefault(column.facts["table"], []).append(column)
    whole = {t.name for t in tables}
    rows = [_rows(t, live, old, left) for t in tables if not _covered(t, whole)]
    some = []
    for name, lost in columns.items():
        table = live.named("table", name)
        if table is not None and name not in whole and not _covered(table, columns.keys()):
            some.append(_columns(table, lost, live, old, left))
    ordered = [*parents_first([p for p in rows if p], live), *(p for p in some if p)]
    ordered += _values(losses, live, old, whole, columns, left)
    return Found(tuple(numbered(ordered)), tuple(left))


def numbered(parts: Iterable[Part]) -> Iterator[Part]:
    for number, part in enumerate(parts, 1):
        yield replace(part, number=number)


def _covered(table: Object, names: Iterable[str]) -> bool:
    """A partition comes with its table."""
    return bool(table.facts["partition_bound"]) and any(parent in names for parent in table.facts["parents"] or ())


def _table(name: str, live: Catalog, old: Catalog, left: list[tuple[str, str]]) -> Object | None:
    found = live.named("table", name)
    if found is None or old.named("table", name) is None:
        left.append((name, _missing(found)))
        return None
    return found


def _missing(live: Object | None) -> str:
    where = "the snapshot" if live else "this database"
    return f"{where} has nothing of this name: it was made or renamed by another of the migrations, or is not back"


def _column(name: str, live: Catalog, old: Catalog, left: list[tuple[str, str]]) -> Object | None:
    found, other = live.named("column", name), old.named("column", name)
    if found is None or other is None:
        left.append((name, _missing(found)))
    elif found.facts["type"] != other.facts["type"]:
        left.append((name, f"it is {other.facts['type']} in the snapshot, and {found.facts['type']} here"))
    elif found.facts["identity"] == "a":
        left.append((name, "PostgreSQL lets nobody set GENERATED ALWAYS AS IDENTITY in rows that are there"))
    elif not found.facts["generated"]:
        return found
    return None


def _rows(table: Object, live: Catalog, old: Catalog, left: list[tuple[str, str]]) -> Part | None:
    there = old.named("table", table.name)
    assert there is not None
    types = {c.facts["label"]: c.facts["type"] for c in old.columns(there.key)}
    mine = [c for c in live.columns(table.key) if not c.facts["generated"]]
    common = [c for c in mine if types.get(c.facts["label"]) == c.facts["type"]]
    for c in mine:
        if c not in common and c.facts["label"] in types:
            left.append((c.name, f"it is {types[c.facts['label']]} in the snapshot, and {c.facts['type']} here"))
    gone = types.keys() - {c.facts["label"] for c in live.columns(table.key)}
    left += [(f"{table.name}.{label}", "this database has no such column any more") for label in sorted(gone)]
    key = common_key(table, there, live, old, frozenset(c.facts["label"] for c in common))
    alone = not key or any(fk.child == fk.parent == table.name for fk in foreign_keys(live))
    columns = tuple(Column(c.facts["label"], c.facts["type"]) for c in common)
    return Part(
        0, table.name, "rows", key, columns, triggers(table, live), alone=alone, partitioned=table.facts["relkind"] == "p"
    )  # fmt: skip


def _columns(table: Object, lost: list[Object], live: Catalog, old: Catalog, left: list[tuple[str, str]]) -> Part | None:
    there = old.named("table", table.name)
    assert there is not None
    types = {c.facts["label"]: c.facts["type"] for c in old.columns(there.key)}
    names = {c.facts["label"] for c in lost}
    allowed = {c.facts["label"] for c in live.columns(table.key) if types.get(c.facts["label"]) == c.facts["type"]} - names
    key = common_key(table, there, live, old, frozenset(allowed))
    if not key:
        left += [(c.name, f"nothing else identifies a row of {table.name} here and in the snapshot") for c in lost]
        return None
    columns = tuple(Column(c.facts["label"], c.facts["type"], _empty(c)) for c in lost)
    nulls = any(c.facts["default"] is not None or c.facts["notnull"] for c in lost)
    return Part(
        0, table.name, "columns", key, columns, triggers(table, live), nulls=nulls, partitioned=table.facts["relkind"] == "p"
    )  # fmt: skip


def _values(
    losses: Sequence[Loss], live: Catalog, old: Catalog, whole: Collection[str], lost: dict[str, list[Object]], left: list[tuple[str, str]]
) -> list[Part]:  # fmt: skip
    """Rows that were deleted come first, parents before children; then what was changed in the others."""
    wanted: dict[str, set[str]] = {}
    for loss in changed(losses):
        column = live.named("column", loss.object)
        if column is not None:
            wanted.setdefault(column.facts["table"], set()).add(column.facts["label"])
        elif _table(loss.object, live, old, left):
            wanted.setdefault(loss.object, set()).add("")
    rows, edits = [], []
    for name, labels in wanted.items():
        table, there = live.named("table", name), old.named("table", name)
        if table is None or there is None or name in whole or _covered(table, wanted.keys()):
            continue
        part = _rows(table, live, old, left)
        if part is None or not part.key:
            left.append((name, "nothing identifies a row here and in the snapshot"))
            continue
        fixed = {
            c.facts["label"]
            for c in (*lost.get(name, ()), *live.columns(table.key))
            if c in lost.get(name, ()) or c.facts["identity"] == "a"
        }
        some = tuple(c for c in part.columns if c.name not in fixed and ("" in labels or c.name in labels))
        if "" in labels:
            rows.append(replace(part, rehearsed=True))
        edits.append(replace(part, kind="edits", columns=some, alone=False, rehearsed=True))
    return [*parents_first(rows, live), *(p for p in edits if p.columns)]


def _empty(column: Object) -> str | None:
    default = column.facts["default"]
    if default is None:
        return "NULL::text"
    constant = default.startswith(("'", "E'")) or default.replace(".", "", 1).replace("-", "", 1).isdigit() or default in ("true", "false")
    return f"({default})::{column.facts['type']}::text" if constant and "(" not in default.rpartition("'")[2] else None


def common_key(table: Object, there: Object, live: Catalog, old: Catalog, allowed: frozenset[str]) -> tuple[Column, ...]:
    """What is unique in both databases."""
    names = row_key(table, live, allowed)
    if not names or not row_key(there, old, frozenset(names)):
        return ()
    types = {c.facts["label"]: c.facts["type"] for c in live.columns(table.key)}
    return tuple(Column(name, types[name]) for name in names)


def triggers(table: Object, live: Catalog) -> tuple[tuple[str, str], ...]:
    """Those of people that are not switched off: (name, mode)."""
    found = (o for o in live.parts(table.key.oid) if o.kind == "trigger" and o.facts["enabled"] != "D")
    return tuple(sorted((o.facts["label"], o.facts["enabled"]) for o in found))


def parents_first(parts: list[Part], live: Catalog) -> list[Part]:
    by_name = {p.table: p for p in parts}
    needs: dict[str, set[str]] = {name: set() for name in sorted(by_name)}
    for fk in foreign_keys(live):
        if fk.child in by_name and fk.parent in by_name and fk.child != fk.parent:
            needs[fk.child].add(fk.parent)
    while True:
        try:
            return [by_name[name] for name in TopologicalSorter(needs).static_order()]
        except CycleError as error:  # its rows wait for each other: see `refill`
            needs[error.args[1][1]].discard(error.args[1][0])
