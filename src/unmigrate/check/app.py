"""The previous version of the app on the new schema: its reads, inserts and updates, really run on scratch.

Every statement is first run before the migration; only those that work there are run after it. A row for an INSERT is one that the
database accepted before. Whether new keys and checks refuse the rows of a real app nobody can know from generated ones: that is told
as not judged.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import psycopg

from unmigrate.catalog.model import Catalog
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import literal
from unmigrate.check.previous import AppTable
from unmigrate.lint.model import AppProblem
from unmigrate.scratch.rows import fill

Action = Literal["read", "insert", "update"]
# foreign key, unique, check, exclusion; raised by a trigger: they speak of values, and ours are made up
OF_VALUES = frozenset({"23503", "23505", "23514", "23P01", "P0001"})
UNREADABLE = "22P02"  # as a value of the column's type; of a label that the app knows, that is no matter of our values
FOREIGN_KEY = "23503"
NOT_NULL = "23502"
UNDEFINED_COLUMN = "42703"
UNDECLARED = "(where it leaves out what was optional: no schema.prisma tells whether it does)"
_LACKING = re.compile(r'^(?:relation "|schema "|function )([^(]+?)(?:"|\(.*\)) does not exist')
ROWS = 5  # per table, of which those beyond the ordinary three serve as examples
_CLASSES = {
    "smallint": "number", "integer": "number", "bigint": "number", "numeric": "decimal", "real": "float", "double precision": "float",
    "text": "text", "character varying": "text", "character": "text", "citext": "text", "boolean": "boolean", "uuid": "uuid",
    "timestamp without time zone": "time", "timestamp with time zone": "time", "json": "json", "jsonb": "json", "bytea": "bytes",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Try:
    """One statement of the app. label: with a label of an enum that the app knows."""

    table: AppTable
    action: Action
    sql: str
    what: str = ""
    label: bool = False


@dataclass(slots=True)
class Rehearsal:
    """Made before the migration, played after it. rows: per table one that it accepts; enums: types that the migration touched.

    uncovered: tables whose writes could not be tried, and why.
    """

    tries: list[Try]
    rows: dict[str, dict[str, str | None]]
    enums: set[str]
    uncovered: list[str] = field(default_factory=list)


def rehearse(connection: psycopg.Connection[Any], tables: Sequence[AppTable], delta: Delta) -> Rehearsal:
    """What to try after the migration: reads of all tables, writes of those that it concerns. The database is left as it was."""
    concerned = concerned_tables(delta)
    connection.execute("BEGIN")
    try:
        oids = _oids(connection)
        writing = [t for t in tables if t.table in concerned and t.table in oids]
        rows = _examples(connection, {t.table: oids[t.table] for t in writing}, writing)
        enums = {o.name for pair in delta.altered for o in pair if o.kind == "enum"}
        enums |= {o.name for o in (*delta.created, *delta.dropped) if o.kind == "enum"}
        tries = [Try(t, "read", _read(t)) for t in tables if t.columns]
        unread = dict(_run(connection, tries))
        tries = [each for number, each in enumerate(tries) if number not in unread]
        for table in writing:
            tries += _accepted(connection, table, rows, oids[table.table], enums)
    finally:
        connection.execute("ROLLBACK")
    inserted = {t.table.table for t in tries if t.action == "insert"}
    uncovered = [f"{t.said}: no row to insert could be made" for t in writing if t.table not in inserted]
    return Rehearsal(tries, rows, enums, uncovered)


def _accepted(
    connection: psycopg.Connection[Any], table: AppTable, rows: dict[str, dict[str, str | None]], oid: int, enums: set[str]
) -> list[Try]:
    """Its writes that work now. A row made together with its parents' rows lacks them: then it is made anew, for this table alone."""
    for fresh in (False, True):
        if fresh:
            rows |= _examples(connection, {table.table: oid}, [table])
        if table.table not in rows:
            return []
        tries = list(_writes(table, rows[table.table], enums))
        failures = dict(_run(connection, tries))
        if not any(error.sqlstate == FOREIGN_KEY for error in failures.values()):
            break
    return [each for number, each in enumerate(tries) if number not in failures]


def play(connection: psycopg.Connection[Any], rehearsal: Rehearsal, delta: Delta) -> tuple[tuple[AppProblem, ...], tuple[str, ...]]:
    """(what the new schema refuses, what could not be judged). The database is left as it was."""
    connection.execute("BEGIN")
    try:
        failures = [
            (part, reason)
            for number, error in _run(connection, rehearsal.tries)
            for part, reason in _apart(connection, rehearsal.tries[number], error)
        ]
        failures += [(rest[number], error) for rest in _rests(rehearsal, failures) for number, error in _run(connection, rest)]
    finally:
        connection.execute("ROLLBACK")
    found: dict[tuple[str, str], AppProblem] = {}
    unjudged = []
    for each, error in failures:
        says = " ".join(str(error.diag.message_primary or error).split())
        if error.sqlstate in OF_VALUES or (error.sqlstate == UNREADABLE and not each.label) or _needs_others(error, delta):
            unjudged.append(f"whether the previous app's {each.action}s of {each.table.table} still pass: {says}")
            continue
        name = _object(each, error)
        what = each.what or _null_of_ours(each, error, rehearsal)
        found.setdefault((each.table.said, name), AppProblem(each.table.said, each.action, name, says + what))
    broken = {problem.object for problem in found.values()}
    types = [p for p in _types(delta, rehearsal) if p.object not in broken]
    return (*found.values(), *types), tuple(dict.fromkeys([*rehearsal.uncovered, *unjudged]))


def _null_of_ours(each: Try, error: psycopg.Error, rehearsal: Rehearsal) -> str:
    """That the NULL which is refused now is one of the row that we made up: the app may write it, and need not."""
    row = rehearsal.rows.get(each.table.table, {})
    name = next((n for n in row if n.strip('"') == error.diag.column_name), "")
    return " (where it writes NULL, as it may)" if error.sqlstate == NOT_NULL and name and row[name] is None else ""


def _needs_others(error: psycopg.Error, delta: Delta) -> bool:
    """Whether code of the database wants a table, schema or function that the history never had: a real database may have it."""
    named = _LACKING.search(str(error.diag.message_primary or ""))
    if named is None or not error.diag.context:
        return False
    name = named[1].replace('"', "")
    return not any(name in (o.name.replace('"', ""), str(o.facts.get("label")).strip('"')) for o in delta.before)


def concerned_tables(delta: Delta) -> frozenset[str]:
    """Tables of before whose writes the migration may have changed: their own parts, and types, functions and sequences they use."""
    before = {o.key.oid: o.name for o in delta.before.of_kind("table").values()}
    changed = [o for key in delta.keys for o in (delta.before.get(key), delta.after.get(key)) if o is not None]
    if any(o.kind in ("routine", "domain", "composite", "sequence", "schema", "extension", "event trigger") for o in changed):
        return frozenset(before.values())
    found = {before[o.key.oid] for o in changed if o.key.catalog == "pg_class" and o.key.oid in before}
    found |= {before[o.parent.oid] for o in changed if o.parent is not None and o.parent.oid in before}
    types = {o.name for o in changed if o.kind == "enum"}
    return frozenset(found | _using(delta.before, types, before))


def _using(catalog: Catalog, types: set[str], tables: Mapping[int, str]) -> set[str]:
    if not types:
        return set()
    columns = catalog.of_kind("column").values()
    return {tables[c.key.oid] for c in columns if c.facts["type"].removesuffix("[]") in types and c.key.oid in tables}


# ------------------------------------------------------------------------------------------------------------------------- statements


def _read(table: AppTable) -> str:
    return f"SELECT {', '.join(c.name for c in table.columns)} FROM {table.sql} LIMIT 1"


def _writes(table: AppTable, row: Mapping[str, str | None], enums: set[str]) -> Iterator[Try]:
    written = [c for c in table.columns if c.written and c.name in row]
    yield Try(table, "insert", _insert(table, row, [c.name for c in written], {}))
    least = [c.name for c in written if not c.optional]
    if len(least) < len(written):
        left_out = " (a field is left out that was optional)" if table.declared else f" {UNDECLARED}"
        yield Try(table, "insert", _insert(table, row, least, {}), left_out)
    for column in written:
        if _qualified(column.enum) in enums:
            for label in column.labels:
                value = _list_of(label) if column.enum.endswith("[]") else label
                yield Try(
                    table,
                    "insert",
                    _insert(table, row, [c.name for c in written], {column.name: value}),
                    f" ({column.name} = {label})",
                    True,
                )
    if written:
        sets = ", ".join(f"{c.name} = {c.name}" for c in written)
        yield Try(table, "update", f"UPDATE {table.sql} SET {sets}")


def _list_of(label: str) -> str:
    """An array of one, as text."""
    return '{"' + re.sub(r'(["\\])', r"\\\1", label) + '"}'


def _qualified(name: str) -> str:
    """A quoted name as the catalog writes it: without quotes where none are needed."""
    parts = re.findall(r'"((?:[^"]|"")*)"|([^.\[\]"]+)', name.removesuffix("[]"))
    plain = [quoted or bare for quoted, bare in parts]
    return ".".join(p if re.fullmatch(r"[a-z_][a-z0-9_$]*", p) else f'"{p}"' for p in plain)


def _insert(table: AppTable, row: Mapping[str, str | None], names: Sequence[str], instead: Mapping[str, str]) -> str:
    casts = {c.name: f"::{c.enum}" if c.enum else "" for c in table.columns}
    values = {name: instead.get(name, row[name]) for name in names}
    texts = [f"{literal(value)}{casts[name]}" if value is not None else "NULL" for name, value in values.items()]
    back = f" RETURNING {', '.join(c.name for c in table.columns)}"
    if not names:
        return f"INSERT INTO {table.sql} DEFAULT VALUES{back}"
    return f"INSERT INTO {table.sql} ({', '.join(names)}) VALUES ({', '.join(texts)}){back}"


def _run(connection: psycopg.Connection[Any], tries: Sequence[Try]) -> Iterator[tuple[int, psycopg.Error]]:
    """Run each and take it back: (number, error) of those that fail. All reads at once, and one by one only if one fails."""
    reads = [number for number, each in enumerate(tries) if each.action == "read"]
    connection.execute("SAVEPOINT unmigrate_app")
    try:
        if reads:
            connection.execute(";".join(tries[number].sql for number in reads))
        fine = set(reads)
    except psycopg.Error:
        fine = set()
    connection.execute("ROLLBACK TO SAVEPOINT unmigrate_app")
    for number, each in enumerate(tries):
        if number in fine:
            continue
        try:
            connection.execute(f"{each.sql}; SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK TO SAVEPOINT unmigrate_app")
        except psycopg.Error as error:
            connection.execute("ROLLBACK TO SAVEPOINT unmigrate_app")
            yield number, error


def _apart(connection: psycopg.Connection[Any], each: Try, error: psycopg.Error) -> list[tuple[Try, psycopg.Error]]:
    """A read that lacks a column, column by column, since PostgreSQL names only the first."""
    if each.action != "read" or error.sqlstate != UNDEFINED_COLUMN:
        return [(each, error)]
    parts = [Try(replace(each.table, columns=(c,)), "read", _read(replace(each.table, columns=(c,)))) for c in each.table.columns]
    return [(parts[number], reason) for number, reason in _run(connection, parts)]


def _rests(rehearsal: Rehearsal, failures: Sequence[tuple[Try, psycopg.Error]]) -> Iterator[list[Try]]:
    """Writes of tables that lack columns now, without those: what else would stop the app."""
    gone: dict[str, set[str]] = {}
    for each, error in failures:
        if each.action == "read" and error.sqlstate == UNDEFINED_COLUMN:
            gone.setdefault(each.table.table, set()).update(c.name for c in each.table.columns)
    whole = {t.table.table: t.table for t in rehearsal.tries if t.action == "read"}
    for name in gone.keys() & rehearsal.rows.keys():
        left = tuple(c for c in whole[name].columns if c.name not in gone[name])
        if left:  # else reading it says enough
            yield list(_writes(replace(whole[name], columns=left), rehearsal.rows[name], rehearsal.enums))


def _examples(connection: psycopg.Connection[Any], oids: Mapping[str, int], tables: Iterable[AppTable]) -> dict[str, dict[str, str | None]]:
    """Per table a row that it accepts, as text by quoted column name."""
    if not oids:
        return {}
    connection.execute("SAVEPOINT unmigrate_examples")
    found = {}
    try:
        fill(connection, list(oids.values()), per_table=ROWS, plain=True)
        for table in tables:
            names = [c.name for c in table.columns]
            if not names:
                continue
            query = (
                f"SELECT {', '.join(f'{name}::text' for name in names)} FROM {table.sql} WHERE age(xmin) <= 0 ORDER BY ctid DESC LIMIT 1"
            )
            row = connection.execute(query).fetchone()
            if row is not None:
                found[table.table] = dict(zip(names, row, strict=True))
    finally:
        connection.execute("ROLLBACK TO SAVEPOINT unmigrate_examples")
    return found


def _oids(connection: psycopg.Connection[Any]) -> dict[str, int]:
    query = (
        "SELECT format('%I.%I', n.nspname, c.relname), c.oid::int8 FROM pg_catalog.pg_class c "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384"
    )
    return dict(connection.execute(query).fetchall())


# --------------------------------------------------------------------------------------------------------------------------- findings


def _object(each: Try, error: psycopg.Error) -> str:
    """What the error is about, as far as it says: a column, else the table."""
    text = str(error.diag.message_primary or "")
    names = [error.diag.column_name or "", *(c.name.strip('"') for c in each.table.columns)]
    column = next((n for n in names if n and (n == error.diag.column_name or f'"{n}"' in text or f".{n} " in text)), "")
    return f"{each.table.table}.{_shown(column)}" if column else each.table.table


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) else '"' + name.replace('"', '""') + '"'


def _types(delta: Delta, rehearsal: Rehearsal) -> Iterator[AppProblem]:
    """Columns that have a type now which the previous client does not expect, although PostgreSQL would hand it over."""
    known = {t.table.table: t.table for t in rehearsal.tries}
    for old, new in delta.altered:
        table = known.get(old.name.rpartition(".")[0]) if new.kind == "column" else None
        if table is None or "type" not in new.changes(old):
            continue
        was, now = _class(old.facts["type"]), _class(new.facts["type"])
        if was != now and any(c.name.strip('"') == old.facts["label"].strip('"') for c in table.columns):
            says = f"{old.facts['label']} was {old.facts['type']} and is {new.facts['type']} now, which its client may not convert"
            yield AppProblem(table.said, "type", old.name, says)


def _class(type_: str) -> str:
    array = "[]" if type_.endswith("[]") else ""
    base = re.sub(r"\(\d+(,\d+)?\)", "", type_.removesuffix("[]"))
    return _CLASSES.get(base, base) + array
