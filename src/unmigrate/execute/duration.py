"""How long a switch would hold its locks, asked beforehand: what it does to rows, by measured rates, and to the catalog, as long as that
takes on this server now. Too long rather than too short; the switch itself ends at the limit, whatever was expected.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import label
from unmigrate.catalog.observer import Observer
from unmigrate.catalog.parked import plain
from unmigrate.catalog.sqltext import ident
from unmigrate.execute.asking import UNKNOWN, number
from unmigrate.execute.copies import split_column, takes_away
from unmigrate.execute.refuse import drift
from unmigrate.plan.model import Lock, Loss, Plan
from unmigrate.sql.counted import counted
from unmigrate.sql.writes import Write, writes

# Bytes of a table with its indexes per second. Measured on PostgreSQL 15 with default durability, 2 busy cores, a table of 340 MB in
# cache: SET NOT NULL and counts 1150-2000 MB/s, CREATE INDEX on a text column 120-150, ALTER TYPE with one index 84-110, CREATE TABLE
# AS 84-110. All on the modest side, scans the most, as they suffer most from a cold cache: predictions should rather be too long.
# Rows written with images of them, or from these, in a table of 106 MB with three indexes: 3-11 MB/s on cores shared by five.
_RATES = {"scan": 200e6, "index": 100e6, "rewrite": 60e6, "copy": 75e6, "write": 5e6}
_ROW_BYTES = 400  # with its index entries, of a table that was never analyzed
_BUILDS = re.compile(r"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY)|ADD CONSTRAINT .* (?:UNIQUE|PRIMARY KEY|EXCLUDE)\b(?! USING INDEX)")
_REWRITES = re.compile(r"ALTER COLUMN .* TYPE |ADD COLUMN .* (?:GENERATED|nextval)|SET (?:UN)?LOGGED")
_COPY = re.compile(r"CREATE TABLE unmigrate_[0-9a-f]+\.(before|restored)_\d+ AS .* (?:FROM|JOIN) (\S+) t\b", re.DOTALL)
_IMAGE = re.compile(r"\b(unmigrate_[0-9a-f]+\w*)\.(?:image|restored)_(?:10*)?(\d+)\b")
_IMAGES = """
select format('%%I.%%I', schemaname, tablename) from pg_tables where schemaname = any (%s) and tablename ~ '^image_'"""
_METADATA_SECONDS = 0.01
# In joins of the observer, of 30-50 ms at rest. 130 deploys and rollbacks of 1-404 statements, real ones, on cores shared by five, held
# their locks 0.05-1.4 s: journal, ledger and stored plans took 2 joins at most in 19 of 20 cases, one of many statements 0.06 on average,
# reading what was made 0.02-0.04 per object.
_OWN_JOINS, _STATEMENTS_PER_JOIN, _OBJECTS_PER_JOIN = 3, 12, 25


@dataclass(frozen=True, slots=True)
class _Written:
    """What one statement writes, or all that restore one image. to: None where only running it would tell; rows: None likewise; part: of
    the rows of its table.
    """

    to: Write | None
    rows: int | None = None
    part: float = 1.0
    image: str = ""


def locked(connection: psycopg.Connection[Any], plan: Plan) -> tuple[Lock, ...]:
    """The plan's locks, with the sizes of their tables and how long what is done to these takes. plan: with its losses counted."""
    written = [each for sql in _switched(plan) for each in _written(connection, sql)]
    written = [each for n, each in enumerate(written) if not each.image or each not in written[:n]]
    return tuple(_sized(connection, plan, lock, written) for lock in plan.locks)


def looking(connection: psycopg.Connection[Any], observer: Observer, plan: Plan, reading: float) -> float:
    """Seconds for statements as such, and for looking at the catalog before and after them. reading: seconds for reading all of it."""
    with connection.transaction():
        if plan.kind != "deploy":  # as in the switch
            connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        joined, refreshed = observer.rehearse([o for o in observer.catalog if label(o) in plan.before])
    began = time.monotonic()
    drift(plan, observer.catalog)
    compared = 2 * (time.monotonic() - began)
    statements = sum(sql.count(";") + 1 for sql in _switched(plan))
    appearing = sum(bool(then) and not plan.before.get(name) for name, then in plan.after.items())
    renamed = reading if any(name.startswith("schema ") for name in plan.before) else 0.0  # everything is read again
    return (
        joined + refreshed + compared + renamed + joined * (_OWN_JOINS + statements / _STATEMENTS_PER_JOIN + appearing / _OBJECTS_PER_JOIN)
    )


def _switched(plan: Plan) -> list[str]:
    return [*(step.sql for step in plan.steps if step.phase == "switch"), *(out.sql for out in plan.ways_out)]


def _written(connection: psycopg.Connection[Any], sql: str) -> Iterator[_Written]:
    if "$unmigrate$" in sql:  # looks at images, or at what was refused
        return
    found = writes(sql)
    if not found.tables and (found.calls or found.opaque):
        yield _Written(None)
    targets = [write for write in found.tables if write.verb != "truncate"]
    if not targets:
        return
    image = _IMAGE.search(sql)
    rows = _imaged(connection, sql) if image else _own(connection, sql)
    for write in targets:
        name = f"{ident(write.schema)}.{ident(write.table)}" if write.schema else ident(write.table)
        there = _size(connection, name)[1]
        part = min(1.0, rows / there) if rows is not None and there > 0 else 1.0
        yield _Written(Write("restore", write.schema, write.table), rows, part, image[0]) if image else _Written(write, rows, part)


def _imaged(connection: psycopg.Connection[Any], sql: str) -> int | None:
    """Rows of the images that a statement of ours writes from; of the largest of all where its own is made only in the switch."""
    names = {f"{schema}.image_{n}" for schema, n in _IMAGE.findall(sql)}
    schemas = list({schema for schema, _ in _IMAGE.findall(sql)})
    there = {name for (name,) in connection.execute(_IMAGES, [schemas]).fetchall()}
    counts = [number(connection, f"select count(*) from {name}")[0] for name in (names if names <= there else there)]
    return None if UNKNOWN in counts else max(counts, default=0)


def _own(connection: psycopg.Connection[Any], sql: str) -> int | None:
    """Rows that a statement of the migration's would write now; None where that takes too long, or what it reads is not there yet."""
    asked = counted(sql)
    rows = number(connection, asked)[0] if asked else UNKNOWN
    return None if rows == UNKNOWN else rows


def _size(connection: psycopg.Connection[Any], table: str) -> tuple[int, int]:
    """(bytes with indexes, rows as of the last ANALYZE or -1)."""
    sql = "select pg_total_relation_size(oid), reltuples::int8 from pg_class where oid = to_regclass(%s)"
    row = connection.execute(sql, [table]).fetchone()
    return (int(row[0] or 0), int(row[1])) if row else (0, -1)


def _sized(connection: psycopg.Connection[Any], plan: Plan, lock: Lock, written: Sequence[_Written]) -> Lock:
    size, rows = _size(connection, lock.table)
    here = _naming(lock.table)
    mine = [sql for sql in _switched(plan) if here.search(sql)]
    seconds = _METADATA_SECONDS + size * _seconds_per_byte(lock, mine)
    of_row = (size / rows if rows > 0 else _ROW_BYTES) / _RATES["write"]
    for sql in mine:
        copy = _COPY.match(sql)
        if copy and copy[2] == lock.table:  # one before is read twice: it is set beside what the statement left
            whole = size / _RATES["copy"]
            seconds += 2 * whole if copy[1] == "before" else min(whole, (_imaged(connection, sql) or 0) * of_row)
    seconds += sum(size / _RATES["write"] if rows_ is None else rows_ * of_row for rows_ in _rows(plan, lock, written, rows))
    if any(_copied(plan, loss, lock.table) for loss in plan.losses if loss.rows != 0):
        seconds += size / _RATES["copy"]
    return replace(lock, bytes=size, seconds=round(seconds, 3))


def _rows(plan: Plan, lock: Lock, written: Sequence[_Written], rows: int) -> list[int | None]:
    """How many rows of a table each statement writes, None for all: its own, those that nobody can tell, and what follows a key."""
    schema, label_ = split_column(lock.table)
    knowingly = lock.table in (plan.writes or ())
    unknown: list[int | None] = [None for each in written if each.to is None and knowingly]
    own = [each for each in written if each.to and each.to.table == plain(label_) and each.to.schema in (None, plain(schema))]
    if own or unknown or not knowingly:
        return [*unknown, *(each.rows for each in own)]
    part = max((each.part for each in written), default=1.0)
    return [round(part * rows) if rows > 0 else None]


def _naming(table: str) -> re.Pattern[str]:
    """A table's name in statements of ours and of a migration's author, who may leave out its schema."""
    return re.compile(rf'(?<![\w"])"?{re.escape(plain(split_column(table)[1]))}"?(?![\w"])')


def _seconds_per_byte(lock: Lock, mine: Sequence[str]) -> float:
    """What statements do to the shape of their table, each rewrite and each index built counting."""
    if lock.work == "metadata":
        return 0.0
    builds = sum(len(_BUILDS.findall(sql)) for sql in mine)
    if lock.work == "rewrite":
        rewrites = max(1, sum(bool(_REWRITES.search(sql)) for sql in mine))
        return rewrites / _RATES["rewrite"] + builds / _RATES["index"]
    if builds or lock.mode == "SHARE":  # SHARE is what building an index takes
        return max(1, builds) / _RATES["index"]
    return 1 / _RATES["scan"]


def _copied(plan: Plan, loss: Loss, table: str) -> bool:
    """Whether rows of this table are copied under the locks because of this loss."""
    kind = "table" if loss.object == table else "column" if split_column(loss.object)[0] == table else ""
    return bool(kind) and takes_away(plan, loss, kind)
