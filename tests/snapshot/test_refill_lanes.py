"""Large parts are merged by several sessions at once, in an order that spares the indexes: it ends as one session would, killed or not."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.snapshot.story import CHILD, Story, settle
from unmigrate.errors import PartialError
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import merge
from unmigrate.snapshot.batches import Lane, batches

INIT = (
    "CREATE TABLE t (id int PRIMARY KEY, note text, code text UNIQUE); CREATE TABLE u (id int PRIMARY KEY, t int REFERENCES t, what text)"
)
ROWS = """INSERT INTO t SELECT g, 'n' || g, 'c' || g FROM generate_series(1, 600) g;
INSERT INTO u SELECT g, g, 'u' || g FROM generate_series(1, 300) g"""
BAD = "DROP TABLE u; ALTER TABLE t DROP COLUMN note, DROP COLUMN code"
BETWEEN = "DELETE FROM t WHERE id % 100 = 7; INSERT INTO t VALUES (1001)"
AFTER = "UPDATE t SET note = 'mine' WHERE id % 50 = 3; UPDATE t SET code = 'c33' WHERE id = 1001; INSERT INTO u VALUES (9, 9, 'since')"


def contents(story: Story) -> list[Any]:
    conflicts = "SELECT table_name, key::text, column_name, reason, here FROM unmigrate_refill.conflict ORDER BY 1, 2, 3"
    return [story.rows(sql) for sql in ("SELECT * FROM t ORDER BY 1", "SELECT * FROM u ORDER BY 1", conflicts)]


def tale(stories: Callable[..., Story]) -> Story:
    return stories(INIT, ROWS, BAD, BETWEEN, AFTER)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 5), (0, 100), (37, 260), (0, 500_001)])
@pytest.mark.parametrize("leap", [1, 8])
def test_every_row_is_in_one_batch(low: int, high: int, leap: int) -> None:
    """Whatever the sizes of batches were before it was interrupted."""
    seen: list[int] = []
    for size, until in ((7_001, (high - low) // 2), (333, (high - low) * 3 // 4), (10_000, high - low)):
        lane = Lane(low, high, len(seen))
        for after, batch in batches(lane, size, leap):
            seen += range(batch.first, batch.first + batch.count * batch.step, batch.step)
            assert len(seen) == after
            assert batch.count <= size
            if after >= until:
                break
    assert sorted(seen) == list(range(low + 1, high + 1))


def test_several_sessions_end_as_one_does(stories: Callable[..., Story], pool: Pool) -> None:
    story = tale(stories)
    alone, said = replace(story, live=pool.clone(story.live)), []
    one, both = alone.refill(jobs=1), story.refill(say=said.append)
    assert contents(story) == contents(alone)
    assert [replace(p, samples=()) for p in both.parts] == [replace(p, samples=()) for p in one.parts]
    assert {p.table: (p.staged, p.gone) for p in both.parts} == {"public.t": (600, 6), "public.u": (300, 0)}
    assert said[-1].startswith("public.t: 600 of 600"), "both sessions were counted together"
    assert story.rows("SELECT count(*) FROM unmigrate_refill.lane") == [(0,)]
    pool.drop(alone.live)


def test_killed_anywhere_several_sessions_go_on(stories: Callable[..., Story], pool: Pool) -> None:
    story, points = tale(stories), []
    template = pool.clone(story.live)
    first = story.refill(on_step=points.append)
    wanted = contents(story)
    assert len(points) > 250
    for number in range(8, len(points) - 8, len(points) // 7):  # which session meets it is not said
        victim = replace(story, live=pool.clone(template))
        command = [sys.executable, "-c", CHILD, pool.conninfo(victim.live), pool.conninfo(story.old), str(number)]
        assert subprocess.run(command, check=False).returncode == -9, points[number]
        settle(victim)
        report = victim.refill(batch=11)
        assert contents(victim) == wanted, f"killed at {points[number]}"
        assert [(p.filled, p.gone) for p in report.parts] == [(p.filled, p.gone) for p in first.parts]
        pool.drop(victim.live)
    pool.drop(template)


def test_what_another_session_did_is_not_done_twice(stories: Callable[..., Story]) -> None:
    """Its process was killed, and it has not ended yet."""
    story, moved = tale(stories), []

    def ahead(step: str) -> None:
        if step.startswith("part 2") and step.endswith("applied") and not moved:
            moved.append(step)
            story.run("UPDATE unmigrate_refill.lane SET merged = merged + 7 WHERE part = 2 AND low = 0")

    with pytest.raises(PartialError, match="another session") as partial:
        story.refill(on_step=ahead)
    assert "again" in partial.value.remedy
    story.run("UPDATE unmigrate_refill.lane SET merged = merged - 7 WHERE part = 2 AND low = 0")
    report = story.refill()
    assert report.parts[1].filled == story.rows("SELECT count(*) FROM t WHERE note LIKE 'n%%' OR code IS NOT NULL AND id <> 1001")[0][0]


def test_one_session_where_the_server_has_room_for_no_more(stories: Callable[..., Story]) -> None:
    story = tale(stories)
    made: list[Any] = []
    connect = story.connect

    class Full(Story):
        def connect(self) -> Any:
            if len(made) > 3:
                raise psycopg.OperationalError("sorry, too many clients already")
            made.append(connect())
            return made[-1]

    Full(story.pool, story.live, story.old).refill()
    assert story.rows("SELECT count(*) FROM t WHERE note LIKE 'n%'") == [(581,)], "33 could not have its code"


def test_most_rows_keep_their_index_entries(stories: Callable[..., Story]) -> None:
    """What moved away leaves room for the others: indexes grow by little where every row is written anew."""
    init = "CREATE TABLE t (id int PRIMARY KEY, name text, note text); CREATE INDEX by_name ON t (name)"
    rows = "INSERT INTO t SELECT g, md5(g::text), repeat('n', 150) FROM generate_series(1, 20000) g"
    story = stories(init, rows, "ALTER TABLE t DROP COLUMN note")
    size = "SELECT pg_relation_size('by_name')"
    before = story.rows(size)[0][0]
    assert story.refill(batch=500).parts[0].filled == 20000
    assert story.rows(size)[0][0] < 1.4 * before
    assert merge.LEAP > 1
