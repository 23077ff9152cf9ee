"""Carry-over: rows written to the old database since the snapshot are counted, and merged into the restored one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command import run
from tests.snapshot.conftest import url_of
from tests.snapshot.kit import BAD, INIT, SECRET, Kit
from tests.snapshot.story import Live, settle
from tests.support import deploy, record, write_project
from unmigrate.catalog.read import read_catalog
from unmigrate.config.snapshot import PgDump as PgDumpConfig
from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import carry
from unmigrate.snapshot.job import Asked, Report
from unmigrate.snapshot.pg_dump import PgDump

SHOP = """CREATE TABLE "User" (id serial PRIMARY KEY, email text NOT NULL UNIQUE, note text, age int);
CREATE TABLE "Post" (id serial PRIMARY KEY, "userId" int NOT NULL REFERENCES "User" ON DELETE CASCADE, title text, up int REFERENCES "Post");
CREATE TABLE kept (a int, b int, what text, PRIMARY KEY (a, b)); CREATE TABLE log (line text);"""
ROWS = """INSERT INTO "User" (email, note, age) SELECT 'u' || g, 'n' || g, g FROM generate_series(1, 30) g;
INSERT INTO "Post" ("userId", title) SELECT g, 't' || g FROM generate_series(1, 30) g; INSERT INTO kept SELECT g, g, 'k' FROM generate_series(1, 9) g"""
SINCE = """INSERT INTO "User" (email) VALUES ('new1'), ('new2'); INSERT INTO "Post" ("userId", title, up) VALUES (31, 'first', 32), (32, 'second', 5), (20, 'by 20', 31);
UPDATE "User" SET age = 99 WHERE id IN (3, 4); UPDATE "User" SET note = 'old side' WHERE id IN (4, 5); DELETE FROM "Post" WHERE id IN (10, 11); INSERT INTO log VALUES ('x')"""
MEANWHILE = """UPDATE "User" SET note = 'new side' WHERE id IN (5, 6); DELETE FROM "User" WHERE id = 20; UPDATE "Post" SET title = 'here' WHERE id = 11"""


@dataclass(frozen=True)
class Three(Live):
    """live: the database that was restored, and is used since; old: the one before, written to since the snapshot; base: the snapshot."""

    old: str
    base: str

    def carry(
        self, *, texts: dict[str, str | None] | None = None, include: tuple[str, ...] = (), deletes: bool = False, **asked: Any
    ) -> Report:
        with ExitStack() as stack:
            _, sides, wanted, left = self._open(stack, texts or {}, include)
            return carry.carry_over(self.connect, sides, wanted, Asked("old", **{"batch": 2, **asked}), deletes=deletes, left=left)

    def listed(self, texts: dict[str, str | None] | None = None) -> dict[str, tuple[int, int, int, bool]]:
        with ExitStack() as stack:
            live, sides, wanted, _ = self._open(stack, texts or {}, ())
            found = carry.listed(live, sides, wanted, lambda _: None)
        return {s.table: (s.inserted, s.edited, s.deleted, bool(s.held)) for s in found}

    def _open(self, stack: ExitStack, texts: dict[str, str | None], include: tuple[str, ...]) -> Any:
        live, old, base = (stack.enter_context(self.pool.connect(n)) for n in (self.live, self.old, self.base))
        there = read_catalog(old)
        wanted, left = carry.tables(read_catalog(live), there, read_catalog(base))
        return live, carry.Sides(old, base), carry.hold(wanted, texts, there, include), left

    def contents(self) -> list[Any]:
        asked = (
            'SELECT * FROM "User" ORDER BY 1',
            'SELECT * FROM "Post" ORDER BY 1',
            "SELECT * FROM kept ORDER BY 1",
            "SELECT table_name, key::text, column_name, reason FROM unmigrate_refill.conflict ORDER BY 1, 2, 3",
        )
        return [self.rows(sql) for sql in asked]


@pytest.fixture(scope="module")
def _three(pool: Pool) -> Iterator[Three]:
    base = pool.create()
    with pool.connect(base) as connection:
        deploy(connection, [("1_init", SHOP)])
        connection.execute(ROWS)
    found = Three(pool, pool.clone(base), pool.clone(base), base)
    for name, sql in ((found.old, SINCE), (found.live, MEANWHILE)):
        with pool.connect(name) as connection:
            connection.execute(sql)
    yield found
    for name in (found.live, found.old, found.base):
        pool.drop(name)


@pytest.fixture
def three(_three: Three, pool: Pool) -> Iterator[Three]:
    copy = replace(_three, live=pool.clone(_three.live))
    yield copy
    pool.drop(copy.live)


def test_counted_without_a_change(three: Three) -> None:
    before = three.rows('SELECT * FROM "User" ORDER BY 1')
    assert three.listed() == {'public."User"': (2, 3, 0, False), 'public."Post"': (3, 0, 2, False), "public.kept": (0, 0, 0, False)}
    assert three.rows('SELECT * FROM "User" ORDER BY 1') == before
    assert three.rows("SELECT to_regnamespace('unmigrate')::text") == [(None,)]


def test_carried_over_by_key(three: Three) -> None:
    report = three.carry()
    assert three.rows('SELECT email FROM "User" WHERE id > 30 ORDER BY id') == [("new1",), ("new2",)]
    assert three.rows('SELECT id, "userId", title, up FROM "Post" WHERE id > 30 ORDER BY id') == [
        (31, 31, "first", 32),
        (32, 32, "second", 5),
    ]
    assert three.rows('SELECT id, note, age FROM "User" WHERE id IN (3, 4, 5, 6) ORDER BY id') == [
        (3, "n3", 99), (4, "old side", 99), (5, "new side", 5), (6, "new side", 6),
    ]  # fmt: skip
    found = {(t, k["id"], c): r for t, k, c, r in three.rows("SELECT table_name, key, column_name, reason FROM unmigrate_refill.conflict")}
    assert found == {
        ('public."User"', "5", "note"): "edited in both",
        ('public."Post"', "33", ""): "what it refers to is gone (Post_userId_fkey)",
    }
    assert ("public.log", "nothing identifies a row in all of them") in report.left_out
    assert three.rows('SELECT count(*) FROM "Post" WHERE id IN (10, 11)') == [(2,)], "deletes are carried over on request"
    assert three.rows("INSERT INTO \"User\" (email) VALUES ('next') RETURNING id") == [(33,)]
    assert three.carry().again


def test_deletes_on_request(three: Three) -> None:
    three.carry(deletes=True)
    assert three.rows('SELECT id, title FROM "Post" WHERE id IN (10, 11)') == [(11, "here")]


def test_a_delete_takes_nothing_along(three: Three, pool: Pool) -> None:
    """A row that was deleted there, and that somebody refers to here since, stays: a cascade would take what nobody listed."""
    old = pool.clone(three.old)
    with pool.connect(old) as connection:
        connection.execute('DELETE FROM "User" WHERE id IN (15, 16)')
    with three.connect() as live:
        live.execute('INSERT INTO "Post" (id, "userId", title) VALUES (500, 15, \'here\')')
    replace(three, old=old).carry(deletes=True)
    assert three.rows('SELECT id FROM "User" WHERE id IN (15, 16)') == [(15,)]
    assert three.rows('SELECT title FROM "Post" WHERE id = 500') == [("here",)]
    reasons = three.rows("SELECT reason FROM unmigrate_refill.conflict WHERE table_name = 'public.\"User\"' AND key ->> 'id' = '15'")
    assert reasons == [("deleted there, and written here since, or referred to",)]
    pool.drop(old)


def test_what_a_migration_wrote_to_is_held_back(three: Three) -> None:
    texts: dict[str, str | None] = {"2_bad": 'UPDATE "User" SET age = age + 1; ALTER TABLE kept DROP COLUMN what'}
    held = {name: h for name, (_, _, _, h) in three.listed(texts).items()}
    assert held == {'public."User"': True, 'public."Post"': True, "public.kept": False}
    report = three.carry(texts=texts, include=('public."User"',))
    assert three.rows('SELECT count(*) FROM "User" WHERE id > 30') == [(2,)]
    assert three.rows('SELECT count(*) FROM "Post" WHERE id > 30') == [(0,)]
    assert any(name == 'public."Post"' for name, _ in report.left_out)
    assert all(h for _, _, _, h in three.listed({"2_bad": None}).values()), "a text that is not there may have written anywhere"


def test_a_function_of_the_database_may_write(three: Three, pool: Pool) -> None:
    old = pool.clone(three.old)
    with pool.connect(old) as connection:
        connection.execute("CREATE FUNCTION fix() RETURNS void LANGUAGE sql AS $$ UPDATE public.kept SET what = 'x' $$")
    assert replace(three, old=old).listed({"2_bad": "SELECT fix()"})["public.kept"] == (0, 0, 0, True)
    pool.drop(old)


def test_without_the_right_to_read_the_old_one(three: Three, pool: Pool) -> None:
    with pool.connect(three.old) as connection:
        connection.execute('REVOKE SELECT ON "Post" FROM PUBLIC, CURRENT_USER')
    try:
        with pytest.raises(EnvironmentProblem, match="may not read"):
            three.carry()
        assert three.rows("SELECT to_regnamespace('unmigrate_refill')::text") == [(None,)]
    finally:
        with pool.connect(three.old) as connection:
            connection.execute('GRANT SELECT ON "Post" TO CURRENT_USER')


CHILD = """
import os, signal, sys
import psycopg
from tests.snapshot import test_carry_over as t
class There:
    def connect(self, name): return psycopg.connect(name, autocommit=True, prepare_threshold=None)
count = 0
def step(name):
    global count
    if count == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    count += 1
t.Three(There(), *sys.argv[1:4]).carry(deletes=True, on_step=step)
"""


def test_killed_anywhere_it_goes_on(three: Three, pool: Pool) -> None:
    template, points = pool.clone(three.live), list[str]()
    three.carry(deletes=True, on_step=points.append)
    wanted = three.contents()
    for number in range(0, len(points), 1 if os.environ.get("UNMIGRATE_KILL") == "full" else 4):
        victim = replace(three, live=pool.clone(template))
        names = [pool.conninfo(n) for n in (victim.live, three.old, three.base)]
        assert subprocess.run([sys.executable, "-c", CHILD, *names, str(number)], check=False).returncode == -signal.SIGKILL
        settle(victim)
        victim.carry(deletes=True)
        assert victim.contents() == wanted, f"killed at {points[number]}"
        pool.drop(victim.live)
    pool.drop(template)
    assert len(points) >= 20


def test_on_the_command_line(fresh_url: str, tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write_project(tmp_path / "app", [("1_init", INIT), ("2_bad", BAD)])
    kit = Kit(PgDump(PgDumpConfig(), fresh_url, project), fresh_url)
    kit.begin()
    first = json.loads(run("snapshot", "create", "--json", "--project", project, "--url", kit.url)[1])["id"]
    kit.deploy_bad()
    name = f"{parse_url(kit.url).database}_new"
    assert run("restore", first, "--to", name, "--project", project, "--url", kit.url)[0] == 0
    monkeypatch.setenv("OLD_URL", kit.url)
    words = ("carry-over", "--project", project, "--url", url_of(pool, name), "--from", "env:OLD_URL")
    status, printed = run(*words)
    assert (status, 'public."User": 1 row new, 0 edited, 0 deleted' in printed) == (1, True), printed
    status, printed = run(*words, "--merge", "--at-rest", "--json", "--yes")
    assert status == 0, printed
    assert SECRET not in printed
    with psycopg.connect(parse_url(url_of(pool, name)).conninfo) as new:
        assert new.execute('SELECT email, note FROM "User" ORDER BY id').fetchall()[3:] == [("since", None)]
    assert run(*words, "--merge")[0] == 3, "nobody is there to say yes"
    status, printed = run("carry-over", "--project", project, "--url", kit.url, "--from", kit.url)
    assert (status, "same-database" in printed) == (3, True)
    with kit.source() as connection:
        record(connection, "3_lost", "x")
    status, printed = run(*words, "--at-rest")
    assert "whose text is not in the folder" in printed or status == 0, printed
