"""The rows half of a guarded proof: up and back on generated rows, on a database of its own, which is thrown away."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.parked import ASIDE
from unmigrate.catalog.sqltext import UNCHECKED_BODIES
from unmigrate.park import vault
from unmigrate.prove.rows import TABLES
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.appease import Appeaser
from unmigrate.scratch.contents import TableContents, contents
from unmigrate.scratch.rows import fill

_Contents = dict[str, tuple[tuple[str, ...], TableContents]]


@dataclass(frozen=True, slots=True)
class Shown:
    """differing: tables whose content is not what it was; uncovered: concerned tables that were not shown, and why.

    again: up, back, up again and back once more gave the same rows each time.
    """

    differing: tuple[str, ...]
    uncovered: tuple[str, ...]
    again: bool = False


def rows_shown(
    work: Workspace, base: str, text: str, guard: str, ways: Sequence[Sequence[str]], again: Sequence[str], concerned: set[str]
) -> Shown:
    """text: the plain migration, which tells what rows it can stand. ways: statements up, and back; again: forward again, if any.

    Raises psycopg.Error where up or back fail.
    """
    connection = work.prepare(work.pool.connect(work.pool.clone(base)))
    try:
        empty = dict(fill(connection).empty)
        make_fit(connection, text)
        vault.make_guard(connection, guard)
        before = contents_of(connection, None)
        connection.execute("BEGIN")
        up, back = ways
        _run(connection, up)
        above = contents_of(connection, None) if again else {}
        _run(connection, [UNCHECKED_BODIES, *back])
        differing = _differing(before, contents_of(connection, before))
        forth = bool(again) and not differing and _back_and_forth(connection, (again, back), (above, before))
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    bare = {name for name, (_, content) in before.items() if not content.rows}
    uncovered = tuple(f"{name} has no rows: {empty.get(name, 'the migration stands none')}" for name in sorted(concerned & bare))
    return Shown(differing, uncovered, forth)


def _back_and_forth(connection: psycopg.Connection[Any], ways: Sequence[Sequence[str]], wanted: Sequence[_Contents]) -> bool:
    """Whether each way leads to the rows wanted of it."""
    for way, rows in zip(ways, wanted, strict=True):
        try:
            _run(connection, way)
        except psycopg.Error:
            return False
        if _differing(rows, contents_of(connection, rows)):
            return False
    return True


def _run(connection: psycopg.Connection[Any], way: Sequence[str]) -> None:
    for sql in way:
        connection.execute(sql)


def _differing(wanted: _Contents, found: _Contents) -> tuple[str, ...]:
    return tuple(name for name, (_, content) in sorted(wanted.items()) if name not in found or found[name][1] != content)


def make_fit(connection: psycopg.Connection[Any], text: str) -> None:
    """Change rows until the migration runs over them. Raises psycopg.Error where nothing helps."""
    appeaser = Appeaser(connection, text)
    while True:
        connection.execute("BEGIN")
        try:
            connection.execute(text)
            connection.execute("ROLLBACK")
            return
        except psycopg.Error as error:
            connection.execute("ROLLBACK")
            if appeaser.appease(error) is None:
                raise


def contents_of(connection: psycopg.Connection[Any], like: _Contents | None) -> _Contents:
    """{table: (columns, content)} of what is not parked; like: only these tables and columns."""
    listed = connection.execute(TABLES).fetchall()
    tables = {name: (oid, tuple(c for c in columns if not ASIDE.match(c))) for name, oid, columns, _ in listed}
    if like is not None:
        tables = {name: (tables[name][0], columns) for name, (columns, _) in like.items() if name in tables}
    found = contents(connection, {oid: sorted(columns) for oid, columns in tables.values()})
    return {name: (columns, found[oid]) for name, (oid, columns) in tables.items()}
