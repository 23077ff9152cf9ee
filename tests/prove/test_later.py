"""A history proved by two processes says what one process says, whatever becomes of the other."""

import pytest

from tests.support import migration
from unmigrate.prisma.migrations import Migration
from unmigrate.prove import later
from unmigrate.prove.audit import Entry, audit
from unmigrate.prove.workspace import Workspace

HISTORY = [
    migration("00", "CREATE TABLE t (id int PRIMARY KEY); CREATE TYPE e AS ENUM ('A')"),
    *(migration(f"{n:02}", f"ALTER TABLE t ADD COLUMN c{n} int; CREATE INDEX i{n} ON t (c{n})") for n in range(1, 9)),
    migration("09", "ALTER TYPE e ADD VALUE 'B'; DROP INDEX i3"),
    migration("10", "CREATE INDEX CONCURRENTLY j ON t (c1)"),
    migration("11", "ALTER TABLE t DROP COLUMN c2"),
]
BROKEN = [*HISTORY, migration("12", "ALTER TABLE missing ADD COLUMN x int"), migration("13", "SELECT 1")]
DIES = (
    """
import os, pickle
dump, sent = pickle.dump, []
def dying(*args):
    dump(*args); args[1].flush(); sent.append(1)
    if len(sent) == 2: os._exit(9)
pickle.dump = dying
"""
    + later.START
)


def entries(work: Workspace, migrations: list[Migration]) -> list[Entry]:
    return list(audit(work, migrations, rows=False))


@pytest.mark.parametrize("start", [later.START, "import sys; sys.exit(1)", "import time; print('noise'); time.sleep(60)", DIES])
@pytest.mark.parametrize("migrations", [HISTORY, BROKEN])
def test_two_say_what_one_says(work: Workspace, monkeypatch: pytest.MonkeyPatch, migrations: list[Migration], start: str) -> None:
    alone = entries(work, migrations)
    monkeypatch.setattr(later, "WORTH_IT", 2)
    monkeypatch.setattr(later, "START", start)
    assert later.cut(migrations) < len(migrations)
    assert entries(work, migrations) == alone
    assert [e.report["schema"]["verdict"] for e in alone[:12]] == ["exact"] * 11 + ["column-order"]


def test_a_history_that_makes_roles_is_proved_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(later, "WORTH_IT", 2)
    migrations = [*HISTORY, migration("12", "DO $$ BEGIN CREATE ROLE reader; END $$")]
    assert later.cut(migrations) == len(migrations)
