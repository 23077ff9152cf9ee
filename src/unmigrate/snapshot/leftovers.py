"""What refills and carry-overs leave in a live database: the schema unmigrate_refill, with conflicts and which transactions were ours."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.errors import FailedError, RefusedError
from unmigrate.prisma.ledger import LOCK_SECONDS, deploy_lock
from unmigrate.snapshot import merge, merging

_LEFT = """
select count(*), max(coalesce(done_at, began_at)), (select count(*) from {0}.conflict),
  (select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class where relnamespace = {1}::regnamespace and relkind = 'r')
from {0}.refill"""
_OURS = """
select c.relname::text from pg_class c where c.relnamespace = %s::regnamespace and c.relkind = 'r'
and (c.relname in ('refill', 'part', 'lane', 'batch', 'waiting', 'conflict') or c.relname like 'stage\\_%%') order by 1"""


@dataclass(frozen=True, slots=True)
class Left:
    """refills: carry-overs too; since: when the last of them ended, or began; unfinished: one line for each that was interrupted."""

    refills: int
    since: datetime
    conflicts: int
    bytes: int
    unfinished: tuple[str, ...]

    def line(self) -> str:
        conflicts = f", {self.conflicts} conflicts listed" if self.conflicts else ""
        wrote = "1 refill" if self.refills == 1 else f"{self.refills} refills"
        return f"{merge.SCHEMA}: what {wrote} wrote down, the last on {self.since:%Y-%m-%d}{conflicts}, {self.bytes / 1e6:.1f} MB"


def left(connection: psycopg.Connection[Any]) -> Left | None:
    """None where nothing of ours is there, or nothing was begun."""
    row = connection.execute("select to_regclass(%s), to_regclass(%s)", [f"{merge.SCHEMA}.refill", f"{merge.SCHEMA}.conflict"]).fetchone()
    if row is None or None in row:
        return None
    found = connection.execute(_LEFT.format(merge.SCHEMA, literal(merge.SCHEMA))).fetchone()
    if found is None or not found[0]:
        return None
    return Left(found[0], found[1], found[2], found[3], tuple(merging.unfinished(connection)))


def statements(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Without CASCADE: what others made to depend on it, or put into the schema, keeps it."""
    tables = [f"{merge.SCHEMA}.{ident(name)}" for (name,) in connection.execute(_OURS, [merge.SCHEMA])]
    yield f"DROP TABLE {', '.join(tables)}"
    yield f"DROP SCHEMA {merge.SCHEMA}"


def drop(connection: psycopg.Connection[Any], *, unfinished: bool, wait_seconds: float = LOCK_SECONDS) -> tuple[str, ...]:
    """All of it, or nothing. unfinished: although one could go on.

    Raises RefusedError, FailedError (nothing was dropped), EnvironmentProblem where one is at work.
    """
    with deploy_lock(connection, wait_seconds):
        if not unfinished and (open_ones := merging.unfinished(connection)):
            raise RefusedError(open_ones[0], code="unfinished", remedy="or drop what it has done so far too: unmigrate purge --now")
        done = tuple(statements(connection))
        try:
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = '5s'")
                for sql in done:
                    connection.execute(sql)
        except (psycopg.errors.DependentObjectsStillExist, psycopg.errors.LockNotAvailable) as error:
            message = f"{merge.SCHEMA} cannot be dropped: {error.diag.message_detail or error.diag.message_primary}"
            raise FailedError(message, code="in-use", remedy="look at what uses it; nothing of it was dropped") from error
        return done
