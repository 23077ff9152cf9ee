"""A migration's text as statements: spans, transaction control, and which statements write rows.

The text is parsed only to split it, to show it and to know what it does to rows; what it does to the schema is observed.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from unmigrate.sql.words import says

BEGIN, COMMIT, ROLLBACK, OTHER = "begin", "commit", "rollback", "other"
ONE_TRANSACTION = "write it for one transaction, as it runs together with the ledger's correction: leave that out"
_CONTROL = ("begin", "commit", "rollback", "start transaction", "end", "savepoint", "abort", "prepare transaction")
_CONTROL_FIRST = frozenset(words.split()[0] for words in _CONTROL)
_CONTROL_WORDS = re.compile(r"\b(" + "|".join(_CONTROL).replace(" ", r"\s+") + r")\b", re.IGNORECASE)
_CREATE_INDEX = re.compile(r"^CREATE (UNIQUE )?INDEX (?!CONCURRENTLY )")
# TransactionStmtKind of PostgreSQL's parser
_KINDS = {0: BEGIN, 1: BEGIN, 2: COMMIT, 3: ROLLBACK}


class ScriptError(Exception):
    """The text does not parse as PostgreSQL's SQL."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its text without the semicolon, where it stands, and its parse node's name ("AlterTableStmt")."""

    text: str
    start: int
    end: int
    node: str
    control: str = ""


@lru_cache(maxsize=64)
def split(sql: str) -> tuple[Statement, ...]:
    """The statements of a script. Raises ScriptError."""
    from pglast import parse_sql
    from pglast import split as slices
    from pglast.parser import ParseError

    try:
        spans = slices(sql, with_parser=True, only_slices=True)
        nodes = [raw.stmt for raw in parse_sql(sql)]
    except ParseError as error:
        raise ScriptError(str(error.args[0])) from error
    return tuple(_statement(sql, span, node) for span, node in zip(spans, nodes, strict=True))


def _statement(sql: str, span: slice, node: Any) -> Statement:
    name = type(node).__name__
    control = ""
    if name == "TransactionStmt":
        control = OTHER if node.chain else _KINDS.get(int(node.kind), OTHER)
    return Statement(sql[span], span.start, span.stop, name, control)


def concurrently(sql: str) -> str:
    """A CREATE INDEX as one that blocks no writes; "" for any other statement."""
    made = _CREATE_INDEX.sub(lambda m: f"CREATE {m[1] or ''}INDEX CONCURRENTLY ", sql)
    return "" if made == sql else made


def has_control(sql: str) -> bool:
    """Whether the script may contain transaction control (cheap: words only, comments and strings count)."""
    return says(sql, _CONTROL_FIRST) and bool(_CONTROL_WORDS.search(sql))


def why_not_one_transaction(sql: str) -> str:
    """Why `without_control` gives None."""
    try:
        controls = [s for s in split(sql) if s.control]
    except ScriptError as error:
        return f"it does not parse: {error}"
    other = next((s for s in controls if s.control not in (BEGIN, COMMIT)), None)
    what = f"it has {' '.join(other.text.split())[:60]}" if other else "its BEGIN and COMMIT do not pair"
    return f"{what}; {ONE_TRANSACTION}"


def without_control(sql: str) -> str | None:
    """The script with its BEGIN and COMMIT blanked out, or None where that would change its meaning.

    Balanced blocks only: a BEGIN without COMMIT, a ROLLBACK or a SAVEPOINT keep their meaning only when really run.
    """
    if not has_control(sql):
        return sql
    try:
        statements = split(sql)
    except ScriptError:
        return None
    controls = [s for s in statements if s.control]
    if not controls:
        return sql
    if [s.control for s in controls] != [BEGIN, COMMIT] * (len(controls) // 2):
        return None
    for s in reversed(controls):
        end = s.end + 1 if sql[s.end : s.end + 1] == ";" else s.end
        sql = sql[: s.start] + re.sub(r"[^\n]", " ", sql[s.start : end]) + sql[end:]
    return sql
