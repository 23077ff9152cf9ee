"""What a migration asks the server is told with every claim, and asked again on the target."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support import migration
from unmigrate.execute.inspect import inspect
from unmigrate.guard.build import guard
from unmigrate.plan.build import Request, build
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.sql.questions import questions

ASKS = [
    ("DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector') THEN NULL; END IF; END $$", ["pg_extension"]),
    ("DO $$ BEGIN IF 'x' IN (SELECT name FROM pg_catalog.pg_available_extensions) THEN NULL; END IF; END $$", ["pg_available_extensions"]),
    ("DO $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN NULL; ELSIF version() ~ 'x' THEN NULL; END IF; END $$",
     ["current_setting", "version"]),
    ("DO $$ DECLARE r record; BEGIN FOR r IN SELECT rolname FROM pg_roles LOOP NULL; END LOOP; END $$", ["pg_roles"]),
    ("DO $$ BEGIN EXECUTE format('GRANT x TO %I', (SELECT rolname FROM pg_authid LIMIT 1)); END $$", ["pg_authid"]),
    ("DO $$ BEGIN EXECUTE 'UPDATE t SET a = (SELECT count(*) FROM pg_settings)'; END $$", ["pg_settings"]),
    ("DO $$ BEGIN CREATE EXTENSION vector; EXCEPTION WHEN OTHERS THEN NULL; END $$", ["whether it can"]),
    ("DO $$ BEGIN IF current_database() = 'shadow' OR current_user = 'postgres' THEN NULL; END IF; END $$", ["current_database, current_user"]),
    ("DO $$ BEGIN IF has_table_privilege('t', 'SELECT') THEN NULL; END IF; END $$", ["has_table_privilege"]),
    ("UPDATE t SET a = 1 WHERE z IN (SELECT name FROM pg_timezone_names)", ["pg_timezone_names"]),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT count(*) FROM pg_roles); END $$; SELECT f()", ["pg_roles"]),
    ("CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM pg_roles $$; SELECT f()", ["pg_roles"]),
    # what the history made, what only names itself, and what runs later
    ("DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'c') THEN NULL; END IF; END $$", []),
    ("DO $$ BEGIN IF EXISTS (SELECT FROM information_schema.columns WHERE table_catalog = current_database()) THEN NULL; END IF; END $$", []),
    ("DO $$ BEGIN IF EXISTS (SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace) THEN NULL; END IF; END $$", []),
    ("DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' SET timezone TO ''UTC'''; END $$", []),
    ("DO $$ BEGIN CREATE TYPE e AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$", []),
    ("CREATE POLICY p ON t USING (a = current_setting('app.tenant')); CREATE VIEW v AS SELECT * FROM pg_roles", []),
    ("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := current_user; RETURN NEW; END $$", []),
    ("WITH pg_mine AS (SELECT 1) SELECT * FROM pg_mine; SELECT version(); INSERT INTO t VALUES (pg_typeof(1), now())", []),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "about"), ASKS, ids=[sql[:60] for sql, _ in ASKS])
def test_what_is_asked(sql: str, about: list[str]) -> None:
    assert [q.about for q in questions(sql)] == about


ASKED = """DO $$ BEGIN IF coalesce(current_setting('app.edition', true), '') = 'large' THEN ALTER TABLE t ADD COLUMN more int; END IF;
ALTER TABLE t ADD COLUMN a int; END $$"""
HISTORY = [migration("1_before", "CREATE TABLE t (id int PRIMARY KEY)"), migration("2_asks", ASKED)]
TOLD = "the migration asks the server: coalesce(current_setting('app.edition', true), '') = 'large'"


@pytest.fixture(scope="module")
def work(pool: Pool) -> Workspace:
    return Workspace(pool)


@pytest.fixture
def target(pool: Pool) -> Iterator[psycopg.Connection[Any]]:
    name = pool.create()
    connection = pool.connect(name)
    yield connection
    connection.close()
    pool.drop(name)


def test_it_is_told_and_asked_again_before_a_rollback(work: Workspace, target: psycopg.Connection[Any]) -> None:
    plan = build(work, Request(HISTORY, 1), lambda _: None)
    assert (plan.verdicts[0].data, TOLD in str(plan.verdicts[0].not_covered)) == ("unknown", True)
    report = list(audit(work, HISTORY, rows=True))[1].report
    assert (report["data"]["plain"]["verdict"], TOLD in str(report["not_covered"])) == ("unknown", True)
    for one in HISTORY:
        target.execute(one.sql)
    assert inspect(target, plan).blockers == ()
    target.execute("SET app.edition = 'large'")
    (blocker,) = inspect(target, plan).blockers
    assert (blocker.object, blocker.samples, blocker.of_rows) == ("the server", ("(t)",), False)
    assert "--setup FILE" in blocker.ways_out[0]


def test_it_is_asked_again_before_a_deploy(work: Workspace, target: psycopg.Connection[Any]) -> None:
    (guarded,) = guard(work, HISTORY[:1], HISTORY[1:], lambda _: None)
    assert (guarded.verdict, TOLD in str(guarded.up.verdicts[0].not_covered)) == ("unknown", True)
    assert inspect(target, guarded.up).blockers == ()
    target.execute("SET app.edition = 'large'")
    assert [b.object for b in inspect(target, guarded.up).blockers] == ["the server"]


def test_what_the_migration_itself_answers_is_only_told(work: Workspace) -> None:
    sql = "DO $$ BEGIN IF current_setting('app.done', true) IS NULL THEN PERFORM set_config('app.done', 'yes', false); END IF; END $$"
    plan = build(work, Request([HISTORY[0], migration("2_asks", sql)], 1), lambda _: None)
    assert "asks the server" in str(plan.verdicts[0].not_covered) and plan.checks == ()


def test_functions_of_earlier_migrations_are_read(work: Workspace) -> None:
    made = "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF EXISTS (SELECT FROM pg_roles) THEN NULL; END IF; END $$"
    plan = build(work, Request([migration("1", made), migration("2", "SELECT f()")], 1), lambda _: None)
    assert "SELECT FROM pg_roles" in str(plan.verdicts[0].not_covered)
