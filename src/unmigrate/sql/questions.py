"""What a script asks the server: whatever it reads of the system catalogs and settings that its own history did not make.

Found in the parse tree of what runs: queries, DO blocks, and functions that are called. What a view, policy or default asks, it asks later.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unmigrate.sql.procedures import inside
from unmigrate.sql.script import ScriptError, split
from unmigrate.sql.words import says
from unmigrate.sql.writes import writes

# Relations whose rows are what migrations made: the history answers for them. Everything else in these two schemas is the server's.
_MADE = re.compile(
    r"^pg_(class|attribute|attrdef|constraint|index|indexes|type|enum|range|namespace|proc|aggregate|operator|cast|trigger|policy|policies|"
    r"rewrite|rules|tables|views|matviews|sequence|sequences|depend|description|inherits|partitioned_table|publication(_\w+)?|"
    r"statistic_ext|event_trigger)$"
)
_MADE_STANDARD = re.compile(
    r"^(tables|columns|views|schemata|sequences|triggers|triggered_update_columns|routines|parameters|domains|attributes|element_types|"
    r"user_defined_types|(table|domain|check|referential)_constraints|(key|constraint|view)_(column|table|routine)_usage|"
    r"(column|domain)_(udt|domain|column)_usage|domain_udt_usage)$"
)
_ASKS = re.compile(r"^(pg_\w+|has_\w+_privilege|inet_(server|client)_\w+|current_setting|version|row_security_active)$")
# Of those in pg_: they describe what is given to them, or do something.
_ANSWERS = re.compile(
    r"^pg_(get_\w+|typeof|\w+_is_visible|describe_object|identify_object\w*|collation_for|column_size|size_(pretty|bytes)|input_\w+|"
    r"sleep\w*|notify|(try_)?advisory_\w+|terminate_backend|cancel_backend|reload_conf|stat_reset\w*|switch_wal|logical_emit_message)$"
)
_WHO = frozenset({"current_database", "current_catalog", "current_user", "current_role", "session_user", "user"})
_QUERIES = frozenset(
    {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CreateTableAsStmt", "CallStmt", "CopyStmt"}
)  # fmt: skip
# Statements that may fail for what the server lacks: where the error is caught, trying them is asking.
_TRIES = re.compile(r"^(Create|Alter)(Extension|PLang|Role|RoleSet|TableSpace|ForeignServer|Fdw|Subscription|Database\w*|System)Stmt|"
                    r"^(Grant|GrantRole|DropRole|AlterOwner|Load)Stmt")  # fmt: skip
# Without one of these words there is nothing to look for.
_WORTH = re.compile(
    r"pg_|_privilege|inet_|current_(setting|database|catalog|user|role)|session_user|(?<![\"\w])user(?![\"\w])|version\s*\(|"
    r"information_schema|row_security",
    re.IGNORECASE,
)
_CATCHES = ("exception",)


@dataclass(frozen=True, slots=True)
class Question:
    """about: what is read ("pg_extension", "current_setting"). text: the query or expression that reads it, for people. query: the same
    as a query that anybody may run anywhere, "" where it cannot be asked by itself.
    """

    about: str
    text: str
    query: str = ""


def questions(sql: str, routines: Sequence[str] = ()) -> tuple[Question, ...]:
    """What a script asks. routines: CREATE FUNCTION statements of functions that were there before, of which it may call some."""
    if not routines and not (says(sql, _CATCHES) or _WORTH.search(sql)):
        return ()
    try:
        statements = split(sql)
    except ScriptError:
        return ()
    found = [q for s in statements if not _idle(s.node, s.text) for q in _of_statement(s.node, s.text)]
    called = writes(sql)
    found += [q for text in (*called.opaque, *routines) if text[:6].upper() == "CREATE" for q in _of_procedure(text)]
    return tuple({q.text: q for q in found}.values())


def _idle(node: str, text: str) -> bool:
    """A query whose answer nobody reads, and which does nothing else."""
    from pglast import parse_sql

    return node == "SelectStmt" and _WORTH.search(text) is not None and _harmless(parse_sql(text)[0].stmt)


def _of_statement(node: str, text: str) -> Iterator[Question]:
    if node == "DoStmt":
        yield from _of_procedure(text)
    elif node in _QUERIES and _WORTH.search(text):
        yield from _of_query(text)


def _of_procedure(text: str) -> Iterator[Question]:
    """A DO block, or a function in PL/pgSQL or SQL."""
    if not (says(text, _CATCHES) or _WORTH.search(text)):
        return
    try:
        for statement, caught in inside(text):
            if caught and _TRIES.match(statement.node):
                yield Question("whether it can", f"whether it can {' '.join(statement.text.split())}")
            yield from _of_statement(statement.node, statement.text)
    except ScriptError:  # nobody knows what it asks
        yield Question("the server", " ".join(text.split()))


def _of_query(text: str) -> Iterator[Question]:
    """One query: as a whole where it only reads, else the parts of it that ask."""
    from pglast import ast, parse_sql

    tree = parse_sql(text)[0].stmt
    asking = list(_asking(tree))
    said = " ".join(text.split())
    if asking and isinstance(tree, ast.SelectStmt) and not tree.intoClause:
        plain = not tree.fromClause and not tree.withClause and tree.targetList and len(tree.targetList) == 1
        shown = re.sub(r"^SELECT\s+", "", said, flags=re.IGNORECASE) if plain else said
        yield Question(", ".join(dict.fromkeys(asking)), shown, text if _harmless(tree) else "")
    else:
        for about in dict.fromkeys(asking):
            yield Question(about, said)


def _asking(tree: Any) -> Iterator[str]:
    """Names of what of the server's a tree reads."""
    from pglast.visitors import Visitor

    found: list[str] = []
    own: set[str] = set()

    class Collector(Visitor):
        def visit_CommonTableExpr(self, _: Any, n: Any) -> None:
            own.add(n.ctename)

        def visit_RangeVar(self, _: Any, n: Any) -> None:
            if n.schemaname == "information_schema":
                found.extend([] if _MADE_STANDARD.match(n.relname) else [f"information_schema.{n.relname}"])
            elif n.schemaname == "pg_catalog" or (n.schemaname is None and n.relname.startswith("pg_") and n.relname not in own):
                found.extend([] if _MADE.match(n.relname) else [n.relname])

        def visit_FuncCall(self, _: Any, n: Any) -> None:
            schema, name = ("", *(p.sval for p in n.funcname))[-2:]
            if schema in ("", "pg_catalog") and _ASKS.match(name) and not _ANSWERS.match(name):
                found.append(name)

        def visit_A_Expr(self, _: Any, n: Any) -> None:
            sides = [_who(side) for side in (n.lexpr, n.rexpr)]
            columns = [type(_bare(side)).__name__ == "ColumnRef" for side in (n.lexpr, n.rexpr)]
            if any(sides) and not any(columns) and n.name[-1].sval != "||":
                found.extend(side for side in sides if side)

    Collector()(tree)
    return iter(found)


def _bare(node: Any) -> Any:
    while type(node).__name__ == "TypeCast":
        node = node.arg
    return node


def _who(node: Any) -> str:
    """The name of the database or role, where an expression is that and nothing more."""
    from pglast.enums import SQLValueFunctionOp as Op

    node = _bare(node)
    if type(node).__name__ == "FuncCall":
        return name if (name := str(node.funcname[-1].sval)) in _WHO else ""
    if type(node).__name__ == "SQLValueFunction":
        names = {
            Op.SVFOP_CURRENT_ROLE: "current_role", Op.SVFOP_CURRENT_USER: "current_user", Op.SVFOP_USER: "user",
            Op.SVFOP_SESSION_USER: "session_user", Op.SVFOP_CURRENT_CATALOG: "current_catalog",
        }  # fmt: skip
        return names.get(Op(node.op), "")
    return ""


_READS_ONLY = re.compile(
    r"^(count|lower|upper|split_part|substring|string_to_array|array_length|regexp_\w+|to_reg\w+|bool_(and|or)|max|min|current_database|"
    r"current_setting|version|pg_has_role|has_\w+_privilege|row_security_active|pg_is_in_recovery|pg_available_\w+)$"
)


def _harmless(tree: Any) -> bool:
    """Whether it may be run on any database: it calls nothing but functions that read, and locks nothing."""
    from pglast.visitors import Visitor

    fine = [True]

    class Looking(Visitor):
        def visit_FuncCall(self, _: Any, n: Any) -> None:
            fine[0] = fine[0] and bool(_READS_ONLY.match(n.funcname[-1].sval))

        def visit_LockingClause(self, _: Any, __: Any) -> None:
            fine[0] = False

        def visit_InsertStmt(self, _: Any, __: Any) -> None:
            fine[0] = False

        visit_UpdateStmt = visit_DeleteStmt = visit_MergeStmt = visit_InsertStmt

    Looking()(tree)
    return fine[0]
