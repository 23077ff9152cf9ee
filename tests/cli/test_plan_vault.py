"""`unmigrate plan` where a guarded deploy left a way back: that way is shown, beside the others; and it is what a rollback walks."""

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.command import run
from tests.guard.conftest import Live, live  # noqa: F401
from tests.support import prisma_url, write_project

INIT = "CREATE TABLE t (id int PRIMARY KEY, a numeric NOT NULL, note text); CREATE TABLE old (id int PRIMARY KEY, body text)"
ROWS = "INSERT INTO t SELECT g, g + 0.5, 'n' FROM generate_series(1, 9) g; INSERT INTO old VALUES (1, 'b')"
FIRST = """ALTER TABLE t DROP COLUMN note; DROP TABLE old; ALTER TABLE t ALTER COLUMN a TYPE int USING (round(a));
CREATE TABLE fresh (id int PRIMARY KEY)"""
SECOND = "UPDATE t SET a = a + 1"


@pytest.fixture
def it(live: Callable[..., Live]) -> Live:  # noqa: F811
    found = live(INIT, ROWS)
    found.deploy(FIRST)
    return found


def at(it: Live, folder: Path) -> list[object]:
    scripts = [(m.name, m.sql) for m in it.history]
    project = folder / "app"
    if project.exists():
        shutil.rmtree(project)
    return ["--project", write_project(project, scripts), "--url", prisma_url(it.work.pool.conninfo(it.name))]


def test_the_way_from_the_vault_is_shown(it: Live, tmp_path: Path) -> None:
    status, printed = run("plan", *at(it, tmp_path))
    assert status == 0, printed
    shown, _, beside = printed.partition("Options")
    assert "from the vault: undo 2" in shown and "data lossless" in shown
    assert "column public.t.note" in shown and "table public.old" in shown and "values of public.t.a" in shown
    before, _, rest = shown.partition("The switch, in one transaction")
    switch, _, after = rest.partition("After the switch")
    assert "Before the switch" in before and "CREATE TRIGGER" in before
    assert "SET SCHEMA public" in switch and "RENAME COLUMN" in switch
    assert "VALIDATE CONSTRAINT" in after
    assert "public.t: ACCESS EXCLUSIVE (metadata" in shown
    assert "→ reverse-vault" in beside and "reverse" in beside.replace("reverse-vault", "") and "roll-forward" in beside


def test_rows_that_block_it(it: Live, tmp_path: Path) -> None:
    it.run("UPDATE t SET a = NULL WHERE false")  # nothing yet
    it.deploy("ALTER TABLE t ADD COLUMN b text; UPDATE t SET b = upper(a::text); ALTER TABLE t DROP COLUMN a")
    it.run("INSERT INTO t (id, b) VALUES (77, 'X')")
    status, printed = run("plan", *at(it, tmp_path))
    assert status == 1, printed
    assert "Rows that block" in printed.partition("Options")[0] and "77" in printed


def test_as_json_and_as_a_file(it: Live, tmp_path: Path) -> None:
    where = at(it, tmp_path)
    status, printed = run("plan", "--json", "--out", tmp_path / "plan.json", *where)
    assert status == 0, printed
    told = json.loads(printed)
    (way,) = told["vault"]
    assert way["guard"] == it.guarded[-1].up.guard and not told["guard"]
    assert way["returns"] == ["column public.t.note", "table public.old", "values of public.t.a"]
    assert {o["name"] for o in told["options"]} >= {"reverse-vault", "reverse"}
    before = it.rows("SELECT id FROM t")
    status, printed = run("rollback", "--yes", "--plan", tmp_path / "plan.json", *where)
    assert status == 0, printed
    assert it.rows("SELECT id, a, note FROM t") == [(i, Decimal(i) + Decimal("0.5"), "n") for (i,) in before]
    assert it.value("SELECT body FROM old") == "b"


def test_several(it: Live, tmp_path: Path) -> None:
    it.deploy(SECOND)
    status, printed = run("plan", "--last", "2", *at(it, tmp_path))
    assert status == 0, printed
    assert printed.index("undo 3") < printed.index("undo 2")
    assert "rows of public.t, where nobody changed them since" in printed
    told = json.loads(run("plan", "--last", "2", "--json", *at(it, tmp_path))[1])
    assert [way["migrations"] for way in told["vault"]] == [["3"], ["2"]]


def test_without_a_plain_plan(it: Live, tmp_path: Path) -> None:
    """The folder was edited since: nobody can plan by it, and the vault needs it not."""
    where = at(it, tmp_path)
    (tmp_path / "app" / "prisma" / "migrations" / "2" / "migration.sql").write_text("SELECT 1")
    status, printed = run("plan", *where)
    assert status == 0, printed
    assert "from the vault: undo 2" in printed and "no plain plan: 2 was edited" in " ".join(printed.split())


def test_without_a_vault_nothing_is_new(live: Callable[..., Live], tmp_path: Path) -> None:  # noqa: F811
    plain = live(INIT, ROWS)
    _, printed = run("plan", "--json", *at(plain, tmp_path))
    assert json.loads(printed)["vault"] == []


def test_dates_written_in_another_way(live: Callable[..., Live], tmp_path: Path) -> None:  # noqa: F811
    """A database whose DateStyle is not ISO: its times are read all the same, and a migration writes dates as it does without us."""
    it = live("CREATE TABLE t (id int PRIMARY KEY, d date, n text)", "INSERT INTO t VALUES (1, '2020-12-31', 'x')")
    it.run(f"ALTER DATABASE {it.name} SET datestyle = 'SQL, DMY'")
    it.guard("ALTER TABLE t ADD COLUMN told text, DROP COLUMN n; UPDATE t SET told = d::text")
    for words in (["deploy", "--yes"], ["status"], ["plan"], ["rollback", "--yes"], ["redo", "--yes"], ["status"]):
        status, printed = run(*words, *at(it, tmp_path))
        assert status == 0 and "Traceback" not in printed, printed
    assert it.rows("SELECT told FROM t") == [("31/12/2020",)]
    status, printed = run("purge", "--now", "--yes", *at(it, tmp_path)[2:])
    assert status == 0, printed
