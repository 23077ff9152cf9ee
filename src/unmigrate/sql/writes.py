"""What a script does to rows, as far as its text tells: tables written, and text whose writes only running it would show."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from unmigrate.sql.script import ScriptError, split
from unmigrate.sql.words import says

# Top-level statements that can write rows; everything else defines things.
_WRITERS = frozenset(
    {"InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "TruncateStmt", "CopyStmt", "SelectStmt", "DoStmt", "CallStmt",
     "ExecuteStmt", "CreateTableAsStmt", "ExplainStmt", "AlterTableStmt"}
)  # fmt: skip
_WORDS = ("insert", "update", "delete", "merge", "truncate", "copy", "select", "do", "call", "execute", "explain", "using")
_DML = re.compile(r"\b(insert|update|delete|merge|truncate|copy|execute)\b", re.IGNORECASE)
# Words that write nothing: what a foreign key does, and locking rows.
_NO_WRITE = re.compile(
    r"\bon\s+(delete|update)\s+(cascade|restrict|no\s+action|set\s+null|set\s+default)\b|\bfor\s+(no\s+key\s+)?update\b", re.IGNORECASE
)
# Code put together at run time, and a DELETE whose FROM does not stand right after it.
_MADE = re.compile(r"\bexecute\b|\bdelete\s*(--|/\*)", re.IGNORECASE)
_READ = re.compile(r"(\w+|[)*\"\]])\s+(?:from|join)\s+(?:(?:\"(?:[^\"]|\"\")+\"|[a-z_]\w*)\s*\.\s*)?\Z", re.IGNORECASE)
_IDENTIFIER = re.compile(r'"((?:[^"]|"")+)"|([A-Za-z_][A-Za-z0-9_$]*)')


@dataclass(frozen=True, slots=True)
class Write:
    """A write to a table. schema: None where the text does not say. columns: those set by an UPDATE, None for whole rows. at: its place."""

    verb: str
    schema: str | None
    table: str
    columns: frozenset[str] | None = None
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Writes:
    """tables: writes seen in the text. calls: names of functions called by statements. opaque: bodies that run unseen.

    conversions: (table, column) whose type change has a USING that is more than a cast of the column itself. shortened: those where it is
    a cast to a size, which cuts off what is longer. renamed: (table, old, new) of columns. dropped, added: places where ALTER TABLE drops
    and adds constraints, by (table, constraint).
    """

    tables: tuple[Write, ...] = ()
    calls: frozenset[str] = frozenset()
    opaque: tuple[str, ...] = ()
    conversions: tuple[tuple[Write, str], ...] = ()
    shortened: tuple[tuple[Write, str], ...] = ()
    renamed: tuple[tuple[str, str, str], ...] = ()
    dropped: Mapping[tuple[str, str], int] = field(default_factory=dict)
    added: Mapping[tuple[str, str], int] = field(default_factory=dict)


@lru_cache(maxsize=64)
def writes(sql: str) -> Writes:
    """Writes of a script. A text that does not parse is opaque as a whole."""
    if not says(sql, _WORDS) or not says(_NO_WRITE.sub(" ", sql), _WORDS):
        return Writes()
    from pglast import parse_sql

    try:
        statements = [s for s in split(sql) if s.node in _WRITERS]
    except ScriptError:
        return Writes(opaque=(sql,))
    found: list[Write] = []
    calls: set[str] = set()
    opaque: list[str] = []
    conversions: list[tuple[Write, str]] = []
    shortened: list[tuple[Write, str]] = []
    dropped: dict[tuple[str, str], int] = {}
    added: dict[tuple[str, str], int] = {}
    for statement in statements:
        for raw in parse_sql(statement.text):
            if statement.node == "AlterTableStmt":
                _conversions(raw.stmt, conversions, shortened)
                _constraints(raw.stmt, statement.start, dropped, added)
            else:
                known = len(found)
                _collect(raw.stmt, found, calls, opaque)
                found[known:] = [replace(write, at=statement.start) for write in found[known:]]
    opaque += _own_bodies(sql, calls, opaque)
    return Writes(tuple(found), frozenset(calls), tuple(opaque), tuple(conversions), tuple(shortened), _renamed(sql), dropped, added)


def _renamed(sql: str) -> tuple[tuple[str, str, str], ...]:
    from pglast import parse_sql
    from pglast.enums import ObjectType

    nodes: list[Any] = [parse_sql(s.text)[0].stmt for s in split(sql) if s.node == "RenameStmt"]
    return tuple((n.relation.relname, n.subname, n.newname) for n in nodes if n.renameType == ObjectType.OBJECT_COLUMN and n.relation)


def _own_bodies(sql: str, calls: set[str], opaque: list[str]) -> list[str]:
    """Bodies of functions that the text makes and calls, also one from another: it may drop them at the end."""
    bodies: dict[str, str] = {}
    for statement in split(sql):
        if statement.node == "CreateFunctionStmt":
            # the whole statement, whatever the body's form; its own name is no call
            bodies[_function_name(statement.text)] = statement.text
    found: list[str] = []
    names = calls | {name for body in opaque for name in identifiers(body)}
    while reached := [name for name in bodies if name in names]:
        for name in reached:
            found.append(bodies.pop(name))
            names |= identifiers(found[-1])
    return found


def _function_name(text: str) -> str:
    from pglast import parse_sql

    node: Any = parse_sql(text)[0].stmt
    return str(node.funcname[-1].sval)


def _conversions(node: Any, conversions: list[tuple[Write, str]], shortened: list[tuple[Write, str]]) -> None:
    from pglast.enums import AlterTableType

    for command in node.cmds:
        using = getattr(command.def_, "raw_default", None)
        if command.subtype != AlterTableType.AT_AlterColumnType or using is None:
            continue
        written = (_write("convert", node.relation), command.name)
        if not is_cast_of(using, command.name):
            conversions.append(written)
        elif _has_size(using):
            shortened.append(written)


def _constraints(node: Any, at: int, dropped: dict[tuple[str, str], int], added: dict[tuple[str, str], int]) -> None:
    from pglast.enums import AlterTableType

    for command in node.cmds if node.relation else ():
        if command.subtype == AlterTableType.AT_DropConstraint:
            dropped.setdefault((node.relation.relname, command.name), at)
        elif command.subtype == AlterTableType.AT_AddConstraint and command.def_.conname:
            added[node.relation.relname, command.def_.conname] = at


def is_cast_of(expression: Any, column: str) -> bool:
    """Whether a node says column, column::type, column::text::type."""
    casts = []
    while type(expression).__name__ == "TypeCast":
        casts.append(expression.typeName.names[-1].sval)
        expression = expression.arg
    plain = type(expression).__name__ == "ColumnRef" and getattr(expression.fields[-1], "sval", None) == column
    return plain and all(name in ("text", "varchar") for name in casts[1:])


def _has_size(expression: Any) -> bool:
    """Whether one of its casts names a size."""
    while type(expression).__name__ == "TypeCast":
        if expression.typeName.typmods:
            return True
        expression = expression.arg
    return False


def _collect(node: Any, found: list[Write], calls: set[str], opaque: list[str]) -> None:
    from pglast.visitors import Visitor

    class Collector(Visitor):
        def visit_InsertStmt(self, _: Any, n: Any) -> None:
            found.append(_write("insert", n.relation))

        def visit_UpdateStmt(self, _: Any, n: Any) -> None:
            found.append(_write("update", n.relation, frozenset(t.name for t in n.targetList)))

        def visit_DeleteStmt(self, _: Any, n: Any) -> None:
            found.append(_write("delete", n.relation))

        def visit_MergeStmt(self, _: Any, n: Any) -> None:
            found.append(_write("merge", n.relation))

        def visit_TruncateStmt(self, _: Any, n: Any) -> None:
            found.extend(_write("truncate", r) for r in n.relations)

        def visit_CopyStmt(self, _: Any, n: Any) -> None:
            if n.is_from and n.relation is not None:
                found.append(_write("insert", n.relation))

        def visit_DoStmt(self, _: Any, n: Any) -> None:
            opaque.extend(a.arg.sval for a in n.args if a.defname == "as")

        def visit_FuncCall(self, _: Any, n: Any) -> None:
            calls.add(n.funcname[-1].sval)

        def visit_ExecuteStmt(self, _: Any, n: Any) -> None:
            opaque.append("execute " + n.name)

    Collector()(node)


def _write(verb: str, relation: Any, columns: frozenset[str] | None = None) -> Write:
    return Write(verb, relation.schemaname, relation.relname, columns)


def may_write(body: str) -> bool:
    """Whether a body of procedural code contains a word that writes rows."""
    return bool(_DML.search(_NO_WRITE.sub(" ", body)))


def identifiers(body: str) -> frozenset[str]:
    """Every name that a body of code mentions, folded as PostgreSQL folds it, strings included."""
    return frozenset(m[1].replace('""', '"') if m[1] else m[2] for m in _IDENTIFIER.finditer(body)) | frozenset(
        m[2].lower() for m in _IDENTIFIER.finditer(body) if m[2]
    )


def only_read(body: str) -> frozenset[str]:
    """Names that stand right after FROM or JOIN, and not after DELETE FROM, wherever they stand; none where code is made at run time."""
    if _MADE.search(body):
        return frozenset()
    read: set[str] = set()
    other: set[str] = set()
    for match in _IDENTIFIER.finditer(body):
        name = match[1].replace('""', '"') if match[1] else match[2].lower()
        before = _READ.search(body, max(0, match.start() - 200), match.start())
        (read if before and before[1].lower() != "delete" else other).add(name)
    return frozenset(read - other)
