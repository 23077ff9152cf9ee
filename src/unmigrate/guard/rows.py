"""The rows half of a guarded proof: up and back on generated rows, on a database of its own, which is thrown away."""

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from unmigrate.park import vault
from unmigrate.prove.rows import TABLES
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.appease import Appeaser
from unmigrate.scratch.contents import TableContents, contents
from unmigrate.scratch.rows import fill


def rows_differ(
    work: Workspace, base: str, text: str, guard: str, ways: Sequence[Iterable[str]], concerned: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(tables whose content is not what it was, concerned tables that were not shown).

    text: the plain migration, which tells what rows it can stand. ways: statements up, and back. Raises psycopg.Error where they fail.
    """
    connection = work.prepare(work.pool.connect(work.pool.clone(base)))
    try:
        empty = dict(fill(connection).empty)
        _appease(connection, text)
        vault.make_guard(connection, guard)
        before = _contents(connection, None)
        connection.execute("BEGIN")
        for way in ways:
            for sql in way:
                connection.execute(sql)
        after = _contents(connection, before)
        connection.execute("ROLLBACK")
    finally:
        connection.close()
    differing = tuple(name for name, (_, content) in sorted(before.items()) if name not in after or after[name][1] != content)
    bare = {name for name, (_, content) in before.items() if not content.rows}
    return differing, tuple(f"{name} has no rows: {empty.get(name, 'the migration stands none')}" for name in sorted(concerned & bare))


def _appease(connection: psycopg.Connection[Any], text: str) -> None:
    """Change rows until the migration runs over them."""
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


_Contents = dict[str, tuple[tuple[str, ...], TableContents]]


def _contents(connection: psycopg.Connection[Any], like: _Contents | None) -> _Contents:
    """{table: (columns, content)}; like: only these tables and columns."""
    tables = {name: (oid, tuple(columns)) for name, oid, columns in connection.execute(TABLES).fetchall()}
    if like is not None:
        tables = {name: (tables[name][0], columns) for name, (columns, _) in like.items() if name in tables}
    found = contents(connection, {oid: sorted(columns) for oid, columns in tables.values()})
    return {name: (columns, found[oid]) for name, (oid, columns) in tables.items()}
