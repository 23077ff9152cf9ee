"""What a migration itself did to rows: found out by running it on the restored snapshot, and brought back where nobody wrote since."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.command import run
from tests.snapshot.kit import SECRET, Kit
from tests.snapshot.story import Story
from tests.support import write_project
from unmigrate.catalog.read import read_catalog
from unmigrate.config.snapshot import PgDump as PgDumpConfig
from unmigrate.prisma.url import parse_url
from unmigrate.snapshot import lost
from unmigrate.snapshot.job import Asked, Report
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.refill import refill

INIT = """CREATE TABLE t (id int PRIMARY KEY, status text, amount numeric(8,2), note text);
CREATE TABLE child (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE, what text);"""
ROWS = """INSERT INTO t SELECT g, CASE WHEN g % 2 = 0 THEN 's' || g END, g + 0.25, 'n' || g FROM generate_series(1, 40) g;
INSERT INTO child SELECT g, g, 'c' || g FROM generate_series(1, 40) g"""
BAD = """UPDATE t SET status = 'NEW' WHERE status IS NULL; DELETE FROM t WHERE id % 10 = 0;
ALTER TABLE t ALTER COLUMN amount TYPE int USING (round(amount)); ALTER TABLE t DROP COLUMN note;"""
BETWEEN = "UPDATE t SET status = 'mine' WHERE id IN (1, 2); UPDATE t SET amount = 99 WHERE id = 3; DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (90, 'x', 9), (20, 'taken', 1)"


def bring(story: Story, up: list[str] | str, *, copy: bool = True) -> Report:
    with story.connect() as live, story.pool.connect(story.old) as old:
        undone = lost.undone(live, None)
        assert undone is not None
        losses = (*lost.destroyed(undone.losses), *lost.changed(undone.losses))
        found = lost.find(losses, read_catalog(live), read_catalog(old))
        again = (lambda: story.pool.connect(story.old)) if copy else None
        return refill(story.connect, old, undone, found, Asked("snap", 7), up=up, copy=again)


def test_values_and_rows_return_where_nobody_wrote_since(stories: Callable[..., Story]) -> None:
    story = stories(INIT, ROWS, BAD, BETWEEN)
    report = bring(story, [BAD])
    found = {i: rest for i, *rest in story.rows("SELECT id, status, amount::text, note FROM t ORDER BY id")}
    assert found[7] == [None, "7.25", "n7"]
    assert found[8] == ["s8", "8.25", "n8"]
    assert found[10] == ["s10", "10.25", "n10"], "it was deleted by the migration, and returns whole"
    assert found[1] == ["mine", "1.25", "n1"], "edited since, but for what was not"
    assert found[2] == ["mine", "2.25", "n2"]
    assert found[3] == [None, "99.00", "n3"]
    assert 5 not in found, "deleted since"
    assert found[90][:2] == ["x", "9.00"]
    assert found[20][:2] == ["taken", "1.00"], "its key was taken since"
    children = [i for (i,) in story.rows("SELECT id FROM child ORDER BY id")]
    assert children == [i for i in range(1, 41) if i != 5], "what went by the foreign key returns with its row"
    conflicts = story.rows("SELECT table_name, key ->> 'id', column_name, reason FROM unmigrate_refill.conflict ORDER BY 1, 2, 3")
    assert ("public.t", "1", "status", "edited in both") in conflicts
    assert ("public.t", "20", "", "a row with this key was written since") in conflicts
    assert not report.left_out
    assert bring(story, [BAD]).again
    with story.pool.connect(story.old) as old:
        assert old.execute("SELECT count(*), count(note) FROM t").fetchone() == (40, 40), "the rehearsal leaves nothing behind"


@pytest.mark.parametrize(
    ("up", "why"),
    [
        ("its text is not at hand", "not at hand"), ([BAD + "COMMIT;"], "transactions by itself"), (["SELECT dblink_exec('x', 'y')"], "dblink_exec"),
        (["COPY t FROM '/x'"], "COPY t FROM"), (["UPDATE no_such SET a = 1"], "could not be run"), (["SELECT 1 FROM"], "syntax error"),
    ],
)  # fmt: skip
def test_what_cannot_be_rehearsed_is_left_out_and_said(stories: Callable[..., Story], up: Any, why: str) -> None:
    story = stories(INIT, ROWS, BAD, BETWEEN)
    report = bring(story, up)
    assert any(why in reason for _, reason in report.left_out), report.left_out
    assert {p.kind for p in report.parts} == {"columns"}
    assert story.rows("SELECT status, note FROM t WHERE id = 7") == [("NEW", "n7")]


def test_a_database_of_somebody_is_not_written_to(stories: Callable[..., Story]) -> None:
    report = bring(stories(INIT, ROWS, BAD, BETWEEN), [BAD], copy=False)
    assert any("only on a copy that we restored" in reason for _, reason in report.left_out)


def test_rows_that_were_renumbered_do_not_return_twice(stories: Callable[..., Story]) -> None:
    story = stories(
        "CREATE TABLE t (id int PRIMARY KEY, a text)",
        "INSERT INTO t SELECT g, 'a' || g FROM generate_series(1, 9) g",
        bad := "UPDATE t SET id = id + 100",
    )
    report = bring(story, [bad])
    assert story.rows("SELECT min(id), count(*) FROM t") == [(101, 9)]
    assert any("renumbered" in reason for _, reason in report.left_out), report


def test_on_the_command_line(fresh_url: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "app", [("1_init", INIT), ("2_bad", BAD)])
    kit = Kit(PgDump(PgDumpConfig(), fresh_url, project), fresh_url)
    where = ("--project", project, "--url", kit.url)
    kit.run("SELECT 1")
    with kit.source() as connection:
        from tests.support import deploy, record

        deploy(connection, [("1_init", INIT)])
        connection.execute(ROWS)
        run("snapshot", "create", *where)
        connection.execute(BAD)
        record(connection, "2_bad", BAD)
        connection.execute(BETWEEN)
    assert run("rollback", "--refill", "last", "--yes", *where)[0] == 3, "changed values may turn out not to return: consent is asked for"
    status, printed = run("rollback", "--refill", "last", "--yes", "--accept-loss", "--json", *where)
    assert status == 0, printed
    assert SECRET not in printed
    found = json.JSONDecoder().raw_decode(printed)[0]["refill"]
    assert {(p["table"], p["kind"]) for p in found["parts"]} == {
        ("public.t", "columns"), ("public.t", "rows"), ("public.t", "edits"), ("public.child", "rows"), ("public.child", "edits"),
    }  # fmt: skip
    with kit.source() as connection:
        assert connection.execute("SELECT status, amount::text, note FROM t WHERE id = 7").fetchone() == (None, "7.25", "n7")
        names = connection.execute("SELECT datname::text FROM pg_database WHERE datname ~ 'refill'").fetchall()
        assert [n for (n,) in names if n.startswith(parse_url(kit.url).database.replace("_", "-"))] == []
