"""What generated rows do not show limits the verdict, or is told beside it, by every command that claims something."""

from typing import Any

import psycopg
import pytest

from tests.lint.test_unseen import TABLES
from tests.support import deploy, migration
from unmigrate.guard.build import guard
from unmigrate.plan.build import Request, build
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.report.html import html

ZONE = "ALTER TABLE u ALTER at TYPE timestamptz"
CASES = [
    # (migration, verdict when deployed plainly, when guarded, what is told or lost)
    ("ALTER TABLE u ALTER id DROP DEFAULT; DROP SEQUENCE u_id_seq", "lossless", "lossless", "u_id_seq goes on after the highest number"),
    ("ALTER TABLE i ALTER id DROP IDENTITY", "lossless", "lossless", "i_id_seq goes on after the highest number"),
    ("DROP SEQUENCE lone", "lossy", "lossy", "public.lone"),
    ("ALTER SEQUENCE lone RESTART WITH 7", "lossless", "lossless", "no sequence is set back after ALTER SEQUENCE lone RESTART WITH 7"),
    ("ALTER TABLE i ALTER id RESTART", "lossless", "lossless", "no sequence is set back after ALTER TABLE i ALTER id RESTART"),
    ("DO $$ BEGIN PERFORM setval('lone', 9); END $$", "lossless", "lossless", "no sequence is set back after SELECT setval("),
    ("ALTER TABLE u ALTER name TYPE varchar(20)", "unknown", "lossless", "values of public.u.name come back as they were, but for spaces"),
    ("ALTER TABLE u ALTER name TYPE varchar(20) USING name::varchar(20)", "lossy", "lossless", "public.u.name"),
    ("ALTER TABLE u ALTER score TYPE double precision", "lossless", "lossless", "public.u.score written since are rounded to real"),
    ("ALTER TABLE u ALTER age TYPE bigint", "lossless", "lossless", ""),
    ("ALTER TYPE pair DROP ATTRIBUTE b", "lossy", "lossy", "public.c.v"),
    (ZONE, "unknown", "unknown", "values of public.u.at come back"),
    (f"SET timezone = 'Asia/Tokyo'; {ZONE}", "lossy", "lossless", "public.u.at"),
    (f"{ZONE} USING at AT TIME ZONE 'UTC'", "lossless", "lossless", ""),
    (f"{ZONE} USING at AT TIME ZONE 'Europe/Paris'", "lossy", "lossless", "public.u.at"),
    (
        f"ALTER TABLE u ALTER name SET DEFAULT (now() AT TIME ZONE 'UTC')::text; {ZONE}",
        "unknown",
        "unknown",
        "values of public.u.at come back",
    ),
    ("ALTER TABLE p DETACH PARTITION p1", "lossless", "lossless", "way back of public.p1, uncounted"),
    ("ALTER TABLE r DROP CONSTRAINT ex", "lossless", "lossless", "way back of public.r.ex, uncounted"),
]


@pytest.mark.parametrize(("sql", "plain", "guarded", "told"), CASES, ids=[c[0][:40] for c in CASES])
def test_told_with_every_claim(work: Workspace, sql: str, plain: str, guarded: str, told: str) -> None:
    history = [migration("1_before", TABLES), migration("2_change", sql)]
    verdict = build(work, Request(history, 1), lambda _: None).verdicts[0]
    assert (verdict.data, told in str((verdict.lost, verdict.not_covered))) == (plain, True)

    report = list(audit(work, history, rows=True))[1].report
    assert (report["data"]["plain"]["verdict"], told in str(report)) == (plain, True)
    page = {"migrations": [report], "server": {"label": "scratch", "version": 150000}}
    assert told in html(page, "history")

    (deployed,) = guard(work, history[:1], history[1:], lambda _: None)
    assert deployed.back is not None, deployed.why
    for each in (deployed.up.verdicts[0], deployed.back.verdicts[0]):
        assert each.data == guarded
        assert guarded == "lossless" == each.data != plain or told in str((each.lost, each.not_covered))


def test_timestamps_return_in_the_zone_that_the_migration_names(work: Workspace, target: psycopg.Connection[Any]) -> None:
    """Whatever the TimeZone of either session."""
    sql = """ALTER TABLE "T" ALTER "at" TYPE timestamptz(3) USING "at" AT TIME ZONE 'UTC', ALTER until TYPE timestamp(3) USING until AT TIME ZONE 'Etc/UTC'"""
    history = [migration("1_before", 'CREATE TABLE "T" ("at" timestamp(3), until timestamptz(3))'), migration("2_change", sql)]
    plan = build(work, Request(history, 1), lambda _: None)
    assert (plan.verdicts[0].data, plan.verdicts[0].not_covered) == ("lossless", ())
    target.execute(history[0].sql)
    target.execute("INSERT INTO \"T\" VALUES ('2024-03-31 02:30', '2024-10-27 01:30+00')")
    target.execute("SET timezone = 'Asia/Tokyo'")
    target.execute(sql)
    target.execute("SET timezone = 'Europe/Paris'")
    for step in plan.steps:
        target.execute(step.sql)
    target.execute("SET timezone = 'UTC'")
    assert target.execute('SELECT "at"::text, until::text FROM "T"').fetchone() == ("2024-03-31 02:30:00", "2024-10-27 01:30:00+00")


def test_told_without_rows_too(work: Workspace) -> None:
    history = [migration("1_before", TABLES), migration("2_change", CASES[0][0])]
    assert "goes on" in str(build(work, Request(history, 1, rows=False), lambda _: None).verdicts[0].not_covered)
    assert "goes on" in str(list(audit(work, history, rows=False))[1].report["not_covered"])


COUNTED = [
    ("CREATE TABLE a (id serial PRIMARY KEY, n int)", "ALTER TABLE a ALTER id DROP DEFAULT; DROP SEQUENCE a_id_seq"),
    ("CREATE TABLE a (id serial PRIMARY KEY, n int)", "ALTER TABLE a ALTER id DROP DEFAULT"),
    ("CREATE TABLE a (id serial PRIMARY KEY, n int)", "ALTER TABLE a RENAME id TO key; ALTER TABLE a ALTER key DROP DEFAULT"),
    ("CREATE TABLE a (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, n int)", "ALTER TABLE a ALTER id DROP IDENTITY"),
    ("CREATE TABLE a (id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY (INCREMENT BY -1), n int)", "ALTER TABLE a ALTER id DROP IDENTITY"),
    ("CREATE TABLE a (id bigserial PRIMARY KEY, n int)",
     "ALTER TABLE a ALTER id DROP DEFAULT; DROP SEQUENCE a_id_seq; CREATE SEQUENCE a_id_seq AS int; ALTER TABLE a ALTER id SET DEFAULT nextval('a_id_seq') + 50"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "change"), COUNTED, ids=[c[1][:60] for c in COUNTED])
def test_numbers_go_on_after_the_way_back(work: Workspace, target: psycopg.Connection[Any], before: str, change: str) -> None:
    """Also after those that the new version gave by itself."""
    scripts = [("1_before", before), ("2_change", change)]
    plan = build(work, Request([migration(*s) for s in scripts], 1), lambda _: None)
    deploy(target, scripts[:1])
    target.execute("INSERT INTO a (n) SELECT generate_series(1, 3)")
    target.execute(change)
    target.execute("INSERT INTO a SELECT sum(sign(a)) * 10, 4 FROM (SELECT * FROM a LIMIT 1) q (a)")
    with target.transaction():
        for step in plan.steps:
            target.execute(step.sql)
    target.execute("INSERT INTO a (n) VALUES (5)")
    assert target.execute("SELECT n FROM a ORDER BY abs(id)").fetchall() == [(1,), (2,), (3,), (4,), (5,)]
