"""What the text of one statement allows: whether things can be moved out of its way beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unmigrate.catalog.parked import plain
from unmigrate.sql.script import ScriptError, Statement
from unmigrate.sql.writes import is_cast_of


@dataclass(frozen=True, slots=True)
class Alteration:
    """One ALTER TABLE: columns that its expressions read, constraints and columns that it drops, columns whose type it changes by which
    expression.

    An expression of None is a plain cast. alone: those of these columns that are made of themselves alone.
    """

    reads: frozenset[str]
    drops: frozenset[str]
    conversions: dict[str, str | None]
    drops_columns: frozenset[str] = frozenset()
    alone: frozenset[str] = frozenset()


def alteration(statement: Statement) -> Alteration | None:
    """What an ALTER TABLE reads and converts; None for any other statement."""
    node = _node(statement) if statement.node == "AlterTableStmt" else None
    if node is None or type(node).__name__ != "AlterTableStmt":
        return None
    from pglast.enums import AlterTableType
    from pglast.stream import RawStream

    conversions: dict[str, str | None] = {}
    alone: set[str] = set()
    for command in node.cmds:
        if command.subtype == AlterTableType.AT_AlterColumnType:
            using = getattr(command.def_, "raw_default", None)
            conversions[command.name] = RawStream()(using) if using is not None else None
            if using is None or _column_names(using) <= {command.name}:
                alone.add(command.name)
    drops = frozenset(c.name for c in node.cmds if c.subtype == AlterTableType.AT_DropConstraint)
    columns = frozenset(c.name for c in node.cmds if c.subtype == AlterTableType.AT_DropColumn)
    return Alteration(_column_names(node), drops, conversions, columns, frozenset(alone))


@dataclass(frozen=True, slots=True)
class Assignment:
    """`UPDATE table SET target = expression`, where the expression reads one column of the row alone.

    cast: the expression is that column, cast at most. everywhere: no row is left out, save those where the column is NULL (`not_null`).
    """

    schema: str
    table: str
    target: str
    source: str
    expression: str
    cast: bool
    not_null: bool


def assignments(statement: Statement) -> tuple[Assignment, ...]:
    """Columns that an UPDATE fills from one other column of the same row; () where it does anything else, or leaves rows out."""
    if statement.node != "UpdateStmt":
        return ()
    from pglast.stream import RawStream

    node: Any = _node(statement)
    if node.fromClause or node.withClause:
        return ()
    kept = _not_null_of(node.whereClause) if node.whereClause is not None else ""
    found = []
    for target in node.targetList:
        reads = _column_names(target.val)
        if len(reads) != 1 or target.indirection or (kept is None) or (kept and kept not in reads):
            continue
        (source,) = reads
        inner = target.val
        while type(inner).__name__ == "TypeCast":
            inner = inner.arg
        table = node.relation
        cast = type(inner).__name__ == "ColumnRef"
        expression = str(RawStream()(target.val))
        found.append(Assignment(table.schemaname or "", table.relname, target.name, source, expression, cast, bool(kept)))
    return tuple(found)


def _not_null_of(condition: Any) -> str | None:
    """The column of `column IS NOT NULL`; None for any other condition."""
    from pglast.enums import NullTestType

    if type(condition).__name__ != "NullTest" or condition.nulltesttype != NullTestType.IS_NOT_NULL:
        return None
    return getattr(condition.arg.fields[-1], "sval", None) if type(condition.arg).__name__ == "ColumnRef" else None


def dropped_types(statement: Statement) -> tuple[tuple[str, ...], ...]:
    """Names, as parts, of the types and domains that a DROP TYPE or DROP DOMAIN names; () for any other statement."""
    if statement.node != "DropStmt":
        return ()
    from pglast.enums import ObjectType

    node: Any = _node(statement)
    if node.removeType not in (ObjectType.OBJECT_TYPE, ObjectType.OBJECT_DOMAIN):
        return ()
    return tuple(tuple(part.sval for part in named.names) for named in node.objects)


@dataclass(frozen=True, slots=True)
class Named:
    """What a statement names: relations and functions, without their schemas."""

    relations: frozenset[str]
    functions: frozenset[str]


def named(statement: Statement) -> Named:
    """The relations and functions in a statement's text."""
    from pglast.visitors import Visitor

    relations: set[str] = set()
    functions: set[str] = set()

    class Collector(Visitor):
        def visit_RangeVar(self, _: Any, node: Any) -> None:
            relations.add(node.relname)

        def visit_FuncCall(self, _: Any, node: Any) -> None:
            functions.add(node.funcname[-1].sval)

    Collector()(_node(statement))
    return Named(frozenset(relations), frozenset(functions))


def without_cast(expression: str) -> tuple[str, str]:
    """(inner expression, type) of one that is a cast at its outermost, else ("", "")."""
    from pglast import parse_sql
    from pglast.stream import RawStream

    select: Any = parse_sql(f"SELECT {expression}")[0].stmt
    node = select.targetList[0].val
    return (str(RawStream()(node.arg)), str(RawStream()(node.typeName))) if type(node).__name__ == "TypeCast" else ("", "")


def casts(expression: str, column: str) -> bool:
    """Whether an expression is this column, cast at most: to its type, by way of text or not."""
    from pglast import parse_sql

    select: Any = parse_sql(f"SELECT {expression}")[0].stmt
    return is_cast_of(select.targetList[0].val, column)


def with_commands(statement: Statement, commands: str) -> str:
    """The ALTER TABLE with more commands before its own. commands: as they stand after ALTER TABLE x."""
    from pglast import parse_sql
    from pglast.stream import RawStream

    node: Any = _node(statement)
    more: Any = parse_sql(f"ALTER TABLE x {commands}")[0].stmt
    node.cmds = (*more.cmds, *node.cmds)
    return str(RawStream()(node))


def inlined(expression: str, column: str, instead: str) -> str:
    """The expression with a column's name replaced by another's (bare, or "new.column")."""
    from pglast import ast, parse_sql
    from pglast.stream import RawStream
    from pglast.visitors import Visitor

    class Rename(Visitor):
        def visit_ColumnRef(self, _: Any, node: Any) -> Any:
            if getattr(node.fields[-1], "sval", None) == column:
                return ast.ColumnRef(fields=tuple(ast.String(sval=part) for part in instead.split(".", 1)))
            return None

    tree = parse_sql(f"SELECT {expression}")
    Rename()(tree)
    return str(RawStream()(tree)).removeprefix("SELECT ")


def index_on(sql: str, name: str, table: dict[str, Any], columns: Mapping[str, str]) -> str | None:
    """A CREATE INDEX under another name, and over its table as that is called at another time. table: its facts by then; columns: {name:
    name by then}, of those it has by then; None where the index needs another one.
    """
    from pglast import ast, parse_sql
    from pglast.stream import RawStream
    from pglast.visitors import Visitor

    (statement,) = parse_sql(sql)
    node: Any = statement.stmt
    missing: set[str] = set()

    def then(label: str) -> str:
        if label not in columns:
            missing.add(label)
        return columns.get(label, label)

    class Rename(Visitor):
        def visit_ColumnRef(self, _: Any, ref: Any) -> Any:
            return ast.ColumnRef(fields=(ast.String(sval=then(ref.fields[-1].sval)),))

    for element in (*node.indexParams, *(node.indexIncludingParams or ())):
        if element.name is not None:
            element.name = then(element.name)
    Rename()(node)
    node.idxname, node.relation.schemaname, node.relation.relname = name, plain(table["schema"]), plain(table["label"])
    return None if missing else str(RawStream()(node))


def _node(statement: Statement) -> Any:
    from pglast import parse_sql
    from pglast.parser import ParseError

    try:
        return parse_sql(statement.text)[0].stmt
    except ParseError as error:
        raise ScriptError(str(error.args[0])) from error


def _column_names(node: Any) -> frozenset[str]:
    from pglast.visitors import Visitor

    found: set[str] = set()

    class Collector(Visitor):
        def visit_ColumnRef(self, _: Any, node: Any) -> None:
            found.update(name for field in node.fields if (name := getattr(field, "sval", None)))

    Collector()(node)
    return frozenset(found)
