"""Copying into the vault what a rollback takes away, before it does, under its locks."""

import re
from typing import Any

import psycopg

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.errors import RefusedError
from unmigrate.park import vault
from unmigrate.plan.model import Loss, Plan, WayOut

# Statements that leave rows alone, but for the columns and tables that they drop, and types that they change.
_STRUCTURAL = re.compile(r"^\s*(ALTER|CREATE|DROP|COMMENT|GRANT|REVOKE|SET|DO \$unmigrate\$)(?=\s)", re.IGNORECASE)
_PRIMARY_KEY = """
select quote_ident(a.attname) from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
where i.indrelid = %s and i.indisprimary order by array_position(i.indkey::int2[], a.attnum)"""


def find(catalog: Catalog, loss: Loss) -> Object | None:
    """The table or column that a loss speaks of, if it is there under that name."""
    names = catalog.by_name()
    return names.get(("table", loss.object)) or names.get(("column", loss.object))


def split_column(name: str) -> tuple[str, str]:
    """schema.table.column as (schema.table, column), quoting respected."""
    match = re.match(r'^(.*)\.("(?:[^"]|"")+"|[^."]+)$', name)
    assert match is not None
    return match[1], match[2]


def takes_away(plan: Plan, loss: Loss, kind: str) -> bool:
    """Whether the way back itself takes something: what a migration destroyed is gone already, and rows it wrote to stay.

    kind: "table" or "column", which the loss's object is.
    Changed rows of a whole table are at risk only where the way back writes rows too (written by hand, or a fill).
    """
    if loss.kind in ("column", "table"):
        return False
    if loss.kind == "values" and kind == "table":
        return not all(_STRUCTURAL.match(step.sql) for step in plan.steps)
    return True


def holds_rows(connection: psycopg.Connection[Any], found: Object) -> bool:
    """Whether a table has a row, or a column a value."""
    row = connection.execute(f"select exists ({_all(found)})").fetchone()
    return bool(row and row[0])


def copy(connection: psycopg.Connection[Any], schema: str, number: int, loss: Loss, found: Object) -> str:
    """Copy a table, or a column with what identifies its rows. Returns the copy's name."""
    columns = vault.plain_columns(connection, found.key.oid)
    kept, extra = list(columns), ""
    if found.kind == "column":
        label = found.facts["label"]
        keys = [row[0] for row in connection.execute(_PRIMARY_KEY, [found.key.oid]).fetchall()]
        kept = list(dict.fromkeys([*keys, label]))
        extra = "" if keys else "ctid::text AS _ctid, "
    select = _all(found, extra + ", ".join(columns[name][0] for name in kept))
    types = ", ".join(f"{name} {columns[name][1]}" for name in kept)
    return vault.copy_rows(connection, schema, number, f"{loss.object}: {loss.reason} ({types})", select)


def rows_of(connection: psycopg.Connection[Any], out: WayOut) -> str:
    """A SELECT of the rows that a way out deletes, in types that nothing stands in the way of."""
    row = connection.execute("select to_regclass(%s)::oid", [out.table]).fetchone()
    columns = vault.plain_columns(connection, row[0] if row else 0)
    return out.keep.replace("SELECT t.*", f"SELECT {', '.join(expression for expression, _ in columns.values())}", 1)


def refuse_following(connection: psycopg.Connection[Any], table: str) -> None:
    """Raise RefusedError where rows of other tables would go, or lose their reference, along with rows of this one."""
    row = connection.execute(
        "select conrelid::regclass::text, conname from pg_constraint where confrelid = to_regclass(%s) and confdeltype in ('c', 'n', 'd')",
        [table],
    ).fetchone()
    if row:
        message = f"rows of {row[0]} would follow rows deleted from {table} (foreign key {row[1]}), and would not be kept"
        raise RefusedError(message, code="way-out", remedy="delete these rows yourself, children first, or choose another way out")


def _all(found: Object, columns: str = "") -> str:
    """Its rows. A table with children or partitions is read with theirs."""
    if found.kind == "table":
        return f"select {columns} from {found.name}"
    return f"select {columns} from {found.facts['table']} where {found.facts['label']} is not null"


def unnamed(plan: Plan, extra: tuple[Loss, ...], before: Catalog, after: Catalog) -> tuple[Loss, ...]:
    """What the way back took although no loss of the plan speaks of it, by identity: names may have changed in between."""
    losses = (*plan.losses, *extra)
    resolved = [find(before, loss) for loss in losses]
    named = {o.key for o, loss in zip(resolved, losses, strict=True) if o and (loss.kind.startswith("added") or o.kind == "column")}
    lost_sight = any(o is None and loss.kind == "values" for o, loss in zip(resolved, losses, strict=True))
    found = []
    for o in before:
        if o.kind not in ("table", "column") or o.key in named or o.parent in named or o.facts.get("generated") or o.name in plan.kept:
            continue
        now = after.get(o.key)
        if now is None and not (o.kind == "column" and _gone(after, o.parent)):
            found.append(
                Loss(plan.migrations[0], o.name, "added table" if o.kind == "table" else "added column", "the way back removes it")
            )
        elif now is not None and lost_sight and o.kind == "column" and "type" in now.changes(o):
            found.append(Loss(plan.migrations[0], o.name, "values", f"the way back changes its type to {now.facts['type']}"))
    return tuple(found)


def _gone(after: Catalog, table: Key | None) -> bool:
    return table is None or table not in after.objects
