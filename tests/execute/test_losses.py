"""Nothing is lost without consent, whoever writes when, and whatever it is called; what is copied stands in nobody's way."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.execute.conftest import Live, as_role
from tests.support import migration, record
from unmigrate.catalog.read import read_catalog
from unmigrate.errors import FailedError, RefusedError
from unmigrate.execute.rollback import execute
from unmigrate.plan.failed import build_failed
from unmigrate.plan.model import Plan
from unmigrate.prove.workspace import Workspace

Run = Callable[..., Any]
Deployed = Callable[..., tuple[Live, Plan]]
INIT = "CREATE TABLE item (id serial PRIMARY KEY, label text, amount numeric(12,6));"


def test_a_row_that_comes_between_count_and_locks_is_not_lost(deployed: Deployed, rollback: Run) -> None:
    live, plan = deployed([("1", INIT), ("2", "CREATE TABLE note (id int PRIMARY KEY)")])

    def late(name: str) -> None:
        if name == "checked":
            live.run("insert into note values (7)")

    with pytest.raises(RefusedError) as refusal:
        rollback(live, plan, accept_loss=False, on_step=late)
    assert refusal.value.code == "loss"
    assert live.value("select id from note") == 7


def test_a_late_row_is_copied_with_consent(deployed: Deployed, rollback: Run) -> None:
    live, plan = deployed([("1", INIT), ("2", "CREATE TABLE note (id int PRIMARY KEY)")])

    def late(name: str) -> None:
        if name == "checked":
            live.run("insert into note values (7)")

    (copy,) = rollback(live, plan, on_step=late).copies
    assert live.value(f"select id from {copy}") == 7


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_stricter_isolation_level_hides_nothing(deployed: Deployed, rollback: Run, level: str) -> None:
    live, plan = deployed([("1", INIT), ("2", "CREATE TABLE note (id int PRIMARY KEY)")])
    live.run(f"alter database {live.name} set default_transaction_isolation = '{level}'")

    def late(name: str) -> None:
        if name == "begun":
            live.run("insert into note values (7)")

    (copy,) = rollback(live, plan, on_step=late).copies
    assert live.value(f"select id from {copy}") == 7


def test_an_added_column_whose_table_was_renamed_later_needs_consent_and_is_copied(deployed: Deployed, rollback: Run) -> None:
    scripts = [("1", INIT), ("2", "ALTER TABLE item ADD COLUMN extra text"), ("3", "ALTER TABLE item RENAME TO thing")]
    live, plan = deployed(scripts, "insert into thing (extra) values ('precious')", count=2)
    with pytest.raises(RefusedError) as refusal:
        rollback(live, plan, accept_loss=False)
    assert refusal.value.code == "loss"
    (copy,) = rollback(live, plan).copies
    assert live.value(f"select extra from {copy}") == "precious"
    assert live.value("select count(*) from item") == 1


def test_a_loss_that_the_plan_forgot_is_found_by_identity(live: Live, plan: Plan, rollback: Run) -> None:
    forgetful = replace(plan, losses=())
    with pytest.raises(RefusedError) as refusal:
        rollback(live, forgetful, accept_loss=False)
    assert refusal.value.code == "loss"
    assert live.state() == "old"
    assert len(rollback(live, forgetful).copies) == 2


def test_a_converted_column_that_was_renamed_is_copied(deployed: Deployed, rollback: Run) -> None:
    change = "ALTER TABLE item RENAME COLUMN amount TO price; ALTER TABLE item ALTER price TYPE double precision"
    live, plan = deployed([("1", INIT), ("2", change)], "insert into item (price) values (1.12345678)")
    (copy,) = rollback(live, replace(plan, checks=())).copies  # as if no check had refused the value
    assert str(live.value(f"select price from {copy}")) == "1.12345678"
    assert str(live.value("select amount from item")) == "1.123457"


def test_copies_do_not_hold_types_domains_and_collations_back(deployed: Deployed, rollback: Run) -> None:
    change = """CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE DOMAIN word AS text CHECK (value <> '');
        CREATE COLLATION plain FROM "C"; CREATE TYPE pair AS (a int, b text);
        CREATE TABLE note (mood mood PRIMARY KEY, moods mood[], word word, text text COLLATE plain, pair pair, kind regtype);"""
    live, plan = deployed([("1", INIT), ("2", change)], "insert into note values ('bad', '{good,bad}', 'w', 't', '(1,x)', 'int4')")
    (copy,) = rollback(live, plan).copies
    assert live.value(f"select to_jsonb(c) from {copy} c") == {
        "mood": "bad", "moods": "{good,bad}", "word": "w", "text": "t", "pair": "(1,x)", "kind": "integer",
    }  # fmt: skip
    comment = live.value(f"select obj_description('{copy}'::regclass)")
    assert "mood mood" in comment and "moods mood[]" in comment


def test_a_table_without_a_key_is_copied_with_its_rows_places(deployed: Deployed, rollback: Run) -> None:
    live, plan = deployed(
        [("1", "CREATE TABLE bare (a int)"), ("2", "ALTER TABLE bare ADD COLUMN b int")], "insert into bare values (1, 2)"
    )
    (copy,) = rollback(live, plan).copies
    assert live.value(f"select to_jsonb(c) from {copy} c") == {"_ctid": "(0,1)", "b": 2}


def test_rows_that_row_security_hides_are_not_taken_for_none(deployed: Deployed, stranger: str) -> None:
    hidden = INIT + "ALTER TABLE item ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    live, plan = deployed([("1", hidden), ("2", "ALTER TABLE item ADD COLUMN extra text")], "insert into item (extra) values ('x')")
    with live.pool.connect_superuser(live.name) as connection:
        connection.execute(f'REASSIGN OWNED BY {live.pool.role} TO {stranger}; GRANT CREATE ON DATABASE "{live.name}" TO {stranger}')
    connect = as_role(live, stranger)
    with connect() as connection:
        assert connection.execute("select count(*) from item").fetchone() == (0,)
    with pytest.raises(RefusedError) as refusal:
        execute(connect, plan, accept_loss=False)
    assert refusal.value.code == "loss"
    with pytest.raises(FailedError, match="row-level security"):
        execute(connect, plan, accept_loss=True)
    with live.pool.connect_superuser(live.name) as connection:
        assert connection.execute("select extra from public.item").fetchone() == ("x",)


def test_rows_that_a_migration_only_changed_are_not_copied(deployed: Deployed, rollback: Run) -> None:
    live, plan = deployed(
        [("1", INIT), ("2", "UPDATE item SET label = 'x'; ALTER TABLE item ADD COLUMN extra text")], "insert into item (label) values ('a')"
    )
    assert rollback(live, plan).copies == {}
    assert live.value("select label from item") == "a"


def test_what_a_failed_migration_had_added_is_not_lost_either(deployed: Deployed, rollback: Run, work: Workspace) -> None:
    failing = "CREATE TABLE note (id int PRIMARY KEY); ALTER TABLE item ADD COLUMN extra text; SELECT 1 / 0;"
    live, _ = deployed(
        [("1", INIT)], "insert into item (label) values ('a'); create table note (id int primary key); insert into note values (7)"
    )
    with live.connect() as connection:
        record(connection, "2", failing, finished=False)
        plan = build_failed(work, [migration("1", INIT)], migration("2", failing), read_catalog(connection))
    with pytest.raises(RefusedError) as refusal:
        rollback(live, plan, accept_loss=False)
    assert refusal.value.code == "loss"
    (copy,) = rollback(live, plan).copies
    assert live.value(f"select id from {copy}") == 7
    assert live.value("select to_regclass('note') is null")
    assert live.value("select count(*) from _prisma_migrations") == 1
