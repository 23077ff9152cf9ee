"""Refill: what a plain migration destroyed returns, what was written since stays; interrupted anywhere, it ends the same."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.snapshot.story import CHILD, Story, settle, tell
from unmigrate.catalog.read import read_catalog
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import lost
from unmigrate.snapshot.job import Asked
from unmigrate.snapshot.refill import refill
from unmigrate.snapshot.verify import require_before

INIT = """CREATE TYPE mood AS ENUM ('GOOD', 'BAD');
CREATE TABLE "User" (id serial PRIMARY KEY, email text NOT NULL UNIQUE, note text, score numeric(8,2) NOT NULL DEFAULT 0.50, mood mood, tags text[]);
CREATE TABLE "Team" (id serial PRIMARY KEY, name text NOT NULL, lead int REFERENCES "User" ON DELETE CASCADE, boss int REFERENCES "Team");
CREATE TABLE "Member" ("teamId" int REFERENCES "Team" ON DELETE CASCADE, "userId" int REFERENCES "User" ON DELETE CASCADE, PRIMARY KEY ("teamId", "userId"));"""
ROWS = """INSERT INTO "User" (email, note, score, mood, tags)
  SELECT 'u' || g, CASE WHEN g % 5 > 0 THEN 'note ' || g || E'\\t"\\\\x\\n' END, g / 4.0, (ARRAY['GOOD', 'BAD'])[1 + g % 2]::mood, ARRAY['a', g::text]
  FROM generate_series(1, 40) g;
INSERT INTO "Team" (name, lead, boss) SELECT 't' || g, g, nullif((g + 1) % 11, 0) FROM generate_series(1, 10) g;
INSERT INTO "Member" SELECT 1 + g % 10, g FROM generate_series(1, 40) g;"""
BAD = """ALTER TABLE "User" DROP COLUMN note, DROP COLUMN score, DROP COLUMN mood, DROP COLUMN tags;
DROP TABLE "Member"; DROP TABLE "Team"; DROP TYPE mood;"""
BETWEEN = (
    """INSERT INTO "User" (email) VALUES ('new'); DELETE FROM "User" WHERE id = 7; UPDATE "User" SET email = 'changed' WHERE id = 8;"""
)
AFTER = """UPDATE "User" SET note = 'mine' WHERE id = 9; UPDATE "User" SET email = 'touched' WHERE id = 11;
INSERT INTO "User" (email, note) VALUES ('newer', 'n'); DELETE FROM "User" WHERE id = 12; INSERT INTO "Team" VALUES (3, 'since');"""


@pytest.fixture(scope="module")
def _told(pool: Pool) -> Iterator[Story]:
    story = tell(pool, INIT, ROWS, BAD, BETWEEN, AFTER)
    yield story
    pool.drop(story.live)
    pool.drop(story.old)


@pytest.fixture
def story(_told: Story, pool: Pool) -> Iterator[Story]:
    copy = replace(_told, live=pool.clone(_told.live))
    yield copy
    pool.drop(copy.live)


def old_rows(story: Story, sql: str) -> list[tuple[Any, ...]]:
    with story.pool.connect(story.old) as connection:
        return connection.execute(sql).fetchall()


def test_what_was_lost_returns_and_newer_rows_stay(story: Story) -> None:
    report = story.refill()
    kept = 'SELECT id, note, score, mood::text, tags FROM "User" WHERE id NOT IN (7, 9, 11, 12) AND id <= 40 ORDER BY id'
    assert story.rows(kept) == old_rows(story, kept)
    assert story.rows('SELECT email, note FROM "User" WHERE id IN (7, 8, 9, 12) OR id > 40 ORDER BY id') == [
        ("changed", "note 8\t\"\\x\n"), ("u9", "mine"), ("new", None), ("newer", "n"),
    ]  # fmt: skip
    users = next(p for p in report.parts if p.table == 'public."User"')
    assert (users.staged, users.gone, users.filled) == (40, 2, 36)
    assert story.rows('SELECT count(*) FROM "Member" WHERE "userId" IN (7, 12)') == [(0,)], "their user was deleted since"
    teams = 'SELECT id, name, lead, boss FROM "Team" WHERE id NOT IN (3, 7) ORDER BY id'
    assert [r[0] for r in story.rows('SELECT id FROM "Team" ORDER BY id')] == [1, 2, 3, 8, 9, 10], "7 has no lead, 4 to 6 lead there"
    assert story.rows('SELECT count(*) FROM "Member"') == [(22,)]
    assert story.rows('SELECT name FROM "Team" WHERE id = 3') == [("since",)]
    assert set(story.rows(teams)) <= set(old_rows(story, teams))
    assert story.rows('SELECT setval_is.last_value >= 10 FROM "Team_id_seq" setval_is') == [(True,)]


def test_what_was_written_since_is_listed(story: Story) -> None:
    report = story.refill()
    found = story.rows("SELECT table_name, key, column_name, reason, here, snapshot FROM unmigrate_refill.conflict ORDER BY 1, 2, 3")
    edits = {(int(k["id"]), c): (here, there) for t, k, c, _, here, there in found if t == 'public."User"'}
    assert edits[9, "note"] == ("mine", 'note 9\t"\\x\n')
    assert (11, "note") in edits
    assert (9, "score") in edits, "its row was written since: whether 0.50 was meant is not known"
    reasons = {r for t, _, _, r, _, _ in found if t == 'public."Team"'}
    assert "a row with this key was written since" in reasons
    assert any("Team_lead_fkey" in r for r in reasons)
    users = next(p for p in report.parts if p.table == 'public."User"')
    assert users.conflicts == len(edits)
    assert sum(users.reasons.values()) == users.conflicts


def test_rows_written_since_are_filled_where_that_is_consented_to(story: Story) -> None:
    story.refill(touched=True)
    assert story.rows('SELECT email, note, score FROM "User" WHERE id = 11') == [("touched", 'note 11\t"\\x\n', 11 / 4)]
    assert story.rows('SELECT note, score FROM "User" WHERE id = 9') == [("mine", 9 / 4)]


def test_it_is_done_once(story: Story) -> None:
    first = story.refill()
    story.run('UPDATE "User" SET note = NULL WHERE id = 1; DELETE FROM "Member" WHERE "userId" = 2; DELETE FROM "User" WHERE id = 3')
    wanted = story.contents()
    again = story.refill()
    assert again.again
    assert again.parts == first.parts
    assert story.contents() == wanted
    with pytest.raises(RefusedError, match="was done from snap"):
        story.refill(touched=True)
    assert story.rows("SELECT relname FROM pg_class WHERE relname ~ '^stage_'") == []


def test_one_column_after_the_other(story: Story) -> None:
    """What the refill itself wrote does not count as written since."""
    story.refill(wanted=('public."User".note',))
    report = story.refill(wanted=('public."User".score', 'public."User".mood'))
    assert report.parts[0].filled == 36
    assert story.rows('SELECT count(*) FROM "User" WHERE id <= 40 AND mood IS NULL') == [(2,)]


def test_without_the_vault_only_what_is_empty_is_filled(story: Story) -> None:
    with story.connect() as live, story.pool.connect(story.old) as old:
        undone = lost.undone(live, None)
        assert undone is not None
        found = lost.find(lost.destroyed(undone.losses), read_catalog(live), read_catalog(old))
        refill(story.connect, old, replace(undone, xid=None), found, Asked("snap", 7))
    assert story.rows('SELECT note, score FROM "User" WHERE id = 9') == [("mine", 9 / 4)]
    assert story.rows('SELECT note FROM "User" WHERE id = 11') == [('note 11\t"\\x\n',)]


def test_a_vault_that_was_dumped_and_loaded_knows_no_transaction(story: Story) -> None:
    """Rows have other writers then: what was edited must not pass for untouched."""
    with story.connect() as live:
        found = lost.undone(live, None)
        assert found is not None
        assert found.xid is not None
        live.execute("UPDATE unmigrate.meta SET version = version")  # as young as if it had just been loaded
        found = lost.undone(live, None)
        assert found is not None
        assert found.xid is None
    story.refill()
    assert story.rows('SELECT note FROM "User" WHERE id IN (8, 9) ORDER BY id') == [('note 8\t"\\x\n',), ("mine",)]


def test_triggers_do_not_fire_and_are_never_left_off(story: Story) -> None:
    story.run("""CREATE TABLE log (what text); CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO log VALUES (TG_OP); RETURN NEW; END $$;
        CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON "User" FOR EACH ROW EXECUTE FUNCTION noted();
        CREATE TRIGGER always AFTER INSERT ON "Team" FOR EACH ROW EXECUTE FUNCTION noted(); ALTER TABLE "Team" ENABLE ALWAYS TRIGGER always""")
    modes: list[Any] = []
    state = "SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    story.refill(on_step=lambda _: modes.append(story.rows(state)))
    assert story.rows("SELECT * FROM log") == []
    assert len(modes) > 12
    assert all(found == [("always", "A"), ("noted", "O")] for found in modes), "seen by others between and within all batches"


def test_a_unique_value_taken_since_is_kept(stories: Callable[..., Story]) -> None:
    story = stories(
        "CREATE TABLE t (id int PRIMARY KEY, code text UNIQUE, n int CHECK (n < 100))", "INSERT INTO t SELECT g, 'c' || g, g FROM generate_series(1, 30) g",
        "ALTER TABLE t DROP COLUMN code", "INSERT INTO t VALUES (99, 1)", "UPDATE t SET code = 'c13' WHERE id = 99",
    )  # fmt: skip
    report = story.refill()
    assert story.rows("SELECT code FROM t WHERE id IN (12, 13, 14, 99) ORDER BY id") == [("c12",), (None,), ("c14",), ("c13",)]
    assert (report.parts[0].filled, report.parts[0].conflicts) == (29, 1)


def test_rows_in_circles_and_without_keys(stories: Callable[..., Story]) -> None:
    story = stories(
        "CREATE TABLE tree (id int PRIMARY KEY, up int REFERENCES tree); CREATE TABLE noise (what text); CREATE TABLE heard (what text)",
        "INSERT INTO tree SELECT g, 1 + g % 20 FROM generate_series(1, 20) g; INSERT INTO noise SELECT 'n' FROM generate_series(1, 20); INSERT INTO heard VALUES ('h')",
        "DROP TABLE tree; DROP TABLE noise; DROP TABLE heard", after="INSERT INTO heard VALUES ('since')",
    )  # fmt: skip
    report = story.refill()
    assert story.rows("SELECT count(*), count(up) FROM tree") == [(20, 20)]
    assert story.rows("SELECT count(*) FROM noise") == [(20,)]
    assert story.rows("SELECT * FROM heard") == [("since",)]
    assert any("nothing identifies a row" in r for p in report.parts for r in p.reasons)
    assert story.refill().again


def test_partitions_and_generated_columns(stories: Callable[..., Story]) -> None:
    story = stories(
        """CREATE TABLE p (id int, at date, note text, twice int GENERATED ALWAYS AS (id * 2) STORED, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2025-07-01'); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM ('2025-07-01') TO ('2026-01-01');
        CREATE TABLE g (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) STORED)""",
        "INSERT INTO p SELECT g, date '2025-01-01' + g * 10, 'n' || g FROM generate_series(1, 30) g; INSERT INTO g (n) SELECT g FROM generate_series(1, 30) g",
        "ALTER TABLE p DROP COLUMN note; DROP TABLE g",
    )  # fmt: skip
    report = story.refill()
    assert sorted((p.table, p.filled) for p in report.parts) == [("public.g", 30), ("public.p", 30)]
    assert story.rows("SELECT count(*) FROM p WHERE note = 'n' || id") == [(30,)]
    assert story.rows("SELECT count(*) FROM g WHERE twice = n * 2 AND id = n") == [(30,)]
    story.run("INSERT INTO g (n) VALUES (1)")
    assert story.rows("SELECT max(id) FROM g") == [(31,)], "numbers go on"


def test_killed_anywhere_it_goes_on(story: Story, pool: Pool) -> None:
    points: list[str] = []
    template = pool.clone(story.live)
    story.refill(on_step=points.append)
    wanted, kills = story.contents(), 0
    assert len(points) > 30
    step = 1 if os.environ.get("UNMIGRATE_KILL") == "full" else 5
    for number in range(0, len(points), step):
        victim = replace(story, live=pool.clone(template))
        command = [sys.executable, "-c", CHILD, pool.conninfo(victim.live), pool.conninfo(story.old), str(number)]
        assert subprocess.run(command, check=False).returncode == -9, points[number]
        settle(victim)
        kills += 1
        victim.refill()
        assert victim.contents() == wanted, f"killed at {points[number]}"
        pool.drop(victim.live)
    pool.drop(template)
    assert kills >= 8


def test_what_happens_between_a_kill_and_the_next_run_stands(story: Story, pool: Pool) -> None:
    points: list[str] = []
    template = pool.clone(story.live)
    story.refill(on_step=points.append)
    number = max(i for i, name in enumerate(points) if name.endswith("merged")) - 1
    victim = replace(story, live=pool.clone(template))
    subprocess.run([sys.executable, "-c", CHILD, pool.conninfo(victim.live), pool.conninfo(story.old), str(number)], check=False)
    settle(victim)
    victim.run(
        """DELETE FROM "Member" WHERE "userId" = 2; UPDATE "User" SET note = 'later' WHERE id = 1; UPDATE "User" SET note = 'late' WHERE id = 40"""
    )
    victim.refill()
    assert victim.rows('SELECT count(*) FROM "Member" WHERE "userId" = 2') == [(0,)], "a deleted row does not come back"
    assert victim.rows('SELECT note FROM "User" WHERE id IN (1, 40) ORDER BY id') == [("later",), ("late",)]
    for name in (template, victim.live):
        pool.drop(name)


def test_a_crash_of_the_server_empties_what_was_staged(story: Story, pool: Pool) -> None:
    points: list[str] = []
    template = pool.clone(story.live)
    story.refill(on_step=points.append)
    wanted = story.contents()
    victim = replace(story, live=pool.clone(template))
    number = points.index(next(n for n in points if n.startswith("part 4") or n.startswith("part 3")))
    subprocess.run([sys.executable, "-c", CHILD, pool.conninfo(victim.live), pool.conninfo(story.old), str(number + 2)], check=False)
    settle(victim)
    (name,) = victim.rows("SELECT oid::regclass::text FROM pg_class WHERE relpersistence = 'u' AND relname ~ '^stage_' AND relkind = 'r'")
    victim.run(f"TRUNCATE {name[0]}")
    victim.refill()
    assert victim.contents() == wanted
    for each in (template, victim.live):
        pool.drop(each)


def test_a_snapshot_from_after_or_of_half_a_migration_is_refused(story: Story) -> None:
    with story.pool.connect(story.old) as old:
        old.execute("BEGIN")
        for finished, code in (("now()", "snapshot-after"), ("NULL", "in-flight")):
            old.execute(
                f"INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ('{code}', 'x', '2_bad', {finished})"
            )
            with story.connect() as live, pytest.raises(FailedError) as refused:
                require_before(old, live, ("2_bad",), "public")
            assert refused.value.code == code
            old.execute("DELETE FROM _prisma_migrations WHERE migration_name = '2_bad'")
    with story.connect() as live, story.connect() as same, pytest.raises(RefusedError, match="the app uses now"):
        require_before(same, live, ("2_bad",), "public")


def test_what_is_applied_is_rolled_back_first(story: Story) -> None:
    with story.connect() as live:
        live.execute("BEGIN")
        live.execute("INSERT INTO _prisma_migrations (id, checksum, migration_name, finished_at) VALUES ('x', 'x', '2_bad', now())")
        with pytest.raises(RefusedError, match="is applied here"):
            lost.refuse_applied(live, "public", ("2_bad",))
        live.execute("ROLLBACK")


def test_without_the_rights_nothing_is_changed(story: Story, pool: Pool) -> None:
    with pool.server.connect() as connection:
        connection.execute("CREATE ROLE refill_stranger")
    try:
        with pool.connect_superuser(story.live) as connection:
            connection.execute(
                f'GRANT CREATE ON DATABASE "{story.live}" TO refill_stranger; GRANT USAGE ON SCHEMA public, unmigrate TO refill_stranger'
            )
            connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public, unmigrate TO refill_stranger")

        def connect() -> psycopg.Connection[Any]:
            connection = pool.connect_superuser(story.live)
            connection.execute("SET SESSION AUTHORIZATION refill_stranger; SET search_path = public")
            return connection

        with story.connect() as live, pool.connect(story.old) as old:
            undone = lost.undone(live, None)
            assert undone is not None
            found = lost.find(lost.destroyed(undone.losses), read_catalog(live), read_catalog(old))
            with pytest.raises(EnvironmentProblem, match="may not fill") as problem:
                refill(connect, old, undone, found, Asked("snap"))
            assert "GRANT" in problem.value.remedy
            assert live.execute("SELECT to_regnamespace('unmigrate_refill')").fetchone() == (None,)
    finally:
        with pool.connect_superuser(story.live) as connection:
            connection.execute("DROP OWNED BY refill_stranger")
        with pool.server.connect() as connection:
            connection.execute("DROP ROLE refill_stranger")


def test_a_row_locked_by_somebody_is_waited_for(story: Story) -> None:
    with story.connect() as other:
        other.execute("BEGIN; UPDATE \"User\" SET email = 'held' WHERE id = 5")
        later = threading.Timer(1.0, lambda: other.execute("COMMIT"))
        later.start()
        report = story.refill(lock_timeout_ms=50)
        later.join()
    assert report.longest < 1
    assert story.rows('SELECT email, note FROM "User" WHERE id = 5') == [("held", None)], "it was written since"


def test_the_report_is_json(story: Story) -> None:
    found = json.loads(json.dumps(story.refill().to_json()))
    assert {p["table"] for p in found["parts"]} == {'public."User"', 'public."Team"', 'public."Member"'}
