"""The switch: one transaction that takes its locks up front, moves, verifies, corrects the ledger, and commits."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.read import read_catalog
from unmigrate.catalog.sqltext import ident
from unmigrate.errors import FailedError
from unmigrate.execute.inspect import inspect, refuse_blocked, refuse_drift, split_column
from unmigrate.park import vault
from unmigrate.plan.model import Loss, Plan

Hook = Callable[[str], None]
BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_HOLDERS = """
select distinct a.pid, left(regexp_replace(a.query, '\\s+', ' ', 'g'), 80), a.state
from pg_locks l join pg_stat_activity a using (pid)
where l.granted and l.relation = any (select to_regclass(t) from unnest(%s::text[]) t) and a.pid <> pg_backend_pid()"""


@dataclass(slots=True)
class Switched:
    """What the switch did. waited and held: seconds waiting for locks over all tries, and holding them."""

    operation: str
    ledger_rows: int = 0
    copies: list[str] = field(default_factory=list)
    tries: int = 0
    waited: float = 0.0
    held: float = 0.0


def switch(
    connection: psycopg.Connection[Any], plan: Plan, operation: str, *, lock_timeout_ms: int, tries: int, accept_loss: bool, on_step: Hook
) -> Switched:
    """Try until the locks are had. Raises FailedError (rolled back, old state) or RefusedError (found under the locks)."""
    result = Switched(operation)
    began = time.monotonic()
    for number in range(tries):
        result.tries = number + 1
        try:
            with connection.transaction():
                _take_locks(connection, plan, lock_timeout_ms)
                locked = time.monotonic()
                on_step("locked")
                _inside(connection, plan, result, accept_loss, on_step)
                on_step("before commit")
            result.held = time.monotonic() - locked
            result.waited = locked - began
            return result
        except BUSY:
            result.copies.clear()
            time.sleep(min(1.0, 0.02 * 1.5**number) * random.uniform(0.5, 1.5))
        except psycopg.Error as error:
            raise _failed(error) from error
    raise _never_locked(connection, plan, tries)


def _take_locks(connection: psycopg.Connection[Any], plan: Plan, lock_timeout_ms: int) -> None:
    """All of them, in one order, each waiting no longer than the timeout; tables that are not there are skipped."""
    connection.execute(f"SET LOCAL lock_timeout = {int(lock_timeout_ms)}")
    connection.execute("SET LOCAL check_function_bodies = off")
    for lock in plan.locks:
        row = connection.execute("select to_regclass(%s) is not null", [lock.table]).fetchone()
        if row and row[0]:
            connection.execute(f"LOCK TABLE {lock.table} IN {lock.mode} MODE")


def _inside(connection: psycopg.Connection[Any], plan: Plan, result: Switched, accept_loss: bool, on_step: Hook) -> None:
    before = refuse_drift(connection, plan)
    current = inspect(connection, plan)
    refuse_blocked(current)
    _operation(connection, plan, result.operation)
    on_step("vault opened")
    if accept_loss:
        _copy(connection, current, result, on_step)
    for number, step in enumerate(s for s in plan.steps if s.phase == "switch"):
        try:
            connection.execute(step.sql)
        except BUSY:
            raise
        except psycopg.Error as error:
            raise _failed(error, step.sql) from error
        on_step(f"step {number}")
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    _verify(connection, plan, before)
    on_step("verified")
    table = f'{ident(plan.schema)}."_prisma_migrations"'
    result.ledger_rows = vault.archive_ledger(connection, result.operation, table, list(plan.migrations))
    if not result.ledger_rows:
        raise FailedError("the ledger's rows are gone: something else changed it meanwhile", code="ledger", remedy="unmigrate status")
    on_step("ledger corrected")


def _operation(connection: psycopg.Connection[Any], plan: Plan, operation: str) -> None:
    pending = [(n, s.phase, s.sql) for n, s in enumerate(plan.steps) if s.phase == "finish"]
    vault.open_operation(connection, operation, "rollback", plan.to_json(), pending)


def _copy(connection: psycopg.Connection[Any], plan: Plan, result: Switched, on_step: Hook) -> None:
    """What is there now and will not be afterwards goes to the vault first."""
    connection.execute("SET LOCAL row_security = off")
    schema = ""
    for loss in plan.losses:
        select = _select(connection, loss)
        if not select:
            continue
        schema = schema or vault.copy_schema(connection, result.operation)
        result.copies.append(vault.copy_rows(connection, schema, len(result.copies) + 1, f"{loss.object}: {loss.reason}", select))
        on_step(f"copied {len(result.copies)}")


def _select(connection: psycopg.Connection[Any], loss: Loss) -> str:
    """The rows to keep: of a table all, of a column its key and values; "" where there is nothing there."""
    if loss.rows == 0 or loss.kind in ("column", "table"):
        return ""
    if _there(connection, loss.object):
        return f"SELECT {', '.join(_columns(connection, loss.object))} FROM {loss.object}"
    table, column = split_column(loss.object)
    if not _there(connection, table) or not _has_column(connection, table, column):
        return ""
    rows = connection.execute(
        "select quote_ident(a.attname) from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey) "
        "where i.indrelid = to_regclass(%s) and i.indisprimary order by array_position(i.indkey::int2[], a.attnum)",
        [table],
    ).fetchall()
    keys = [row[0] for row in rows if row[0] != column] or ["ctid::text AS row"]
    kept = [c for c in _columns(connection, table) if c.split("::")[0] in (*keys, column)]
    listed = kept if keys[0] != "ctid::text AS row" else [*keys, *kept]
    return f"SELECT {', '.join(listed)} FROM {table} WHERE {column} IS NOT NULL"


def _columns(connection: psycopg.Connection[Any], table: str) -> list[str]:
    """The columns of a table for a copy: values of types that a migration may drop are kept as text."""
    rows = connection.execute(
        "select quote_ident(a.attname), t.typnamespace = 'pg_catalog'::regnamespace and t.typname !~ '^_?reg' "
        "from pg_attribute a join pg_type t on t.oid = a.atttypid "
        "where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by a.attnum",
        [table],
    )
    return [name if builtin else f"{name}::text" for name, builtin in rows]


def _there(connection: psycopg.Connection[Any], name: str) -> bool:
    try:
        with connection.transaction():
            row = connection.execute("select to_regclass(%s) is not null", [name]).fetchone()
    except psycopg.Error:  # a name of three parts is read as another database's
        return False
    return bool(row and row[0])


def _has_column(connection: psycopg.Connection[Any], table: str, column: str) -> bool:
    row = connection.execute(
        "select exists (select from pg_attribute where attrelid = to_regclass(%s) and quote_ident(attname) = %s and not attisdropped)",
        [table, column],
    ).fetchone()
    return bool(row and row[0])


def _verify(connection: psycopg.Connection[Any], plan: Plan, before: Catalog) -> None:
    """Everything concerned as planned, everything else as it was; else the transaction is rolled back."""
    after = read_catalog(connection)
    found = {label(o): o for o in after}
    pending = {step.object for step in plan.steps if step.phase == "finish"}
    wrong = []
    for name, wanted in plan.after.items():
        if name not in pending and (digest(found[name]) if name in found else "") != wanted:
            wrong.append(f"{name} is {'missing' if name not in found else 'left over' if not wanted else 'different'}")
    mine = plan.after.keys() | plan.before.keys()
    for o in before:
        now = found.get(label(o))
        if label(o) not in mine and (now is None or (digest(now) != digest(o) and (now.key != o.key or o.changes(now)))):
            wrong.append(f"{label(o)}, which the migration never touched, is {'gone' if now is None else 'changed'}")
    known = {label(o) for o in before}
    wrong += [f"{name} appeared" for name in found.keys() - known - mine]
    if wrong:
        raise FailedError(
            f"after the switch {'; '.join(wrong[:3])}: rolled back", code="verify", remedy="unmigrate verify; the old state stands"
        )


def _failed(error: psycopg.Error, sql: str = "") -> FailedError:
    message = " ".join(str(error.diag.message_primary or error).split())
    at = f" at: {' '.join(sql.split())[:200]}" if sql else ""
    return FailedError(
        f"{message}{at}: rolled back, the old state stands", code="switch", remedy="make a new plan; unmigrate verify shows differences"
    )


def _never_locked(connection: psycopg.Connection[Any], plan: Plan, tries: int) -> FailedError:
    rows = connection.execute(_HOLDERS, [[lock.table for lock in plan.locks]]).fetchall()
    holders = "; ".join(f"pid {pid} ({state}: {query})" for pid, query, state in rows[:3])
    message = f"the locks could not be had in {tries} tries{f', held by {holders}' if holders else ''}: nothing was changed"
    return FailedError(message, code="locks", remedy="end these sessions, or raise --lock-timeout, and run it again")
