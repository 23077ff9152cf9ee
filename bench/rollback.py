"""How long a guarded rollback takes and holds its locks, at two sizes of the table, under a writer that never stops.

    python bench/rollback.py [--rows 5000000] [--reader 10]

Per size: deploy guarded, `unmigrate rollback` (the command, from its start to its end), `unmigrate redo`, and the rollback again with a
reader in the way; a writer inserts, updates and deletes at full speed from before the first until after the last. It checks at the end
that every row is as the writer left it. Beside it, on the same server: pg_restore of a dump from before the deploy, and bringing the
dropped column back from a copy. The server is a throw-away one with fsync off: compare ratios, not times.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from unmigrate.execute.deploy import deploy
from unmigrate.guard.build import guard
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.workspace import LEDGER, Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

INIT = """CREATE TABLE big (id bigint PRIMARY KEY, name text, note text, amount numeric(12,2), version int NOT NULL DEFAULT 0);
CREATE TABLE small (id int PRIMARY KEY, body text);"""
CHANGE = """CREATE TYPE mood AS ENUM ('GOOD', 'BAD'); CREATE TABLE fresh (id int PRIMARY KEY, mood mood);
ALTER TABLE big DROP COLUMN note; DROP TABLE small; ALTER TABLE big ALTER COLUMN amount TYPE int USING (round(amount))"""
SCHEMA = 'datasource db {\n  provider = "postgresql"\n  url      = env("DATABASE_URL")\n}\n'
# What is to be reached, in seconds: by the switch, the command and the writer's longest wait; and by a switch at ten times the rows.
SHORT, LONG, BLOCK, RATIO = 0.050, 3.0, 0.250, 1.5


def writer(conninfo: str, rows: int, orders: Connection) -> None:
    """Insert, update and delete until told to stop. On each order "wait": the longest statement (seconds) since the last one."""
    longest, n = 0.0, 0
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
        while True:
            if orders.poll():
                if orders.recv() == "stop":
                    orders.send(n)
                    return
                orders.send((longest, n))
                longest = 0.0
            for sql, given in (
                ("INSERT INTO big (id, name, amount) VALUES (%s, 'new', %s)", [rows + n + 1, n]),
                ("UPDATE big SET version = version + 1 WHERE id = %s", [1 + n]),
                ("UPDATE big SET amount = %s WHERE id = %s", [-1 - n, 1 + n]),
                ("DELETE FROM big WHERE id = %s", [rows - n]),
            ):
                began = time.monotonic()
                connection.execute(sql, given)
                longest = max(longest, time.monotonic() - began)
            n += 1


class Writing:
    """The writer, in a process of its own, so that it waits for nobody but the database."""

    def __init__(self, conninfo: str, rows: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._orders, theirs = context.Pipe()
        self._process = context.Process(target=writer, args=(conninfo, rows, theirs), daemon=True)
        self._process.start()
        self.longest()  # it writes

    def longest(self) -> tuple[float, int]:
        """Seconds of its longest statement since this was last asked, and how often it has gone round by now."""
        self._orders.send("wait")
        return self._answer()

    def stop(self) -> int:
        """How often it went round."""
        self._orders.send("stop")
        found: int = self._answer()
        self._process.join()
        return found

    def _answer(self) -> Any:
        if not self._orders.poll(60) or not self._process.is_alive():
            raise SystemExit("the writer failed")
        return self._orders.recv()


def _fill(connection: psycopg.Connection[Any], rows: int) -> None:
    connection.execute(LEDGER + ";" + INIT)
    insert = (
        "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count) VALUES ('1', %s, now(), '1', 1)"
    )
    connection.execute(insert, [hashlib.sha256(INIT.encode()).hexdigest()])
    connection.execute(f"INSERT INTO big SELECT g::bigint, 'n' || g, repeat('x', 200), g / 7.0, 0 FROM generate_series(1, {rows}) g")
    connection.execute("INSERT INTO small SELECT g, 'b' FROM generate_series(1, 1000) g")
    connection.execute("VACUUM ANALYZE")


def _project(folder: Path) -> None:
    (folder / "prisma" / "migrations").mkdir(parents=True)
    (folder / "prisma" / "schema.prisma").write_text(SCHEMA)
    (folder / "prisma" / "migrations" / "migration_lock.toml").write_text('provider = "postgresql"\n')
    for name, sql in (("1", INIT), ("2", CHANGE)):
        (folder / "prisma" / "migrations" / name).mkdir()
        (folder / "prisma" / "migrations" / name / "migration.sql").write_text(sql)


def _url(conninfo: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@localhost:{parts.get('port', 5432)}/{parts['dbname']}?host={quote(str(parts['host']), safe='')}"


def _command(name: str, project: Path, url: str) -> tuple[float, dict[str, Any]]:
    """Seconds from command to prompt, and what it printed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "unmigrate", name, "--yes", "--json", "--project", str(project), "--url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{name}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return took, json.loads(done.stdout)


@contextmanager
def _reader(conninfo: str, seconds: float) -> Iterator[None]:
    """A report that holds its lock on the table for so long."""
    there = threading.Event()

    def read() -> None:
        with psycopg.connect(conninfo) as connection:
            connection.execute("SELECT count(*) FROM (SELECT * FROM big LIMIT 1) b")
            there.set()
            time.sleep(seconds)

    thread = threading.Thread(target=read)
    thread.start()
    there.wait()
    yield
    thread.join()


def _asked(found: dict[str, float], name: str, project: Path, url: str, writing: Writing, what: str) -> None:
    """Run a command under the writer, and note what both had of it."""
    before = writing.longest()[1]
    total, printed = _command(name, project, url)
    wait, n = writing.longest()
    found |= {what: total, f"{what}: switch": printed["held"], f"{what}: longest wait of the writer": wait}
    found |= {f"{what}: tries": printed["tries"], f"{what}: rounds of the writer": n - before}


def _kept(connection: psycopg.Connection[Any], rows: int, n: int) -> None:
    """Every row is as the writer left it, old values included. Raises SystemExit."""
    amount = f"CASE WHEN g <= {n} THEN -g ELSE round(g / 7.0, 2) END"
    old = f"SELECT g::bigint, 'n' || g, repeat('x', 200), {amount}, (g <= {n})::int FROM generate_series(1, {rows - n}) g"
    new = f"SELECT ({rows} + g + 1)::bigint, 'new', NULL, g, 0 FROM generate_series(0, {n - 1}) g"
    wanted = f"({old} UNION ALL {new}) AS w (id, name, note, amount, version)"
    found = "SELECT id, name, note, amount, version FROM big"
    row = connection.execute(f"SELECT count(*) FROM ({found}) b FULL JOIN {wanted} USING (id) WHERE b IS DISTINCT FROM w").fetchone()
    if n > rows // 2 or row is None or row[0]:
        raise SystemExit(f"{row} rows are not what the writer left, after {n} rounds")


def _beside(work: Workspace, name: str, dump: Path, rows: int) -> dict[str, float]:
    """Seconds that the usual ways take: restoring the dump from before, and bringing the column back from a copy."""
    other = work.pool.create()
    began = time.monotonic()
    restore = ["pg_restore", "--no-owner", "--exit-on-error", "-j", "2", "-d", work.pool.conninfo(other), str(dump)]
    _program(work, restore)
    restored = time.monotonic() - began
    with work.pool.connect(other) as connection:
        row = connection.execute("SELECT count(*) FROM big").fetchone()
        assert row == (rows,), row
    work.pool.drop(other)
    with work.pool.connect(name) as connection:
        connection.execute("CREATE TABLE copied AS SELECT id, note FROM big")
        connection.execute("ALTER TABLE copied ADD PRIMARY KEY (id)")
        connection.execute("ALTER TABLE big DROP COLUMN note")
        connection.execute("VACUUM ANALYZE copied")
        began = time.monotonic()
        connection.execute("ALTER TABLE big ADD COLUMN note text; UPDATE big SET note = c.note FROM copied c WHERE c.id = big.id")
        copied = time.monotonic() - began
    return {"pg_restore": restored, "from a copy": copied}


def _program(work: Workspace, command: list[str]) -> None:
    folder = work.pool.server.bin_dir
    assert folder is not None
    subprocess.run([str(folder / command[0]), *command[1:]], check=True)


def one(work: Workspace, rows: int, reader: float, folder: Path) -> dict[str, float]:
    init, change = (Migration(n, Path(n), s, hashlib.sha256(s.encode()).hexdigest(), None) for n, s in (("1", INIT), ("2", CHANGE)))
    name = work.pool.create()
    conninfo, dump = work.pool.conninfo(name), folder / f"dump_{rows}"
    with work.pool.connect(name) as connection:
        _fill(connection, rows)
    _program(work, ["pg_dump", "-Fd", "-Z1", "-j", "2", "-N", "unmigrate_scratch", "-f", str(dump), conninfo])
    (guarded,) = guard(work, [init], [change], lambda _: None)
    assert guarded.back is not None and guarded.again is not None, guarded.why
    began = time.monotonic()
    up = deploy(lambda: work.pool.connect(name), guarded.up, [guarded.back, guarded.again], accept_loss=False, max_lock_seconds=600)
    found: dict[str, float] = {"rows": rows, "deploy": time.monotonic() - began, "deploy: switch": up.held}
    writing = Writing(conninfo, rows)
    time.sleep(1)
    project, url = folder / "app", _url(conninfo)
    _asked(found, "rollback", project, url, writing, "rollback")
    time.sleep(1)
    _asked(found, "redo", project, url, writing, "redo")
    time.sleep(1)
    with _reader(conninfo, reader):
        _asked(found, "rollback", project, url, writing, "rollback past a reader")
    time.sleep(1)
    n = writing.stop()
    with work.pool.connect(name) as connection:
        _kept(connection, rows, n)
    found |= {"rows written meanwhile": 4 * n, **_beside(work, name, dump, rows)}
    work.pool.drop(name)
    shutil.rmtree(dump)
    return found


def _told(small: dict[str, float], large: dict[str, float]) -> Iterator[str]:
    for name, value in large.items():
        shown = (f"{v:.3f} s" if isinstance(v, float) else str(v) for v in (small[name], value))
        yield f"{name:45s} {'  '.join(f'{s:>12s}' for s in shown)}"
    for what in ("rollback", "redo", "rollback past a reader"):
        switch, wait = large[f"{what}: switch"], large[f"{what}: longest wait of the writer"]
        times = switch / small[f"{what}: switch"]
        yield _judged(
            f"{what}: switch {switch * 1000:.0f} ms, {times:.2f} times that of a tenth of the rows", switch <= SHORT and times <= RATIO
        )
        yield _judged(f"{what}: the writer waited {wait * 1000:.0f} ms at most", wait <= BLOCK)
    total = large["rollback"]
    yield _judged(f"rollback: {total:.1f} s from command to prompt", total <= LONG)
    for what in ("pg_restore", "from a copy"):
        yield f"{what}: {large[what] / total:.1f} times the rollback, {large[what] / large['rollback: switch']:.0f} times its switch"


def _judged(text: str, reached: bool) -> str:
    return text if reached else f"{text}  <- missed"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=500_000)
    arguments.add_argument("--reader", type=float, default=10.0, help="seconds that a reader stands in the way")
    a = arguments.parse_args()
    with open_server(None, environ=os.environ) as server, Pool(server) as pool, tempfile.TemporaryDirectory() as folder:
        _project(Path(folder) / "app")
        small, large = (one(Workspace(pool), rows, a.reader, Path(folder)) for rows in (a.rows // 10, a.rows))
    print(*_told(small, large), sep="\n")


if __name__ == "__main__":
    main()
