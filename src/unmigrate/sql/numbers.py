"""Statements of a script that set where a sequence goes on (RESTART, setval): no catalog row holds that, so no way back is found for it."""

from collections.abc import Iterator
from typing import Any

from unmigrate.sql.procedures import inside
from unmigrate.sql.script import ScriptError, split
from unmigrate.sql.words import says

_WORTH = ("restart", "setval")  # without one of these words there is nothing to look for


def sets_numbers(sql: str) -> tuple[str, ...]:
    """The statements, on one line each; those of DO blocks too. Text that does not parse says nothing."""
    return tuple(dict.fromkeys(_found(sql))) if says(sql, _WORTH) else ()


def _found(sql: str) -> Iterator[str]:
    try:
        for statement in split(sql):
            if not says(statement.text, _WORTH):
                continue
            for part in (s for s, _ in inside(statement.text)) if statement.node == "DoStmt" else (statement,):
                if says(part.text, _WORTH) and _sets(part.text):
                    yield " ".join(part.text.split())
    except ScriptError:
        return


def _sets(text: str) -> bool:
    from pglast import parse_sql
    from pglast.visitors import Visitor

    found = [False]

    class Looking(Visitor):
        def visit_DefElem(self, _: Any, n: Any) -> None:
            found[0] = found[0] or n.defname == "restart"

        def visit_FuncCall(self, _: Any, n: Any) -> None:
            found[0] = found[0] or n.funcname[-1].sval == "setval"

    Looking()(parse_sql(text))
    return found[0]
