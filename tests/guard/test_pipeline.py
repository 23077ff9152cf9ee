"""`unmigrate guard` around a migration that somebody else runs, as `prisma migrate deploy` runs it, with an application that writes."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.forked import dying, exit_of
from tests.guard.around import INIT, ROWS, arm, finish, leave_as_it_was, prepared, prisma_deploy, triggers
from tests.guard.conftest import Live
from unmigrate.errors import RefusedError
from unmigrate.execute import pipeline
from unmigrate.execute.rollback import execute
from unmigrate.execute.ways import rollback_plans
from unmigrate.guard.ahead import guards
from unmigrate.park.armed import Guard, armed
from unmigrate.plan.ways_out import Decisions, decided

Make = Callable[[str, str], Live]


def leftovers(it: Live) -> list[Any]:
    sql = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname ~ '^unmigrate_' AND relkind = 'r'"
    return sorted(name for (name,) in it.rows(sql) if name.startswith(("log_", "base_")))


def test_a_dropped_column_returns_with_what_was_written_in_every_phase(live: Make) -> None:
    it = live(INIT, ROWS)
    before = it.shape()
    arm(it, "ALTER TABLE t DROP COLUMN a")
    it.run("UPDATE t SET a = 111 WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (21, 210, 'b21', 'c21')")
    it.run("UPDATE t SET id = 100 WHERE id = 3; UPDATE t SET a = 5, id = 200 WHERE id = 4")
    prisma_deploy(it)
    it.run("UPDATE t SET b = 'new' WHERE id = 5; DELETE FROM t WHERE id = 6; INSERT INTO t VALUES (22, 'b22', 'c22')")
    it.run("DELETE FROM t WHERE id = 7; INSERT INTO t VALUES (7, 'another', 'person')")
    (done,) = finish(it)
    assert done.state == "done"
    assert triggers(it) == 0
    assert leftovers(it) == []
    it.run("UPDATE t SET b = 'later' WHERE id = 8")
    it.rollback()
    assert it.shape() == before
    kept = dict(it.rows("SELECT id, a FROM t"))
    expected = {g: g * 10 for g in range(8, 21)} | {1: 111, 5: 50, 21: 210, 100: 30, 200: 5, 22: 7, 7: 7}
    assert kept == expected
    assert it.rows("SELECT b FROM t WHERE id IN (5, 7, 8) ORDER BY id") == [("new",), ("another",), ("later",)]


def test_a_dropped_table_returns_as_it_was_when_it_was_dropped(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "DROP TABLE t")
    it.run("UPDATE t SET b = 'x' WHERE id = 1; DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (30, 1, 'y', 'z')")
    prisma_deploy(it)
    finish(it)
    it.rollback()
    assert it.value("SELECT count(*) FROM t") == 20
    assert it.rows("SELECT id, b FROM t WHERE id IN (1, 2, 30) ORDER BY id") == [(1, "x"), (30, "y")]


def test_values_that_the_migration_changed_return_unless_edited_since(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "UPDATE t SET b = upper(b) WHERE id <= 10; DELETE FROM t WHERE id > 18; INSERT INTO t VALUES (50, 1, 'made', 'made')")
    it.run("UPDATE t SET b = 'before' WHERE id = 1")
    prisma_deploy(it)
    it.run("UPDATE t SET b = 'edited' WHERE id = 2; UPDATE t SET c = 'edited' WHERE id = 3; INSERT INTO t VALUES (60, 1, 'app', 'app')")
    finish(it)
    it.rollback()
    assert it.rows("SELECT id, b, c FROM t WHERE id IN (1, 2, 3, 4, 19, 50, 60) ORDER BY id") == [
        (1, "before", "c1"), (2, "edited", "c2"), (3, "b3", "edited"), (4, "b4", "c4"), (19, "b19", "c19"), (60, "app", "app"),
    ]  # fmt: skip


def test_a_type_change_that_loses_returns_what_it_lost(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, n numeric, c text)", "INSERT INTO t SELECT g, g + 0.5, 'c' FROM generate_series(1, 9) g")
    arm(it, "ALTER TABLE t ALTER COLUMN n TYPE int USING floor(n)")
    it.run("UPDATE t SET n = 77.25 WHERE id = 1")
    prisma_deploy(it)
    it.run("UPDATE t SET c = 'touched' WHERE id = 2; UPDATE t SET n = 1000 WHERE id = 3; INSERT INTO t VALUES (10, 10, 'c')")
    it.run("UPDATE t SET n = 5 WHERE id = 4; UPDATE t SET n = 4 WHERE id = 4")
    finish(it)
    it.rollback()
    found = {i: float(n) for i, n in it.rows("SELECT id, n FROM t")}
    assert found == {1: 77.25, 2: 2.5, 3: 1000.0, 4: 4.5, 5: 5.5, 6: 6.5, 7: 7.5, 8: 8.5, 9: 9.5, 10: 10.0}


def test_truncates_of_both_sides(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "TRUNCATE t")
    it.run("TRUNCATE t; INSERT INTO t VALUES (1, 1, 'only', 'one')")
    prisma_deploy(it)
    finish(it)
    it.rollback()
    assert it.rows("SELECT * FROM t") == [(1, 1, "only", "one")]
    arm(it, "ALTER TABLE t DROP COLUMN b")
    it.run("TRUNCATE t; INSERT INTO t VALUES (2, 2, 'two', 'two')")
    prisma_deploy(it)
    it.run("TRUNCATE t; INSERT INTO t VALUES (2, 2, 'another')")
    finish(it)
    it.rollback()
    assert it.rows("SELECT id, b FROM t") == [(2, None)]


@pytest.mark.parametrize("statements", [False, True])
def test_an_engine_that_runs_statement_by_statement(live: Make, statements: bool) -> None:
    """Between them the application writes, and what it meets was made by the migration."""
    it = live(INIT, ROWS)
    arm(it, "UPDATE t SET b = upper(b); ALTER TABLE t DROP COLUMN b; UPDATE t SET c = c || '!'")
    calls: list[int] = []

    def write() -> None:
        calls.append(1)
        if statements:
            it.run(f"UPDATE t SET a = {len(calls)} WHERE id = 1; INSERT INTO t (id, a) VALUES ({100 + len(calls)}, 0)")

    prisma_deploy(it, between=write, statements=statements)
    finish(it)
    it.rollback()
    rows = it.rows("SELECT id, b, c FROM t WHERE id <= 20 ORDER BY id")
    assert rows == [(g, f"b{g}", f"c{g}") for g in range(1, 21)]
    assert it.value("SELECT count(*) FROM t WHERE id > 100") == (3 if statements else 0)


def test_a_name_used_again_is_not_mistaken_for_the_old_column(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0")
    prisma_deploy(it)
    it.run("UPDATE t SET a = 999 WHERE id <= 5; UPDATE t SET b = 'x'")
    finish(it)
    with pytest.raises(RefusedError, match=r"^5 rows block"):
        it.rollback()
    leave_as_it_was(it)
    it.rollback()
    assert it.rows("SELECT id, a FROM t ORDER BY id") == [(g, g * 10) for g in range(1, 21)]


def test_an_old_transaction_that_saw_nothing_of_it(live: Make) -> None:
    """REPEATABLE READ: its catalog queries show the column as if it were there."""
    it = live(INIT, ROWS)
    arm(it, "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a int NOT NULL DEFAULT 0")
    with it.connect() as old:
        old.autocommit = False
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT 1 FROM pg_class LIMIT 1")
        prisma_deploy(it)
        old.execute("INSERT INTO t (id, a, b, c) VALUES (40, 40, 'b', 'c')")
        old.commit()
    finish(it)
    leave_as_it_was(it)
    it.rollback()
    assert it.value("SELECT a FROM t WHERE id = 3") == 30


def test_an_enum_that_loses_a_label(live: Make) -> None:
    it = live(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy'); CREATE TABLE t (id int PRIMARY KEY, m mood NOT NULL DEFAULT 'ok')",
        "INSERT INTO t SELECT g, (ARRAY['sad', 'ok', 'happy'])[1 + g % 3]::mood FROM generate_series(1, 9) g",
    )
    before = it.shape()
    arm(
        it,
        "UPDATE t SET m = 'ok' WHERE m = 'sad'; CREATE TYPE mood_new AS ENUM ('ok', 'happy'); ALTER TABLE t ALTER COLUMN m DROP DEFAULT; "
        "ALTER TABLE t ALTER COLUMN m TYPE mood_new USING m::text::mood_new; ALTER TYPE mood RENAME TO mood_old; "
        "ALTER TYPE mood_new RENAME TO mood; DROP TYPE mood_old; ALTER TABLE t ALTER COLUMN m SET DEFAULT 'ok'",
    )
    it.run("UPDATE t SET m = 'sad' WHERE id = 1")
    prisma_deploy(it)
    it.run("UPDATE t SET m = 'happy' WHERE id = 3; INSERT INTO t VALUES (10, 'happy')")
    finish(it)
    it.rollback()
    assert it.shape() == before
    labels = dict(it.rows("SELECT id, m::text FROM t"))
    plain = {g: ("sad", "ok", "happy")[g % 3] for g in range(1, 10)}
    assert labels == plain | {1: "sad", 3: "happy", 10: "happy"}


def test_a_writer_that_never_stops_is_never_refused_and_loses_nothing(live: Make) -> None:
    it = live(INIT, ROWS)
    stop, written, failed = threading.Event(), {}, []

    def write() -> None:
        number = 1000
        with it.connect() as connection:
            while not stop.is_set():
                number += 1
                try:
                    connection.execute("INSERT INTO t (id, b) VALUES (%s, 'w')", [number])
                    connection.execute("UPDATE t SET b = %s WHERE id = 1", [f"b{number}"])
                    written[number] = "w"
                except psycopg.Error as error:
                    failed.append(error)
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        arm(it, "ALTER TABLE t DROP COLUMN a; UPDATE t SET c = 'changed' WHERE id = 5")
        prisma_deploy(it)
        finish(it)
        it.rollback()
    finally:
        stop.set()
        writer.join()
    assert not failed
    assert len(written) > 50
    assert {i for (i,) in it.rows("SELECT id FROM t WHERE id > 1000")} == set(written)
    assert it.rows("SELECT a, c FROM t WHERE id IN (5, 6) ORDER BY id") == [(50, "c5"), (60, "c6")]


def test_rows_written_since_need_a_value_where_it_may_not_be_missing(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int)", "INSERT INTO t SELECT g, g, g FROM generate_series(1, 5) g")
    before = it.shape()
    arm(it, "ALTER TABLE t DROP COLUMN a")
    prisma_deploy(it)
    it.run("INSERT INTO t VALUES (6, 60)")
    finish(it)
    it.run("INSERT INTO t VALUES (7, 70)")
    with it.connect() as connection:
        (plan,) = rollback_plans(connection, [it.history[-1].name]) or []
    with pytest.raises(RefusedError, match=r"2 rows block: public\.t\.a"):
        execute(it.connect, plan, accept_loss=False)
    (plan,) = decided([plan], Decisions(fill={"t.a": "b + 1"}))
    execute(it.connect, plan, accept_loss=False)
    assert it.shape() == before
    assert it.rows("SELECT id, a FROM t ORDER BY id") == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 61), (7, 71)]


# what must be refused


def test_not_deployed_yet_it_waits_and_can_be_armed_anew_or_abandoned(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "ALTER TABLE t DROP COLUMN a")
    (waiting,) = finish(it)
    assert waiting.state == "armed"
    it.history.pop()
    arm(it, "ALTER TABLE t DROP COLUMN a")
    with it.connect() as connection:
        assert len(armed(connection)) == 1
    assert pipeline.abandon(it.connect, accept_loss=False) == (it.history[-1].name,)
    assert triggers(it) == 0
    assert it.rows("SELECT nspname FROM pg_namespace WHERE nspname ~ '^unmigrate_[0-9a-f]{6}'") == []


def test_what_was_deployed_is_neither_abandoned_nor_armed_over(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "ALTER TABLE t DROP COLUMN a")
    prisma_deploy(it)
    with pytest.raises(RefusedError, match="was run since"):
        pipeline.abandon(it.connect, accept_loss=False)
    found = prepared(it, "ALTER TABLE t DROP COLUMN b")
    with it.connect() as connection:
        ready = guards(connection, found, it.work.schema)
    with pytest.raises(RefusedError, match="waits to be finished"):
        pipeline.arm(it.connect, ready)
    with pytest.raises(RefusedError, match="a guard waits"):
        it.deploy("ALTER TABLE t DROP COLUMN c")
    it.history = it.history[:2]
    finish(it)
    it.rollback()
    assert it.value("SELECT a FROM t WHERE id = 9") == 90


def child(conninfo: str, ready: list[Guard], kind: str, victim: int) -> None:
    """The command, until it is killed."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)

    if kind == "guard":
        pipeline.arm(connect, ready, on_step=dying(victim))
    else:
        pipeline.finish(connect, on_step=dying(victim))


@pytest.mark.parametrize("kind", ["guard", "finish"])
def test_killed_at_every_boundary_it_is_run_again_and_nothing_is_lost(live: Make, kind: str) -> None:
    it = live(INIT, ROWS)
    found = prepared(it, "ALTER TABLE t DROP COLUMN a; UPDATE t SET b = upper(b)")
    with it.connect() as connection:
        ready = guards(connection, found, it.work.schema)
    if kind == "finish":
        pipeline.arm(it.connect, ready)
        it.run("UPDATE t SET a = 1 WHERE id = 1")
        prisma_deploy(it)
    template, names = it.work.pool.clone(it.name), list[str]()
    if kind == "guard":
        pipeline.arm(it.connect, ready, on_step=names.append)
    else:
        finish(it, on_step=names.append)
    assert len(names) >= 5
    for number, name in enumerate(names):
        victim = replace(it, name=it.work.pool.clone(template))
        assert exit_of(child, it.work.pool.conninfo(victim.name), ready, kind, number) == -9, name
        if kind == "guard":
            pipeline.arm(victim.connect, ready)
            victim.run("UPDATE t SET a = 1 WHERE id = 1")
            prisma_deploy(victim)
        victim.run("UPDATE t SET c = 'since' WHERE id = 2; DELETE FROM t WHERE id = 4; INSERT INTO t VALUES (4, 'another', 'row')")
        finish(victim)
        assert (triggers(victim), leftovers(victim)) == (0, [])
        victim.rollback()
        rows = victim.rows("SELECT a, b, c FROM t WHERE id IN (1, 2, 3, 4) ORDER BY id")
        assert rows == [(1, "b1", "c1"), (20, "b2", "since"), (30, "b3", "c3"), (7, "another", "row")], f"killed at {name}"
        it.work.pool.drop(victim.name)
    it.work.pool.drop(template)


def test_nobody_else_may_read_or_call_what_it_leaves(live: Make) -> None:
    it = live(INIT, ROWS)
    it.run("CREATE ROLE stranger; GRANT INSERT, UPDATE, DELETE, SELECT ON t TO stranger")
    it.run("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC")
    try:
        arm(it, "ALTER TABLE t DROP COLUMN a")
        schema = it.value("SELECT nspname FROM pg_namespace WHERE nspname ~ '^unmigrate_[0-9a-f]{6}$'")
        it.run("SET ROLE stranger; UPDATE t SET a = 3 WHERE id = 3; INSERT INTO t VALUES (77, 77, 'b', 'c')")
        for sql in (f"SELECT * FROM {schema}.log_1", f"SELECT * FROM {schema}.base_1", f"SELECT {schema}.who()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                it.run(f"SET ROLE stranger; {sql}")
        prisma_deploy(it)
        finish(it)
        it.rollback()
        assert it.rows("SELECT id, a FROM t WHERE id IN (3, 77) ORDER BY id") == [(3, 3), (77, 77)]
    finally:
        it.run("DROP OWNED BY stranger; DROP ROLE stranger; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC")


REDONE = {
    "a column": ("ALTER TABLE t DROP COLUMN a", "SELECT id, a FROM t ORDER BY id"),
    "a table": ("DROP TABLE t", "SELECT id, a FROM t ORDER BY id"),
    "a type": ("ALTER TABLE t ALTER COLUMN b TYPE int USING (length(b))", "SELECT id, b FROM t ORDER BY id"),
}


@pytest.mark.parametrize("name", REDONE)
def test_a_redo_copies_anew_what_goes_again(live: Make, name: str) -> None:
    """With what was written while it was rolled back."""
    sql, seen = REDONE[name]
    it = live(INIT, ROWS)
    before = it.shape()
    arm(it, sql)
    prisma_deploy(it)
    finish(it)
    above = it.shape()
    it.rollback()
    it.run("UPDATE t SET a = 77, b = 'edited' WHERE id = 2; DELETE FROM t WHERE id = 3; INSERT INTO t (id, a, b) VALUES (40, 4, 'forty')")
    wanted = it.rows(seen)
    it.redo()
    assert it.shape() == above
    it.rollback()
    assert (it.shape(), it.rows(seen)) == (before, wanted)
