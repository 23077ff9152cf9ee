"""Statements prepared once per connection and run in batches of one round trip.

Planning our catalog queries costs more than running them, and psycopg forgets what it prepared at every ROLLBACK; PREPARE does not.
"""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg


class _Prepared(NamedTuple):
    """Names by text, and numbers for further names: one that a failed batch used up is not used again."""

    names: dict[str, str]
    numbers: "count[int]"


_prepared: "WeakKeyDictionary[psycopg.Connection[Any], _Prepared]" = WeakKeyDictionary()


class Call(NamedTuple):
    """A statement with $1, $2, ...; the types of these, and literals for them, comma-separated ("" for none)."""

    sql: str
    types: str = ""
    arguments: str = ""


def run(
    connection: psycopg.Connection[Any], calls: Sequence[Call], *, enter: str = "", around: tuple[Call, Call] | None = None
) -> list[list[Any]]:
    """Rows of each call, all in one simple query.

    enter: SQL to run before them, any number of statements; around: calls at the beginning and the end. Their results are dropped.
    """
    known = _prepared.setdefault(connection, _Prepared({}, count()))
    fresh: dict[str, str] = {}
    parts, wanted = [], []  # statements, and which of their results are wanted
    for number, (sql, types, arguments) in enumerate((around[0], *calls, around[1]) if around else calls):
        name = known.names.get(sql) or fresh.get(sql)
        if name is None:
            name = fresh[sql] = f"unmigrate_{next(known.numbers)}"
            parts.append(f"PREPARE {name}{f'({types})' if types else ''} AS {sql}")
            wanted.append(False)
        parts.append(f"EXECUTE {name}{f'({arguments})' if arguments else ''}")
        wanted.append(not around or 0 < number <= len(calls))
    text = ";\n".join(parts)
    cursor = connection.execute(f"{enter}\n;\n{text}") if enter else psycopg.Cursor(connection).execute(text)
    known.names.update(fresh)  # only now: a failure before leaves them unprepared
    last = len(wanted)
    return [cursor.set_result(number - last).fetchall() for number, keep in enumerate(wanted) if keep]


def array(values: Iterable[int | str]) -> str:
    """The literal for an array argument of numbers or plain words."""
    return f"'{{{','.join(map(str, values))}}}'"
