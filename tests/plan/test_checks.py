"""Rows that block are predicted by the plan's checks: none on rows that fit, some on rows that do not, and then the way back fails."""

from typing import Any

import psycopg
import pytest

from tests.support import deploy, migration
from unmigrate.execute.inspect import inspect
from unmigrate.plan.build import Request, build
from unmigrate.plan.model import Plan
from unmigrate.prove.workspace import Workspace

INIT = """CREATE TYPE "Role" AS ENUM ('A', 'B');
CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, n int, v varchar(3), role "Role", k text UNIQUE, CONSTRAINT positive CHECK (n > 0));
CREATE TABLE u (id int PRIMARY KEY, t int CONSTRAINT u_t_fkey REFERENCES t);
CREATE UNIQUE INDEX t_n_key ON t (n);"""
ROWS = "INSERT INTO t (id, n, v, role, k{a}) VALUES (1, 1, 'abc', 'A', 'x'{value}); INSERT INTO u (id, t) VALUES (1, 1);"

CASES = [
    ("not null", "ALTER TABLE t ALTER a DROP NOT NULL", "UPDATE t SET a = NULL"),
    ("dropped column", "ALTER TABLE u ADD COLUMN extra int NOT NULL DEFAULT 1; ALTER TABLE t DROP COLUMN a", "SELECT 1"),
    ("label", "ALTER TYPE \"Role\" ADD VALUE 'C'", "UPDATE t SET role = 'C'"),
    (
        "label with the old name of another",
        "ALTER TYPE \"Role\" RENAME VALUE 'B' TO 'Z'; ALTER TYPE \"Role\" ADD VALUE 'B'",
        "UPDATE t SET role = 'B'",
    ),
    ("range", "ALTER TABLE t ALTER n TYPE bigint", "UPDATE t SET n = 3000000000"),
    ("length", "ALTER TABLE t ALTER v TYPE text", "UPDATE t SET v = 'too long'"),
    ("unique index", "DROP INDEX t_n_key", "INSERT INTO t (id, a, n) VALUES (2, 'b', 1)"),
    ("unique", "ALTER TABLE t DROP CONSTRAINT t_k_key", "INSERT INTO t (id, a, k) VALUES (2, 'b', 'x')"),
    ("foreign key", "ALTER TABLE u DROP CONSTRAINT u_t_fkey", "UPDATE u SET t = 77"),
    ("check", "ALTER TABLE t DROP CONSTRAINT positive", "UPDATE t SET n = -1"),
]


@pytest.mark.parametrize(("change", "breaking"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_predicted_and_met(change: str, breaking: str, work: Workspace, target: psycopg.Connection[Any]) -> None:
    scripts = [("1_init", INIT), ("2_change", change)]
    plan = build(work, Request([migration(*s) for s in scripts], 1, rows=False), lambda _: None)
    assert plan.checks
    deploy(target, scripts)
    gone = "DROP COLUMN a" in change
    target.execute(ROWS.format(a="" if gone else ", a", value="" if gone else ", 'a'"))
    if breaking != "SELECT 1":
        assert inspect(target, plan).blockers == ()
    target.execute(breaking)
    blockers = inspect(target, plan).blockers
    assert blockers
    assert all(b.rows > 0 and b.samples and b.ways_out for b in blockers)
    with pytest.raises(psycopg.Error), target.transaction():
        for step in plan.steps:
            target.execute(step.sql)


def test_a_fill_takes_the_blocker_away(work: Workspace, target: psycopg.Connection[Any]) -> None:
    scripts = [("1_init", INIT), ("2_change", "ALTER TABLE t DROP COLUMN a")]
    request = Request([migration(*s) for s in scripts], 1, rows=False, fill={"public.t.a": "'row ' || id"})
    plan = build(work, request, lambda _: None)
    deploy(target, scripts)
    target.execute(ROWS.format(a="", value=""))
    assert inspect(target, plan).blockers == ()
    with target.transaction():
        for step in plan.steps:
            target.execute(step.sql)
    assert target.execute("select a from t").fetchone() == ("row 1",)


ENUM = """CREATE TYPE "Coin" AS ENUM ('EUR', 'USD'); CREATE TABLE a (id int PRIMARY KEY, c "Coin" NOT NULL, many "Coin"[]);"""
RETURNING = [
    ("table that returns empty", "CREATE TABLE e (id int PRIMARY KEY); CREATE TABLE a (id int, e int CONSTRAINT f REFERENCES e)",
     "ALTER TABLE a DROP CONSTRAINT f; DROP TABLE e", "INSERT INTO a VALUES (1, NULL)", "INSERT INTO a VALUES (2, 7)"),
    ("enum that became text", ENUM, 'ALTER TABLE a ALTER c TYPE text, ALTER many TYPE text[]; DROP TYPE "Coin"',
     "INSERT INTO a VALUES (1, 'EUR', '{EUR,USD}')", "INSERT INTO a VALUES (2, 'GBP', NULL)"),
    ("enums in an array", ENUM, 'ALTER TABLE a ALTER c TYPE text, ALTER many TYPE text[]; DROP TYPE "Coin"',
     "INSERT INTO a VALUES (1, 'EUR', '{EUR,USD}')", "INSERT INTO a VALUES (2, 'USD', '{EUR,GBP}')"),
    ("time that became a number", "CREATE TABLE a (id int, d timestamptz)",
     "ALTER TABLE a ALTER d TYPE int USING extract(year from d)", "INSERT INTO a VALUES (1, NULL)", "INSERT INTO a VALUES (2, 2024)"),
    ("number that became a time", "CREATE TABLE a (id int, d int)",
     "ALTER TABLE a ALTER d TYPE timestamp USING to_timestamp(d)", "INSERT INTO a VALUES (1, NULL)", "INSERT INTO a VALUES (2, now())"),
    ("time that became text", "CREATE TABLE a (id int, d timestamptz)",
     "ALTER TABLE a ALTER d TYPE text", "INSERT INTO a VALUES (1, '2024-02-03 10:00:00')", "INSERT INTO a VALUES (2, 'soon')"),
    ("truth that became a label", "CREATE TYPE k AS ENUM ('true', 'off', 'maybe'); CREATE TABLE a (id int, d boolean)",
     "ALTER TABLE a ALTER d TYPE k USING 'maybe'", "INSERT INTO a VALUES (1, 'off')", "INSERT INTO a VALUES (2, 'maybe')"),
    ("label of an enum that stays", "CREATE TYPE k AS ENUM ('a', 'b'); CREATE TABLE a (id int, d k)",
     "ALTER TABLE a ALTER d TYPE text", "INSERT INTO a VALUES (1, 'a'), (2, NULL)", "INSERT INTO a VALUES (2, 'c')"),
    ("text that became longer numbers", "CREATE TABLE a (id int, d int)",
     "ALTER TABLE a ALTER d TYPE text", "INSERT INTO a VALUES (1, ' -7 ')", "INSERT INTO a VALUES (2, '3000000000')"),
    ("elements of an array", "CREATE TABLE a (id int, d smallint[])",
     "ALTER TABLE a ALTER d TYPE int[]", "INSERT INTO a VALUES (1, '{1,NULL}')", "INSERT INTO a VALUES (2, '{1,70000}')"),
    ("partial unique index of a column with another name", "CREATE TABLE a (id int, n text); CREATE UNIQUE INDEX i ON a (id) WHERE n > 'b'",
     "ALTER TABLE a RENAME n TO m; DROP INDEX i", "INSERT INTO a VALUES (1, 'a'), (1, 'a'), (1, 'c')", "INSERT INTO a VALUES (1, 'd')"),
    ("unique index of an expression", "CREATE TABLE a (id int, n text, u text); CREATE UNIQUE INDEX i ON a (lower(n), id)",
     "ALTER TABLE a RENAME n TO m; DROP INDEX i", "INSERT INTO a VALUES (1, 'a'), (2, 'A'), (1, NULL), (1, NULL)", "INSERT INTO a VALUES (1, 'A')"),
    ("unique with NULLs", "CREATE TABLE a (id int, n text, UNIQUE NULLS NOT DISTINCT (id, n))",
     "ALTER TABLE a DROP CONSTRAINT a_id_n_key", "INSERT INTO a VALUES (1, 'a'), (1, NULL)", "INSERT INTO a VALUES (1, NULL)"),
    ("unique with a column that returns with one value", "CREATE TABLE a (id int, n text NOT NULL DEFAULT 'x', UNIQUE (id, n))",
     "ALTER TABLE a DROP n", "INSERT INTO a VALUES (1), (2), (NULL), (NULL)", "INSERT INTO a VALUES (1)"),
    ("check of a column that returns empty", "CREATE TABLE a (id int, n text, CHECK ((id IS NULL) <> (n IS NULL)))",
     "ALTER TABLE a DROP n; ALTER TABLE a RENAME id TO key", "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (NULL)"),
    ("domain", "CREATE DOMAIN d AS int CONSTRAINT p CHECK (VALUE > 0) NOT NULL; CREATE TABLE a (id int, v d)",
     "ALTER DOMAIN d DROP NOT NULL; ALTER DOMAIN d DROP CONSTRAINT p", "INSERT INTO a VALUES (1, 1)", "INSERT INTO a VALUES (2, -1)"),
    ("sequence", "CREATE SEQUENCE s AS int; CREATE TABLE a (id int)",
     "ALTER SEQUENCE s AS bigint", "SELECT setval('s', 2147483647)", "SELECT setval('s', 2147483648)"),
    ("truth that became text", "CREATE TABLE a (id int, d boolean)",
     "ALTER TABLE a ALTER d TYPE text", "INSERT INTO a VALUES (1, 'true'), (2, ' F ')", "INSERT INTO a VALUES (3, 'maybe')"),
]  # fmt: skip


@pytest.mark.parametrize(("init", "change", "fine", "breaking"), [c[1:] for c in RETURNING], ids=[c[0] for c in RETURNING])
def test_what_returns_is_asked_for(
    init: str, change: str, fine: str, breaking: str, work: Workspace, target: psycopg.Connection[Any]
) -> None:
    """Rows that fit do not count and do not stop the way back; rows that do not fit are counted and would stop it."""
    scripts = [("1_init", init), ("2_change", change)]
    plan = build(work, Request([migration(*s) for s in scripts], 1, rows=False), lambda _: None)
    deploy(target, scripts)
    target.execute(fine)
    assert inspect(target, plan).blockers == ()
    assert way_back(target, plan) == ""
    target.execute(breaking)
    assert inspect(target, plan).blockers
    assert way_back(target, plan)


SEEDED = [
    ("label", "BEGIN; ALTER TYPE \"Coin\" ADD VALUE 'GBP'; COMMIT; INSERT INTO a VALUES (2, 'GBP')", "DELETE FROM a WHERE c = 'GBP'"),
    ("dropped column", "ALTER TABLE a DROP COLUMN c", "DELETE FROM a"),
    ("not null", "ALTER TABLE a ALTER c DROP NOT NULL; UPDATE a SET c = NULL", "UPDATE a SET c = 'EUR'"),
]


@pytest.mark.parametrize(("change", "way_out"), [c[1:] for c in SEEDED], ids=[c[0] for c in SEEDED])
@pytest.mark.parametrize("count", [1, 2])
def test_rows_that_the_history_writes_are_asked_for(
    count: int, change: str, way_out: str, work: Workspace, target: psycopg.Connection[Any]
) -> None:
    """They stop the way back on scratch as on the target: it is proved without them, and the plan asks for them."""
    scripts = [("1_init", f"{ENUM} INSERT INTO a VALUES (1, 'EUR');"), ("2_change", change), ("3_more", "CREATE TABLE m (id int)")]
    scripts = scripts[: count + 1]
    plan = build(work, Request([migration(*s) for s in scripts], count), lambda _: None)
    assert "refused" not in {v.schema for v in plan.verdicts}
    assert any("proved with empty tables" in note and "rows stop the way back" in note for note in plan.notes)
    deploy(target, scripts)
    assert inspect(target, plan).blockers
    assert way_back(target, plan)
    target.execute(way_out)
    assert inspect(target, plan).blockers == ()
    assert way_back(target, plan) == ""


def test_what_fails_without_rows_too_stays_refused(work: Workspace) -> None:
    change = "BEGIN; ALTER TYPE \"Coin\" ADD VALUE 'GBP'; COMMIT; INSERT INTO a VALUES (2, 'GBP'); ALTER TYPE pair DROP ATTRIBUTE a"
    scripts = [("1_init", f"{ENUM} CREATE TYPE pair AS (a int, b int)"), ("2_change", change)]
    plan = build(work, Request([migration(*s) for s in scripts], 1), lambda _: None)
    assert [v.schema for v in plan.verdicts] == ["refused"]
    assert plan.verdicts[0].reason.startswith("rows stop the way back")
    assert plan.steps == ()


def way_back(target: psycopg.Connection[Any], plan: Plan) -> str:
    """Try the plan's statements, and take them back: PostgreSQL's complaint, "" where there is none."""
    target.execute("BEGIN")
    try:
        for step in plan.steps:
            target.execute(step.sql)
        target.execute("SET CONSTRAINTS ALL IMMEDIATE")
        return ""
    except psycopg.Error as error:
        return str(error)
    finally:
        target.execute("ROLLBACK")


def test_samples_show_the_key_and_what_blocks_alone(work: Workspace, target: psycopg.Connection[Any]) -> None:
    scripts = [
        ("1_init", 'CREATE TABLE "User" (id int PRIMARY KEY, secret text, "Name" text NOT NULL)'),
        ("2_change", 'ALTER TABLE "User" ALTER "Name" DROP NOT NULL'),
    ]
    plan = build(work, Request([migration(*s) for s in scripts], 1, rows=False), lambda _: None)
    deploy(target, scripts)
    target.execute("""INSERT INTO "User" VALUES (7, 'hunter2', NULL)""")
    assert inspect(target, plan).blockers[0].samples == ('id = 7, "Name" = NULL',)


def test_rows_of_its_own_that_stay_refuse_no_way_back(work: Workspace) -> None:
    change = "ALTER TABLE t ADD COLUMN b int; INSERT INTO t (id, a, n) VALUES (7, 'seven', 7)"
    plan = build(work, Request([migration("1_init", INIT), migration("2_change", change)], 1, rows=False), lambda _: None)
    assert plan.proved
    (note,) = (n for n in plan.notes if n.startswith("2_change: applied again after the way back, it fails: duplicate key"))
    assert note.endswith("; rows that it wrote stay")
