"""What to expect on the real sizes: rates measured on scratch now, and what the statements were seen to do.

Scratch keeps everything in memory and waits for no disk: these are orders of magnitude, and lower bounds where disks are slow.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.plan.model import Lock
from unmigrate.rehearse.sample import TableSample

PROBE_ROWS = 100_000
METADATA = 0.01  # seconds of a statement that only moves metadata
_PROBE = "CREATE TEMP TABLE unmigrate_probe AS SELECT g AS id, md5(g::text) AS a, md5((g * 7)::text) AS b FROM generate_series(1, %s) AS g"
_WORK = {
    "scan": "SELECT count(*) FROM unmigrate_probe WHERE a <> b AND id IS NOT NULL",
    "index": "CREATE INDEX ON unmigrate_probe (a)",
    "rewrite": "ALTER TABLE unmigrate_probe ADD COLUMN c float8 DEFAULT random()",
    "write": "UPDATE unmigrate_probe SET a = b",
}


@dataclass(frozen=True, slots=True)
class Rates:
    """scan, rewrite, index: bytes of the table per second; write: rows per second."""

    scan: float
    rewrite: float
    index: float
    write: float


@dataclass(frozen=True, slots=True)
class Expected:
    """One statement on the real sizes. locks: what it newly locks; writes: rows it writes there; seconds: about; why: how that came."""

    statement: str
    locks: tuple[Lock, ...]
    writes: int
    seconds: float
    why: str


def measured(connection: psycopg.Connection[Any]) -> Rates:
    """Rates of this scratch server, in about a second; nothing stays."""
    connection.execute("BEGIN")
    try:
        connection.execute(_PROBE.replace("%s", str(PROBE_ROWS)))
        (size,) = connection.execute("SELECT pg_table_size('unmigrate_probe')").fetchone() or (0,)
        taken = {}
        for name, sql in _WORK.items():
            began = time.monotonic()
            connection.execute(sql)
            taken[name] = max(time.monotonic() - began, 1e-4)
    finally:
        connection.execute("ROLLBACK")
    return Rates(size / taken["scan"], size / taken["rewrite"], size / taken["index"], PROBE_ROWS / taken["write"])


def expected(
    statement: str, locks: Sequence[Lock], written: int, target: str, *, builds: bool, tables: Mapping[str, TableSample], rates: Rates
) -> Expected:
    """written: rows it wrote of the sample, of the table `target`; builds: it makes an index."""
    seconds, why = METADATA, []
    sized = []
    for lock in locks:
        real = tables.get(lock.table)
        size = real.size if real else 0
        took = METADATA
        if lock.work != "metadata" and real is not None:
            took = _seconds(lock, real, rates, builds)
            seconds += took
            what = "index build" if builds and lock.work == "scan" else lock.work
            why.append(f"{what} of {lock.table} ({_bytes(size)}, about {real.tuples:,.0f} rows)")
        sized.append(Lock(lock.table, lock.mode, lock.work, size if real else None, round(took, 3)))
    count = 0
    if written and target in tables and tables[target].rows:
        count = round(max(tables[target].tuples, len(tables[target].rows)) * written / len(tables[target].rows))
        seconds += count / rates.write
        why.append(f"about {count:,} rows of {target} written")
    return Expected(" ".join(statement.split()), tuple(sized), count, round(seconds, 3), "; ".join(why))


def _seconds(lock: Lock, real: TableSample, rates: Rates, builds: bool) -> float:
    if lock.work == "rewrite":
        return real.size / rates.rewrite + real.indexes / rates.index
    return real.size / (rates.index if builds else rates.scan)


def held(parts: Sequence[Expected]) -> dict[str, tuple[str, float]]:
    """{table: (strongest mode, seconds)} that each lock is held: from its statement to the end of the transaction."""
    from unmigrate.check.impact import STRENGTH

    found: dict[str, tuple[str, float]] = {}
    for number, part in enumerate(parts):
        rest = sum(p.seconds for p in parts[number:])
        for lock in part.locks:
            mode, seconds = found.get(lock.table, (lock.mode, rest))
            found[lock.table] = (max(mode, lock.mode, key=STRENGTH.index), max(seconds, rest))
    return found


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
