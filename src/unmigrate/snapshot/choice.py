"""What has to be known of a target to choose between the ways back: snapshots from before, rows written since, how fast this server is.

Reads only. The rates are measured on a temporary table of some megabytes, or, where a snapshot was restored before, by that.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from unmigrate.errors import UnmigrateError
from unmigrate.plan.options import Candidate
from unmigrate.snapshot.find import Moments, judge
from unmigrate.snapshot.provider import At, Provider, Snapshot

BEFORE = "before"  # what the point right before the migration is called where a snapshot is asked for
_ROWS = 40_000
_LOG = 0.5  # a temporary table is not logged: what is logged takes about twice as long
COUNTERS = """
select coalesce(jsonb_object_agg(format('%I.%I', schemaname, relname), n_tup_ins + n_tup_upd + n_tup_del), '{}'::jsonb),
  (select concat(stats_reset, ' ', pg_postmaster_start_time()) from pg_stat_database where datname = current_database())
from pg_stat_user_tables where schemaname !~ '^unmigrate' and relname <> '_prisma_migrations'"""
_SIZES = """
select coalesce(sum(pg_table_size(c.oid)), 0)::int8, coalesce(sum(pg_indexes_size(c.oid)), 0)::int8 from pg_class c
join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'm') and n.nspname !~ '^(pg_|information_schema$)'"""


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes per second that this server writes into tables and into indexes. basis: how that is known."""

    table: float
    index: float
    basis: str


def counters(connection: psycopg.Connection[Any]) -> dict[str, Any]:
    """Rows written per table since statistics began, for a snapshot to remember. Asked before it is taken: rather too many are found."""
    row = connection.execute(COUNTERS).fetchone()
    return {"rows": row[0], "reset": row[1]} if row else {}


def written_since(remembered: Mapping[str, Any] | None, now: Mapping[str, Any]) -> dict[str, int] | None:
    """Rows written by table since counters were remembered, by the server's statistics (up to a second late), a migration's own among them;
    None where these began anew in between."""
    if not remembered or remembered.get("reset") != now.get("reset"):
        return None
    since = {name: count - remembered["rows"].get(name, 0) for name, count in now["rows"].items()}
    if any(count < 0 for count in since.values()):
        return None
    return {name: count for name, count in since.items() if count}


def measured(connection: psycopg.Connection[Any]) -> Rates | None:
    """None where nothing can be written: on a standby, or without the right to make temporary tables."""
    try:
        with connection.transaction(force_rollback=True):
            began = time.monotonic()
            connection.execute(
                "CREATE TEMP TABLE unmigrate_probe ON COMMIT DROP AS SELECT g AS a, md5(g::text) AS b, repeat('x', 100) AS c "
                f"FROM generate_series(1, {_ROWS}) g"
            )
            filled = time.monotonic()
            connection.execute("CREATE INDEX unmigrate_probe_index ON pg_temp.unmigrate_probe (b)")
            indexed = time.monotonic()
            row = connection.execute(
                "SELECT pg_table_size('pg_temp.unmigrate_probe'), pg_relation_size('pg_temp.unmigrate_probe_index')"
            ).fetchone()
    except psycopg.Error:
        return None
    assert row is not None
    table, index = row[0] / (filled - began) * _LOG, row[1] / (indexed - filled) * _LOG
    basis = (
        f"tables at {table / 1e6:.0f} MB/s, indexes at {index / 1e6:.0f} MB/s: measured now on {row[0] / 1e6:.0f} MB, halved for the log"
    )
    return Rates(table, index, basis)


def candidates(
    connection: psycopg.Connection[Any], provider: Provider, of: Sequence[Moments]
) -> tuple[tuple[Candidate, ...] | None, str]:  # fmt: skip
    """Snapshots from before all these migrations, newest first; None, and why, where the provider cannot be asked."""
    try:
        found = provider.snapshots()
    except UnmigrateError as error:
        return None, str(error)
    oldest = min(of, key=lambda m: m.began)
    began = oldest.began
    good = [s for s in found if not any(judge(s, m) for m in of)]
    point = right_before(provider, oldest)
    if not good and point is None:
        return (), ""
    rates, now, sizes = measured(connection), counters(connection), connection.execute(_SIZES).fetchone()
    assert sizes is not None
    made = [] if point is None else [_recovery(point, sizes)]
    made += [_candidate(s, (began - s.created_at).total_seconds(), rates, now, sizes) for s in good]
    return tuple(sorted(made, key=lambda c: c.before)), ""


def right_before(provider: Provider, of: Moments) -> At | None:
    """The point in time right before a migration, where the provider takes such: its LSN, else a second before the ledger says that it
    began. Whether the backups reach there shows when it is restored."""
    if of.lsn and "lsn" in provider.points:
        return At(lsn=of.lsn)
    return At(time=of.began - timedelta(seconds=1)) if "time" in provider.points else None


def _recovery(point: At, sizes: tuple[int, int]) -> Candidate:
    if point.lsn:
        how, before, basis = f"unmigrate restore --lsn {point.lsn}", 0.0, "recovery to an LSN"
    else:
        how, before, basis = (
            f"unmigrate restore --time {point.time:%Y-%m-%dT%H:%M:%S%z}",
            1.0,
            "recovery to a time, if the backups reach there",
        )
    return Candidate(BEFORE, before, None, basis, sum(sizes), None, how)


def _candidate(
    snapshot: Snapshot, before: float, rates: Rates | None, now: Mapping[str, Any], sizes: tuple[int, int]
) -> Candidate:  # fmt: skip
    table, index = sizes
    seconds, basis = None, ""
    if known := snapshot.detail.get("restored_in"):
        seconds, basis = float(known), "it took that long when it was restored before"
    elif snapshot.provider == "template" and rates:
        seconds, basis = (table + index) / rates.table, f"a copy of files, {rates.basis}"
    elif snapshot.provider == "pg_dump" and rates:
        seconds, basis = table / rates.table + index / rates.index, rates.basis
    written = written_since(snapshot.detail.get("counters"), now)
    return Candidate(snapshot.id, before, None if seconds is None else round(max(seconds, 0.1), 1), basis, table + index, written)
