"""What the row generator must know of tables: columns, keys, checks, unique and exclusion sets, types.

One query per catalog, restricted to the tables asked for. Nothing here writes. The text of expressions is read under
the session's search_path, so that it means the same when it is sent back in the same session.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from unmigrate.sql import prepared

FIRST_USER_OID = 16384


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """A type, as far as writing literals of it goes."""

    oid: int
    name: str
    kind: str  # pg_type.typtype: b, c, d, e, r, m
    category: str
    element: int
    delimiter: str  # between the elements of an array of this type
    base: int
    base_typmod: int
    not_null: bool
    text: str  # as written in a cast
    base_text: str  # of a domain: what it is a domain of
    labels: tuple[str, ...]
    subtype: int
    checks: tuple[str, ...]
    attributes: tuple[tuple[int, int], ...]  # (type, typmod) of a composite's members


@dataclass(frozen=True, slots=True)
class Column:
    number: int
    name: str
    type: int
    typmod: int
    type_text: str
    not_null: bool
    identity: str
    generated: str
    default: str | None

    @property
    def automatic(self) -> bool:
        """Whether the server numbers the rows itself; writing such a column would leave its sequence behind."""
        return bool(self.identity) or "nextval(" in (self.default or "")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    name: str
    columns: tuple[int, ...]
    parent: int
    parent_columns: tuple[int, ...]
    deferred: bool


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    columns: tuple[int, ...]
    expression: str


@dataclass(frozen=True, slots=True)
class UniqueSet:
    """Columns whose values together may not repeat (unique index), or not conflict (exclusion constraint)."""

    name: str
    columns: tuple[int, ...]  # 0 stands for an expression
    nulls_distinct: bool
    exclusion: bool
    text: str  # predicate and expressions, to find columns named in them


@dataclass(frozen=True, slots=True)
class Head:
    """What counting the rows of a table takes."""

    oid: int
    schema: str
    name: str
    label: str  # schema.table, quoted only where SQL needs it, as format('%I.%I') writes it
    partitioned: bool
    partition: bool
    forced_policies: bool

    @property
    def sql(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"

    @property
    def source(self) -> str:
        """How to read the rows of this table alone: a child of plain inheritance is a table of its own."""
        return self.sql if self.partitioned else f"ONLY {self.sql}"


@dataclass(frozen=True, slots=True)
class Table:
    head: Head
    bound: str | None  # the constraint of a partition
    leaf_bounds: tuple[str, ...]  # of a partitioned table: its partitions' constraints, one of which a row must meet
    columns: tuple[Column, ...]
    foreign_keys: tuple[ForeignKey, ...]
    checks: tuple[Check, ...]
    unique_sets: tuple[UniqueSet, ...]

    @property
    def oid(self) -> int:
        return self.head.oid

    @property
    def name(self) -> str:
        return self.head.name

    @property
    def sql(self) -> str:
        return self.head.sql


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | None) -> str:
    """A literal of unknown type, which an INSERT reads as the type of its column."""
    if value is None:
        return "NULL"
    text = "'" + value.replace("'", "''") + "'"
    return "E" + text.replace("\\", "\\\\") if "\\" in text else text


_HEADS = """
SELECT c.oid::int8, n.nspname, c.relname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname),
       c.relkind = 'p', c.relispartition, c.relforcerowsecurity
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND c.relname <> '_prisma_migrations'
  AND n.nspname !~ '^(pg_|unmigrate)' AND n.nspname <> 'information_schema' AND {where}
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname"""

_BOUNDS = """
SELECT c.oid::int8, CASE WHEN c.relispartition THEN pg_catalog.pg_get_partition_constraintdef(c.oid) END,
       CASE WHEN c.relkind = 'p' THEN
            ARRAY(SELECT COALESCE(pg_catalog.pg_get_partition_constraintdef(l.relid), 'true')
                  FROM pg_catalog.pg_partition_tree(c.oid) l WHERE l.isleaf AND l.relid <> c.oid) END
FROM pg_catalog.pg_class c WHERE c.oid = ANY($1)"""

_COLUMNS = """
SELECT a.attrelid::int8, a.attnum::int4, a.attname, a.atttypid::int8, a.atttypmod,
       pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text, a.attgenerated::text,
       pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum"""

# A foreign key to a partitioned table has a further row for each partition of it: those are left out.
_CONSTRAINTS = """
SELECT k.conrelid::int8, k.conname, k.contype::text, k.conkey::int4[], k.confrelid::int8, k.confkey::int4[],
       k.condeferred, CASE WHEN k.contype = 'c' THEN pg_catalog.pg_get_expr(k.conbin, k.conrelid) END
FROM pg_catalog.pg_constraint k
WHERE k.conrelid = ANY($1) AND k.contype IN ('c', 'f')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
ORDER BY k.conrelid, k.conname"""

_INDEXES = """
SELECT i.indrelid::int8, c.relname, i.indkey::int4[], i.indnkeyatts::int4, i.indisexclusion,
       COALESCE((pg_catalog.to_jsonb(i)->>'indnullsnotdistinct')::bool, false),
       CASE WHEN i.indpred IS NOT NULL OR i.indexprs IS NOT NULL
            THEN pg_catalog.pg_get_indexdef(i.indexrelid) ELSE '' END
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = ANY($1) AND (i.indisunique OR i.indisexclusion)
ORDER BY i.indrelid, c.relname"""

_TYPES = """
SELECT t.oid::int8, t.typname, t.typtype::text, t.typcategory::text, t.typelem::int8, t.typdelim::text,
       t.typbasetype::int8, t.typtypmod, t.typnotnull, pg_catalog.format_type(t.oid, NULL),
       COALESCE(pg_catalog.format_type(NULLIF(t.typbasetype, 0), t.typtypmod), ''),
       CASE WHEN t.typtype = 'e' THEN
            ARRAY(SELECT enumlabel::text FROM pg_catalog.pg_enum WHERE enumtypid = t.oid ORDER BY enumsortorder) END,
       CASE WHEN t.typtype IN ('r', 'm') THEN
            (SELECT CASE WHEN t.typtype = 'r' THEN r.rngsubtype::int8 ELSE r.rngtypid::int8 END
             FROM pg_catalog.pg_range r
             WHERE r.rngtypid = t.oid OR pg_catalog.to_jsonb(r)->>'rngmultitypid' = t.oid::text) END,
       CASE WHEN t.typtype = 'd' THEN ARRAY(SELECT pg_catalog.pg_get_expr(conbin, 0) FROM pg_catalog.pg_constraint
                                            WHERE contypid = t.oid AND contype = 'c' ORDER BY conname) END,
       CASE WHEN t.typtype = 'c' THEN ARRAY(SELECT ARRAY[a.atttypid::int8, a.atttypmod] FROM pg_catalog.pg_attribute a
             WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) END
FROM pg_catalog.pg_type t WHERE t.oid = ANY($1)"""

_KEY_COLUMNS = """
SELECT c.oid::int8, n.nspname, c.relname, c.relkind = 'p', a.attnum::int4, a.attname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.oid = ANY($1)"""

_builtin_types: dict[int, TypeInfo] = {}  # the same on every server, so read once per process


def read_heads(connection: psycopg.Connection[Any], oids: Iterable[int] | None) -> dict[int, Head]:
    """User tables by oid, in the order of their names: those given, or all."""
    call = prepared.Call(_HEADS.format(where="true")) if oids is None else _of(_HEADS.format(where="c.oid = ANY($1)"), oids)
    (rows,) = prepared.run(connection, [call])
    return {row[0]: Head(*row) for row in rows}


def _of(sql: str, oids: Iterable[int]) -> prepared.Call:
    return prepared.Call(sql, "oid[]", prepared.array(oids))


def read_tables(connection: psycopg.Connection[Any], heads: Sequence[Head]) -> dict[int, Table]:
    """All that inserting rows takes."""
    if not heads:
        return {}
    wanted = [head.oid for head in heads]
    parted = [head.oid for head in heads if head.partitioned or head.partition]
    found_columns, constraints, indexes, *partitions = prepared.run(
        connection, [*(_of(sql, wanted) for sql in (_COLUMNS, _CONSTRAINTS, _INDEXES)), *([_of(_BOUNDS, parted)] if parted else [])]
    )
    bounds = {row[0]: row[1:] for rows in partitions for row in rows}
    columns: dict[int, list[Column]] = defaultdict(list)
    for oid, *rest in found_columns:
        columns[oid].append(Column(*rest))
    foreign_keys: dict[int, list[ForeignKey]] = defaultdict(list)
    checks: dict[int, list[Check]] = defaultdict(list)
    for oid, name, kind, key, parent, parent_key, deferred, expression in constraints:
        if kind == "f":
            foreign_keys[oid].append(ForeignKey(name, tuple(key), parent, tuple(parent_key), deferred))
        else:
            checks[oid].append(Check(name, tuple(key or ()), expression))
    unique_sets: dict[int, list[UniqueSet]] = defaultdict(list)
    for oid, name, key, count, exclusion, nulls_equal, text in indexes:
        unique_sets[oid].append(UniqueSet(name, tuple(key[:count]), not nulls_equal, exclusion, text))
    found: dict[int, Table] = {}
    for head in heads:
        oid = head.oid
        bound, leaf_bounds = bounds.get(oid, (None, None))
        sets = tuple(columns[oid]), tuple(foreign_keys[oid]), tuple(checks[oid]), tuple(unique_sets[oid])
        found[oid] = Table(head, bound, tuple(leaf_bounds or ()), *sets)
    return found


def read_types(connection: psycopg.Connection[Any], oids: Iterable[int]) -> dict[int, TypeInfo]:
    """The types asked for and all they are made of."""
    known: dict[int, TypeInfo] = {}
    wanted = set(oids)
    while wanted:
        known.update({oid: _builtin_types[oid] for oid in wanted if oid in _builtin_types})
        unknown = [oid for oid in wanted if oid not in known]
        for row in prepared.run(connection, [_of(_TYPES, unknown)])[0] if unknown else ():
            *plain, labels, subtype, checks, attributes = row
            members = tuple((kind, modifier) for kind, modifier in attributes or ())
            info = TypeInfo(*(*plain, tuple(labels or ()), subtype or 0, tuple(checks or ()), members))
            known[info.oid] = info
            if info.oid < FIRST_USER_OID:
                _builtin_types[info.oid] = info
        parts = {part for oid in wanted if oid in known for part in _parts(known[oid])}
        wanted = parts - known.keys()
    return known


def _parts(info: TypeInfo) -> Iterable[int]:
    yield from (oid for oid in (info.element, info.base, info.subtype) if oid)
    yield from (oid for oid, _ in info.attributes)


def count_rows(connection: psycopg.Connection[Any], sources: Mapping[int, str], limit: int) -> dict[int, int]:
    """How many rows each table has, counting no further than limit."""
    parts = [f"(SELECT {oid}::int8 FROM {source} LIMIT {limit})" for oid, source in sources.items()]
    counts = dict.fromkeys(sources, 0)
    for (oid,) in query(connection, " UNION ALL ".join(parts)) if parts else ():
        counts[oid] += 1  # counting here: three hundred aggregates take the planner longer than all the rest
    return counts


def key_columns(connection: psycopg.Connection[Any], wanted: Mapping[int, Sequence[int]]) -> dict[int, tuple[str, dict[int, str]]]:
    """Of tables whose rows are pointed to: how to read them, and the names of the columns that keys point to."""
    found: dict[int, tuple[str, dict[int, str]]] = {}
    for oid, schema, name, partitioned, number, column in prepared.run(connection, [_of(_KEY_COLUMNS, wanted)])[0] if wanted else ():
        source = f"{'' if partitioned else 'ONLY '}{quoted(schema)}.{quoted(name)}"
        found.setdefault(oid, (source, {}))[1][number] = column
    return found


def referenced_columns(tables: Mapping[int, Table]) -> dict[int, tuple[int, ...]]:
    """For each table that a foreign key points to: the columns that keys read."""
    found: dict[int, set[int]] = defaultdict(set)
    for table in tables.values():
        for key in table.foreign_keys:
            found[key.parent].update(key.parent_columns)
    return {oid: tuple(sorted(columns)) for oid, columns in found.items()}


Rows = list[tuple[Any, ...]]


def query(connection: psycopg.Connection[Any], sql: str, params: tuple[Any, ...] | None = None) -> Rows:
    """The rows of one statement, as tuples whatever the connection's row factory."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(sql.encode(), params).fetchall()
