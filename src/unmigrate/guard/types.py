"""Types in expressions, by what they are: a migration renames them, and an expression that was kept means them all the same."""

import re
from typing import Any

import psycopg

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key
from unmigrate.catalog.sqltext import ident

_BOUND = re.compile(r"\bunmigrate_type_(\d+)\b")
_OWN = "SELECT t.oid::int8 FROM pg_type t WHERE t.oid = to_regtype(%s) AND t.typtype IN ('e', 'd') AND t.oid >= 16384"


def bound(connection: psycopg.Connection[Any], expression: str) -> str:
    """The expression with the user's enums and domains by their oid."""
    from pglast import ast, parse_sql
    from pglast.stream import RawStream
    from pglast.visitors import Visitor

    class Bind(Visitor):
        def visit_TypeName(self, _: Any, node: Any) -> None:
            name = ".".join(ident(part.sval) for part in node.names or ())
            row = connection.execute(_OWN, [name]).fetchone() if name else None
            if row is not None:
                node.names = (ast.String(sval=f"unmigrate_type_{row[0]}"),)

    tree = parse_sql(f"SELECT {expression}")
    Bind()(tree)
    return str(RawStream()(tree)).removeprefix("SELECT ")


def by_now(expression: str, now: Catalog) -> str:
    """With the names that these types have now. Raises CannotInvert where one is gone."""

    def name(match: re.Match[str]) -> str:
        found = now.get(Key("pg_type", int(match[1])))
        if found is None:
            raise CannotInvert("a type by which a column was converted is gone")
        return found.name

    return _BOUND.sub(name, expression)
