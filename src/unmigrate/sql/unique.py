"""What a unique index or constraint holds the rows to, read from its definition as PostgreSQL prints it."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Unique:
    """columns: their bare names, () where an expression is among the keys; keys: SQL of columns and expressions; where: of a partial
    index, or ""; nulls: whether NULLs count as equal to each other.
    """

    columns: tuple[str, ...]
    keys: tuple[str, ...]
    where: str = ""
    nulls: bool = False

    @property
    def plain(self) -> bool:
        """Whether its columns say it all."""
        return bool(self.columns) and not self.where


@lru_cache(maxsize=1024)
def unique(definition: str) -> Unique | None:
    """None for what is no unique key, or cannot be read."""
    if not definition.startswith(("UNIQUE ", "PRIMARY KEY ", "CREATE UNIQUE INDEX ")):
        return None
    from pglast import parse_sql
    from pglast.parser import ParseError

    try:
        if definition.startswith("CREATE"):
            return _of_index(parse_sql(definition)[0].stmt)
        altering: Any = parse_sql(f"ALTER TABLE t ADD {definition}")[0].stmt
    except ParseError:  # words of a newer server
        return None
    constraint = altering.cmds[0].def_
    columns = tuple(key.sval for key in constraint.keys)
    return Unique(columns, tuple(map(_quoted, columns)), nulls=bool(constraint.nulls_not_distinct))


def _of_index(statement: Any) -> Unique:
    from pglast.stream import RawStream

    parts, where = statement.indexParams, statement.whereClause
    keys = tuple(_quoted(p.name) if p.name else f"({RawStream()(p.expr)})" for p in parts)
    columns = tuple(p.name for p in parts) if all(p.name for p in parts) else ()
    return Unique(columns, keys, RawStream()(where) if where else "", bool(statement.nulls_not_distinct))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
