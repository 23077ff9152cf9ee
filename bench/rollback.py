"""How long a guarded rollback holds its locks, at two sizes of the table, with a writer that never stops and a reader in the way.

    python bench/rollback.py [--rows 500000] [--reader 10]

Per size: the switch (locks held), the whole rollback, the longest wait of a writer; beside it, on the same database, what bringing the
dropped column back from a copy takes. The server is a throw-away one with fsync off: compare ratios, not times.
"""

import argparse
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from unmigrate.execute.deploy import deploy
from unmigrate.execute.rollback import execute
from unmigrate.guard.build import guard
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.workspace import LEDGER, Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

INIT = """CREATE TABLE big (id bigint PRIMARY KEY, name text, note text, amount numeric(12,2), version int NOT NULL DEFAULT 0);
CREATE TABLE small (id int PRIMARY KEY, body text);"""
CHANGE = """CREATE TYPE mood AS ENUM ('GOOD', 'BAD'); CREATE TABLE fresh (id int PRIMARY KEY, mood mood);
ALTER TABLE big DROP COLUMN note; DROP TABLE small; ALTER TABLE big ALTER COLUMN amount TYPE int USING (round(amount))"""


@dataclass
class Writer:
    """Inserts and updates at full speed. longest: seconds that one insert and one update took together. written: ids inserted."""

    conninfo: str
    rows: int
    longest: float = 0.0
    written: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with psycopg.connect(self.conninfo, autocommit=True, prepare_threshold=None) as connection:
            while not self.stop.is_set():
                began, new = time.monotonic(), self.rows + self.written + 1
                connection.execute("INSERT INTO big (id, name) VALUES (%s, 'new')", [new])
                connection.execute("UPDATE big SET version = version + 1 WHERE id = %s", [1 + self.written % self.rows])
                self.longest = max(self.longest, time.monotonic() - began)
                self.written += 1


def one(work: Workspace, rows: int, reader: float) -> dict[str, float]:
    init, change = Migration("1", Path("1"), INIT, "1", None), Migration("2", Path("2"), CHANGE, "2", None)
    name = work.pool.create()
    conninfo = work.pool.conninfo(name)
    with work.pool.connect(name) as connection:
        connection.execute(LEDGER + ";" + INIT)
        connection.execute("INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES ('1', '1', now(), '1')")
        connection.execute(f"INSERT INTO big SELECT g, 'n' || g, repeat('x', 200), g / 7.0, 0 FROM generate_series(1, {rows}) g")
        connection.execute(
            "INSERT INTO small SELECT g, 'b' FROM generate_series(1, 1000) g; CREATE TABLE copied AS SELECT id, note FROM big"
        )
        connection.execute("ALTER TABLE copied ADD PRIMARY KEY (id)")
        connection.execute("VACUUM ANALYZE")
    (guarded,) = guard(work, [init], [change], lambda _: None)
    assert guarded.back is not None, guarded.why
    ways = [w for w in (guarded.back, guarded.again) if w]
    connect = lambda: work.pool.connect(name)  # noqa: E731
    began = time.monotonic()
    up = deploy(connect, guarded.up, ways, accept_loss=False, max_lock_seconds=600)
    deployed = time.monotonic() - began
    writer = Writer(conninfo, rows)
    threads = [threading.Thread(target=writer.run), threading.Thread(target=_read, args=[conninfo, reader])]
    for thread in threads:
        thread.start()
    time.sleep(1)
    writer.longest = 0.0
    began = time.monotonic()
    back = execute(connect, guarded.back, accept_loss=False, max_lock_seconds=600, tries=500)
    total = time.monotonic() - began
    writer.stop.set()
    for thread in threads:
        thread.join()
    with work.pool.connect(name) as connection:
        kept = connection.execute("SELECT count(*), count(note) FROM big").fetchone()
        assert kept == (rows + writer.written, rows), kept
        began = time.monotonic()
        connection.execute("ALTER TABLE big ADD COLUMN again text; UPDATE big SET again = c.note FROM copied c WHERE c.id = big.id")
        copied = time.monotonic() - began
    work.pool.drop(name)
    return {
        "rows": rows, "deploy": deployed, "deploy held": up.held, "switch": back.held, "rollback": total, "tries": back.tries,
        "writer's longest wait": writer.longest, "rows written meanwhile": writer.written, "from a copy": copied,
    }  # fmt: skip


def _read(conninfo: str, seconds: float) -> None:
    """A report that holds its lock on the table for so long."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("SELECT count(*) FROM (SELECT * FROM big LIMIT 1) b")
        time.sleep(seconds)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=500_000)
    arguments.add_argument("--reader", type=float, default=10.0, help="seconds that a reader stands in the way")
    a = arguments.parse_args()
    with open_server(None, environ=os.environ) as server, Pool(server) as pool:
        work = Workspace(pool)
        found = [one(work, rows, a.reader) for rows in (a.rows // 10, a.rows)]
    for result in found:
        print("  ".join(f"{k}: {v:.3f} s" if isinstance(v, float) else f"{k}: {v}" for k, v in result.items()))
    small, large = found
    print(f"switch: {large['switch'] / small['switch']:.2f} times that of a tenth of the rows; from a copy: "
          f"{large['from a copy'] / large['switch']:.0f} times the switch")  # fmt: skip


if __name__ == "__main__":
    main()
