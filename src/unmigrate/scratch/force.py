"""The last resort of the row generator: an INSERT with the table's guards switched off, and on again.

Guards are the table's own insert triggers (one that wants a session setting or another system refuses everything) and
row security that is forced on the owner. All happens in one transaction or savepoint: definitions stay as they were.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege

from unmigrate.scratch.shape import Table, query, quoted

_TRIGGERS = """
SELECT tgname, tgenabled::text FROM pg_catalog.pg_trigger
WHERE tgrelid = %s AND NOT tgisinternal AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A') ORDER BY tgname"""


def insert_without_guards(
    connection: psycopg.Connection[Any], table: Table, error: psycopg.Error, statement: str
) -> tuple[list[tuple[Any, ...]], list[str]]:
    """Rows returned and guards switched off; without guards to switch off, no rows. A failure leaves all as it was."""
    if table.head.partitioned or table.head.partition:
        return [], []  # switching would reach the triggers of every partition, whatever their own state
    names: list[str] = []
    off, on = "", ""
    if table.head.forced_policies and isinstance(error, InsufficientPrivilege):
        names.append("forced row security")
        off += f"ALTER TABLE {table.sql} NO FORCE ROW LEVEL SECURITY;"
        on += f"ALTER TABLE {table.sql} FORCE ROW LEVEL SECURITY;"
    else:
        for name, enabled in query(connection, _TRIGGERS, (table.oid,)):
            names.append(f"trigger {name}")
            off += f"ALTER TABLE {table.sql} DISABLE TRIGGER {quoted(name)};"
            on += f"ALTER TABLE {table.sql} ENABLE {'ALWAYS ' if enabled == 'A' else ''}TRIGGER {quoted(name)};"
    if not names:
        return [], []
    with connection.transaction():
        connection.execute(off.encode())
        rows = query(connection, statement)
        connection.execute(on.encode())
    return rows, names
