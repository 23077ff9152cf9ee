"""Statements prepared once per connection and run in batches of one round trip.

Planning our catalog queries costs more than running them, and psycopg forgets what it prepared at every ROLLBACK; PREPARE does not.
"""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import psycopg

_prepared: "WeakKeyDictionary[psycopg.Connection[Any], dict[str, str]]" = WeakKeyDictionary()


def run(connection: psycopg.Connection[Any], calls: Sequence[tuple[str, str]], *, enter: str = "", leave: str = "") -> list[list[Any]]:
    """Rows of each call (statement with $1, literal for $1 with its type, "" for none), all in one simple query.

    enter and leave: statements around them, each with one result that is dropped.
    """
    known = _prepared.setdefault(connection, {})
    parts = [enter] if enter else []
    skip = []
    for sql, argument in calls:
        if sql not in known:
            known[sql] = f"unmigrate_{len(known)}"
            typed = "(oid[])" if "$1" in sql else ""
            parts.append(f"PREPARE {known[sql]}{typed} AS {sql}")
            skip.append(True)
        parts.append(f"EXECUTE {known[sql]}{f'({argument})' if argument else ''}")
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


def oid_array(oids: Sequence[int]) -> str:
    """The literal for an oid[] argument."""
    return f"'{{{','.join(map(str, oids))}}}'"
