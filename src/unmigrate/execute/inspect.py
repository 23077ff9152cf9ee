"""Asking the target before anything is touched: drift, rows that block, rows that are lost, how long locks would be held."""

import re
from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.read import read_catalog
from unmigrate.errors import RefusedError
from unmigrate.plan.model import Blocker, Check, Lock, Loss, Plan

COUNT_TIMEOUT = "15s"
# Bytes per second, on the modest side of what docs/measurements.md shows: predicted times should rather be too long.
_RATES = {"scan": 200e6, "rewrite": 60e6}
_METADATA_SECONDS = 0.01
UNKNOWN = -1


def inspect(connection: psycopg.Connection[Any], plan: Plan) -> Plan:
    """The same plan with blockers, losses and locks as they stand on this database now. Reads only."""
    blockers = tuple(b for check in plan.checks if (b := _blocker(connection, check)))
    losses = tuple(replace(loss, rows=_lost_rows(connection, loss)) for loss in plan.losses)
    locks = tuple(_sized(connection, lock) for lock in plan.locks)
    return replace(plan, blockers=blockers, losses=losses, locks=locks)


def drift(plan: Plan, live: Catalog) -> tuple[str, ...]:
    """Objects of the plan that are not as the history says they are."""
    found = {label(o): digest(o) for o in live}
    differences = []
    for name, wanted in plan.before.items():
        now = found.get(name, "")
        if now != wanted:
            differences.append(f"{name} is {'missing' if not now else 'not expected' if not wanted else 'different'}")
    return tuple(differences)


def refuse_drift(connection: psycopg.Connection[Any], plan: Plan) -> Catalog:
    """The live catalog. Raises RefusedError where the plan would meet something else than what it was proved on."""
    live = read_catalog(connection)
    if found := drift(plan, live):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        remedy = "unmigrate verify shows every difference; put it right, or make a new plan from the text that was deployed"
        raise RefusedError(f"the database is not as the migrations left it: {'; '.join(found[:3])}{more}", code="drift", remedy=remedy)
    return live


def refuse_blocked(plan: Plan) -> None:
    """Raise RefusedError for rows that block, with the first ones and their way out."""
    if not plan.blockers:
        return
    first = plan.blockers[0]
    count = "an unknown number of" if first.rows == UNKNOWN else first.rows
    more = f" (and {len(plan.blockers) - 1} more)" if len(plan.blockers) > 1 else ""
    sample = f", e.g. {first.samples[0]}" if first.samples else ""
    raise RefusedError(
        f"{count} rows block: {first.object}: {first.reason}{sample}{more}", code="blocked", remedy=" or ".join(first.ways_out)
    )


def refuse_loss(plan: Plan) -> None:
    """Raise RefusedError where something would be lost that was not consented to."""
    losing = [loss for loss in plan.losses if loss.rows != 0]
    if losing:
        named = ", ".join(f"{x.object}{f' ({x.rows} rows)' if x.rows is not None else ''}" for x in losing[:5])
        remedy = "add --accept-loss: what is there now is copied to the vault first; or restore a snapshot to get the old values back"
        raise RefusedError(f"this loses {named}{' …' if len(losing) > 5 else ''}", code="loss", remedy=remedy)


def refuse_long_locks(plan: Plan, max_seconds: float) -> None:
    """Raise RefusedError where the locks would be held longer than allowed."""
    total = sum(lock.seconds or 0 for lock in plan.locks)
    if total > max_seconds:
        worst = max(plan.locks, key=lambda lock: lock.seconds or 0)
        message = f"locks would be held about {total:.1f} s, most of it for a {worst.work} of {worst.table}; the limit is {max_seconds:g} s"
        raise RefusedError(message, code="lock-time", remedy=f"allow it with --max-lock {total * 1.5:.0f}, or try --concurrently")


def _blocker(connection: psycopg.Connection[Any], check: Check) -> Blocker | None:
    count = _number(connection, check.count)
    if count == 0:
        return None
    samples: tuple[str, ...] = ()
    if count != UNKNOWN:
        try:
            with connection.transaction():
                samples = tuple(str(row[0]) for row in connection.execute(check.sample))
        except psycopg.Error:
            samples = ()
    reason = check.reason if count != UNKNOWN else f"{check.reason}; they could not be counted in {COUNT_TIMEOUT}"
    return Blocker(check.migration, check.object, reason, count, samples, check.ways_out)


def _number(connection: psycopg.Connection[Any], sql: str) -> int:
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}'")
            row = connection.execute(sql).fetchone()
    except psycopg.Error:
        return UNKNOWN
    return int(row[0]) if row else 0


def _lost_rows(connection: psycopg.Connection[Any], loss: Loss) -> int | None:
    """Rows of what was added; what the migration itself destroyed cannot be counted any more."""
    if loss.kind == "added table":
        sql = f"select count(*) from {loss.object}"
    elif loss.kind == "added column":
        table, column = split_column(loss.object)
        sql = f"select count(*) from {table} where {column} is not null"
    else:
        return None
    count = _number(connection, sql)
    return None if count == UNKNOWN else count


def split_column(name: str) -> tuple[str, str]:
    """schema.table.column as (schema.table, column), quoting respected."""
    match = re.match(r'^(.*)\.("(?:[^"]|"")+"|[^."]+)$', name)
    assert match is not None
    return match[1], match[2]


def _sized(connection: psycopg.Connection[Any], lock: Lock) -> Lock:
    row = connection.execute("select pg_total_relation_size(to_regclass(%s))", [lock.table]).fetchone()
    size = int(row[0]) if row and row[0] is not None else 0
    seconds = _METADATA_SECONDS + (size / _RATES[lock.work] if lock.work != "metadata" else 0.0)
    return replace(lock, bytes=size, seconds=round(seconds, 3))
