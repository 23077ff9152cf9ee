"""Roles that migrations make belong to the server, and a history is replayed in several databases of it: only the first replay makes them.

In the others, CREATE ROLE (USER, GROUP) of such a role is left out, as nothing in a database depends on who made it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.sql.words import says

_MENTION = re.compile(r"\bcreate\s+(?:role|user|group)\b", re.IGNORECASE)
_THERE = "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY (%s)"


def makes_roles(sql: str) -> bool:
    """Whether the text may create roles (words only)."""
    return says(sql, ("role", "user", "group")) and _MENTION.search(sql) is not None


class MadeRoles:
    """Which database's replay made which role; of one pool."""

    def __init__(self) -> None:
        self._makers: dict[str, str] = {}

    def without_others(self, connection: psycopg.Connection[Any], sql: str) -> str:
        """`sql` without CREATE ROLE for the roles that the replay in another database made, and that are still there."""
        if not self._makers or not makes_roles(sql) or connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            return sql
        database = connection.info.dbname
        others = [(n, start, end) for n, start, end in _creates(sql) if self._makers.get(n, database) != database]
        with psycopg.Cursor(connection) as cursor:
            there = {name for (name,) in cursor.execute(_THERE, [[n for n, _, _ in others]]).fetchall()} if others else set()
        for name, start, end in reversed(others):
            if name in there:
                sql = sql[:start] + re.sub(r"[^\n]", " ", sql[start:end]) + sql[end:]
        return sql

    def note(self, connection: psycopg.Connection[Any], sql: str) -> None:
        """The text was run in this connection's database."""
        if makes_roles(sql):
            for name, _, _ in _creates(sql):
                self._makers[name] = connection.info.dbname


def _creates(sql: str) -> Iterator[tuple[str, int, int]]:
    """(role, start, end) of each CREATE ROLE; nothing where the text does not parse."""
    from pglast import parse_sql
    from pglast import split as slices
    from pglast.parser import ParseError

    try:
        spans = slices(sql, with_parser=True, only_slices=True)
        nodes: list[Any] = [raw.stmt for raw in parse_sql(sql)]
    except ParseError:
        return
    for span, node in zip(spans, nodes, strict=True):
        if type(node).__name__ == "CreateRoleStmt":
            yield node.role, span.start, span.stop


@dataclass(frozen=True, slots=True)
class Met:
    """Roles that a statement acts as; gives: or makes owners of something; drops: or drops (if_exists: that may not be there)."""

    names: tuple[str, ...]
    gives: bool = False
    drops: bool = False
    if_exists: bool = False


def roles_met(statement: str) -> Met | None:
    """Which roles one statement names that whoever runs it must be a member of, or that it drops; None: none, or it does not parse."""
    from pglast import parse_sql
    from pglast.parser import ParseError

    try:
        parsed = parse_sql(statement)
    except ParseError:
        return None
    node: Any = parsed[0].stmt if len(parsed) == 1 else None
    kind, gives = type(node).__name__, True
    if kind == "AlterOwnerStmt":
        specs = [node.newowner]
    elif kind == "AlterTableStmt":
        specs = [command.newowner for command in node.cmds]
    elif kind == "CreateSchemaStmt":
        specs = [node.authrole]
    elif kind == "ReassignOwnedStmt":
        specs = [*node.roles, node.newrole]
    elif kind == "DropOwnedStmt":
        specs, gives = [*node.roles], False
    elif kind == "AlterDefaultPrivilegesStmt":
        specs, gives = [role for o in node.options or () if o.defname == "roles" for role in o.arg], False
    elif kind == "VariableSetStmt" and node.name == "role" and node.args:
        return Met((node.args[0].val.sval,))
    elif kind == "DropRoleStmt":
        return Met(tuple(r.rolename for r in node.roles if r.rolename), drops=True, if_exists=bool(node.missing_ok))
    else:
        return None
    names = tuple(dict.fromkeys(spec.rolename for spec in specs if spec is not None and spec.rolename))
    return Met(names, gives) if names else None
