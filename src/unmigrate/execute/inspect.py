"""Asking the target before anything is touched: rows that block, rows that are lost, how long locks would be held. Reads only."""

import time
from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.execute.asking import UNKNOWN, carefully, number, raise_if_lost
from unmigrate.execute.copies import split_column
from unmigrate.execute.duration import locked
from unmigrate.plan.model import Blocker, Check, Loss, Plan


def inspect(connection: psycopg.Connection[Any], plan: Plan) -> Plan:
    """The same plan with blockers, losses and locks as they stand on this database now."""
    return measure(connection, plan)[0]


def measure(connection: psycopg.Connection[Any], plan: Plan) -> tuple[Plan, float]:
    """As inspect, and the seconds that those counts of blockers took that are asked once more under the locks."""
    answered, blockers, seconds = {out.object for out in plan.ways_out}, [], 0.0
    for check in plan.checks:
        began = time.monotonic()
        if check.object not in answered and (found := _blocker(connection, check)):
            blockers.append(found)
        seconds += 0.0 if check.later else time.monotonic() - began
    losses = tuple(replace(loss, rows=_lost_rows(connection, loss)) for loss in plan.losses)
    counted = replace(plan, blockers=tuple(blockers), losses=losses)
    return replace(counted, locks=locked(connection, counted)), seconds


def before_switch(connection: psycopg.Connection[Any], plan: Plan) -> tuple[Blocker, ...]:
    """Blockers among what is not asked under the locks, once more after the steps before the switch, which may take long."""
    return tuple(b for check in plan.checks if check.later and not plan.ways_out and (b := _blocker(connection, check)))


def recheck(connection: psycopg.Connection[Any], plan: Plan) -> tuple[Blocker, ...]:
    """Blockers again, inside the caller's transaction and under its locks and timeouts; errors are the caller's."""
    found, answered = [], {out.object for out in plan.ways_out}
    for check in plan.checks:
        if check.later and not plan.ways_out:  # what a person decided shows before anything is committed
            continue
        if check.object in answered and check.still is not None:
            if not check.still:
                continue
            check = replace(check, count=f"select count(*) from {check.table} t where {check.still}")
        row = connection.execute(check.count).fetchone()
        if row and row[0]:
            samples = tuple(str(sample[0]) for sample in connection.execute(check.sample))
            found.append(Blocker(check.migration, check.object, check.reason, int(row[0]), samples, check.ways_out))
    return tuple(found)


def _blocker(connection: psycopg.Connection[Any], check: Check) -> Blocker | None:
    count, problem = number(connection, check.count)
    if count == 0:
        return None
    if count == UNKNOWN:
        return Blocker(check.migration, check.object, f"{check.reason}; they could not be counted: {problem}", count, (), check.ways_out)
    samples: tuple[str, ...] = ()
    try:
        with connection.transaction():
            carefully(connection)
            samples = tuple(str(row[0]) for row in connection.execute(check.sample))
    except psycopg.Error:  # the count stands without them
        raise_if_lost(connection)
    return Blocker(check.migration, check.object, check.reason, count, samples, check.ways_out)


def _lost_rows(connection: psycopg.Connection[Any], loss: Loss) -> int | None:
    """Rows of what was added; what the migration itself destroyed cannot be counted any more."""
    if loss.kind == "added table":
        sql = f"select count(*) from {loss.object}"
    elif loss.kind == "added column":
        table, column = split_column(loss.object)
        sql = f"select count(*) from {table} where {column} is not null"
    else:
        return None
    count, _ = number(connection, sql)
    return None if count == UNKNOWN else count
