"""A sample into a scratch database: as the migrations' own role, its triggers asleep, foreign keys asked for at the end."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from unmigrate.errors import RefusedError
from unmigrate.rehearse.sample import Sampled, TableSample, optional
from unmigrate.scratch.shape import Table, literal, quoted, read_heads, read_tables

ROUNDS = 30  # of taking out rows that refer to rows which are not there
SHOWN = 3
HINT = "keep or mask in [sample] of unmigrate.toml read it differently"


@dataclass(slots=True)
class Loaded:
    """rows: by schema.table. told: what of the source is not here, and why."""

    rows: dict[str, int] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


def load(connection: psycopg.Connection[Any], sampled: Sampled) -> Loaded:
    """Insert all rows that the scratch database takes. Raises RefusedError where what is left does not hold together."""
    heads = {oid: h for oid, h in read_heads(connection, None).items() if not h.partition}
    tables = {t.head.label: t for t in read_tables(connection, list(heads.values())).values()}
    found = Loaded()
    for name in sorted(sampled.tables.keys() - tables.keys()):
        found.told.append(f"{name} is in the source, not in the history: left out")
    connection.execute("BEGIN")
    try:
        with _at_rest(connection, tables):
            if tables:  # rows that migrations made on their way; the source's are the ones that count
                connection.execute(f"TRUNCATE {', '.join(t.sql for t in tables.values())}")
            for name, table in tables.items():
                if name in sampled.tables:
                    _insert(connection, table, sampled.tables[name], found)
            _hold_together(connection, tables, found)
            for table in tables.values():
                _number(connection, table)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    for name, table in tables.items():
        (count,) = connection.execute(f"SELECT count(*) FROM {table.head.source}").fetchone() or (0,)
        found.rows[name] = count
    return found


@contextmanager
def _at_rest(connection: psycopg.Connection[Any], tables: dict[str, Table]) -> Iterator[None]:
    """Users' triggers do not fire, foreign keys wait; afterwards all is as it was."""
    triggers = connection.execute(
        "SELECT tgrelid::regclass::text, quote_ident(tgname), tgenabled::text FROM pg_trigger "
        "WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgparentid = 0"
    ).fetchall()
    keys = connection.execute(
        "SELECT conrelid::regclass::text, quote_ident(conname), condeferrable, condeferred FROM pg_constraint "
        "WHERE contype = 'f' AND conparentid = 0"
    ).fetchall()
    for table, name, _ in triggers:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
    for table, name, _, _ in keys:
        connection.execute(f"ALTER TABLE {table} ALTER CONSTRAINT {name} DEFERRABLE INITIALLY DEFERRED")
    yield
    words = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}
    for table, name, enabled in triggers:
        connection.execute(f"ALTER TABLE {table} {words[enabled]} TRIGGER {name}")
    for table, name, deferrable, deferred in keys:
        mode = f"DEFERRABLE INITIALLY {'DEFERRED' if deferred else 'IMMEDIATE'}" if deferrable else "NOT DEFERRABLE"
        connection.execute(f"ALTER TABLE {table} ALTER CONSTRAINT {name} {mode}")


def _insert(connection: psycopg.Connection[Any], table: Table, sample: TableSample, found: Loaded) -> None:
    here = {c.name: c for c in table.columns if not c.generated}
    places = [n for n, each in enumerate(sample.columns) if each.column.name in here]
    if sample.columns and (missing := sorted(here.keys() - {sample.columns[n].column.name for n in places})):
        found.told.append(f"{table.head.label}: the source lacks {', '.join(missing[:SHOWN])}")
    if not sample.rows:
        return
    names = [sample.columns[n].column.name for n in places]
    listed = f"({', '.join(map(quoted, names))})"
    rows = [tuple(row[n] for n in places) for row in sample.rows]
    if not names or _together(connection, f"{table.sql} {listed}", rows):
        return
    values = ", ".join(f"%s::{here[name].type_text}" for name in names)
    statement = f"INSERT INTO {table.sql} {listed}".replace("%", "%%") + f" OVERRIDING SYSTEM VALUE VALUES ({values})"
    refused = [why for row in rows if (why := _one(connection, statement, row))]
    if refused:
        hint = f"; where masking is the reason, {HINT}" if any(sample.columns[n].masked for n in places) else ""
        found.told.append(f"{table.head.label}: {len(refused)} of {len(rows)} rows are left out: {refused[0]}{hint}")


def _together(connection: psycopg.Connection[Any], into: str, rows: Sequence[tuple[str | None, ...]]) -> bool:
    connection.execute("SAVEPOINT unmigrate_rows")
    try:
        with connection.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)
        connection.execute("RELEASE SAVEPOINT unmigrate_rows")
        return True
    except psycopg.Error:
        connection.execute("ROLLBACK TO SAVEPOINT unmigrate_rows")
        return False


def _number(connection: psycopg.Connection[Any], table: Table) -> None:
    """Sequences go on after the rows that are there."""
    for column in (c for c in table.columns if c.automatic):
        name = quoted(column.name)
        own = f"pg_get_serial_sequence({literal(table.sql)}, {literal(column.name)})"
        connection.execute(f"SELECT setval({own}, max({name})) FROM {table.head.source} HAVING max({name}) > 0")


def _one(connection: psycopg.Connection[Any], statement: str, row: tuple[str | None, ...]) -> str:
    """Why this row is refused, "" where it is not."""
    connection.execute("SAVEPOINT unmigrate_row")
    try:
        connection.execute(statement.encode(), row)
        connection.execute("RELEASE SAVEPOINT unmigrate_row")
        return ""
    except psycopg.Error as error:
        connection.execute("ROLLBACK TO SAVEPOINT unmigrate_row")
        return " ".join(str(error.diag.message_primary or error).split())


def _hold_together(connection: psycopg.Connection[Any], tables: dict[str, Table], found: Loaded) -> None:
    """Let rows refer to nothing, or take them out, that refer to what was not read or not taken, until the rest holds together."""
    by_oid = {t.oid: t for t in tables.values()}
    gone: Counter[str] = Counter()
    cut: Counter[str] = Counter()
    for _ in range(ROUNDS):
        before = gone.total() + cut.total()
        for table in tables.values():
            for emptying, removing in _orphans(table, by_oid):
                emptied = _tried(connection, emptying) if emptying else 0
                cut[table.head.label] += emptied
                gone[table.head.label] += connection.execute(removing).rowcount
        if gone.total() + cut.total() == before:
            break
    try:
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.Error as error:
        message = f"the sample does not hold together: {error.diag.message_primary}"
        raise RefusedError(message, code="sample", remedy="read more: rows and hold in [sample] of unmigrate.toml") from error
    found.told += [f"{name}: {count} rows that refer to rows which were not read are left out" for name, count in gone.items() if count]
    found.told += [f"{name}: {count} references to rows which were not read are NULL" for name, count in cut.items() if count]


def _tried(connection: psycopg.Connection[Any], statement: str) -> int:
    """How many rows it changed; 0 where a constraint forbids it."""
    try:
        with connection.transaction():
            return connection.execute(statement).rowcount
    except psycopg.errors.IntegrityError:
        return 0


def _orphans(table: Table, by_oid: dict[int, Table]) -> Iterator[tuple[str, str]]:
    """By foreign key, of rows that refer to what is not there: what lets them refer to nothing ("" where they must), what removes them."""
    names = {c.number: c.name for c in table.columns}
    for key in table.foreign_keys:
        if key.parent not in by_oid:
            continue
        theirs = {c.number: c.name for c in by_oid[key.parent].columns}
        there = " AND ".join(f"t.{quoted(names[a])} IS NOT NULL" for a in key.columns)
        same = " AND ".join(f"p.{quoted(theirs[b])} = t.{quoted(names[a])}" for a, b in zip(key.columns, key.parent_columns, strict=True))
        parent = by_oid[key.parent].head.source
        where = f"WHERE {there} AND NOT EXISTS (SELECT FROM {parent} AS p WHERE {same})"
        emptied = ", ".join(f"{quoted(name)} = NULL" for name in optional(table, key))
        yield f"UPDATE {table.head.source} AS t SET {emptied} {where}" if emptied else "", f"DELETE FROM {table.head.source} AS t {where}"
