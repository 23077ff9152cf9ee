"""What a way does before and after its locks: under them no table is read for an index, a foreign key, a check or NOT NULL."""

from collections.abc import Callable

import psycopg
import pytest

from tests.guard.conftest import Live
from tests.guard.test_preparation import between, finish
from unmigrate.errors import PartialError, RefusedError
from unmigrate.execute.inspect import inspect
from unmigrate.execute.rollback import execute
from unmigrate.execute.ways import rollback_plans
from unmigrate.plan.model import Plan
from unmigrate.plan.ways_out import Decisions, decided

INIT = """CREATE TABLE p (id int PRIMARY KEY);
CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL, n int, p int, CONSTRAINT t_n CHECK (n > 0), CONSTRAINT t_p FOREIGN KEY (p) REFERENCES p);
CREATE INDEX t_a ON t (a); CREATE INDEX t_low ON t (lower(a) DESC, n) WHERE n > 5;
CREATE TABLE child (id int PRIMARY KEY, t int NOT NULL REFERENCES t);"""
ROWS = """INSERT INTO p SELECT generate_series(1, 3); INSERT INTO t SELECT g, 'a' || g, g, 1 + g % 3 FROM generate_series(1, 20) g;
INSERT INTO child SELECT g, g FROM generate_series(1, 9) g"""
Make = Callable[[str, str], Live]
CHANGES = {
    "an index": "DROP INDEX t_a; DROP INDEX t_low",
    "a foreign key": "ALTER TABLE t DROP CONSTRAINT t_p",
    "a check": "ALTER TABLE t DROP CONSTRAINT t_n",
    "not null": "ALTER TABLE t ALTER COLUMN a DROP NOT NULL",
    "a column": "DROP INDEX t_low; ALTER TABLE t DROP COLUMN n, DROP COLUMN p",
    "a table": "DROP TABLE child",
    "a type": "ALTER TABLE t ALTER COLUMN n TYPE text USING ('n' || n)",
    "a name": "ALTER TABLE t RENAME COLUMN a TO b; DROP INDEX t_a; ALTER TABLE t RENAME TO u; CREATE INDEX u_p ON u (p)",
}
UNCHECKED = INIT.replace("CONSTRAINT t_n CHECK (n > 0), ", "")
INIT_OF = {"a column": UNCHECKED, "a type": UNCHECKED.replace(", n) WHERE n > 5", ")") + "CREATE INDEX t_n2 ON t (n);"}


def rolled_back(it: Live, decisions: Decisions) -> None:
    with it.connect() as connection:
        plans = rollback_plans(connection, [it.history[-1].name])
    (plan,) = decided(plans or [], decisions)
    execute(it.connect, plan, accept_loss=False)


def heavy(plan: Plan | None) -> list[str]:
    assert plan is not None
    words = ("CREATE INDEX", "CREATE UNIQUE INDEX", "SET NOT NULL", "FOREIGN KEY", "CHECK (", "VALIDATE")
    found = [s.sql for s in plan.steps if s.phase == "switch" and any(w in s.sql for w in words)]
    return [sql for sql in found if not sql.endswith("NOT VALID")]


@pytest.mark.parametrize("name", CHANGES)
def test_no_table_is_read_under_the_locks(live: Make, name: str) -> None:
    it = live(INIT_OF.get(name, INIT), ROWS)
    shape = it.shape()
    it.deploy(CHANGES[name])
    deployed = it.shape()
    one = it.guarded[-1]
    assert one.back and one.again
    for plan, wanted, move in ((one.back, shape, it.rollback), (one.again, deployed, it.redo)):
        assert heavy(plan) == []
        assert {lock.work for lock in plan.locks} == {"metadata"}
        move()
        assert it.shape() == wanted
    it.rollback()
    assert it.shape() == shape
    assert it.value("SELECT count(*) FROM pg_class c JOIN pg_index ON indexrelid = c.oid WHERE relname ~ '_built_' OR NOT indisvalid") == 0


def test_everybody_writes_while_an_index_is_built_and_it_has_what_they_wrote(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy("DROP INDEX t_a")
    seen: list[str] = []

    def write(step: str) -> None:
        if step.startswith(("prepare", "begun")):
            seen.append(step)
            it.run(f"SET lock_timeout = 500; INSERT INTO t (id, a, n, p) VALUES ({100 + len(seen)}, 'new', 7, 1)")

    it.rollback(on_step=write)
    assert "begun" in seen and len(seen) > 2
    found = "SELECT count(*) FROM t WHERE a = 'new'"
    with it.connect() as connection:
        connection.execute("SET enable_seqscan = off")
        assert "t_a" in str(connection.execute(f"EXPLAIN {found}").fetchall())
        assert connection.execute(found).fetchone() == (len(seen),)


def test_who_keeps_an_index_waiting_is_told(live: Make) -> None:
    """Its build waits for every older writer of the table, however long that takes."""
    it = live(INIT, ROWS)
    it.deploy("DROP INDEX t_a")
    with it.connect() as writer:
        writer.execute("BEGIN; UPDATE t SET n = 8 WHERE id = 1")
        said: list[str] = []

        def on_progress(line: str) -> None:
            said.append(line)
            if line.startswith("waiting for pid"):
                writer.execute("COMMIT")

        it.rollback(on_progress=on_progress)
        assert [line for line in said if line.startswith(f"waiting for pid {writer.info.backend_pid} ")]


def test_a_row_that_comes_before_the_locks_is_met_after_them(live: Make) -> None:
    """The switch stands: what is left is said, and done once the row is put right."""
    it = live(INIT, ROWS)
    it.deploy(CHANGES["a foreign key"])
    with pytest.raises(PartialError) as failure:
        it.rollback(on_step=between(lambda: it.run("INSERT INTO t (id, a, n, p) VALUES (99, 'x', 1, 77)")))
    assert "t_p" in str(failure.value)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        it.run("INSERT INTO t (id, a, n, p) VALUES (98, 'x', 1, 77)")
    it.run("DELETE FROM t WHERE id = 99")
    finish(it)
    assert it.value("SELECT convalidated FROM pg_constraint WHERE conname = 't_p'")


def test_a_value_that_a_person_gave_is_checked_before_anything_is_committed(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy("ALTER TABLE t DROP CONSTRAINT t_p, ALTER COLUMN p SET DEFAULT 77")
    it.run("INSERT INTO t (id, a, n) VALUES (99, 'x', 1)")
    with pytest.raises(RefusedError) as refusal:
        rolled_back(it, Decisions(fill={"public.t.t_p": "78"}))
    assert "t_p" in str(refusal.value)
    rolled_back(it, Decisions(set_null=("public.t.t_p",)))
    assert it.rows("SELECT p FROM t WHERE id = 99") == [(None,)]


def test_what_was_written_while_an_index_was_built_is_met_before_the_switch(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy("ALTER TABLE t DROP CONSTRAINT t_p; DROP INDEX t_a")
    with pytest.raises(RefusedError) as refusal:
        it.rollback(on_step=between(lambda: it.run("INSERT INTO t (id, a, n, p) VALUES (99, 'x', 1, 77)"), at="prepare 0 begins"))
    assert refusal.value.code == "blocked"
    assert it.value("SELECT count(*) FROM pg_class WHERE relname ~ '_built_'") == 0


def test_a_check_that_rows_written_since_cannot_meet_is_asked_for(live: Make) -> None:
    """The parked columns are empty in them."""
    it = live(INIT.replace("CHECK (n > 0)", "CHECK (n IS NOT NULL OR p IS NOT NULL)"), ROWS)
    it.deploy("ALTER TABLE t DROP COLUMN n, DROP COLUMN p")
    it.run("INSERT INTO t (id, a) VALUES (99, 'x')")
    with pytest.raises(RefusedError):
        it.rollback()
    it.run("DELETE FROM t WHERE id = 99")
    it.rollback()


@pytest.mark.parametrize("row", ["(99, 'x', 1, 77)", "(99, NULL, 1, 1)", "(99, 'x', -1, 1)"])
def test_rows_that_break_it_are_met_before_anything_is_touched(live: Make, row: str) -> None:
    it = live(INIT, ROWS)
    it.deploy(";".join(CHANGES[name] for name in ("a foreign key", "a check", "not null")))
    it.run(f"INSERT INTO t (id, a, n, p) VALUES {row}")
    with pytest.raises(RefusedError) as refusal:
        it.rollback()
    assert refusal.value.code == "blocked"
    it.run("DELETE FROM t WHERE id = 99")
    it.rollback()


def test_a_refusal_after_the_preparation_leaves_no_index(live: Make) -> None:
    it = live(INIT + "CREATE UNIQUE INDEX t_u ON t (n);", ROWS)
    it.deploy("DROP INDEX t_a, t_u")
    with pytest.raises(RefusedError):
        it.rollback(on_step=between(lambda: it.run("INSERT INTO t (id, a, n, p) VALUES (99, 'x', 1, 1)")))
    assert it.value("SELECT count(*) FROM pg_class WHERE relname ~ '_built_'") == 0
    it.run("DELETE FROM t WHERE id = 99")
    it.rollback()


def test_an_index_that_needs_what_returns_with_it_is_built_in_the_switch(live: Make) -> None:
    it = live(
        f"CREATE FUNCTION f(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1 || $1'; {INIT} CREATE INDEX t_f ON t (f(a))", ROWS
    )
    shape = it.shape()
    it.deploy("DROP INDEX t_a, t_f; DROP FUNCTION f")
    it.rollback()
    assert it.shape() == shape
    it.redo()


@pytest.mark.parametrize("change", ["DROP CONSTRAINT t_a_key", "DROP COLUMN b"])
def test_what_is_still_read_under_the_locks_is_priced(live: Make, change: str) -> None:
    """A unique index would refuse rows before the switch, and be missed after it; a NOT NULL column that new rows leave empty would often
    be found out only after it.
    """
    init = "CREATE TABLE t (id int PRIMARY KEY, a text UNIQUE, b text NOT NULL)"
    it = live(init, "INSERT INTO t SELECT g, repeat('x', 500) || g, 'b' FROM generate_series(1, 5000) g")
    it.deploy(f"ALTER TABLE t {change}")
    plan = it.guarded[-1].back
    assert plan is not None
    with it.connect() as connection:
        lock = next(lock for lock in inspect(connection, plan).locks if lock.table == "public.t")
    assert lock.work == "scan" and lock.seconds and lock.seconds > 0.01
