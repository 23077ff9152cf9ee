"""Statements prepared once per connection and run in batches of one round trip.

Planning our catalog queries costs more than running them, and psycopg forgets what it prepared at every ROLLBACK; PREPARE does not.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg

_prepared: "WeakKeyDictionary[psycopg.Connection[Any], dict[str, str]]" = WeakKeyDictionary()


class Call(NamedTuple):
    """A statement with $1, $2, ...; the types of these, and literals for them, comma-separated ("" for none)."""

    sql: str
    types: str = ""
    arguments: str = ""


def run(connection: psycopg.Connection[Any], calls: Sequence[Call], *, enter: str = "", leave: str = "") -> list[list[Any]]:
    """Rows of each call, all in one simple query.

    enter and leave: statements around them, each with one result that is dropped.
    """
    known = _prepared.setdefault(connection, {})
    parts = [enter] if enter else []
    skip = []
    for sql, types, arguments in calls:
        if sql not in known:
            known[sql] = f"unmigrate_{len(known)}"
            parts.append(f"PREPARE {known[sql]}{f'({types})' if types else ''} AS {sql}")
            skip.append(True)
        parts.append(f"EXECUTE {known[sql]}{f'({arguments})' if arguments else ''}")
        skip.append(False)
    parts += [leave] if leave else []
    cursor = connection.execute(";\n".join(parts))
    if enter:
        cursor.nextset()
    results = []
    for number, skipped in enumerate(skip):
        if not skipped:
            results.append(cursor.fetchall())
        if number < len(skip) - 1:
            cursor.nextset()
    return results


def array(values: Iterable[int | str]) -> str:
    """The literal for an array argument of numbers or plain words."""
    return f"'{{{','.join(map(str, values))}}}'"
