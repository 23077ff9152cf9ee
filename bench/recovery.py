"""A column and a table dropped by a plainly deployed migration: rolled back and refilled, against a full pg_restore, side by side.

    python bench/recovery.py [--gb 0.3] [--share 1.0] [--write-for 10] [--dir FOLDER]

Builds a database of that size on a server of its own with PostgreSQL's durability (fsync on), dumps it, deploys the bad migration and lets
a writer write. The migration destroys something of every row of a table that is `share` of the database; the rest is a table like it, which
it does not touch. Then, in one run: (A) rollback and refill from the dump while the writer goes on; (B) pg_restore into a new database with
the writer stopped, as what it would write would be lost too; (C) carry-over after B. Prints time, how long the writer could not write, and
rows lost, counted. Needs about seven times the size on disk.
"""

import argparse
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.catalog.read import read_catalog
from unmigrate.config.snapshot import PgDump as Config
from unmigrate.execute.rollback import execute
from unmigrate.plan.build import Request, build
from unmigrate.plan.model import Plan
from unmigrate.prisma.migrations import Migration
from unmigrate.prisma.url import connect, parse_url
from unmigrate.prove.workspace import LEDGER, Workspace
from unmigrate.scratch import binaries, cluster
from unmigrate.scratch.account import server_account
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server
from unmigrate.snapshot import carry, lost
from unmigrate.snapshot.job import Asked
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import At
from unmigrate.snapshot.refill import refill

INIT = """CREATE TABLE big (id bigserial PRIMARY KEY, name text, note text, amount numeric(12,2), version int NOT NULL DEFAULT 0);
CREATE INDEX big_name ON big (name); CREATE TABLE small (id serial PRIMARY KEY, big bigint REFERENCES big, body text);"""
OTHER = "CREATE TABLE other (LIKE big INCLUDING ALL);"
ROWS = "INSERT INTO {0} (name, note, amount) SELECT 'n' || g, repeat(md5(g::text), 6), g / 7.0 FROM generate_series(1, {1}) g"
BAD = "ALTER TABLE big DROP COLUMN note; DROP TABLE small;"
ROW_BYTES = 340  # with its index entries, as measured
SETTINGS = {
    "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "autovacuum": "on", "shared_buffers": "'256MB'",
    "max_wal_size": "'2GB'", "checkpoint_timeout": "'5min'", "maintenance_work_mem": "'128MB'",
}  # fmt: skip


@dataclass
class Writer:
    """Inserts and updates until it is stopped. waits: seconds of each step that took longer than 50 ms; longest of them all."""

    url: str
    rows: int
    inserted: int = 0
    waits: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with closing(connect(parse_url(self.url))) as connection:
            while not self.stop.is_set():
                began = time.monotonic()
                connection.execute("INSERT INTO big (name) VALUES ('since')")
                self.inserted += 1
                connection.execute("UPDATE big SET version = version + 1 WHERE id = %s", [1 + self.inserted * 7919 % self.rows])
                if (took := time.monotonic() - began) > 0.05:
                    self.waits.append(took)
                time.sleep(0.002)

    @contextmanager
    def writing(self) -> Iterator[None]:
        self.stop.clear()
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.stop.set()
            thread.join()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """URL of a database `app` on a server of our own."""
    found, account = binaries.embedded(), server_account()
    assert found is not None
    cluster.initialise(found, folder / "data", account)
    cluster.write_settings(found, folder / "data", SETTINGS)
    with cluster.private_dir(account) as sockets, cluster.running(found, folder / "data", sockets, account, lock=None) as conninfo:
        with psycopg.connect(f"{conninfo} dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE app")
        yield f"postgresql://{cluster.SUPERUSER}@localhost/app?host={sockets}&port={cluster.PORT}"


def make_plan() -> Plan:
    with open_server("embedded", environ=os.environ) as scratch, Pool(scratch) as pool:
        scripts = [Migration(n, Path(n), sql, n, None) for n, sql in (("1_init", INIT + OTHER), ("2_bad", BAD))]
        return build(Workspace(pool), Request(scripts, 1, rows=False), lambda _: None)


def fill(url: str, gb: float, share: float) -> int:
    """Rows of the table that will be damaged."""
    rows, others = int(gb * share * 1e9 / ROW_BYTES), int(gb * (1 - share) * 1e9 / ROW_BYTES)
    with closing(connect(parse_url(url))) as connection:
        connection.execute(LEDGER + ";" + INIT + OTHER)
        _applied(connection, "1_init")
        connection.execute(ROWS.format("big", rows))
        connection.execute(ROWS.format("other", others))
        connection.execute(f"INSERT INTO small (big, body) SELECT g, md5(g::text) FROM generate_series(1, {max(1, rows // 20)}) g")
        connection.execute("VACUUM ANALYZE")
    return rows


def _applied(connection: psycopg.Connection[Any], name: str) -> None:
    columns = "id, checksum, started_at, finished_at, migration_name, applied_steps_count"
    connection.execute(f"INSERT INTO _prisma_migrations ({columns}) VALUES (%(n)s, %(n)s, now(), now(), %(n)s, 1)", {"n": name})


def value(url: str, sql: str) -> int:
    with closing(connect(parse_url(url))) as connection:
        row = connection.execute(sql).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def refilled(url: str, provider: PgDump, snapshot: str, plan: Plan, writer: Writer) -> dict[str, float]:
    """A, while the writer goes on. It never writes the lost column, so rows that it touches meanwhile may be filled."""
    open_ = lambda: connect(parse_url(url))  # noqa: E731
    began = time.monotonic()
    restored = provider.restore(At(snapshot, tables=lost.tables(lost.destroyed(plan.losses))), "beside", lambda _: None)
    there = time.monotonic()
    writer.waits.clear()
    back = execute(open_, plan, accept_loss=True, max_lock_seconds=60, tries=500)
    switched = time.monotonic()
    with closing(open_()) as live, closing(connect(parse_url(restored.url))) as old:
        undone = lost.undone(live, None)
        assert undone is not None
        found = lost.find(lost.destroyed(undone.losses), read_catalog(live), read_catalog(old))
        report = refill(open_, old, undone, found, Asked(snapshot, touched=True))
    end = time.monotonic()
    assert not any(p.conflicts for p in report.parts), report
    provider.discard("beside")
    return {
        "restore beside": there - began, "switch": switched - there, "locks held": back.held, "merge": end - switched,
        "in all": end - began, "longest batch": report.longest,
    }  # fmt: skip


def carried(url: str, old: str) -> tuple[float, int]:
    """C. Nobody wrote to the restored database yet: it is its own baseline."""
    open_ = lambda: connect(parse_url(url))  # noqa: E731
    began = time.monotonic()
    with closing(connect(parse_url(old))) as there, closing(open_()) as base:
        with closing(open_()) as live:
            wanted, _ = carry.tables(read_catalog(live), read_catalog(there), read_catalog(base))
        report = carry.carry_over(open_, carry.Sides(there, base), wanted, Asked("old"))
    return time.monotonic() - began, sum(p.filled for p in report.parts)


def run(gb: float, share: float, write_for: float, folder: Path) -> None:
    plan = make_plan()
    with server(folder) as url:
        rows = fill(url, gb, share)
        size = value(url, "SELECT pg_database_size(current_database())")
        provider = PgDump(Config(directory=str(folder / "dumps")), url, folder)
        began = time.monotonic()
        snapshot = provider.create("bench", lambda _: None)
        took, dumped = time.monotonic() - began, (snapshot.size or 0) / 1e9
        print(f"database: {size / 1e9:.2f} GB, {rows:,} rows in what is destroyed; pg_dump -j2 beforehand: {took:.1f} s, {dumped:.2f} GB")
        with closing(connect(parse_url(url))) as connection:
            connection.execute(BAD)
            _applied(connection, "2_bad")
        writer = Writer(url, rows)
        with writer.writing():
            time.sleep(write_for)
        since, edited = writer.inserted, value(url, "SELECT count(*) FROM big WHERE version > 0 AND name <> 'since'")
        # B first: its restored copy is needed for C, and the live database must still be as the incident left it.
        began = time.monotonic()
        restored = provider.restore(At(snapshot.id), "app_restored", lambda _: None)
        downtime = time.monotonic() - began
        missing = since - value(restored.url, "SELECT count(*) FROM big WHERE name = 'since'")
        stale = edited - value(restored.url, "SELECT count(*) FROM big WHERE version > 0 AND name <> 'since'")
        with writer.writing():
            a = refilled(url, provider, snapshot.id, plan, writer)
        waits = writer.waits
        kept = value(url, "SELECT count(*) FROM big WHERE name = 'since'")
        notes = value(url, "SELECT count(*) FROM big WHERE note = repeat(md5(id::text), 6)")
        small = value(url, "SELECT count(*) FROM small")
        seconds, over = carried(restored.url, url)
        again = value(restored.url, "SELECT count(*) FROM big WHERE name = 'since'")
        bloat = value(url, "SELECT pg_database_size(current_database())")
    longest, old, dropped, new = max(waits, default=0.0), rows - notes, max(1, rows // 20) - small, writer.inserted
    print("A refill      " + "  ".join(f"{k}: {v:.2f} s" for k, v in a.items()))
    print(f"              writer's longest wait: {longest:.3f} s, all waits over 50 ms together: {sum(waits):.2f} s")
    print(f"              rows lost: {new - kept} of {new:,} newer ones; {old} of {rows:,} old values, {dropped} of small")
    print(f"              database afterwards: {bloat / 1e9:.2f} GB")
    print(f"B pg_restore  in all, and nobody writes: {downtime:.2f} s; rows lost: {missing:,} written and {stale:,} edited since")
    print(f"C carry-over  after B: {seconds:.2f} s; {over:,} rows (those written during A too); new rows lost: {kept - again}")
    print(f"refill takes {a['in all'] / downtime:.2f} times as long as pg_restore, carry-over {seconds / downtime:.2f} times")
    print(f"refill keeps writers out {downtime / max(longest, 0.001):,.0f} times shorter than pg_restore")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--gb", type=float, default=0.05, help="size of the database")
    arguments.add_argument("--share", type=float, default=1.0, help="of the database that the damaged table is")
    arguments.add_argument("--write-for", type=float, default=10.0, help="seconds that people write before anybody notices")
    arguments.add_argument("--dir", type=Path, default=None, help="where the server keeps its data; default: the temporary folder")
    a = arguments.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="unmigrate-bench-", dir=a.dir))
    folder.chmod(0o755)
    try:
        run(a.gb, a.share, a.write_for, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
