"""Between the steps before the switch and the switch: the application goes on writing, is refused nothing, and no value goes stale."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tests.guard.conftest import Live
from unmigrate.errors import EnvironmentProblem, FailedError, PartialError, RefusedError
from unmigrate.execute.rollback import finish_pending, pending
from unmigrate.park.purge import kept, purge

INIT = "CREATE TABLE t (id int PRIMARY KEY, a int, note text)"
ROWS = "INSERT INTO t SELECT g, g, 'n' FROM generate_series(1, 5) g"
TO_TEXT = "ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || '')"
COPIED = "ALTER TABLE t ADD COLUMN b text; UPDATE t SET b = a; ALTER TABLE t DROP COLUMN a"
Make = Callable[[str, str], Live]


class Stop(Exception):
    """The command is ended here, as by kill -9."""


def between(write: Callable[[], Any], at: str = "begun") -> Callable[[str], None]:
    """A hook that writes once when everything is prepared and the switch begins."""
    left = [write]

    def hook(step: str) -> None:
        if step == at and left:
            left.pop()()

    return hook


def stop(step: str) -> None:
    if step == "begun":
        raise Stop


def test_a_trigger_of_the_application_has_no_later_word(live: Make) -> None:
    """It fires after any name but ours: what it makes of a row is what the parked column follows from."""
    it = live(
        INIT + "; CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.a := NEW.a || ''0''; RETURN NEW; END'",
        ROWS,
    )
    it.deploy(
        "ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || ''); CREATE TRIGGER zzz BEFORE INSERT OR UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION twice()"
    )
    it.rollback(on_step=between(lambda: it.run("INSERT INTO t VALUES (9, '7'); UPDATE t SET a = '8' WHERE id = 1")))
    assert it.rows("SELECT id, a FROM t WHERE id IN (1, 9) ORDER BY id") == [(1, 80), (9, 70)]


def test_writes_of_a_replication_worker_are_followed_too(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy(TO_TEXT)

    def replicate() -> None:
        with it.work.pool.connect_superuser(it.name) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("UPDATE public.t SET a = '70' WHERE id = 1")

    it.rollback(on_step=between(replicate))
    assert it.value("SELECT a FROM t WHERE id = 1") == 70


@pytest.mark.parametrize("change", [TO_TEXT, COPIED], ids=["type", "copy"])
def test_a_value_that_cannot_go_back_stops_us_and_not_the_application(live: Make, change: str) -> None:
    it = live(INIT, ROWS)
    it.deploy(change)
    column = "b" if "COLUMN b" in change else "a"
    with pytest.raises(FailedError) as failure:
        it.rollback(on_step=between(lambda: it.run(f"INSERT INTO t (id, {column}) VALUES (9, 'nine')")))
    assert "no value for public.t.a can be worked out" in str(failure.value) and "nine" in str(failure.value)
    it.run(f"UPDATE t SET {column} = 'none at all' WHERE id = 1; UPDATE t SET {column} = '9' WHERE id = 9")  # nothing is refused afterwards
    with pytest.raises(FailedError):
        finish(it)
    it.run(f"UPDATE t SET {column} = '1' WHERE id = 1")
    finish(it)
    assert it.rows("SELECT id, a FROM t WHERE id IN (1, 9) ORDER BY id") == [(1, 1), (9, 9)]


def finish(it: Live) -> None:
    with it.connect() as connection:
        (waiting,) = pending(connection)
    finish_pending(it.connect, waiting.id)


def test_a_value_that_cannot_go_back_is_met_before_the_switch(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy(TO_TEXT)
    it.run("UPDATE t SET a = 'one' WHERE id = 1")
    with pytest.raises((PartialError, RefusedError)) as failure:
        it.rollback()
    assert "one" in str(failure.value)
    it.run("UPDATE t SET a = 'two' WHERE id = 2")


def test_not_null_does_not_bind_before_the_switch(live: Make) -> None:
    """Neither where a row gets no value (no default), nor where its value turns out to be NULL."""
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, c text NOT NULL)", "INSERT INTO t VALUES (1, 1, 'c')")
    it.deploy(
        "ALTER TABLE t ALTER COLUMN a DROP NOT NULL; ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || ''); ALTER TABLE t DROP COLUMN c"
    )
    with pytest.raises(RefusedError) as failure:
        it.rollback(on_step=between(lambda: it.run("INSERT INTO t (id, a) VALUES (2, NULL), (3, '3')")))
    assert "public.t.c: column c becomes NOT NULL again" in str(failure.value) and "--fill" in str(failure.value.remedy)
    it.run("INSERT INTO t (id, a) VALUES (4, NULL)")
    parked = it.value("SELECT attname FROM pg_attribute WHERE attname ~ '_old_c$'")
    it.run(f"DELETE FROM t WHERE id = 4; UPDATE t SET a = '2' WHERE id = 2; UPDATE t SET {parked} = 'new' WHERE {parked} IS NULL")
    it.rollback()
    assert it.rows("SELECT id, a, c FROM t ORDER BY id") == [(1, 1, "c"), (2, 2, "new"), (3, 3, "new")]
    with pytest.raises(psycopg.errors.NotNullViolation):
        it.run("INSERT INTO t (id, a, c) VALUES (5, NULL, 'c')")


@pytest.mark.parametrize(
    ("init", "change", "write"),
    [
        ("a int UNIQUE", "ALTER TABLE t ADD COLUMN b int; UPDATE t SET b = a; ALTER TABLE t DROP COLUMN a", "INSERT INTO t (id, b) VALUES (9, 1)"),
        (
            "a int REFERENCES other",
            "ALTER TABLE t ADD COLUMN b int; UPDATE t SET b = a; ALTER TABLE t DROP COLUMN a",
            "INSERT INTO t (id, b) VALUES (9, 999)",
        ),
        (
            "a int NOT NULL DEFAULT 3",
            "ALTER TABLE t ADD COLUMN b int; UPDATE t SET b = a; ALTER TABLE t DROP COLUMN a",
            "INSERT INTO t (id, b) VALUES (9, NULL)",
        ),
    ],
    ids=["unique", "foreign key", "not null"],
)  # fmt: skip
def test_what_is_kept_with_a_parked_column_refuses_no_row(live: Make, init: str, change: str, write: str) -> None:
    it = live(
        f"CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other SELECT generate_series(1, 5); CREATE TABLE t (id int PRIMARY KEY, {init})",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 5) g",
    )
    it.deploy(change)
    with pytest.raises(FailedError, match=r"no value for public\.t\.a can be worked out"):
        it.rollback(on_step=between(lambda: it.run(write)))
    assert it.value("SELECT count(*) FROM t") == 6
    it.run("DELETE FROM t WHERE id = 9")
    finish(it)
    assert it.rows("SELECT id, a FROM t ORDER BY id") == [(g, g) for g in range(1, 6)]


@pytest.mark.parametrize("allowed", [True, False])
def test_triggers_of_the_application_do_not_alter_rows_that_are_filled(live: Make, allowed: bool) -> None:
    """A row keeps its time of change. Where the role may set session_replication_role, no trigger fires at all; else an AFTER trigger does."""
    it = live(
        "CREATE TABLE t (id int PRIMARY KEY, a int, at int DEFAULT 0); CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN NEW.at := NEW.at + 1; RETURN NEW; END'; CREATE TABLE log (n int); CREATE FUNCTION logged() RETURNS trigger LANGUAGE plpgsql "
        "AS 'BEGIN INSERT INTO log VALUES (NEW.id); RETURN NULL; END'; CREATE TRIGGER zz BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch(); "
        "CREATE TRIGGER logged AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION logged()",
        "INSERT INTO t SELECT g, g FROM generate_series(1, 5) g",
    )
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || '')")
    it.run("UPDATE t SET a = '7' WHERE id < 3")
    before, logged = it.rows("SELECT id, at FROM t ORDER BY id"), it.value("SELECT count(*) FROM log")
    with it.work.pool.server.connect() as admin:
        if allowed:
            admin.execute(f"GRANT SET ON PARAMETER session_replication_role TO {it.work.pool.role}")
        try:
            it.rollback()
        finally:
            if allowed:
                admin.execute(f"REVOKE SET ON PARAMETER session_replication_role FROM {it.work.pool.role}")
    assert it.rows("SELECT id, at FROM t ORDER BY id") == before
    assert it.value("SELECT count(*) FROM log") == logged + (0 if allowed else 2)
    assert it.rows("SELECT a FROM t WHERE id < 3") == [(7,), (7,)]


def test_what_a_killed_preparation_left_is_purged_first(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, note text)", ROWS)
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || '')")
    with pytest.raises(Stop):
        it.rollback(on_step=stop)
    written: list[str] = []

    def write(step: str) -> None:
        it.run(f"INSERT INTO t (id, a) VALUES ({10 + len(written)}, '{len(written)}')")
        written.append(step)

    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard, on_step=write)
        assert pending(connection) == ()
    assert len(written) > 3
    it.run("INSERT INTO t (id, a) VALUES (9, 'nine')")
    assert it.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname !~ '^_unmigrate_'") == 0
    assert it.value("SELECT count(*) FROM pg_constraint WHERE conname ~ 'unmigrate'") == 0


def test_a_refusal_after_the_preparation_leaves_no_trigger(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int, c text NOT NULL)", "INSERT INTO t VALUES (1, 1, 'c')")
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || ''); ALTER TABLE t DROP COLUMN c")
    with pytest.raises(RefusedError):
        it.rollback(on_step=between(lambda: it.run("INSERT INTO t VALUES (2, '2')")))
    assert it.value("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname !~ '^_unmigrate_'") == 0


def test_purge_waits_for_a_deploy(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy("ALTER TABLE t DROP COLUMN note")
    with it.connect() as other, it.connect() as connection:
        other.execute("select pg_advisory_lock(72707369)")
        (one,) = kept(connection)
        with pytest.raises(EnvironmentProblem) as problem:
            purge(connection, one.guard, wait_seconds=0.2)
        assert problem.value.code == "deploy-lock"
    it.rollback()  # its way is still there


def test_a_purge_leaves_what_is_not_finished(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL)", "INSERT INTO t VALUES (1, 1)")
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || '')")

    def stop_after(step: str) -> None:
        if step == "committed":
            raise Stop

    with pytest.raises(Stop):
        it.rollback(on_step=stop_after)
    with it.connect() as connection:
        (one,) = kept(connection)
        with pytest.raises(RefusedError) as refusal:
            purge(connection, one.guard)
    assert refusal.value.code == "unfinished"
    finish(it)
    assert it.value("SELECT attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'a'")
    with it.connect() as connection:
        purge(connection, one.guard)


def test_not_null_returns_under_no_lock(live: Make) -> None:
    """While the table is read for it, everybody writes."""
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL)", "INSERT INTO t SELECT g, g FROM generate_series(1, 50) g")
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text || '')")
    seen: list[str] = []

    def write(step: str) -> None:
        if step.startswith("finish") and step.endswith("ran"):
            seen.append(step)
            if len(seen) == 1:  # validated, not committed
                with it.connect() as connection:
                    connection.execute("SET lock_timeout = 500")
                    connection.execute("UPDATE t SET a = 2 WHERE id = 1; INSERT INTO t (id, a) VALUES (99, 1)")
                    with pytest.raises(psycopg.errors.CheckViolation):
                        connection.execute("INSERT INTO t (id, a) VALUES (98, NULL)")

    it.rollback(on_step=write)
    assert len(seen) == 2
    assert it.value("SELECT attnotnull FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'a'")


def test_expressions_mean_the_same_under_any_search_path(live: Make) -> None:
    """A function that only the project's search_path finds: the way forward again uses it in a trigger that searches nothing."""
    it = live("CREATE FUNCTION doubled(int) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1 * 2)::text'; " + INIT, ROWS)
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text USING (doubled(a))")
    it.rollback()
    it.redo(on_step=between(lambda: it.run("INSERT INTO t (id, a, note) VALUES (9, 21, 'x')")))
    assert it.value("SELECT a FROM t WHERE id = 9") == "42"
