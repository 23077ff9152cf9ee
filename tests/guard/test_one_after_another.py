"""Several guarded migrations back, and forward again: what one has parked stands on what the other takes away."""

from collections.abc import Callable

import pytest

from tests.guard.conftest import Live
from unmigrate.errors import FailedError, RefusedError
from unmigrate.execute.rollback import execute
from unmigrate.execute.ways import redo_plans, rollback_plans

Make = Callable[..., Live]
CASES = {
    "a column": ("CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE t ADD COLUMN c text", "INSERT INTO t VALUES (1, 'kept')"),
    "a column with what stands on it": (
        "CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE t ADD COLUMN c serial CHECK (c > 0), ADD COLUMN p int REFERENCES p; CREATE UNIQUE INDEX t_c ON t (c)",
        "INSERT INTO t (id, p) VALUES (1, 1)",
    ),
    "a column of a type that the first made": (
        "CREATE TYPE e AS ENUM ('a', 'b'); CREATE TABLE t (id int PRIMARY KEY)",
        "ALTER TABLE t ADD COLUMN c e NOT NULL DEFAULT 'a'; ALTER TABLE p ADD COLUMN l e[]",
        "INSERT INTO t VALUES (1, 'b'); UPDATE p SET l = '{b}'",
    ),
    "a reference": ("CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE p ADD COLUMN t int REFERENCES t", "INSERT INTO t VALUES (1); UPDATE p SET t = 1"),
}  # fmt: skip


def back(it: Live, count: int) -> None:
    names = [m.name for m in it.history[: -count - 1 : -1]]
    with it.connect() as connection:
        plans = rollback_plans(connection, names) or []
    assert [plan.migrations[0] for plan in plans] == names
    for plan in plans:
        execute(it.connect, plan, accept_loss=False)


@pytest.mark.parametrize("name", CASES)
def test_back_and_forth_twice(live: Make, name: str) -> None:
    first, second, rows = CASES[name]
    it = live("CREATE TABLE p (id int PRIMARY KEY)", "INSERT INTO p VALUES (1)")
    start = it.shape()
    it.deploy(first)
    it.deploy(second)
    it.run(rows)
    end, values = it.shape(), [it.rows(f"SELECT * FROM {table}") for table in ("t", "p")]
    for _ in range(2):
        back(it, 2)
        assert it.shape() == start
        it.redo()
        it.redo()
        assert (it.shape(), [it.rows(f"SELECT * FROM {table}") for table in ("t", "p")]) == (end, values)
    with pytest.raises(RefusedError, match="nothing was rolled back last"):
        it.redo()


def test_forward_again_in_the_order_they_were_deployed(live: Make) -> None:
    it = live("CREATE TABLE p (id int PRIMARY KEY)", "")
    it.deploy("ALTER TABLE p ADD COLUMN a int")
    it.deploy("ALTER TABLE p ADD COLUMN b int")
    first, second = (m.name for m in it.history[1:])
    back(it, 2)
    with it.connect() as connection:
        with pytest.raises(RefusedError, match=f"{first} was rolled back last, not {second}"):
            redo_plans(connection, [second])
        assert [plan.migrations for plan in redo_plans(connection, [first, second])] == [(first,), (second,)]
    it.deploy("ALTER TABLE p ADD COLUMN c int")
    with pytest.raises(RefusedError, match="nothing was rolled back last"):
        it.redo()


def test_what_a_parked_column_is_of_cannot_go_and_a_way_out_is_told(live: Make) -> None:
    it = live("CREATE TABLE p (id int PRIMARY KEY)", "")
    it.deploy("CREATE EXTENSION citext")
    it.deploy("ALTER TABLE p ADD COLUMN c citext")
    with pytest.raises(FailedError, match="other objects depend on it, which another migration has parked") as refusal:
        back(it, 2)
    assert "unmigrate purge --now" in (refusal.value.remedy or "")
