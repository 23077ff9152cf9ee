"""How many rows a statement is going to write, as a question."""

from typing import Any


def counted(sql: str) -> str:
    """A SELECT of the number of rows that an INSERT, UPDATE or DELETE writes, "" for any other statement, MERGE among them.

    It reads what the statement reads, so it fails where that is not there yet. Its functions are called too: ask in a transaction that
    is read only.
    """
    from pglast import parse_sql
    from pglast.parser import ParseError
    from pglast.stream import RawStream

    def text(node: Any) -> str:
        return str(RawStream()(node))

    try:
        node: Any = parse_sql(sql)[0].stmt
    except (ParseError, IndexError):
        return ""
    kind = type(node).__name__
    if kind not in ("InsertStmt", "UpdateStmt", "DeleteStmt"):
        return ""
    clause = getattr(node, "withClause", None)
    before = f"WITH {text(clause)} " if clause is not None else ""
    if kind == "InsertStmt":
        return f"{before}SELECT count(*) FROM ({text(node.selectStmt)}) q" if node.selectStmt is not None else "SELECT 1"
    others = (node.fromClause if kind == "UpdateStmt" else node.usingClause) or ()
    listed = ", ".join(map(text, (node.relation, *others)))
    where = f" WHERE {text(node.whereClause)}" if node.whereClause is not None else ""
    return f"{before}SELECT count(*) FROM {listed}{where}"
