"""Refusals: each looks at what was found on the target and raises, or lets the rollback go on. Nothing was changed yet."""

import re
from collections.abc import Collection
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.model import Catalog
from unmigrate.errors import RefusedError
from unmigrate.execute.asking import UNKNOWN
from unmigrate.park.armed import armed
from unmigrate.plan.model import Blocker, Loss, Plan
from unmigrate.prisma.ledger import read_ledger, states
from unmigrate.sql import script
from unmigrate.words import amount

_CREATES_INDEX = re.compile(r"\s*CREATE\s+(UNIQUE\s+)?INDEX\b", re.IGNORECASE)
NAMED = 8  # so many are named in an error's one line


def refuse_unfit(connection: psycopg.Connection[Any], plan: Plan) -> None:
    """The plan must be proved, on this server's major version, and leave the transaction alone."""
    if not plan.proved:
        raise RefusedError("the plan is not proved", code="unproved", remedy="unmigrate plan shows why")
    major = connection.info.server_version // 10000
    if plan.server_major != major:
        message = f"the plan was proved on PostgreSQL {plan.server_major}, the target is {major}"
        raise RefusedError(message, code="major", remedy=f"make it again with --scratch debian:{major} or --scratch target")
    for step in plan.steps:
        if step.transactional and script.has_control(step.sql) and _controls(step.sql):
            message = f"a step of the plan begins or ends transactions by itself: {step.sql[:120]}"
            raise RefusedError(
                message, code="transaction", remedy="take BEGIN and COMMIT out of down.sql: it runs in one transaction with the ledger"
            )


def _controls(sql: str) -> bool:
    try:
        return any(statement.control for statement in script.split(sql))
    except script.ScriptError:
        return True


def refuse_moved_on(connection: psycopg.Connection[Any], plan: Plan) -> int:
    """How many ledger rows the plan's migrations have. Raises RefusedError unless they are the last applied ones, or the failed one."""
    rows = read_ledger(connection, plan.schema)
    if rows is None:
        remedy = f'the ledger is looked for in schema "{plan.schema}": check ?schema= in the URL'
        raise RefusedError("this database has no _prisma_migrations table", code="no-ledger", remedy=remedy)
    found = states((), rows)
    applied = [s.name for s in found if s.state == "applied"]
    failed = [s.name for s in found if s.state == "failed"]
    now = failed if plan.failed else applied[-len(plan.migrations) :][::-1]
    if now != list(plan.migrations) or (failed and not plan.failed):
        last = ", ".join(now) or "none"
        failing = f"; {', '.join(failed)} failed" if failed and not plan.failed else ""
        message = f"the database moved on: the plan undoes {', '.join(plan.migrations)}, now last are {last}{failing}"
        raise RefusedError(message, code="moved-on", remedy="make a new plan")
    return sum(row.migration_name in plan.migrations for row in rows)


def drift(plan: Plan, live: Catalog, prepared: Collection[str] = ()) -> tuple[str, ...]:
    """Objects of the plan that are not as the history says they are; those that prepare steps made or changed are left out."""
    found = {name: digest(o) for o in live if (name := label(o)) in plan.before}
    differences = []
    for name, wanted in plan.before.items():
        now = found.get(name, "")
        if now != wanted and name not in prepared:
            differences.append(f"{name} is {'missing' if not now else 'not expected' if not wanted else 'different'}")
    return tuple(differences)


def refuse_armed(connection: psycopg.Connection[Any]) -> None:
    """Raise RefusedError while a guard waits: what it follows must not change under it."""
    if waiting := armed(connection):
        message = f"a guard waits for {waiting[0].migration}"
        raise RefusedError(message, code="armed", remedy="unmigrate guard finish once it is deployed, or unmigrate guard abandon")


def refuse_not_pending(connection: psycopg.Connection[Any], plan: Plan) -> int:
    """Raise RefusedError unless the plan's migration waits to be applied and nothing failed; 0, as no ledger rows are to go."""
    found = states((), read_ledger(connection, plan.schema) or ())
    if failed := [s.name for s in found if s.state == "failed"]:
        raise RefusedError(
            f"{', '.join(failed)} failed: nothing is applied before that is settled", code="failed", remedy="unmigrate rollback"
        )
    if applied := [s.name for s in found if s.state == "applied" and s.name in plan.migrations]:
        raise RefusedError(f"{applied[0]} is applied already", code="moved-on", remedy="unmigrate status")
    return 0


def refuse_drift(plan: Plan, live: Catalog, prepared: Collection[str] = ()) -> None:
    """Raise RefusedError where the plan would meet something else than what it was proved on."""
    if found := drift(plan, live, prepared):
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        remedy = "unmigrate verify shows every difference; put it right, or make a new plan from the text that was deployed"
        raise RefusedError(f"the database is not as the migrations left it: {'; '.join(found[:NAMED])}{more}", code="drift", remedy=remedy)


def refuse_counted(plan: Plan, *, accept_loss: bool, max_lock_seconds: float, returning: Collection[str] = ()) -> None:
    """Raise RefusedError for what an inspected plan already says: rows that block, losses not consented to, locks held too long."""
    refuse_blocked(plan.blockers)
    if not accept_loss:
        refuse_loss([loss for loss in plan.losses if loss.object not in returning])
    refuse_long_locks(plan, max_lock_seconds)


def refuse_blocked(blockers: Collection[Blocker]) -> None:
    """Raise RefusedError for rows that block, with the first ones and their ways out."""
    if not blockers:
        return
    first = list(blockers)[:3]
    more = f" (and {len(blockers) - 3} more)" if len(blockers) > 3 else ""
    ways = list(dict.fromkeys(way for blocker in first for way in blocker.ways_out))
    raise RefusedError("; ".join(map(_told, first)) + more, code="blocked", remedy=" or ".join(ways))


def _told(blocker: Blocker) -> str:
    if not blocker.of_rows:
        return f"{blocker.object}: {blocker.reason}"
    told = "an unknown number of rows block" if blocker.rows == UNKNOWN else amount(blocker.rows, "row blocks", "rows block")
    sample = f", e.g. {blocker.samples[0]}" if blocker.samples else ""
    return f"{told}: {blocker.object}: {blocker.reason}{sample}"


def refuse_loss(losses: Collection[Loss]) -> None:
    """Raise RefusedError where something would be lost that was not consented to."""
    losing = [loss for loss in losses if loss.rows != 0]
    if losing:
        named = ", ".join(x.object if x.rows is None else f"{x.object} ({amount(x.rows, 'row')})" for x in losing[:NAMED])
        destroyed = any(loss.kind in ("column", "table") for loss in losing)
        refill = "; --refill last brings back what the migration destroyed, from the last snapshot before it" if destroyed else ""
        remedy = f"add --accept-loss: what is there now is copied to the vault first{refill}"
        raise RefusedError(f"this loses {named}{' …' if len(losing) > NAMED else ''}", code="loss", remedy=remedy)


def refuse_long_locks(plan: Plan, max_seconds: float, overhead: float = 0.0) -> None:
    """Raise RefusedError where the locks would be held longer than allowed. overhead: checks and verification under them."""
    total = overhead + sum(lock.seconds or 0 for lock in plan.locks)
    if total <= max_seconds:
        return
    worst = max(plan.locks, key=lambda lock: lock.seconds or 0, default=None)
    most = f"most of it for a {worst.work} of {worst.table}" if worst and (worst.seconds or 0) > overhead else "most of it for checks"
    message = f"locks would be held about {total:.1f} s, {most}; the limit is {max_seconds:g} s"
    raise RefusedError(message, code="lock", remedy=f"allow it with --max-lock {total * 1.5:.0f}{or_concurrently(plan)}")


def or_concurrently(plan: Plan) -> str:
    """The other remedy for long locks, where there is one: a rollback planned now that builds an index under them."""
    builds = any(s.phase == "switch" and _CREATES_INDEX.match(s.sql) for s in plan.steps)
    return ", or try unmigrate rollback --concurrently" if builds and plan.kind == "rollback" and not plan.guard else ""
