"""Databases that a refill or a carry-over brings rows into, and a process of its own that does, and is killed."""

import time
from dataclasses import dataclass
from typing import Any

import psycopg

from tests.support import deploy, migration, record
from unmigrate.catalog.read import read_catalog
from unmigrate.execute.rollback import execute
from unmigrate.plan.build import Request, build
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import lost
from unmigrate.snapshot.job import Asked, Report
from unmigrate.snapshot.refill import refill
from unmigrate.snapshot.verify import require_before

CHILD = """
import os, signal, sys
from tests.snapshot.story import Story
from unmigrate.scratch.pool import Pool
import psycopg
live, old, victim = sys.argv[1], sys.argv[2], int(sys.argv[3])
class There:
    def connect(self, name): return psycopg.connect(name, autocommit=True, prepare_threshold=None)
count = 0
def step(name):
    global count
    if count == victim:
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
Story(There(), live, old).refill(on_step=step)
"""


@dataclass(frozen=True)
class Live:
    """A live database that rows are brought into."""

    pool: Pool
    live: str

    def connect(self) -> psycopg.Connection[Any]:
        connection = self.pool.connect(self.live)
        connection.execute("SET search_path = public")
        return connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(sql).fetchall()

    def run(self, sql: str) -> None:
        with self.connect() as connection:
            connection.execute(sql)


@dataclass(frozen=True)
class Story(Live):
    """live: its migration was deployed plainly and rolled back; old: its snapshot, restored."""

    old: str

    def refill(self, *, wanted: tuple[str, ...] = (), **asked: Any) -> Report:
        with self.connect() as live, self.pool.connect(self.old) as old:
            undone = lost.undone(live, None)
            assert undone is not None
            require_before(old, live, undone.migrations, "public")
            losses = tuple(x for x in lost.destroyed(undone.losses) if not wanted or x.object in wanted)
            found = lost.find(losses, read_catalog(live), read_catalog(old))
            return refill(self.connect, old, undone, found, Asked("snap", **{"batch": 7, **asked}))

    def contents(self) -> dict[str, list[tuple[Any, ...]]]:
        found = {t: self.rows(f'SELECT t.* FROM "{t}" t ORDER BY 1, 2') for t in ("User", "Team", "Member")}
        conflicts = self.rows(
            "SELECT table_name, key::text, column_name, reason, here, snapshot::text FROM unmigrate_refill.conflict ORDER BY 1, 2, 3"
        )
        return {**found, "conflicts": [(*c[:5], "" if c[5].startswith("{") else c[5]) for c in conflicts]}


def tell(pool: Pool, init: str, rows: str, bad: str, between: str, after: str) -> Story:
    """bad: the migration; between: what is written until it is rolled back; after: since then."""
    scripts = [("1_init", init), ("2_bad", bad)]
    plan = build(Workspace(pool), Request([migration(*s) for s in scripts], 1, rows=False), lambda _: None)
    live = pool.create()
    with pool.connect(live) as connection:
        deploy(connection, scripts[:1])
        connection.execute(rows)
    story = Story(pool, live, pool.clone(live))
    with story.connect() as connection:
        connection.execute(bad)
        record(connection, "2_bad", bad)
        connection.execute(between)
    execute(story.connect, plan, accept_loss=True)
    story.run(after)
    return story


def settle(story: Live) -> None:
    """Until the sessions of a process that was killed have ended."""
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    end = time.monotonic() + 60
    while story.rows(others) != [(0,)]:
        assert time.monotonic() < end, "the process was killed, and its sessions are still there"
        time.sleep(0.02)
