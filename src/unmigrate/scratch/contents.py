"""What tables hold, as hashes that do not depend on the order of rows or on how a session prints values.

    contents(connection, {oid: ["id", "name"]})   rows, a hash of the whole rows over these columns, a hash per column

The whole-row hash keeps the association among the columns of a row; the hash of a column is the same whatever its name
and position, so the caller can follow a column through renames. Values are compared as text: an integer that became a
bigint, or an enum that became another enum with the same label, is the same value. One statement reads all small tables
(their rows are hashed here: planning hundreds of aggregates costs the server ten times as much); the few larger ones are
hashed by the server. All of it under fixed settings that are restored afterwards, in a transaction or not.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from unmigrate.scratch.shape import Rows, query, quoted
from unmigrate.sql import prepared

# With row_security off a query that a policy would shorten fails, instead of leaving rows out silently.
_SETTINGS = (
    "SET LOCAL search_path = pg_catalog; SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; "
    "SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; "
    "SET LOCAL lc_monetary = 'C'; SET LOCAL row_security = off; SET LOCAL quote_all_identifiers = off"
)
_NAMES = (
    "SELECT c.oid::int8, n.nspname, c.relname, c.relkind = 'r' FROM pg_catalog.pg_class c "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ANY($1)"
)
SMALL = 64  # rows of a table that are fetched and hashed here
_MEMBER = re.compile(r'("(?:[^"]|"")*"|[^,"]*)(?:,|$)')  # of a row printed as text; NULL is empty, an empty text is quoted


@dataclass(frozen=True, slots=True)
class TableContents:
    """The contents of one table over the columns asked for. problem: why it could not be read; then nothing else counts."""

    rows: int = 0
    row_hash: str = ""
    columns: dict[str, str] = field(default_factory=dict)  # column -> hash of its values and number of its NULLs
    problem: str = ""


def contents(
    connection: psycopg.Connection[Any], shape: Mapping[int, Sequence[str]], sources: Mapping[int, str] | None = None
) -> dict[int, TableContents]:
    """The contents of each table (by oid) over its listed columns, in the order they are listed.

    sources: how to read each table (what follows FROM: ONLY and its name), where the caller knows.
    """
    sources = _sources(connection, shape) if sources is None else sources
    found = {oid: TableContents(problem="no such table") for oid in shape if oid not in sources}
    samples = {oid: _sample(oid, source, shape[oid]) for oid, source in sources.items()}
    texts: dict[int, list[str]] = defaultdict(list)
    for oid, text in _read_each(connection, samples, found):
        texts[oid].append(text)
    large = {oid: _aggregate(oid, sources[oid], shape[oid]) for oid, rows in texts.items() if len(rows) > SMALL}
    for oid in sources.keys() - found.keys() - large.keys():
        found[oid] = _hashed(texts[oid], shape[oid])
    for oid, rows, row_hash, hashes in _read_each(connection, large, found):
        found[oid] = TableContents(rows, row_hash, dict(zip(shape[oid], hashes, strict=True)))
    return {oid: found[oid] for oid in shape}


def column_hashes(connection: psycopg.Connection[Any], tables: Mapping[int, Sequence[int]]) -> dict[tuple[int, int], str]:
    """The hash of each column by (table oid, attribute number); columns of unreadable tables are left out."""
    rows = query(
        connection,
        "SELECT attrelid::int8, attnum::int4, attname FROM pg_catalog.pg_attribute "
        "WHERE attrelid = ANY(%s::oid[]) AND attnum > 0 AND NOT attisdropped",
        (list(tables),),
    )
    names = {(oid, number): name for oid, number, name in rows}
    shape = {oid: [names[oid, number] for number in numbers if (oid, number) in names] for oid, numbers in tables.items()}
    found = contents(connection, shape)
    return {
        (oid, number): found[oid].columns[names[oid, number]]
        for oid, numbers in tables.items()
        for number in numbers
        if (oid, number) in names and not found[oid].problem
    }


def row_counts(connection: psycopg.Connection[Any], tables: Iterable[int]) -> dict[int, int]:
    """How many rows each table has; unreadable tables are left out."""
    found = contents(connection, dict.fromkeys(tables, ()))
    return {oid: table.rows for oid, table in found.items() if not table.problem}


def _sources(connection: psycopg.Connection[Any], oids: Iterable[int]) -> dict[int, str]:
    """How each table is read: the children of plain inheritance are tables of their own, partitions are not."""
    (rows,) = prepared.run(connection, [prepared.Call(_NAMES, "oid[]", prepared.array(oids))])
    return {oid: f"{'ONLY ' if alone else ''}{quoted(schema)}.{quoted(name)}" for oid, schema, name, alone in rows}


def _sample(oid: int, source: str, columns: Sequence[str]) -> str:
    """The rows of a small table, as text; of a large one just enough of them to know that it is."""
    row = f"ROW({', '.join('t.' + quoted(name) for name in columns)})::text" if columns else "''"
    return f"(SELECT {oid}::int8, {row} FROM {source} t LIMIT {SMALL + 1})"


def _aggregate(oid: int, source: str, columns: Sequence[str]) -> str:
    """One row: oid, number of rows, hash of the rows, and for each column the number of values and their hash."""
    if not columns:
        return f"(SELECT {oid}::int8, count(*), '', ARRAY[]::text[] FROM {source})"
    texts = ", ".join(f"t.{quoted(name)}::text AS c{n}" for n, name in enumerate(columns))
    whole = f"sum(hashtextextended(ROW({', '.join(f's.c{n}' for n in range(len(columns)))})::text, 0))::text"
    each = ", ".join(f"concat(count(s.c{n}), ':', sum(hashtextextended(s.c{n}, 0)))" for n in range(len(columns)))
    return f"(SELECT {oid}::int8, count(*), {whole}, ARRAY[{each}] FROM (SELECT {texts} FROM {source} t OFFSET 0) s)"


def _hashed(rows: Sequence[str], columns: Sequence[str]) -> TableContents:
    if not columns:
        return TableContents(len(rows))
    members = [_MEMBER.findall(row[1:-1]) if '"' in row else row[1:-1].split(",") for row in rows]
    hashes = {}
    for n, name in enumerate(columns):
        values = [row[n] for row in members if row[n]]
        hashes[name] = f"{len(values)}:{_digest(values)}"
    return TableContents(len(rows), _digest(rows), hashes)


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\x00".join(sorted(texts)).encode(), digest_size=12).hexdigest()


def _read_each(connection: psycopg.Connection[Any], statements: Mapping[int, str], found: dict[int, TableContents]) -> Rows:
    """The rows of all statements, by one query; if that fails, one by one, so that what fails is known."""
    if not statements:
        return []
    try:
        return _read(connection, " UNION ALL ".join(statements.values()))
    except psycopg.Error:
        rows: Rows = []
        for oid, statement in statements.items():
            try:
                rows += _read(connection, statement)
            except psycopg.Error as error:
                found[oid] = TableContents(problem=" ".join((error.diag.message_primary or str(error)).split()))
        return rows


def _read(connection: psycopg.Connection[Any], statement: str) -> Rows:
    """Run the query under the fixed settings; afterwards the session and its transaction are as before."""
    outside = connection.autocommit and connection.info.transaction_status == TransactionStatus.IDLE
    begin = "BEGIN READ ONLY" if outside else "SAVEPOINT unmigrate_contents"
    undo = "ROLLBACK" if outside else "ROLLBACK TO SAVEPOINT unmigrate_contents; RELEASE SAVEPOINT unmigrate_contents"
    count = 1 + _SETTINGS.count(";") + 1
    with connection.cursor(row_factory=tuple_row) as cursor:
        try:
            cursor.execute(f"{begin}; {_SETTINGS}; {statement}; {undo}".encode())
        except psycopg.Error:
            connection.execute(undo.encode())
            raise
        for _ in range(count):
            cursor.nextset()
        return cursor.fetchall()
