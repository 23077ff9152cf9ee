"""Locks of a plan are those that its steps were seen to take: of foreign keys on both tables, of type changes with their rewrite."""

import pytest

from tests.support import migration
from unmigrate.check.observe import observe_down
from unmigrate.check.stage import Stage
from unmigrate.plan.locks import locks
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool

SETUP = "CREATE TABLE p (id int PRIMARY KEY, v int, w varchar(5)); CREATE TABLE c (id int PRIMARY KEY, p int);"
CASES = [
    "ALTER TABLE c ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES p",
    "CREATE TABLE d (p int REFERENCES p)",
    "ALTER TABLE c ADD COLUMN q int REFERENCES p",
    "ALTER TABLE p ALTER v TYPE text",
    "ALTER TABLE p ALTER w TYPE text",
    "ALTER TABLE p ADD COLUMN x int; CREATE INDEX ON c (p)",
    "ALTER TABLE c ADD CHECK (p > 0), ALTER p SET NOT NULL",
]


@pytest.mark.parametrize("up", CASES)
def test_told_and_taken(up: str, pool: Pool) -> None:
    work = Workspace(pool)
    history = History(work.fresh())
    history.connection.execute(SETUP)
    history.observer.reset()
    proof = history.prove(migration("1", up))
    told = {(k.table, k.mode, k.work) for k in locks(list(proof.steps), proof.delta)}
    new = {o.name for o in proof.delta.created}
    taken = {(k.table, k.mode, k.work) for k in observe_down(Stage(work, history), proof)}
    assert {t for t in told if t[0] not in new} == {t for t in taken if t[0] not in new}
