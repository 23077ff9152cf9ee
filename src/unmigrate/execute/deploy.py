"""Deploying one migration: guarded where scratch has shown how, else as it is, with Prisma's ledger row either way."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import psycopg

from unmigrate.errors import FailedError, RefusedError
from unmigrate.execute.blocking import told_waits
from unmigrate.execute.refuse import refuse_armed, refuse_loss, refuse_not_pending
from unmigrate.execute.rollback import Connect, Outcome, execute
from unmigrate.execute.switch import Hook
from unmigrate.park import restore_points, vault
from unmigrate.plan.model import Plan
from unmigrate.prisma.ledger import create_ledger, deploy_lock, read_ledger, record_applied, record_finished


def deploy(
    connect: Connect, plan: Plan, ways: Sequence[Plan], *, accept_loss: bool, lock_timeout_ms: int = 200, max_lock_seconds: float = 5.0,
    dry_run: bool = False, app: str | None = None, on_progress: Callable[[str], None] = lambda _: None, on_step: Hook = lambda _: None,
) -> Outcome:  # fmt: skip
    """Apply the plan's migration; its ways back and again go into the vault in the same transaction. Raises as execute does.

    app: what git calls the version that is deployed with it, for the restore point.
    """
    if not all(step.transactional for step in plan.steps):
        return _as_it_is(connect, plan, accept_loss=accept_loss, dry_run=dry_run, on_progress=on_progress)

    def record(connection: psycopg.Connection[Any]) -> None:
        vault.forget_ways(connection, migrations=plan.migrations)
        for way in ways:
            vault.store_way(connection, way.to_json())
        if plan.guard:
            vault.seal(connection, vault.guard_schemas(plan.guard)[0])
        restore_points.record_now(connection, plan.migrations, app=app)

    return execute(
        connect, plan, accept_loss=accept_loss, lock_timeout_ms=lock_timeout_ms, max_lock_seconds=max_lock_seconds, dry_run=dry_run,
        on_progress=on_progress, on_step=on_step, record=record,
    )  # fmt: skip


def make_ledger(connection: psycopg.Connection[Any], schema: str) -> None:
    """The ledger of a database that has none. Raises RefusedError where the schema holds tables already, as Prisma does (P3005)."""
    if read_ledger(connection, schema) is not None:
        return
    row = connection.execute(
        "select min(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relkind in ('r', 'p')",
        [schema],
    ).fetchone()
    if row and row[0]:
        message = f"this database has tables ({row[0]}) but no ledger (P3005)"
        raise RefusedError(message, code="no-ledger", remedy="baseline it: prisma migrate resolve --applied for what it holds already")
    create_ledger(connection, schema)


def _as_it_is(connect: Connect, plan: Plan, *, accept_loss: bool, dry_run: bool, on_progress: Callable[[str], None]) -> Outcome:
    """A file that manages its transactions itself, run as Prisma runs it: a failed one stays in the ledger as failed (P3009)."""
    (name,) = plan.migrations
    with closing(connect()) as connection:
        connection.autocommit = True
        with deploy_lock(connection), told_waits(connection, connect, on_progress):
            refuse_armed(connection)
            refuse_not_pending(connection, plan)
            if not accept_loss:
                refuse_loss(plan.losses)
            if dry_run:
                return Outcome(plan.id, "", plan.migrations, dry_run=True, kind="deploy")
            on_progress(f"applying {name}, outside one transaction")
            row = record_applied(connection, plan.schema, name, plan.checksums[name], finished=False)
            for step in plan.steps:
                try:
                    connection.execute(step.sql)
                except psycopg.Error as error:
                    if not connection.closed and connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                        connection.execute("ROLLBACK")
                    message = f"{name} failed half-way: {error.diag.message_primary or error}; the ledger says so (P3009)"
                    raise FailedError(message, code="half-applied", remedy=f"unmigrate rollback {name} undoes what it did") from error
            record_finished(connection, plan.schema, row)
    return Outcome(plan.id, "", plan.migrations, kind="deploy")
