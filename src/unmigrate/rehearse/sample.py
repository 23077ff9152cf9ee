"""Rows of a source that hold together: some of each table, and every row that they refer to, chosen by their places in one snapshot."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from unmigrate.config.sample import Sample
from unmigrate.errors import EnvironmentProblem
from unmigrate.rehearse.mask import ROW, Reading, readings
from unmigrate.rehearse.source import LetGo, Source, said
from unmigrate.scratch.shape import ForeignKey, Head, Table, TypeInfo, quoted, read_heads, read_tables, read_types

MOST = 50  # times [sample] rows: rows of one table at most, those referred to included
ENOUGH = 3  # times [sample] rows: where references that may be NULL are not followed any more
BATCH = 500  # places asked for at once
READ = 100  # rows read at once: masking takes time
Place = tuple[int, str]  # (oid of the table itself, which may be a partition; ctid)


@dataclass(slots=True)
class TableSample:
    """columns: as read; rows: their values as text. tuples and size (bytes, with TOAST): of the whole table, as the source estimates it.

    indexes: bytes of its indexes; missed: why rows may be lacking, "" where none are.
    """

    head: Head
    columns: tuple[Reading, ...] = ()
    rows: list[tuple[str | None, ...]] = field(default_factory=list)
    tuples: float = 0.0
    size: int = 0
    indexes: int = 0
    missed: str = ""


@dataclass(slots=True)
class Sampled:
    """By schema.table. over: the time was over before everything was read; held: seconds that the snapshot was held."""

    tables: dict[str, TableSample]
    keys: dict[str, tuple[ForeignKey, ...]]
    over: bool = False
    held: float = 0.0


# From the statistics: asking for the files' sizes would wait for locks.
_SIZES = """
SELECT t.oid::int8, bool_or(c.reltuples < 0 AND c.relkind = 'r'), sum(greatest(c.reltuples, 0))::float8,
  sum((c.relpages + coalesce(o.relpages, 0))::int8 * b.size)::int8,
  coalesce(sum((SELECT sum(x.relpages) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
    WHERE i.indrelid = c.oid) * b.size), 0)::int8
FROM pg_catalog.unnest(%s::oid[]) AS t(oid)
CROSS JOIN LATERAL (WITH RECURSIVE l(relid) AS (SELECT t.oid
  UNION SELECT h.inhrelid FROM pg_catalog.pg_inherits h JOIN l ON h.inhparent = l.relid
  JOIN pg_catalog.pg_class p ON p.oid = h.inhparent AND p.relkind = 'p') SELECT relid FROM l) AS l
CROSS JOIN (SELECT pg_catalog.current_setting('block_size')::int8 AS size) AS b
JOIN pg_catalog.pg_class c ON c.oid = l.relid LEFT JOIN pg_catalog.pg_class o ON o.oid = c.reltoastrelid GROUP BY t.oid"""

# Of tables that nobody analyzed, which is so after pg_restore: once their rows were looked for, so that they are locked already.
_FILES = """
SELECT coalesce(sum(pg_catalog.pg_relation_size(l.oid)), 0)::int8, coalesce(sum(pg_catalog.pg_table_size(l.oid)), 0)::int8,
  coalesce(sum(pg_catalog.pg_indexes_size(l.oid)), 0)::int8, pg_catalog.current_setting('block_size')::int8
FROM (SELECT %(oid)s::oid AS oid UNION SELECT relid FROM pg_catalog.pg_partition_tree(%(oid)s::oid)) AS l"""


def sample(source: Source, concerned: Iterable[str], rules: Sample, salt: str) -> Sampled:
    """concerned: tables (schema.table) of which `rules.rows` are wanted; of the others a tenth."""
    heads, tables, types = _shape(source)
    found = Sampled({h.label: TableSample(h) for h in heads.values()}, {t.head.label: t.foreign_keys for t in tables.values()})
    wanted = set(concerned)
    first = sorted(tables.values(), key=lambda t: t.head.label not in wanted)
    places: dict[int, set[Place]] = {oid: set() for oid in heads}
    try:
        unknown = set()
        for oid, never, tuples, size, indexes in source.rows(_SIZES, [list(heads)]):
            one = found.tables[heads[oid].label]
            one.tuples, one.size, one.indexes = tuples, size, indexes
            unknown |= {oid} if never else set()
        for table in first:
            count, one = rules.rows if table.head.label in wanted else max(1, rules.rows // 10), found.tables[table.head.label]
            _choose(source, table, count, one, places[table.oid])
            if table.oid in unknown and not one.missed:
                _weigh(source, table, places[table.oid], one)
        _close(source, tables, places, rules.rows * MOST, found)
        for table in first:
            _read(source, table, places[table.oid], found.tables[table.head.label], types, rules, salt)
    except LetGo:
        found.over = True
    for one in found.tables.values():
        if found.over and not one.columns:
            one.missed = one.missed or "the time to read was over"
    found.held = source.held
    return found


def _shape(source: Source) -> tuple[dict[int, Head], dict[int, Table], dict[int, TypeInfo]]:
    """What tables there are. Raises EnvironmentProblem where that cannot be read."""
    try:
        with source.limited() as connection:
            heads = {oid: h for oid, h in read_heads(connection, None).items() if not h.partition}
            tables = read_tables(connection, list(heads.values()))
            return heads, tables, read_types(connection, {c.type for t in tables.values() for c in t.columns})
    except (LetGo, psycopg.Error) as error:
        reason = "the time to read was over" if isinstance(error, LetGo) else said(error)
        message = f"the source's tables cannot be looked at: {reason}"
        raise EnvironmentProblem(
            message, code="source", remedy="try again, or give it more time: hold in [sample] of unmigrate.toml"
        ) from error


def _choose(source: Source, table: Table, count: int, into: TableSample, places: set[Place]) -> None:
    """Some rows, spread over the table where it is large."""
    part = 100.0 * 3 * count / into.tuples if into.tuples > 20 * count else 0.0
    spread = f" TABLESAMPLE SYSTEM ({max(part, 0.0001):.6f})" if part else ""
    for clause in (spread, "") if spread else ("",):
        try:
            rows = source.rows(f"SELECT tableoid::int8, ctid::text FROM {table.head.source}{clause} LIMIT {count - len(places)}")
        except psycopg.Error as error:
            into.missed = said(error)
            return
        places.update((oid, ctid) for oid, ctid in rows)
        if len(places) >= count // 2:
            return


def _weigh(source: Source, table: Table, places: set[Place], into: TableSample) -> None:
    """Size and rows of a table without statistics: of its files, and of as many rows in a page as one of them has."""
    own, ctid = max(places, default=(0, "(0,0)"))
    page = int(ctid[1:].partition(",")[0])
    in_page = f"SELECT count(*) FROM {table.head.source} WHERE tableoid = %s AND ctid >= '({page},0)' AND ctid < '({page + 1},0)'"
    try:
        ((heap, into.size, into.indexes, block),) = source.rows(_FILES, {"oid": table.oid})
        ((rows,),) = source.rows(in_page, [own])
    except psycopg.Error as error:
        into.missed = said(error)
        return
    into.tuples = max(float(len(places)), heap / block * rows)


def _close(source: Source, tables: Mapping[int, Table], places: dict[int, set[Place]], most: int, found: Sampled) -> None:
    """Add what is referred to, and what that refers to, until nothing is new.

    References that may be NULL are followed to ENOUGH rows alone: round and round they would lead to all there is.
    """
    fresh = {oid: set(chosen) for oid, chosen in places.items() if chosen}
    while fresh:
        reached: dict[int, set[Place]] = {}
        for oid, chosen in fresh.items():
            for key in tables[oid].foreign_keys:
                if key.parent not in tables or (optional(tables[oid], key) and len(places[key.parent]) >= most * ENOUGH // MOST):
                    continue
                parent = tables[key.parent]
                try:
                    new = _referred(source, tables[oid], parent, key, chosen) - places[key.parent]
                except psycopg.Error as error:
                    found.tables[parent.head.label].missed = said(error)
                    continue
                if len(places[key.parent]) + len(new) > most:
                    found.tables[parent.head.label].missed = f"more than {most} of its rows are referred to"
                    new = set(sorted(new)[: max(0, most - len(places[key.parent]))])
                places[key.parent] |= new
                reached.setdefault(key.parent, set()).update(new)
        fresh = {oid: chosen for oid, chosen in reached.items() if chosen}


def optional(table: Table, key: ForeignKey) -> tuple[str, ...]:
    """Columns that are NULL where a row refers to nothing by this key; () where each row must."""
    return tuple(c.name for c in table.columns if c.number in key.columns and not c.not_null)


def _referred(source: Source, child: Table, parent: Table, key: ForeignKey, chosen: set[Place]) -> set[Place]:
    mine, theirs = ({c.number: c.name for c in t.columns} for t in (child, parent))
    joined = " AND ".join(
        f"p.{quoted(theirs[b])} = c.{quoted(mine[a])}"
        for a, b in zip(key.columns, key.parent_columns, strict=True)
        if a in mine and b in theirs
    )
    query = f"SELECT DISTINCT p.tableoid::int8, p.ctid::text FROM {child.head.source} AS c JOIN {parent.head.source} AS p ON {joined}"
    query = query.replace("%", "%%")
    return {(oid, ctid) for part in _parts(chosen) for oid, ctid in source.rows(f"{query} WHERE {_at('c')}", part)}


def _read(
    source: Source, table: Table, places: set[Place], into: TableSample, types: dict[int, TypeInfo], rules: Sample, salt: str
) -> None:
    columns = readings(table.head.label, table.columns, types, rules, salt)
    read = ", ".join(c.sql for c in columns) or "1"
    query = f"SELECT {read} FROM {table.head.source} AS {ROW}".replace("%", "%%") + f" WHERE {_at(ROW)}"
    rows: list[Any] = []
    into.columns, into.rows = tuple(columns), rows
    try:
        for part in _parts(places, READ):
            rows += source.rows(query, part)
    except psycopg.Error as error:
        into.missed = said(error)


def _at(alias: str) -> str:
    return f"{alias}.ctid = ANY (%s::tid[]) AND ({alias}.tableoid::int8 || {alias}.ctid::text) = ANY (%s::text[])"


def _parts(places: set[Place], size: int = BATCH) -> Iterable[list[Any]]:
    listed = sorted(places)
    for start in range(0, len(listed), size):
        part = listed[start : start + size]
        yield [sorted({ctid for _, ctid in part}), [f"{oid}{ctid}" for oid, ctid in part]]
