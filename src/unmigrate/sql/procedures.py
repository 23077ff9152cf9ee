"""The statements that a DO block or a function may run, from PL/pgSQL's own parse tree."""

import re
from collections.abc import Iterator
from typing import Any

from unmigrate.sql.script import ScriptError, Statement, split

_DYNAMIC = ("PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors", "dynquery")
_NAMES = re.compile(r"%(\d+\$)?[IsL]")  # of format()


def inside(text: str) -> Iterator[tuple[Statement, bool]]:
    """(statement, whether an error of it is caught) of a DO block or CREATE FUNCTION, an expression as the SELECT of it.

    What EXECUTE puts together is read where a constant of it reads as SQL by itself. Languages other than SQL and PL/pgSQL say nothing.
    Raises ScriptError.
    """
    from pglast import parse_plpgsql, parse_sql
    from pglast.parser import ParseError

    try:
        node: Any = parse_sql(text)[0].stmt
        options = {o.defname: o.arg for o in (getattr(node, "options", None) or getattr(node, "args", None) or ())}
        language = getattr(options.get("language"), "sval", "plpgsql").lower()
        body = options.get("as")
        if language == "plpgsql":
            yield from _walk(parse_plpgsql(text), caught=False, dynamic=False)
        elif language == "sql" and body is not None:
            yield from ((statement, False) for statement in split(" ".join(getattr(part, "sval", "") for part in body)))
    except ParseError as error:
        raise ScriptError(str(error.args[0])) from error


def _walk(part: Any, *, caught: bool, dynamic: bool) -> Iterator[tuple[Statement, bool]]:
    """caught: inside a block that catches errors; dynamic: inside a statement that runs text."""
    if isinstance(part, list):
        for each in part:
            yield from _walk(each, caught=caught, dynamic=dynamic)
    elif isinstance(part, dict):
        if expression := part.get("PLpgSQL_expr"):
            for text in _texts(expression, dynamic):
                yield from ((statement, caught) for statement in _split(text))
            return
        for key, value in part.items():
            inner = caught or (key == "body" and "exceptions" in part)
            yield from _walk(value, caught=inner, dynamic=(dynamic and key != "body") or key in _DYNAMIC)


def _texts(expression: dict[str, Any], dynamic: bool) -> list[str]:
    text, mode = expression["query"], expression.get("parseMode", 0)
    if mode:  # an expression, or (3 and more) an assignment
        text = f"SELECT {text.partition('=')[2].strip() if mode > 2 else text}"
    return [text, *(_constants(text) if dynamic else ())]


def _split(text: str) -> tuple[Statement, ...]:
    try:
        return split(text)
    except ScriptError:  # a piece of SQL, or no SQL at all
        return ()


def _constants(text: str) -> list[str]:
    """The strings in an expression, with something in the place of names to come."""
    from pglast import parse_sql
    from pglast.parser import ParseError
    from pglast.visitors import Visitor

    found: list[str] = []

    class Collector(Visitor):
        def visit_A_Const(self, _: Any, n: Any) -> None:
            if (value := getattr(n.val, "sval", None)) is not None:
                found.append(_NAMES.sub("x", value))

    try:
        Collector()(parse_sql(text))
    except ParseError:
        return []
    return found
