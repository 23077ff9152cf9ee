"""A history proved by two processes says what one process says, whatever becomes of the other."""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import migration
from unmigrate.catalog.observer import Observer
from unmigrate.errors import RefusedError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove import later, told
from unmigrate.prove.audit import audit
from unmigrate.prove.entry import Entry, entry
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace

HISTORY = [
    migration("00", "CREATE TABLE t (id int PRIMARY KEY); CREATE TYPE e AS ENUM ('A')"),
    *(migration(f"{n:02}", f"ALTER TABLE t ADD COLUMN c{n} int; CREATE INDEX i{n} ON t (c{n})") for n in range(1, 9)),
    migration("09", "ALTER TYPE e ADD VALUE 'B'; DROP INDEX i3"),
    migration("10", "CREATE INDEX CONCURRENTLY j ON t (c1)"),
    migration("11", "ALTER TABLE t DROP COLUMN c2"),
]
BROKEN = [*HISTORY, migration("12", "ALTER TABLE missing ADD COLUMN x int"), migration("13", "SELECT 1")]
VARIED = [
    migration("00", "CREATE SCHEMA a; CREATE TYPE e AS ENUM ('A', 'B'); CREATE TABLE a.t (id serial PRIMARY KEY, k e DEFAULT 'A', n text)"),
    migration("01", "CREATE VIEW v AS SELECT k, n FROM a.t; COMMENT ON COLUMN a.t.n IS 'n'; CREATE INDEX i ON a.t (lower(n))"),
    migration("02", "ALTER SCHEMA a RENAME TO b; ALTER TYPE e RENAME TO f"),
    migration("03", "ALTER TYPE f ADD VALUE 'C'"),
    migration(
        "04", "ALTER TABLE b.t RENAME COLUMN n TO m; CREATE TABLE b.u (id int PRIMARY KEY, t int REFERENCES b.t (id) ON DELETE CASCADE)"
    ),
    migration("05", "CREATE INDEX CONCURRENTLY j ON b.u (t)"),
    migration("06", "DROP VIEW v; DROP TABLE b.t CASCADE; DELETE FROM b.u"),
]
DROPPED = "the migration dropped the column"


class Dying:
    """A pipe whose process is killed after its second message."""

    def __init__(self, out: Any) -> None:
        self._out, self._sent = out, 0

    def send(self, message: object) -> None:
        self._out.send(message)
        self._sent += 1
        if self._sent == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def ends_at_once(task: later.Task, out: Any) -> None:
    sys.exit(1)


def says_something_else(task: later.Task, out: Any) -> None:
    out.send_bytes(b"noise")
    time.sleep(60)


def is_killed(task: later.Task, out: Any, prove: Callable[..., None] = later.prove_there) -> None:
    prove(task, Dying(out))


def entries(work: Workspace, migrations: list[Migration], *, rows: bool, jobs: int) -> list[Entry]:
    return list(audit(work, migrations, rows=rows, jobs=jobs))


@pytest.mark.parametrize("jobs", [2, 4])
@pytest.mark.parametrize("other", [later.prove_there, ends_at_once, says_something_else, is_killed])
@pytest.mark.parametrize("migrations", [HISTORY, BROKEN])
@pytest.mark.parametrize("rows", [False, True])
def test_two_say_what_one_says(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, migrations: list[Migration], other: Callable[..., None], rows: bool, jobs: int
) -> None:
    alone = entries(work, migrations, rows=rows, jobs=1)
    monkeypatch.setattr(later, "WORTH_IT", 2)
    monkeypatch.setattr(later, "prove_there", other)
    assert [later.processes(migrations, jobs) for jobs in (1, 2, 3, 9)] == [1, 2, 3, 4]
    assert entries(work, migrations, rows=rows, jobs=jobs) == alone
    assert [e.report["schema"]["verdict"] for e in alone[:12]] == ["exact"] * 11 + ["column-order"]
    assert not rows or alone[11].report["data"]["plain"] == {
        "verdict": "lossy",
        "lost": ["public.t.c2"],
        "reasons": {"public.t.c2": DROPPED},
    }


def test_a_process_that_shares_nothing_says_the_same(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "START", "spawn")
    monkeypatch.setattr(later, "WORTH_IT", 2)
    assert entries(work, VARIED, rows=False, jobs=2) == entries(work, VARIED, rows=False, jobs=1)


@pytest.mark.parametrize("migrations", [HISTORY, VARIED])
def test_proofs_told_by_another_process_are_the_same(work: Workspace, migrations: list[Migration]) -> None:
    history = History(work.fresh())
    start = history.observer.catalog
    proofs = list(history.prove_all(migrations))
    assert len(proofs) == len(migrations)
    heard = list(told.hear(pickle.loads(pickle.dumps(list(told.tell(start, proofs)))), migrations))
    for one, other in zip(proofs, heard, strict=True):
        assert one.delta.before.objects == other.delta.before.objects
        assert one.delta.after.objects == other.delta.after.objects
        assert (one.delta.keys, one.outcome, one.steps, one.mode) == (other.delta.keys, other.outcome, other.steps, other.mode)
        assert entry(one) == entry(other)


def test_whoever_stops_listening_leaves_no_process(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "WORTH_IT", 2)
    before = children()
    proving = audit(work, HISTORY, rows=True, jobs=2)
    next(proving)
    assert len(children() - before) == 1
    proving.close()
    assert children() == before


def children() -> set[str]:
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def test_a_history_that_makes_roles_is_proved_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "WORTH_IT", 2)
    assert later.processes([*HISTORY, migration("12", "DO $$ BEGIN CREATE ROLE reader; END $$")], 2) == 1


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
@pytest.mark.parametrize("count", [50, 820])
def test_later_parts_are_smaller_for_they_have_more_to_replay(count: int, parts: int) -> None:
    found = later.shares(count, parts)
    assert (sum(found), len(found)) == (count, parts)
    assert found == sorted(found, reverse=True)
    assert min(found) > 0


def test_a_history_that_is_refused_by_the_other_is_told_once(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(later, "WORTH_IT", 2)
    monkeypatch.setattr(Observer, "check", lambda self: ["column public.t.c1"])
    for rows in (False, True):
        with pytest.raises(RefusedError, match=r"something else than was seen of column public\.t\.c1"):
            entries(work, HISTORY, rows=rows, jobs=2)
    assert "Traceback" not in capfd.readouterr().err
