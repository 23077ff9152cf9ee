"""How long locks would be held: what is done under them, and not more."""

from collections.abc import Callable
from statistics import median
from time import monotonic

import pytest

from tests.guard.conftest import Live
from unmigrate.catalog import observer as following
from unmigrate.catalog.observer import Observer
from unmigrate.execute.duration import looking
from unmigrate.execute.inspect import inspect
from unmigrate.execute.ways import redo_plans, rollback_plans
from unmigrate.plan.model import Plan

METADATA = 0.01  # of every table, for statements that only move it
Make = Callable[[str, str], Live]
INIT = """CREATE TABLE person (id serial PRIMARY KEY, name text NOT NULL, mood text);
CREATE TABLE note (id serial PRIMARY KEY, person_id int NOT NULL REFERENCES person ON DELETE CASCADE, body text);
CREATE TABLE log (id serial PRIMARY KEY, line text)"""
ROWS = """INSERT INTO person (name, mood) SELECT 'n' || g, repeat('m', 40) FROM generate_series(1, 20000) g;
INSERT INTO note (person_id, body) SELECT g, repeat('b', 60) FROM generate_series(1, 20000) g; ANALYZE person, note"""


def priced(it: Live, plan: Plan) -> dict[str, float]:
    with it.connect() as connection:
        return {lock.table: (lock.seconds or 0.0) - METADATA for lock in inspect(connection, plan).locks}


def deployed(live: Make, sql: str) -> dict[str, float]:
    """What a guarded deploy of this does to each table's rows, in seconds."""
    it = live(INIT, ROWS)
    return priced(it, it.guard(sql).up)


def test_looking_at_the_catalog_costs_less_than_reading_it_twice(live: Make) -> None:
    """That was added to every switch once, although it reads what changed alone."""
    more = ";".join(f"CREATE TABLE more_{n} (id serial PRIMARY KEY, a text UNIQUE, b int REFERENCES person)" for n in range(150))
    it = live(f"{INIT};{more}", "")
    up = it.guard("ALTER TABLE person DROP COLUMN mood").up
    ratios = []
    for _ in range(5):
        with it.connect() as connection:
            began = monotonic()
            observer = Observer(connection)
            reading = monotonic() - began
            ratios.append(looking(connection, observer, up, reading) / (2 * reading))
    assert median(ratios) < 1


def test_a_switch_reads_the_whole_catalog_before_its_locks_alone(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    it = live(INIT, ROWS)
    happened: list[str] = []
    whole = following.read_catalog

    def seen(*arguments: object) -> object:
        happened.append("whole reading")
        return whole(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(following, "read_catalog", seen)
    it.deploy("ALTER TABLE person DROP COLUMN mood")
    happened.clear()
    it.rollback(on_step=happened.append)
    locks = next(n for n, step in enumerate(happened) if step.startswith("locked "))
    assert happened[:locks].count("whole reading") == 1
    assert "whole reading" not in happened[locks : happened.index("committed")]
    assert it.value("SELECT count(mood) FROM person") == 20000


def test_rows_written_are_priced_by_their_number(live: Make) -> None:
    every = deployed(live, "UPDATE person SET mood = upper(mood)")["public.person"]
    half = deployed(live, "UPDATE person SET mood = upper(mood) WHERE id % 2 = 0")["public.person"]  # the planner expects 100
    one = deployed(live, "UPDATE person SET mood = upper(mood) WHERE id = 7")["public.person"]
    added = deployed(live, "WITH x AS (SELECT 1) INSERT INTO log (line) VALUES ('a'), ('b')")["public.log"]
    assert 0.6 * every > half > 0.4 * every
    assert half > 20 * one
    assert added < 0.01


def test_every_statement_counts(live: Make) -> None:
    once = deployed(live, "UPDATE person SET mood = upper(mood)")["public.person"]
    twice = deployed(live, "UPDATE person SET mood = upper(mood); UPDATE person SET name = upper(name)")["public.person"]
    assert twice > 1.8 * once


def test_what_follows_a_key_is_priced_by_the_part_that_goes(live: Make) -> None:
    every, one = (deployed(live, f"DELETE FROM person WHERE {which}")["public.note"] for which in ("id > 0", "id = 7"))
    assert every > 20 * one


def test_what_only_running_it_would_tell_is_priced_as_the_whole_table(live: Make) -> None:
    hidden = deployed(live, "DO $$ BEGIN UPDATE person SET mood = 'x' WHERE id = 7; END $$")["public.person"]
    new = deployed(live, "ALTER TABLE person ADD COLUMN a int; UPDATE person SET a = 1, mood = 'y'")["public.person"]
    every = deployed(live, "UPDATE person SET mood = upper(mood)")["public.person"]
    assert hidden > every
    assert new > 0.9 * every


def test_indexes_of_tables_named_without_their_schema_are_counted(live: Make) -> None:
    once = deployed(live, "CREATE INDEX a ON person (name)")["public.person"]
    twice = deployed(live, 'CREATE INDEX a ON person (name); CREATE INDEX b ON "person" (mood)')["public.person"]
    assert twice > 1.8 * once


def test_the_way_back_is_priced_by_the_rows_that_the_migration_changed(live: Make) -> None:
    def back(which: str) -> tuple[float, float]:
        it = live(INIT, ROWS)
        it.deploy(f"UPDATE person SET mood = upper(mood) WHERE {which}", max_lock_seconds=60)
        with it.connect() as connection:
            (plan,) = rollback_plans(connection, [it.history[-1].name])
        price = priced(it, plan)["public.person"]
        it.rollback(max_lock_seconds=60)
        with it.connect() as connection:
            (again,) = redo_plans(connection)
        return price, priced(it, again)["public.person"]

    every, one = back("id > 0"), back("id = 7")
    assert every[0] > 20 * one[0]
    assert every[1] > 20 * one[1]
