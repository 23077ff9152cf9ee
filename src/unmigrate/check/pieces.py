"""A migration's text as the smallest pieces that can be run apart: one per statement, one per command of an ALTER TABLE.

A column added as NOT NULL without a default makes two: added, and NOT NULL. A statement whose pieces stay together is shown as written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unmigrate.sql import script
from unmigrate.sql.script import Statement

SERIAL = frozenset({"serial", "serial4", "bigserial", "serial8", "smallserial", "serial2"})


@dataclass(frozen=True, slots=True)
class Piece:
    """text: without semicolon. statement: it is of; number: that statement's place in the file. required: only makes a column NOT NULL
    that another piece adds."""

    text: str
    statement: Statement
    number: int
    required: bool = False


def pieces(sql: str) -> tuple[Piece, ...]:
    """All pieces in order. Raises ScriptError where the text does not parse."""
    found = []
    for number, statement in enumerate(s for s in script.split(sql) if not s.control):
        texts = _commands(statement) if statement.node == "AlterTableStmt" else []
        found += [Piece(text, statement, number, required) for text, required in texts or [(statement.text.strip(), False)]]
    return tuple(found)


def joined(chosen: Sequence[Piece], every: Sequence[Piece]) -> list[str]:
    """The chosen pieces as statements: as written where a statement is whole, else one ALTER TABLE per command."""
    whole = {n for n in {p.number for p in chosen} if all(p in chosen for p in every if p.number == n)}
    texts: list[str] = []
    done: set[int] = set()
    for piece in chosen:
        if piece.number not in whole:
            texts.append(piece.text)
        elif piece.number not in done:
            texts.append(piece.statement.text.strip())
            done.add(piece.number)
    return texts


def _commands(statement: Statement) -> list[tuple[str, bool]]:
    """(text, required) per command; [] where the statement is one command anyway."""
    from pglast import parse_sql
    from pglast.enums import AlterTableType

    node: Any = parse_sql(statement.text)[0].stmt
    found: list[tuple[str, bool]] = []
    for command in node.cmds:
        if command.subtype == AlterTableType.AT_AddColumn and _required(command.def_):
            head, name = _head(node), _quoted(command.def_.colname)
            command.def_.constraints = tuple(c for c in command.def_.constraints if not _not_null(c)) or None
            found += [(_alone(node, command), False), (f"{head} ALTER COLUMN {name} SET NOT NULL", True)]
        else:
            found.append((_alone(node, command), False))
    return found if len(found) > 1 else []


def _required(column: Any) -> bool:
    """NOT NULL, and nothing fills it in."""
    from pglast.enums import ConstrType

    kinds = [c.contype for c in column.constraints or ()]
    filled = {ConstrType.CONSTR_DEFAULT, ConstrType.CONSTR_IDENTITY, ConstrType.CONSTR_GENERATED, ConstrType.CONSTR_PRIMARY}
    return ConstrType.CONSTR_NOTNULL in kinds and not filled & set(kinds) and column.typeName.names[-1].sval not in SERIAL


def _not_null(constraint: Any) -> bool:
    from pglast.enums import ConstrType

    return bool(constraint.contype == ConstrType.CONSTR_NOTNULL)


def _alone(node: Any, command: Any) -> str:
    from pglast import ast
    from pglast.stream import RawStream

    return str(RawStream()(ast.AlterTableStmt(relation=node.relation, cmds=(command,), objtype=node.objtype, missing_ok=node.missing_ok)))


def _head(node: Any) -> str:
    only = "" if node.relation.inh else "ONLY "
    name = ".".join(_quoted(part) for part in (node.relation.schemaname, node.relation.relname) if part)
    return f"ALTER TABLE {'IF EXISTS ' * bool(node.missing_ok)}{only}{name}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
