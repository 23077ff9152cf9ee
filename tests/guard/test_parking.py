"""What could go wrong with parked things, one by one: the case is provoked, and met by a remedy or by a refusal with its reason."""

from collections.abc import Callable

import psycopg
import pytest

from tests.guard.conftest import Live
from unmigrate.errors import FailedError, RefusedError, UnmigrateError
from unmigrate.execute.deploy import deploy
from unmigrate.park.purge import kept, purge

Make = Callable[[str, str], Live]
T = "CREATE TABLE t (id int PRIMARY KEY, a text, b text)"
ROWS = "INSERT INTO t SELECT g, 'a' || g, 'b' || g FROM generate_series(1, 4) g"
DROP_A = "ALTER TABLE t DROP COLUMN a"
A = "SELECT id, a FROM t ORDER BY id"


def purge_all(it: Live) -> None:
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)


def test_positional_writes_see_the_hidden_column_until_the_purge(live: Make) -> None:
    """Prisma names its columns; who does not must be told (docs/deploy.md), and is right again after the purge."""
    it = live(T, ROWS)
    it.deploy(DROP_A)
    it.run("INSERT INTO t VALUES (9, 'meant for b')")
    assert it.rows("SELECT b FROM t WHERE id = 9") == [(None,)]
    purge_all(it)
    it.run("INSERT INTO t VALUES (10, 'b10')")
    assert it.rows("SELECT b FROM t WHERE id = 10") == [("b10",)]


def test_a_function_of_the_new_row_type_is_still_right(live: Make) -> None:
    """It is made by the migration that drops the column: whether it fits the table with the parked column shows on scratch."""
    it = live(T, ROWS)
    one = it.guard(DROP_A + "; CREATE FUNCTION all_t() RETURNS SETOF t LANGUAGE sql AS 'SELECT id, b FROM t'")
    assert one.back is None
    assert [loss.object for loss in one.losses] == ["public.t.a"]
    assert "return type mismatch" in one.why


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("CREATE VIEW v AS SELECT a FROM t", "view v"),
        ("CREATE POLICY p ON t USING (a = 'x')", "policy p on table t"),
        ("ALTER TABLE t ADD COLUMN g text GENERATED ALWAYS AS (a || 'x') STORED", ""),
        ("CREATE TRIGGER g BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "trigger g on table t"),
        (
            "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.a <> NEW.a) EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            "trigger g on table t",
        ),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT a FROM t LIMIT 1; END", "function f()"),
        ("ALTER TABLE t ADD CHECK (a <> 'z')", ""),
        ("CREATE STATISTICS s ON a, b FROM t", "statistics object s"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_nothing_goes_on_reading_a_parked_column(live: Make, made: str, told: str) -> None:
    """Where no migration made it, a drop would fail or take it along: nothing is deployed. Where one made it, it goes as it would."""
    it = live(T, ROWS)
    it.run(made)
    with pytest.raises((FailedError, RefusedError)) as refusal:
        it.deploy(DROP_A)
    assert told in str(refusal.value)
    assert it.rows(A)[0] == (1, "a1")
    other = live(f"{T}; {made}", ROWS)
    shape = other.shape()
    other.deploy(f"{DROP_A} CASCADE")
    assert other.shape() != shape
    other.rollback()
    assert (other.shape(), other.rows(A)[0]) == (shape, (1, "a1"))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("CREATE VIEW v AS SELECT a FROM t", "view v"),
        ("CREATE FUNCTION f() RETURNS text LANGUAGE sql BEGIN ATOMIC SELECT a FROM t LIMIT 1; END", "function f()"),
        ("CREATE TABLE x (t int REFERENCES t)", "constraint x_t_fkey on table x"),
        ("CREATE TABLE x (t t)", "column t of table x"),
    ],
    ids=lambda value: str(value)[:24],
)  # fmt: skip
def test_nothing_goes_on_reading_a_parked_table(live: Make, made: str, told: str) -> None:
    it = live(T, ROWS)
    it.run(made)
    with pytest.raises(FailedError) as failure:
        it.deploy("DROP TABLE t")
    assert told in str(failure.value)
    assert it.rows(A)[0] == (1, "a1")


def test_what_bound_the_column_binds_no_longer(live: Make) -> None:
    """CHECK, NOT NULL, unique (with or without NULLS DISTINCT), partial and expression indexes, and the primary key."""
    it = live(
        "CREATE TABLE t (id int NOT NULL, a text NOT NULL CHECK (a <> ''), b text, c text, d int GENERATED ALWAYS AS IDENTITY, "
        "e text GENERATED ALWAYS AS (upper(c)) STORED, PRIMARY KEY (id, a)); CREATE UNIQUE INDEX u1 ON t (a); "
        "CREATE UNIQUE INDEX u2 ON t (c) NULLS NOT DISTINCT; CREATE UNIQUE INDEX u3 ON t (b) WHERE c IS NULL; "
        "CREATE UNIQUE INDEX u4 ON t ((coalesce(c, 'none')))",
        "INSERT INTO t (id, a, b, c) SELECT g, 'a' || g, 'b' || g, 'c' || g FROM generate_series(1, 4) g",
    )
    shape = it.shape()
    rows = it.rows("SELECT id, a, b, c, d, e FROM t ORDER BY id")
    it.deploy(
        "ALTER TABLE t DROP CONSTRAINT t_pkey, DROP COLUMN a, DROP COLUMN e, DROP COLUMN c, DROP COLUMN d, ADD PRIMARY KEY (id); CREATE INDEX u1 ON t (b)"
    )
    it.run("INSERT INTO t (id, b) VALUES (7, 'same'), (8, 'same')")
    it.run("DELETE FROM t WHERE id > 6")
    it.rollback()
    assert it.shape() == shape
    assert it.rows("SELECT id, a, b, c, d, e FROM t ORDER BY id") == rows


def test_two_parks_of_one_name_and_long_names(live: Make) -> None:
    """Names are unique to the park, stay within 63 bytes, and a comment says what the thing was called."""
    long_a, long_b = "é" * 30 + "aa", "é" * 30 + "ab"
    it = live(f'CREATE TABLE t (id int PRIMARY KEY, "{long_a}" int, "{long_b}" int)', "INSERT INTO t VALUES (1, 2, 3)")
    it.deploy(f'ALTER TABLE t DROP COLUMN "{long_a}", DROP COLUMN "{long_b}"; ALTER TABLE t ADD COLUMN "{long_a}" text')
    it.deploy(f'ALTER TABLE t DROP COLUMN "{long_a}"')
    comments = {c for (c,) in it.rows("SELECT description FROM pg_description WHERE objoid = 't'::regclass AND description ~ '^parked'")}
    assert len(comments) == 3
    assert sum(long_a in c for c in comments) == 2
    it.rollback()
    it.history.pop()
    it.rollback()
    assert it.rows(f'SELECT id, "{long_a}", "{long_b}" FROM t') == [(1, 2, 3)]


def test_functions_and_sequences_that_a_parked_column_uses_may_go(live: Make) -> None:
    it = live(
        "CREATE SEQUENCE s; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 7'; "
        "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT nextval('s'), b int DEFAULT f())",
        "INSERT INTO t SELECT generate_series(1, 3)",
    )
    shape = it.shape()
    it.deploy("ALTER TABLE t DROP COLUMN a, DROP COLUMN b; DROP SEQUENCE s; DROP FUNCTION f()")
    it.run("INSERT INTO t VALUES (9)")
    it.rollback()
    assert it.shape() == shape
    assert it.rows("SELECT a, b FROM t WHERE id < 9 ORDER BY id") == [(1, 7), (2, 7), (3, 7)]


@pytest.mark.parametrize("change", [DROP_A, "DROP TABLE t", "DROP TABLE t1", "ALTER TABLE t ALTER COLUMN a TYPE int USING (length(a))"])
def test_a_partitioned_table_is_not_moved_and_its_rows_are_kept(live: Make, change: str) -> None:
    """Its rows are copied, those of its partitions with them: nothing is lost, and no partition stays behind."""
    it = live(
        "CREATE TABLE t (id int, a text, PRIMARY KEY (id)) PARTITION BY RANGE (id); "
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "INSERT INTO t SELECT g, 'a' || g FROM generate_series(1, 15) g",
    )
    before, shape = it.rows(A), it.shape()
    it.deploy(change)
    if change == "DROP TABLE t":
        assert it.value("SELECT count(*) FROM pg_class WHERE relname IN ('t', 't1', 't2')") == 0
        it.run("CREATE TABLE t1 (id int)")  # the name is free
        it.run("DROP TABLE t1")
    it.rollback()
    assert (it.rows(A), it.shape()) == (before, shape)


def test_deleted_rows_stay_deleted_and_a_key_used_again_inherits_nothing(live: Make) -> None:
    """With a parked column, and with a parked child whose foreign key forbade the delete."""
    it = live(
        T + "; CREATE TABLE home (id int PRIMARY KEY, t int NOT NULL REFERENCES t ON DELETE RESTRICT, street text)",
        ROWS + "; INSERT INTO home SELECT g, g, 's' || g FROM generate_series(1, 4) g",
    )
    it.deploy(DROP_A + "; DROP TABLE home")
    it.run("DELETE FROM t WHERE id = 2; INSERT INTO t (id, b) VALUES (2, 'somebody else'); DELETE FROM t WHERE id = 3")
    it.rollback()
    assert it.rows(A) == [(1, "a1"), (2, None), (4, "a4")]
    assert it.rows("SELECT id, street FROM home ORDER BY id") == [(1, "s1"), (4, "s4")]


def test_a_sequence_is_never_moved_backwards(live: Make) -> None:
    it = live("CREATE TABLE t (id serial PRIMARY KEY, a text)", "INSERT INTO t (a) SELECT 'a' FROM generate_series(1, 3)")
    it.deploy(DROP_A)
    it.run("INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES")
    it.rollback()
    it.run("INSERT INTO t DEFAULT VALUES")
    assert it.value("SELECT max(id) FROM t") == 6


def test_a_prepared_plan_of_every_column_fails_once_and_named_columns_do_not(live: Make) -> None:
    it = live(T, ROWS)
    with it.connect() as session:
        session.execute("PREPARE everything AS SELECT * FROM t; PREPARE named AS SELECT id, b FROM t")
        session.execute("EXECUTE everything")
        session.execute("EXECUTE named")
        it.deploy("ALTER TABLE t ADD COLUMN c int; " + DROP_A)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            session.execute("EXECUTE everything")
        assert len(session.execute("EXECUTE named").fetchall()) == 4
        it.rollback()
        assert len(session.execute("EXECUTE named").fetchall()) == 4


def test_an_old_reader_sees_its_rows(live: Make) -> None:
    """A rewrite shows nothing to a snapshot from before it; dropping a column aside rewrites nothing."""
    it = live(T, ROWS)
    with it.connect() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert reader.execute("SELECT count(*) FROM pg_class WHERE relname = 't'").fetchone() == (1,)
        it.deploy(DROP_A)
        it.rollback()
        assert reader.execute("SELECT count(*), max(a) FROM t").fetchone() == (4, "a4")


@pytest.mark.parametrize("to", ["t", "child"])
def test_writes_that_no_image_saw_stop_the_deploy(live: Make, to: str) -> None:
    """Rows that a trigger of the application writes elsewhere, made on the target alone."""
    it = live(T + "; CREATE TABLE child (id int PRIMARY KEY, n int)", ROWS + "; INSERT INTO child VALUES (1, 0)")
    if to == "child":
        it.run(
            "CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE child SET n = n + 1; RETURN NULL; END'; "
            "CREATE TRIGGER c AFTER UPDATE ON t EXECUTE FUNCTION count_up()"
        )
        with pytest.raises(FailedError) as failure:
            it.deploy("UPDATE t SET b = 'x'")
        assert failure.value.code == "unrecorded"
    else:
        it.deploy("UPDATE t SET b = 'x'")
        it.rollback()
    assert it.value("SELECT b FROM t WHERE id = 1") == "b1"


def test_values_that_equal_and_are_not_the_same_come_back_bit_by_bit(live: Make) -> None:
    it = live(
        "CREATE TABLE t (id int PRIMARY KEY, f float8, n numeric, i interval, j json, arr int[], j2 jsonb)",
        "INSERT INTO t VALUES (1, '-0', 1.10, '1 month', '{\"a\": 1, \"a\": 2}', '[2:3]={7,8}', '1.0'), (2, 0, 1.1, '30 days', '[]', '{7,8}', '1')",
    )
    before = it.rows("SELECT t::text FROM t ORDER BY id")
    it.deploy("UPDATE t SET f = 0, n = 1.1, i = '30 days', j = '{}', arr = '{7,8}', j2 = '1'")
    it.rollback()
    assert it.rows("SELECT t::text FROM t ORDER BY id") == before


def test_images_are_taken_although_the_writer_may_not_see_the_vault_nor_fire_its_own_triggers_twice(live: Make) -> None:
    """Identity columns, a unique index met midway, triggers of the application: none stands in the way of the rows going back."""
    it = live(
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int UNIQUE DEFERRABLE, b int DEFAULT 0); "
        "CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.b := NEW.b + 1; RETURN NEW; END'; "
        "CREATE TRIGGER c BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION count_up()",
        "INSERT INTO t (a) SELECT generate_series(1, 5)",
    )
    before = it.rows("SELECT * FROM t ORDER BY id")
    it.deploy("UPDATE t SET a = 6 - a; DELETE FROM t WHERE id = 5")
    it.rollback()
    assert it.rows("SELECT * FROM t ORDER BY id") == before


def test_a_row_returns_although_its_key_was_taken_by_a_row_that_changes_back(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a int UNIQUE)", "INSERT INTO t SELECT g, g FROM generate_series(1, 5) g")
    before = it.rows("SELECT * FROM t ORDER BY id")
    it.deploy("DO $$ BEGIN DELETE FROM t WHERE id = 5; UPDATE t SET a = 5 WHERE id = 1; END $$")
    it.rollback()
    assert it.rows("SELECT * FROM t ORDER BY id") == before


def test_rows_that_row_security_hides_are_not_silently_left_out(live: Make) -> None:
    it = live(T + "; ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (id < 3)", "SELECT 1")
    it.run("ALTER TABLE t NO FORCE ROW LEVEL SECURITY; " + ROWS + "; ALTER TABLE t FORCE ROW LEVEL SECURITY")
    one = it.guard("DO $$ BEGIN UPDATE t SET b = 'x'; END $$")
    with it.work.pool.server.connect() as admin:
        admin.execute(f"ALTER ROLE {it.work.pool.role} NOBYPASSRLS")
        try:
            with pytest.raises(UnmigrateError, match="row-level security"):
                deploy(it.connect, one.up, [], accept_loss=False)
        finally:
            admin.execute(f"ALTER ROLE {it.work.pool.role} BYPASSRLS")
    it.run("ALTER TABLE t NO FORCE ROW LEVEL SECURITY")
    assert it.rows("SELECT b FROM t ORDER BY id")[0] == ("b1",)


def test_what_is_forgotten_is_no_longer_in_the_table_once_it_is_rewritten(live: Make) -> None:
    it = live(T, "INSERT INTO t SELECT g, 'secret', 'b' FROM generate_series(1, 100) g")
    it.deploy(DROP_A)
    purge_all(it)
    read = "SELECT position('secret' IN encode(pg_read_binary_file(pg_relation_filepath('public.t')), 'escape')) > 0"

    def on_disk() -> bool:
        with it.work.pool.connect_superuser(it.name) as connection:
            connection.execute("CHECKPOINT")
            row = connection.execute(read).fetchone()
            return bool(row and row[0])

    assert on_disk()
    it.run("VACUUM FULL t")
    assert not on_disk()


def test_an_extension_goes_with_what_it_made_only_where_it_is_said(live: Make) -> None:
    """Its types cannot be moved aside: the column's values are lost with it, which needs consent."""
    it = live("CREATE EXTENSION citext; CREATE TABLE t (id int PRIMARY KEY, a citext)", "INSERT INTO t VALUES (1, 'x')")
    with pytest.raises(RefusedError) as refusal:
        it.deploy("ALTER TABLE t DROP COLUMN a; DROP EXTENSION citext")
    assert refusal.value.code == "loss"
    assert it.value("SELECT a::text FROM t") == "x"


@pytest.mark.parametrize(
    "change",
    [
        "TRUNCATE t1",
        "UPDATE t SET a = 'x' WHERE id > 8",
        "UPDATE t1 SET a = 'x'",
        "ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET a = 'x'; ALTER TABLE t ENABLE TRIGGER USER",
        "DELETE FROM boss WHERE id = 1",
    ],
)
def test_rows_of_partitions_and_cascades_come_back_or_their_loss_is_named(live: Make, change: str) -> None:
    it = live(
        "CREATE TABLE boss (id int PRIMARY KEY); CREATE TABLE t (id int, a text, boss int REFERENCES boss ON DELETE CASCADE, PRIMARY KEY (id)) "
        "PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)",
        "INSERT INTO boss VALUES (1), (2); INSERT INTO t SELECT g, 'a' || g, 1 + g % 2 FROM generate_series(1, 15) g",
    )
    before = it.rows("SELECT * FROM t ORDER BY id")
    try:
        it.deploy(change)
    except RefusedError as refusal:
        assert refusal.code == "loss"
    except FailedError as failure:
        assert failure.code == "unrecorded"
    else:
        it.rollback()
    assert it.rows("SELECT * FROM t ORDER BY id") == before
