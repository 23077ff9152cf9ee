"""Walking a plan on a live database: check, prepare, switch, finish. What was interrupted is finished by running it again."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import psycopg

from unmigrate.catalog.observer import Observer
from unmigrate.catalog.read import show_parked
from unmigrate.errors import EnvironmentProblem, FailedError, PartialError, RefusedError, UnmigrateError
from unmigrate.execute import finish
from unmigrate.execute.blocking import Watch, backend, told_waits, wait_for_snapshots
from unmigrate.execute.duration import looking
from unmigrate.execute.inspect import before_switch, measure
from unmigrate.execute.privileges import require_privileges
from unmigrate.execute.refuse import (
    refuse_armed,
    refuse_blocked,
    refuse_drift,
    refuse_long_locks,
    refuse_loss,
    refuse_moved_on,
    refuse_not_pending,
    refuse_unfit,
)
from unmigrate.execute.switch import ConnectionLost, Hook, Limits, Run, Switched, journalled, switch
from unmigrate.park import vault
from unmigrate.park.purge import leftovers, patiently
from unmigrate.park.vault import Operation
from unmigrate.plan.model import Plan, from_json
from unmigrate.prisma.ledger import deploy_lock

Connect = Callable[[], psycopg.Connection[Any]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done. operation: "" for a dry run. copies: {table of the vault: what it holds}.

    steps: of the switch; waited and held in seconds; finished: steps after it. kind: of the plan.
    """

    plan: str
    operation: str
    migrations: tuple[str, ...]
    dry_run: bool = False
    ledger_rows: int = 0
    copies: dict[str, str] = field(default_factory=dict)
    tries: int = 0
    waited: float = 0.0
    held: float = 0.0
    finished: tuple[str, ...] = field(default=())
    steps: int = 0
    kind: str = "rollback"

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def done(self) -> str:
        names = ", ".join(self.migrations)
        if self.kind != "rollback":
            return f"{'Deployed' if self.kind == 'deploy' else 'Applied again'} {names}"
        return f"Rolled back {names}" if self.ledger_rows else f"Finished {names}"

    def lines(self) -> list[str]:
        if self.dry_run:
            return [f"Dry run of plan {self.plan}: nothing was changed; it would have gone through."]
        operation = f" (operation {self.operation})" if self.operation else ""
        lines = [f"{self.done()}{operation}."]
        if self.tries:
            rows = "1 ledger row" if self.ledger_rows == 1 else f"{self.ledger_rows} ledger rows"
            archived = f"; {rows} archived in the vault" if self.kind == "rollback" else ""
            tries = "1 try" if self.tries == 1 else f"{self.tries} tries"
            lines.append(f"Locks held {self.held * 1000:.0f} ms after {tries}{archived}.")
        lines += [f"Kept in the vault: {what}, as {name}" for name, what in self.copies.items()]
        return lines


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the caller wants, as it was asked."""

    connect: Connect
    limits: Limits
    dry_run: bool
    on_progress: Callable[[str], None]
    on_step: Hook
    record: Callable[[psycopg.Connection[Any]], None] = lambda _: None


def execute(
    connect: Connect, plan: Plan, *, accept_loss: bool, lock_timeout_ms: int = 200, max_lock_seconds: float = 5.0, tries: int = 50,
    dry_run: bool = False, on_progress: Callable[[str], None] = lambda _: None, on_step: Hook = lambda _: None,
    record: Callable[[psycopg.Connection[Any]], None] = lambda _: None, returning: frozenset[str] = frozenset(),
) -> Outcome:  # fmt: skip
    """Walk a plan: back, or up. Raises RefusedError, EnvironmentProblem (nothing changed), FailedError (rolled back), PartialError
    (run it again).

    connect: makes a connection in autocommit mode. on_step: called with a name at every boundary, for tests that interrupt there.
    record: called in the switch's transaction, to keep things in the vault along with it. returning: see Limits.
    """
    limits = Limits(accept_loss, lock_timeout_ms, max_lock_seconds, tries, returning)
    asked = _Asked(connect, limits, dry_run, on_progress, on_step, record)
    with _session(asked) as connection:
        if plan.guard:
            show_parked(connection, vault.parked_schemas(plan.guard))
        with _asking():
            waiting = vault.operations(connection, unfinished=True)
        if not plan.failed:
            refuse_armed(connection)
        same = next((o for o in waiting if o.plan_id == plan.id), None)
        if waiting and same is None:
            message = f"operation {waiting[0].id} ({', '.join(waiting[0].migrations)}) is not finished"
            raise RefusedError(message, code="unfinished", remedy="unmigrate rollback finishes it first")
        if same and same.state == "switched":
            return Outcome(plan.id, "", plan.migrations, dry_run=True) if dry_run else _end(asked, connection, same.id, plan, Switched())
        return _roll_back(asked, connection, plan, same.id if same else "")


def finish_pending(
    connect: Connect, operation: str, *, on_progress: Callable[[str], None] = lambda _: None, on_step: Hook = lambda _: None
) -> Outcome:
    """Do what an interrupted operation left. Raises PartialError if it fails again."""
    asked = _Asked(connect, Limits(False), False, on_progress, on_step)
    with _session(asked) as connection:
        with _asking():
            found = next((o for o in vault.operations(connection) if o.id == operation), None)
        if found is None:
            raise RefusedError(f"there is no operation {operation}", code="no-operation", remedy="unmigrate status lists them")
        if found.state not in ("preparing", "switched"):
            return Outcome(found.plan_id, operation, found.migrations)
        stored, consent = vault.stored_plan(connection, operation)
        plan = from_json(stored)
        if plan.guard:
            show_parked(connection, vault.parked_schemas(plan.guard))
        if found.state == "switched":
            return _end(asked, connection, operation, plan, Switched())
        return _roll_back(_Asked(connect, Limits(consent), False, on_progress, on_step), connection, plan, operation)


@contextmanager
def _session(asked: _Asked) -> Iterator[psycopg.Connection[Any]]:
    """A connection that holds Prisma's lock."""
    with closing(asked.connect()) as connection:
        connection.autocommit = True
        lock = deploy_lock(connection)
        with _asking():
            lock.__enter__()
        try:
            asked.on_step("deploy lock")
            with told_waits(connection, asked.connect, asked.on_progress):
                yield connection
        finally:
            with suppress(psycopg.Error):  # the lock ends with the connection
                lock.__exit__(None, None, None)


@contextmanager
def _asking() -> Iterator[None]:
    """What PostgreSQL says before the switch is told as a problem of the environment."""
    try:
        yield
    except psycopg.Error as error:
        message = " ".join(str(error.diag.message_primary or error).split())
        raise EnvironmentProblem(f"{message}: nothing was changed", code="database", remedy="unmigrate doctor") from error


def _roll_back(asked: _Asked, connection: psycopg.Connection[Any], plan: Plan, prepared: str) -> Outcome:
    """prepared: the operation whose prepare steps began before, or ""."""
    operation = prepared or f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}_{uuid4().hex[:6]}"
    labels = frozenset(s.object for s in plan.steps if s.phase == "prepare")
    try:
        with _asking():
            rows, observer = _check(asked, connection, plan, labels if prepared else frozenset())
            if asked.dry_run:
                return Outcome(plan.id, "", plan.migrations, dry_run=True)
            vault.create(connection)
            if plan.guard:
                vault.make_guard(connection, plan.guard)
        asked.on_step("vault made")
        _prepare(asked, connection, plan, operation)
        with _asking():
            if labels:
                refuse_blocked(before_switch(connection, plan))
            wait_for_snapshots(connection, [lock.table for lock in plan.locks if lock.work == "rewrite"], asked.on_progress)
            pid = backend(connection)
        asked.on_progress(f"switching: {', '.join(plan.migrations)}")
        with closing(Watch(asked.connect, pid)) as watch:
            limits, on_step, on_progress = asked.limits, asked.on_step, asked.on_progress
            done = switch(Run(connection, plan, operation, limits, rows, observer, watch, on_step, on_progress, labels, asked.record))
    except ConnectionLost as lost:
        return _look_up(asked, operation, plan, lost)
    except RefusedError:
        _abandon(asked, connection, operation, plan, labels)
        raise
    asked.on_step("committed")
    return _end(asked, connection, operation, plan, done)


def _check(asked: _Asked, connection: psycopg.Connection[Any], plan: Plan, prepared: frozenset[str]) -> tuple[int, Observer]:
    """Everything that can be asked beforehand; reads only. Returns how many ledger rows are to go, and what follows the catalog."""
    refuse_unfit(connection, plan)
    vault.version(connection)
    rows = refuse_moved_on(connection, plan) if plan.kind == "rollback" else refuse_not_pending(connection, plan)
    asked.on_step("ledger read")
    require_privileges(connection, plan)
    asked.on_step("privileges asked")
    began = time.monotonic()
    observer = Observer(connection)
    reading = time.monotonic() - began
    refuse_drift(plan, observer.catalog, prepared)
    asked.on_step("drift checked")
    current, counting = measure(connection, plan)
    asked.on_step("rows counted")
    refuse_blocked(current.blockers)
    if not asked.limits.accept_loss:
        refuse_loss([loss for loss in current.losses if loss.object not in asked.limits.returning])
    refuse_long_locks(current, asked.limits.max_lock_seconds, counting + looking(connection, observer, plan, reading))
    asked.on_step("checked")
    return rows, observer


def _prepare(asked: _Asked, connection: psycopg.Connection[Any], plan: Plan, operation: str) -> None:
    steps = journalled(plan, "prepare")
    if not steps:
        return
    with _asking(), connection.transaction():
        vault.open_operation(connection, operation, plan.kind, plan.to_json(), state="preparing", consent=asked.limits.accept_loss)
        vault.journal(connection, operation, steps, done=False)
    asked.on_step("preparation journalled")
    _run_phase(asked, connection, operation, "prepare")


def _run_phase(asked: _Asked, connection: psycopg.Connection[Any], operation: str, phase: str) -> tuple[str, ...]:
    return finish.run_phase(
        connection, operation, phase, lock_timeout_ms=asked.limits.lock_timeout_ms, on_progress=asked.on_progress, on_step=asked.on_step
    )


def _abandon(asked: _Asked, connection: psycopg.Connection[Any], operation: str, plan: Plan, labels: frozenset[str]) -> None:
    """A refusal after prepare steps must not stand in the way of another plan: the operation ends, and what it made is named.

    What a guarded way left on the application's tables goes, as nobody needs it any more.
    """
    if asked.dry_run or connection.closed or vault.version(connection) is None:
        return
    if any(o.id == operation for o in vault.operations(connection, unfinished=True)):
        vault.set_state(connection, operation, "abandoned")
        if plan.guard:
            for sql in leftovers(connection, plan.guard):
                patiently(connection, sql, asked.limits.lock_timeout_ms)
            return
        asked.on_progress(f"left behind by the steps before the switch: {', '.join(sorted(labels))}")


def _end(asked: _Asked, connection: psycopg.Connection[Any], operation: str, plan: Plan, done: Switched) -> Outcome:
    finished = _run_phase(asked, connection, operation, "finish")
    finish.close(connection, operation, plan)
    asked.on_step("closed")
    return Outcome(
        plan.id, operation, plan.migrations, ledger_rows=done.ledger_rows, copies=done.copies, tries=done.tries,
        waited=round(done.waited, 4), held=round(done.held, 4), finished=finished, steps=sum(s.phase == "switch" for s in plan.steps),
        kind=plan.kind,
    )  # fmt: skip


def _look_up(asked: _Asked, operation: str, plan: Plan, lost: ConnectionLost) -> Outcome:
    """The connection ended during the switch; Prisma's lock is free only when the server has ended that transaction."""
    try:
        with closing(asked.connect()) as connection:
            connection.autocommit = True
            with deploy_lock(connection):
                rows = vault.archived(connection, operation)
                if rows is not None:
                    return _end(asked, connection, operation, plan, Switched(ledger_rows=rows))
    except PartialError:
        raise
    except (psycopg.Error, UnmigrateError) as error:
        message = "the connection was lost during the switch, and the server cannot be asked whether it was committed"
        names, stands = ", ".join(plan.migrations), "not applied" if plan.kind == "rollback" else "applied"
        remedy = f"when the server is back, ask unmigrate status: it was committed if {names} is {stands}; if not, give the command again"
        raise PartialError(message, code="connection", remedy=remedy) from error
    message = "the connection was lost during the switch: rolled back, the old state stands"
    raise FailedError(message, code="connection", remedy="run it again") from lost


def pending(connection: psycopg.Connection[Any]) -> tuple[Operation, ...]:
    """Operations that were interrupted: before their switch (state "preparing") or after it ("switched")."""
    return vault.operations(connection, unfinished=True)


def history(connection: psycopg.Connection[Any]) -> tuple[Operation, ...]:
    """All operations of this database's vault, oldest first."""
    return vault.operations(connection)
