"""Statements prepared once per connection and run in batches of one round trip.

Planning our catalog queries costs more than running them, and psycopg forgets what it prepared at every ROLLBACK; PREPARE does not.
A migration may deallocate them: see `look_again`, and `run_between`, whose calls have no arguments.
"""

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import psycopg
from psycopg.rows import tuple_row

NAME = "unmigrate_own_"
WITHOUT_ARGUMENTS = ""  # stands for the text of any call that has none


class _Prepared(NamedTuple):
    """Names by text, and numbers for further names: one that a failed batch used up is not used again."""

    names: dict[str, str]
    numbers: "count[int]"


_prepared: "WeakKeyDictionary[psycopg.Connection[Any], _Prepared]" = WeakKeyDictionary()


LOST = psycopg.errors.InvalidSqlStatementName


def look_again(connection: psycopg.Connection[Any]) -> None:
    """Somebody else's SQL ran, and may have said DISCARD ALL: forget what is not prepared any more. Outside of transactions."""
    known = _prepared.get(connection)
    if not known or not known.names:
        return
    try:  # pg_prepared_statements would write out the text of every one
        psycopg.Cursor(connection).execute(f"EXECUTE {known.names.get(WITHOUT_ARGUMENTS, NAME)}")
    except LOST:
        known.names.clear()


def _forget(connection: psycopg.Connection[Any]) -> None:
    if known := _prepared.get(connection):
        known.names.clear()


class Call(NamedTuple):
    """A statement with $1, $2, ...; the types of these, and literals for them, comma-separated ("" for none)."""

    sql: str
    types: str = ""
    arguments: str = ""


class _Batch:
    """Text that runs calls, and which of its results are wanted."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._known = _prepared.setdefault(connection, _Prepared({}, count()))
        self._fresh: dict[str, str] = {}
        self.parts: list[str] = []
        self.wanted: list[bool] = []

    def add(self, call: Call, wanted: bool) -> None:
        sql, types, arguments = call
        name = self._known.names.get(sql) or self._fresh.get(sql)
        if name is None:
            name = self._fresh[sql] = f"{NAME}{next(self._known.numbers)}"
            if not types:
                self._fresh[WITHOUT_ARGUMENTS] = name
            self.parts.append(f"PREPARE {name}{f'({types})' if types else ''} AS {sql}")
            self.wanted.append(False)
        self.parts.append(f"EXECUTE {name}{f'({arguments})' if arguments else ''}")
        self.wanted.append(wanted)

    def done(self) -> None:
        """Only now are the names known: a failure before leaves them unprepared."""
        self._known.names.update(self._fresh)


def run(
    connection: psycopg.Connection[Any], calls: Sequence[Call], *, enter: str = "", around: tuple[Call, Call] | None = None
) -> list[list[Any]]:
    """Rows of each call, all in one simple query.

    enter: SQL to run before them, any number of statements; around: calls at the beginning and the end. Their results are dropped.
    """
    batch = _Batch(connection)
    for number, call in enumerate((around[0], *calls, around[1]) if around else calls):
        batch.add(call, not around or 0 < number <= len(calls))
    text = ";\n".join(batch.parts)
    cursor = connection.execute(f"{enter}\n;\n{text}") if enter else psycopg.Cursor(connection, row_factory=tuple_row).execute(text)
    batch.done()
    last = len(batch.wanted)
    return [cursor.set_result(number - last).fetchall() for number, keep in enumerate(batch.wanted) if keep]


def run_between(connection: psycopg.Connection[Any], call: Call, sql: str, *, leave: str = "SELECT") -> tuple[list[Any], list[Any]]:
    """Open a transaction, run the call, then `sql` (any number of statements), then the call again; its rows both times.

    leave: one statement to run at the end. Where `sql` deallocates what is prepared, all is rolled back and done again without.
    """
    try:
        return _run_between(connection, call, sql, leave)
    except LOST as error:
        if f'"{NAME}' not in str(error):
            raise
        connection.execute("ROLLBACK")
        _forget(connection)
        found = _run_between(connection, call, sql, leave, again=True)
        _forget(connection)
        return found


def _run_between(
    connection: psycopg.Connection[Any], call: Call, sql: str, leave: str, *, again: bool = False
) -> tuple[list[Any], list[Any]]:
    """again: by that time nothing is prepared any more."""
    batch = _Batch(connection)
    batch.add(call, wanted=True)
    first = len(batch.parts)
    before = ";\n".join(batch.parts)
    batch.add(call, wanted=True)
    after = call.sql if again else batch.parts[-1]
    cursor = connection.execute(f"BEGIN;\n{before};\n{sql}\n;\n{after};\n{leave}")
    batch.done()
    return cursor.set_result(first).fetchall(), cursor.set_result(-2).fetchall()


def array(values: Iterable[int | str]) -> str:
    """The literal for an array argument of numbers or plain words."""
    return f"'{{{','.join(map(str, values))}}}'"
