"""Running a plan on a live database: check, switch, finish. What was interrupted is finished by running it again."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg

from unmigrate.errors import PartialError, RefusedError
from unmigrate.execute.inspect import inspect, refuse_blocked, refuse_drift, refuse_long_locks, refuse_loss
from unmigrate.execute.switch import Hook, switch
from unmigrate.park import vault
from unmigrate.park.vault import Operation
from unmigrate.plan.model import Plan
from unmigrate.prisma.ledger import deploy_lock

__all__ = ["Outcome", "execute", "finish_pending", "history", "inspect", "pending"]

Connect = Callable[[], psycopg.Connection[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. operation: "" for a dry run. held and waited in seconds."""

    plan: str
    operation: str
    migrations: tuple[str, ...]
    dry_run: bool = False
    ledger_rows: int = 0
    copies: tuple[str, ...] = ()
    tries: int = 0
    waited: float = 0.0
    held: float = 0.0
    finished: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def lines(self) -> list[str]:
        if self.dry_run:
            return [f"Dry run of plan {self.plan}: nothing was changed; it would have gone through."]
        undone = ", ".join(self.migrations)
        lines = (
            [f"Rolled back {undone} (operation {self.operation})."]
            if self.ledger_rows
            else [f"Finished operation {self.operation} ({undone})."]
        )
        if self.ledger_rows:
            lines.append(
                f"Locks held {self.held * 1000:.0f} ms after {self.tries} tries; {self.ledger_rows} ledger rows archived in the vault."
            )
        lines += [f"Kept in the vault: {name}" for name in self.copies]
        return lines


def execute(
    connect: Connect, plan: Plan, *, accept_loss: bool, lock_timeout_ms: int = 200, max_lock_seconds: float = 5.0, tries: int = 50,
    dry_run: bool = False, on_progress: Callable[[str], None] = lambda _: None, on_step: Hook = lambda _: None,
) -> Outcome:  # fmt: skip
    """Roll back. Raises RefusedError (nothing changed), FailedError (rolled back), PartialError (run it again to finish)."""
    if not plan.proved:
        raise RefusedError("the plan is not proved", code="unproved", remedy="unmigrate plan shows why")
    connection = connect()
    try:
        with deploy_lock(connection):
            on_step("deploy lock")
            vault.version(connection)
            refuse_drift(connection, plan)
            current = inspect(connection, plan)
            refuse_blocked(current)
            if not accept_loss:
                refuse_loss(current)
            refuse_long_locks(current, max_lock_seconds)
            on_step("checked")
            if dry_run:
                return Outcome(plan.id, "", plan.migrations, dry_run=True)
            vault.create(connection)
            on_step("vault made")
            return _go(connection, plan, accept_loss, lock_timeout_ms, tries, on_progress, on_step)
    finally:
        connection.close()


def _go(
    connection: psycopg.Connection[Any], plan: Plan, accept_loss: bool, lock_timeout_ms: int, tries: int,
    on_progress: Callable[[str], None], on_step: Hook,
) -> Outcome:  # fmt: skip
    operation = f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}_{uuid4().hex[:6]}"
    on_progress("switching")
    done = switch(connection, plan, operation, lock_timeout_ms=lock_timeout_ms, tries=tries, accept_loss=accept_loss, on_step=on_step)
    on_step("committed")
    finished = _finish(connection, operation, on_progress, on_step)
    return Outcome(
        plan.id, operation, plan.migrations, ledger_rows=done.ledger_rows, copies=tuple(done.copies), tries=done.tries,
        waited=round(done.waited, 4), held=round(done.held, 4), finished=finished,
    )  # fmt: skip


def finish_pending(
    connect: Connect, operation: str, *, on_progress: Callable[[str], None] = lambda _: None, on_step: Hook = lambda _: None
) -> Outcome:
    """Do what an interrupted operation left. Raises PartialError if it fails again."""
    connection = connect()
    try:
        with deploy_lock(connection):
            found = next((o for o in vault.operations(connection) if o.id == operation), None)
            if found is None:
                raise RefusedError(f"there is no operation {operation}", code="no-operation", remedy="unmigrate status lists them")
            finished = _finish(connection, operation, on_progress, on_step)
            return Outcome(found.plan_id, operation, found.migrations, finished=finished)
    finally:
        connection.close()


def _finish(connection: psycopg.Connection[Any], operation: str, on_progress: Callable[[str], None], on_step: Hook) -> tuple[str, ...]:
    """Steps that cannot run in a transaction, one by one; each may have been done already when we were interrupted."""
    done = []
    for number, sql in vault.pending_steps(connection, operation):
        on_progress(sql)
        try:
            if not _index_stands(connection, sql):
                connection.execute(sql)
        except psycopg.Error as error:
            message = f"{error.diag.message_primary or error} at: {sql[:160]}"
            remedy = "put it right and run unmigrate rollback again: it goes on from here"
            raise PartialError(message, code="finish", remedy=remedy) from error
        on_step(f"finish {number} ran")
        vault.step_done(connection, operation, number)
        on_step(f"finish {number} journalled")
        done.append(sql)
    vault.close_operation(connection, operation)
    on_step("closed")
    return tuple(done)


def _index_stands(connection: psycopg.Connection[Any], sql: str) -> bool:
    """Whether CREATE INDEX CONCURRENTLY was done already; an invalid leftover of it is dropped."""
    words = sql.split(" CONCURRENTLY ", 1)
    if len(words) != 2:
        return False
    name, _, rest = words[1].partition(" ON ")
    schema = rest.removeprefix("ONLY ").partition(".")[0]
    row = connection.execute("select i.indisvalid from pg_index i where i.indexrelid = to_regclass(%s)", [f"{schema}.{name}"]).fetchone()
    if row is not None and not row[0]:
        connection.execute(f"DROP INDEX CONCURRENTLY {schema}.{name}")
        return False
    return row is not None


def pending(connection: psycopg.Connection[Any]) -> tuple[Operation, ...]:
    """Operations that were interrupted after their switch."""
    return vault.operations(connection, unfinished=True)


def history(connection: psycopg.Connection[Any]) -> tuple[Operation, ...]:
    """All operations of this database's vault, oldest first."""
    return vault.operations(connection)
