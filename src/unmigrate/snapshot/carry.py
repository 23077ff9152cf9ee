"""Carry-over: after a full restore, rows written in the old database since the snapshot are merged by key into the restored one.

Three states are compared, by key: the snapshot, the old database, and the restored one as it is now. A row or value that only the old
database changed is carried over; one that both changed is a conflict, kept as it is in the restored one and listed. What a migration
itself wrote to (in the old database) cannot be told from what people wrote: such tables are held back unless they are asked for.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import bare
from unmigrate.guard.keys import ForeignKey, foreign_keys
from unmigrate.snapshot import lost, merge, merging, staging
from unmigrate.snapshot.compare import compared
from unmigrate.snapshot.databases import translated
from unmigrate.snapshot.job import Asked, Job, Report
from unmigrate.snapshot.lost import Column, Found, Kind, Part
from unmigrate.snapshot.provider import Say
from unmigrate.sql.writes import identifiers, may_write, writes
from unmigrate.words import amount

_Row = tuple[Any, ...]
_NAME = re.compile(r'"(?:[^"]|"")+"|[^.]+')
FETCH = 2000  # rows asked for by key at a time


@dataclass(frozen=True, slots=True)
class Table:
    """One that all three have. alone: it refers to itself. held: why it is not carried over unless asked for, or ""."""

    name: str
    key: tuple[Column, ...]
    columns: tuple[Column, ...]
    triggers: tuple[tuple[str, str], ...]
    partitioned: bool
    alone: bool
    held: str = ""
    referring: tuple[ForeignKey, ...] = ()

    def part(self, kind: Kind) -> Part:
        alone = self.alone and kind == "rows"
        return Part(
            0, self.name, kind, self.key, self.columns, self.triggers, alone=alone, partitioned=self.partitioned, referring=self.referring
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Since:
    """Where the old database differs from the snapshot: counts of rows. held: why it is not carried over, or ""."""

    table: str
    inserted: int
    edited: int
    deleted: int
    held: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Sides:
    """old: the database that was in use; base: the snapshot, or the restored database itself where nobody wrote to it yet."""

    old: psycopg.Connection[Any]
    base: psycopg.Connection[Any]


def tables(live: Catalog, old: Catalog, base: Catalog) -> tuple[tuple[Table, ...], tuple[tuple[str, str], ...]]:
    """Those that can be compared, parents first, and (table, why) of the others."""
    found, left = [], []
    for table in sorted((o for o in old.of_kind("table").values() if not o.facts["partition_bound"]), key=lambda o: o.name):
        here, there = live.named("table", table.name), base.named("table", table.name)
        if here is None or there is None:
            left.append((table.name, "the restored database has no table of this name: what is in it stays in the old one"))
            continue
        columns = _common(live, here, (old, table), (base, there))
        names = frozenset(c.name for c in columns)
        key = lost.common_key(here, table, live, old, names)
        if not key or lost.common_key(here, there, live, base, frozenset(k.name for k in key)) == ():
            left.append((table.name, "nothing identifies a row in all of them"))
            continue
        alone = any(fk.child == fk.parent == table.name for fk in foreign_keys(live))
        referring = tuple(fk for fk in foreign_keys(live) if fk.parent == table.name)
        partitioned = here.facts["relkind"] == "p"
        found.append(Table(table.name, key, columns, lost.triggers(here, live), partitioned, alone, referring=referring))
    ordered = lost.parents_first([t.part("rows") for t in found], live)
    by_name = {t.name: t for t in found}
    return tuple(by_name[p.table] for p in ordered), tuple(left)


def _common(live: Catalog, here: Object, *others: tuple[Catalog, Object]) -> tuple[Column, ...]:
    types = [{c.facts["label"]: c.facts["type"] for c in catalog.columns(table.key)} for catalog, table in others]
    return tuple(
        Column(c.facts["label"], c.facts["type"])
        for c in live.columns(here.key)
        if not c.facts["generated"] and all(t.get(c.facts["label"]) == c.facts["type"] for t in types)
    )


def hold(found: Sequence[Table], texts: dict[str, str | None], old: Catalog, included: Collection[str]) -> tuple[Table, ...]:
    """texts: of the migrations that the old database has and the restored one lacks, None where their text is not there.

    included: tables that are carried over all the same, or "*".
    """
    if "*" in included:
        return tuple(found)
    why: dict[str, str] = {}
    for name, sql in texts.items():
        for table in found:
            if sql is None:
                why.setdefault(table.name, f"the old database has {name}, whose text is not in the folder: it may have written to it")
        for label in _closure(_written({t.name for t in found}, sql, old) if sql else set(), old):
            why.setdefault(label, f"{name} wrote to it by itself, or a foreign key did for it: not to be told from what people wrote")
    return tuple(t if t.name in included else replace(t, held=why.get(t.name, "")) for t in found)


def _written(names: Collection[str], sql: str, old: Catalog) -> set[str]:
    """Tables that a text may write to, triggers and functions included."""
    what = writes(sql)
    labels = {w.table for w in what.tables} | {t.table for t, _ in what.conversions}
    bodies = [*what.opaque, *_bodies(what.calls, old)]
    for trigger in old.of_kind("trigger").values():
        if _label(trigger.facts["table"]) in labels:
            bodies += _bodies(identifiers(trigger.facts["definition"]), old)
    for body in bodies:
        labels |= set(identifiers(body)) if may_write(body) else set()
    return {name for name in names if _label(name) in labels}


def _bodies(called: Collection[str], old: Catalog) -> list[str]:
    return [o.facts["definition"] for o in old.of_kind("routine").values() if bare(o.facts["label"]) in called]


def _label(name: str) -> str:
    """The last part of schema.table, without its quotes."""
    return bare(_NAME.findall(name)[-1])


def _closure(named: set[str], old: Catalog) -> set[str]:
    """With the tables that foreign keys change along."""
    pairs = {(fk.parent, fk.child) for fk in foreign_keys(old)}
    while more := {child for parent, child in pairs if parent in named} - named:
        named |= more
    return named


def listed(live: psycopg.Connection[Any], sides: Sides, wanted: Sequence[Table], say: Say) -> tuple[Since, ...]:
    """Count by table. Makes temporary tables only."""
    _settle(live, sides)
    return tuple(_counted(live, sides, table, say) for table in wanted)


def _settle(live: psycopg.Connection[Any], sides: Sides) -> None:
    for connection in {id(c): c for c in (live, sides.old, sides.base)}.values():
        connection.execute(merge.SETTINGS)


def _counted(live: psycopg.Connection[Any], sides: Sides, table: Table, say: Say) -> Since:
    name = compared(live, sides.old, sides.base, table.part("rows"), say)
    rows = dict(live.execute(f"select op, count(*) from {name} group by 1").fetchall())
    live.execute(f"DROP TABLE {name}")
    return Since(table.name, rows.get("I", 0), rows.get("U", 0), rows.get("D", 0), table.held)


def carry_over(
    connect: Callable[[], psycopg.Connection[Any]], sides: Sides, wanted: Sequence[Table], asked: Asked, *, deletes: bool = False,
    left: tuple[tuple[str, str], ...] = (),
) -> Report:  # fmt: skip
    """Merge what the old database has since. deletes: what was deleted there goes too. Raises as `merging.run`."""
    free = [t for t in wanted if not t.held]
    kinds: list[tuple[Kind, list[Table]]] = [("rows", free), ("edits", free)]
    if deletes:
        kinds.append(("deletes", free[::-1]))
    parts = tuple(lost.numbered(t.part(kind) for kind, of in kinds for t in of))
    by_name = {t.name: t for t in free}
    with closing(connect()) as live, translated("while asking for rights"):
        staging.require_privileges(live, sides.old, parts)

    def stage(live: psycopg.Connection[Any], job: str, part: Part, say: Say) -> None:
        table = by_name[part.table]
        staging.stage_with(live, job, part, lambda name: _fill(live, sides, table, part, name, say))

    def begin(live: psycopg.Connection[Any]) -> None:
        _settle(live, sides)
        staging.advance_sequences(live, sides.old, [(t.name, [c.name for c in t.columns]) for t in wanted])

    held = tuple((t.name, t.held) for t in wanted if t.held)
    what = "\n".join(["carry-over", asked.snapshot, *(f"{p.table} {p.kind} {[c.name for c in p.columns]}" for p in parts)])
    job = Job(hashlib.sha256(what.encode()).hexdigest()[:12], "carry-over", (), Found(parts, (*left, *held)), stage, begin)
    return merging.run(connect, job, asked)


def _fill(live: psycopg.Connection[Any], sides: Sides, table: Table, part: Part, name: str, say: Say) -> int:
    """The rows of this kind, whole, from where they are."""
    delta, op = compared(live, sides.old, sides.base, table.part("rows"), say), {"rows": "I", "edits": "U", "deletes": "D"}[part.kind]
    keys = live.execute(f"select {_keys(table)} from {delta} where op = '{op}' order by {_keys(table)}").fetchall()
    count = 0
    for start in range(0, len(keys), FETCH):
        some = keys[start : start + FETCH]
        new = _rows(sides.old, table, some) if part.kind != "deletes" else {}
        before = _rows(sides.base, table, some) if part.kind != "rows" else {}
        count += _write(live, part, name, _joined(table, some, new, before, part.kind))
        say(f"copying {table.name}: {amount(count, 'row')}")
    return count


def _keys(table: Table) -> str:
    return ", ".join(f"k{i}" for i, _ in enumerate(table.key, 1))


def _joined(table: Table, keys: Sequence[_Row], new: dict[_Row, _Row], before: dict[_Row, _Row], kind: Kind) -> Iterator[_Row]:
    """What was there a moment ago and is not any more is nobody's."""
    for key in keys:
        n, b = new.get(key, () if kind == "deletes" else None), before.get(key, () if kind == "rows" else None)
        if n is not None and b is not None:
            yield (*key, *n, *b)


def _rows(connection: psycopg.Connection[Any], table: Table, keys: Sequence[_Row]) -> dict[_Row, _Row]:
    listed_ = ", ".join(f"t.{c.name}::text" for c in (*table.key, *table.columns))
    arrays = ", ".join("%s::text[]" for _ in table.key)
    joined = " AND ".join(f"t.{k.name} = w.k{i}::{k.type}" for i, k in enumerate(table.key, 1))
    sql = f"SELECT {listed_} FROM unnest({arrays}) w ({_keys(table)}) JOIN {table.part('rows').source} t ON {joined}"
    count = len(table.key)
    rows = connection.execute(sql.encode(), [list(column) for column in zip(*keys, strict=True)])
    return {row[:count]: row[count:] for row in rows}


def _write(live: psycopg.Connection[Any], part: Part, name: str, rows: Iterator[_Row]) -> int:
    count = 0
    with live.cursor() as cursor, cursor.copy(f"COPY {name} ({merge.cells(part)}) FROM STDIN") as writer:
        for row in rows:
            writer.write_row(row)
            count += 1
    return count
