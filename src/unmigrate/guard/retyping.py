"""The expressions by which a migration's own ALTER TABLE converts columns, so that a way forward again converts them by the same."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.parked import plain
from unmigrate.guard.filling import qualified
from unmigrate.guard.statement import alteration, without_cast
from unmigrate.sql.script import Statement


@dataclass(frozen=True, slots=True)
class Using:
    """expression: over the row as it was, "" where there is no USING; cast: to the new type, which may have another name by the end of
    the migration, it is yet to be cast.
    """

    expression: str
    cast: bool


def using(connection: psycopg.Connection[Any], statement: Statement, columns: Iterable[Object]) -> dict[Key, Using]:
    """How the statement, just run, has made these columns what they are; those that it does not convert by itself are left out."""
    listed = list(columns)
    altered = alteration(statement) if listed else None
    found = {}
    for column in listed if altered else ():
        assert altered is not None
        label = plain(column.facts["label"])
        if label not in altered.conversions:
            continue
        expression = altered.conversions[label]
        inner, type_ = without_cast(expression) if expression else ("", "")
        same = bool(inner) and _one_type(connection, type_, column.facts["type"])
        found[column.key] = Using(inner if same else expression or "", same)
    return found


def _one_type(connection: psycopg.Connection[Any], one: str, other: str) -> bool:
    """Whether two names mean one type of the user's: PostgreSQL's own keep theirs, with a length that casts must not lose."""
    own = "t.typnamespace <> 'pg_catalog'::regnamespace"
    sql = f"SELECT to_regtype(%s) = to_regtype(%s) AND (SELECT {own} FROM pg_type t WHERE t.oid = to_regtype(%s))"
    row = connection.execute(sql, [one, other, other]).fetchone()
    return bool(row and row[0])


def retype(connection: psycopg.Connection[Any], sql: str, by: Using, wanted: Object) -> str:
    """An ALTER COLUMN TYPE with the migration's own expression. sql: with any other; the table as it is before the migration.

    Raises psycopg.Error where the expression reads what is not there.
    """
    head = sql.partition(" USING ")[0]
    if not by.expression:
        return head
    same = qualified(connection, wanted.facts["table"], by.expression)
    return f"{head} USING ({same}){'::' + wanted.facts['type'] if by.cast else ''}"
