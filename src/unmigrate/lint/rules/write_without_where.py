"""write-without-where: an UPDATE or DELETE of every row."""

from collections.abc import Iterator
from typing import Any

from unmigrate.catalog.sqltext import ident
from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import statements
from unmigrate.sql.procedures import inside
from unmigrate.sql.script import ScriptError, Statement


def _find(subject: Subject) -> Iterator[Hit]:
    from pglast import parse_sql

    made: set[str] = set()
    for statement in statements(subject):
        if statement.node == "CreateStmt":
            create: Any = parse_sql(statement.text)[0].stmt
            made.add(create.relation.relname)
        for inner in (statement, *_inner(statement)):
            for verb, table in _all_rows(inner):
                if table not in made:
                    yield Hit(f"it {verb} every row of {ident(table)} in one statement", statement.start)


def _inner(statement: Statement) -> list[Statement]:
    """Those of a DO block."""
    if statement.node != "DoStmt":
        return []
    try:
        return [inner for inner, _ in inside(statement.text)]
    except ScriptError:
        return []


def _all_rows(statement: Statement) -> Iterator[tuple[str, str]]:
    """(what it does, table)"""
    from pglast import parse_sql

    if statement.node in ("UpdateStmt", "DeleteStmt"):
        node: Any = parse_sql(statement.text)[0].stmt
        if node.whereClause is None:
            yield "updates" if statement.node == "UpdateStmt" else "deletes", node.relation.relname


RULE = Rule(
    "write-without-where", "warning", "A data change without WHERE",
    "Every row is locked until the migration commits, writers queue up behind it, and the table grows by its own size. The same "
    "statement run once more (after a failure, or a redo) changes rows that were written since. Tables made by the same migration do "
    "not count.",
    'UPDATE "User" SET "locale" = \'en\';',
    'UPDATE "User" SET "locale" = \'en\' WHERE "locale" IS NULL;  -- in batches where the table is large',
    "say which rows are meant; for a new column a DEFAULT needs no UPDATE at all",
    _find,
)  # fmt: skip
