"""Rows that block a way back from the vault, and what a person may decide about them."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Live
from unmigrate.errors import RefusedError, UsageError
from unmigrate.execute.rollback import Outcome, execute
from unmigrate.execute.ways import rollback_plans
from unmigrate.plan.ways_out import Decisions, decided

Made = Callable[..., Live]


def rollback(it: Live, decisions: Decisions, **options: Any) -> Outcome:
    with it.connect() as connection:
        plans = rollback_plans(connection, [it.history[-1].name])
    (plan,) = decided(plans or [], decisions)
    return execute(it.connect, plan, accept_loss=False, **options)


def test_a_value_for_rows_that_nobody_can_work_out(live: Made) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    it.deploy("ALTER TABLE t ADD COLUMN b text; UPDATE t SET b = upper(a); ALTER TABLE t DROP COLUMN a")
    it.run("UPDATE t SET b = 'EDITED' WHERE id = 2; INSERT INTO t (id, b) VALUES (3, 'NEW')")
    rollback(it, Decisions(fill={"t.a": "lower(b)"}))
    assert it.rows("SELECT id, a FROM t ORDER BY id") == [(1, "x"), (2, "edited"), (3, "new")]


def test_a_value_for_a_column_that_is_not_null_again(live: Made) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL)", "INSERT INTO t VALUES (1, 'x')")
    it.deploy("ALTER TABLE t DROP COLUMN a")
    it.run("INSERT INTO t VALUES (2)")
    with pytest.raises(RefusedError, match=r"public\.t\.a") as refusal:
        rollback(it, Decisions())
    assert refusal.value.code == "blocked"
    assert "--fill 'public.t.a = <SQL>'" in (refusal.value.remedy or "")
    rollback(it, Decisions(fill={"public.t.a": "'none'"}))
    assert it.rows("SELECT id, a FROM t ORDER BY id") == [(1, "x"), (2, "none")]


def test_a_value_that_does_not_do_rolls_everything_back(live: Made) -> None:
    from unmigrate.errors import FailedError

    wrong = {"NULL": (RefusedError, "1 row blocks"), "no_such_function()": (FailedError, "the old state stands")}
    it = live("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL)", "INSERT INTO t VALUES (1, 'x')")
    it.deploy("ALTER TABLE t DROP COLUMN a")
    it.run("INSERT INTO t VALUES (2)")
    shape = it.shape()
    for value, (error, text) in wrong.items():
        with pytest.raises(error, match=text):
            rollback(it, Decisions(fill={"public.t.a": value}))
        assert it.shape() == shape
    assert it.value("select count(*) from t") == 2


ENUM = 'CREATE TYPE "Role" AS ENUM (\'USER\', \'ADMIN\'); CREATE TABLE t (id int PRIMARY KEY, r "Role", rs "Role"[])'


def test_labels_that_go_are_mapped_in_columns_and_arrays(live: Made) -> None:
    it = live(ENUM, "INSERT INTO t VALUES (1, 'USER', '{USER,ADMIN}')")
    it.deploy("ALTER TYPE \"Role\" ADD VALUE 'OWNER'")
    it.run("INSERT INTO t VALUES (2, 'OWNER', '{OWNER,USER}')")
    with pytest.raises(RefusedError) as refusal:
        rollback(it, Decisions())
    assert "--map 'public.\"Role\".OWNER = <an older label>'" in (refusal.value.remedy or "")
    rollback(it, Decisions(labels={"Role": {"OWNER": "ADMIN"}}))
    assert it.rows("SELECT r::text, rs::text FROM t ORDER BY id") == [("USER", "{USER,ADMIN}"), ("ADMIN", "{ADMIN,USER}")]


CHILD = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)"


@pytest.mark.parametrize("way", ["set_null", "delete"])
def test_rows_that_point_to_nothing(live: Made, way: str) -> None:
    it = live(CHILD, "INSERT INTO p VALUES (1); INSERT INTO c VALUES (1, 1)")
    it.deploy("ALTER TABLE c DROP CONSTRAINT c_p_fkey")
    it.run("INSERT INTO c VALUES (2, 99)")
    outcome = rollback(it, Decisions(**{way: ("c.c_p_fkey",)}))  # type: ignore[arg-type]
    assert it.rows("SELECT * FROM c ORDER BY id") == ([(1, 1), (2, None)] if way == "set_null" else [(1, 1)])
    if way == "delete":
        ((copy, _),) = outcome.copies.items()
        assert it.rows(f"SELECT id, p FROM {copy}") == [(2, 99)]


def test_rows_that_others_follow_are_not_deleted(live: Made) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL)", "INSERT INTO t VALUES (1, 'x')")
    it.deploy("ALTER TABLE t ALTER COLUMN a DROP NOT NULL")
    it.run("CREATE TABLE later (t int REFERENCES t ON DELETE CASCADE); INSERT INTO t VALUES (2, NULL); INSERT INTO later VALUES (2)")
    with pytest.raises(RefusedError, match="rows of later would follow"):
        rollback(it, Decisions(delete=("t.a",)))
    assert it.value("select count(*) from later") == 1


def test_what_could_not_block_is_named(live: Made) -> None:
    it = live(ENUM, "INSERT INTO t VALUES (1, 'USER', NULL)")
    it.deploy("ALTER TYPE \"Role\" ADD VALUE 'OWNER'")
    for wrong in (Decisions(fill={"t.nothing": "1"}), Decisions(labels={"Rule": {"A": "B"}}), Decisions(delete=("x",))):
        with pytest.raises(UsageError) as refusal:
            rollback(it, wrong)
        assert refusal.value.code == "way-out"
        assert "public" in (refusal.value.remedy or "")
