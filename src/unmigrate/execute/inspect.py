"""Asking the target before anything is touched: rows that block, rows that are lost, how long locks would be held. Reads only."""

import re
import time
from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.execute.copies import takes_away
from unmigrate.plan.model import Blocker, Check, Lock, Loss, Plan

COUNT_TIMEOUT = "15s"
# Bytes of a table with its indexes per second. Measured on PostgreSQL 15 with default durability, 2 busy cores, a table of 340 MB in
# cache: SET NOT NULL and counts 1150-2000 MB/s, CREATE INDEX on a text column 120-150, ALTER TYPE with one index 84-110, CREATE TABLE
# AS 84-110. All on the modest side, scans the most, as they suffer most from a cold cache: predictions should rather be too long.
_RATES = {"scan": 200e6, "index": 100e6, "rewrite": 60e6, "copy": 75e6}
_BUILDS = r"CREATE (UNIQUE )?INDEX (?!CONCURRENTLY)|ADD CONSTRAINT .* (UNIQUE|PRIMARY KEY|EXCLUDE)\b(?! USING INDEX)"
_REWRITES = r"ALTER COLUMN .* TYPE |ADD COLUMN .* (GENERATED|nextval)|SET (UN)?LOGGED"
_METADATA_SECONDS = 0.01
UNKNOWN = -1


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
    return replace(counted, locks=tuple(_sized(connection, counted, lock) for lock in plan.locks)), seconds


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
    count, problem = _number(connection, check.count)
    if count == 0:
        return None
    if count == UNKNOWN:
        return Blocker(check.migration, check.object, f"{check.reason}; they could not be counted: {problem}", count, (), check.ways_out)
    samples: tuple[str, ...] = ()
    try:
        with connection.transaction():
            _carefully(connection)
            samples = tuple(str(row[0]) for row in connection.execute(check.sample))
    except psycopg.Error:  # the count stands without them
        _raise_if_lost(connection)
    return Blocker(check.migration, check.object, check.reason, count, samples, check.ways_out)


def _carefully(connection: psycopg.Connection[Any]) -> None:
    """For the current transaction: no endless counts, and an error where row security would hide rows from us."""
    connection.execute(f"SET LOCAL statement_timeout = '{COUNT_TIMEOUT}'")
    connection.execute("SET LOCAL row_security = off")


def _number(connection: psycopg.Connection[Any], sql: str) -> tuple[int, str]:
    """The count, or UNKNOWN and why."""
    try:
        with connection.transaction():
            _carefully(connection)
            row = connection.execute(sql).fetchone()
    except psycopg.Error as error:
        _raise_if_lost(connection)
        return UNKNOWN, str(error.diag.message_primary or error)
    return (int(row[0]) if row else 0), ""


def _raise_if_lost(connection: psycopg.Connection[Any]) -> None:
    if connection.closed:
        raise psycopg.OperationalError("the connection was lost")


def _lost_rows(connection: psycopg.Connection[Any], loss: Loss) -> int | None:
    """Rows of what was added; what the migration itself destroyed cannot be counted any more."""
    if loss.kind == "added table":
        sql = f"select count(*) from {loss.object}"
    elif loss.kind == "added column":
        table, column = split_column(loss.object)
        sql = f"select count(*) from {table} where {column} is not null"
    else:
        return None
    count, _ = _number(connection, sql)
    return None if count == UNKNOWN else count


def split_column(name: str) -> tuple[str, str]:
    """schema.table.column as (schema.table, column), quoting respected."""
    match = re.match(r'^(.*)\.("(?:[^"]|"")+"|[^."]+)$', name)
    assert match is not None
    return match[1], match[2]


def _sized(connection: psycopg.Connection[Any], plan: Plan, lock: Lock) -> Lock:
    row = connection.execute("select pg_total_relation_size(to_regclass(%s))", [lock.table]).fetchone()
    size = int(row[0]) if row and row[0] is not None else 0
    seconds = _METADATA_SECONDS + size * _seconds_per_byte(plan, lock)
    if any(_copied(plan, loss, lock.table) for loss in plan.losses if loss.rows != 0):
        seconds += size / _RATES["copy"]
    return replace(lock, bytes=size, seconds=round(seconds, 3))


def _seconds_per_byte(plan: Plan, lock: Lock) -> float:
    """What the switch does to a table, each rewrite and each index built counting."""
    if lock.work == "metadata":
        return 0.0
    here = re.compile(re.escape(lock.table) + r'(?![\w".])')
    mine = [step.sql for step in plan.steps if step.phase == "switch" and here.search(step.sql)]
    builds = sum(bool(re.search(_BUILDS, sql)) for sql in mine)
    if lock.work == "rewrite":
        rewrites = max(1, sum(bool(re.search(_REWRITES, sql)) for sql in mine))
        return rewrites / _RATES["rewrite"] + builds / _RATES["index"]
    if builds or lock.mode == "SHARE":  # SHARE is what building an index takes
        return max(1, builds) / _RATES["index"]
    return 1 / _RATES["scan"]


def _copied(plan: Plan, loss: Loss, table: str) -> bool:
    """Whether rows of this table are copied under the locks because of this loss."""
    kind = "table" if loss.object == table else "column" if split_column(loss.object)[0] == table else ""
    return bool(kind) and takes_away(plan, loss, kind)
