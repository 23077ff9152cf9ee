"""More of what could go wrong with parked things: where nothing may be hidden, what others do to it, sessions that are older."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from tests.guard.conftest import Live
from tests.guard.test_parking import DROP_A, ROWS, A, T
from tests.support import migration
from unmigrate.config.park import Park
from unmigrate.errors import RefusedError
from unmigrate.execute import blocking
from unmigrate.guard.build import guard
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server

SIDE = Park(mode="side-table")
TO_INT = "ALTER TABLE t ALTER COLUMN a TYPE int USING (length(a))"
Make = Callable[[str, str], Live]


@pytest.fixture
def aside(live: Make) -> Live:
    """A column is dropped, its values wait in a side table."""
    it = live(T, ROWS)
    it.park = SIDE
    it.deploy(DROP_A + "; CREATE FUNCTION all_t() RETURNS SETOF t LANGUAGE sql AS 'SELECT id, b FROM t'")
    return it


def test_positional_writes_are_right_beside_a_side_table(aside: Live) -> None:
    aside.run("INSERT INTO t VALUES (9, 'b9'); INSERT INTO t SELECT id + 100, b FROM t WHERE id = 9")
    with aside.connect() as connection, connection.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write_row((10, "b10"))
    assert aside.rows("SELECT id, b FROM t WHERE id > 8 ORDER BY id") == [(9, "b9"), (10, "b10"), (109, "b9")]
    aside.rollback()
    assert aside.rows(A) == [(1, "a1"), (2, "a2"), (3, "a3"), (4, "a4"), (9, None), (10, None), (109, None)]
    assert aside.rows("SELECT b FROM t WHERE id > 8 ORDER BY id") == [("b9",), ("b10",), ("b9",)]


def test_nothing_is_visible_beside_a_side_table(aside: Live) -> None:
    assert aside.rows("SELECT * FROM t WHERE id = 1") == [(1, "b1")]
    assert aside.value("SELECT row_to_json(t)::text FROM t WHERE id = 1") == '{"id":1,"b":"b1"}'
    assert aside.rows("SELECT (all_t()).*")[0] == (1, "b1")


@pytest.fixture
def app(aside: Live) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The application, which may write to its table and knows nothing of a vault."""
    admin, name = aside.work.pool.server.connect(), "unmigrate_test_app"
    admin.execute(f"CREATE ROLE {name} LOGIN")
    with aside.work.pool.connect_superuser(aside.name) as inside:
        inside.execute(
            f"GRANT CONNECT ON DATABASE {aside.name} TO {name}; GRANT USAGE ON SCHEMA public TO {name}; GRANT ALL ON public.t TO {name}"
        )
    with psycopg.connect(aside.work.pool.server.conninfo, dbname=aside.name, user=name, autocommit=True) as connection:
        yield connection
    with aside.work.pool.connect_superuser(aside.name) as inside:
        inside.execute(f"DROP OWNED BY {name}")
    admin.execute(f"DROP ROLE {name}")
    admin.close()


def test_the_application_needs_no_right_in_the_vault(aside: Live, app: psycopg.Connection[tuple[object, ...]]) -> None:
    app.execute("DELETE FROM t WHERE id = 1; UPDATE t SET id = 20 WHERE id = 2; INSERT INTO t VALUES (1, 'x')")
    guard = aside.guarded[-1].up.guard
    for sql in (f"SELECT FROM unmigrate_{guard}.image_1", f"SELECT unmigrate_{guard}.follow_1()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(sql)
    app.execute("TRUNCATE t; INSERT INTO t VALUES (3, 'x')")
    aside.rollback()
    assert aside.rows(A) == [(3, None)]


@pytest.mark.parametrize("change", [TO_INT, "UPDATE t SET a = upper(a)"], ids=["type", "rows"])
def test_a_rollback_rewrites_no_table_under_an_old_reader(live: Make, change: str) -> None:
    """The change of a type rewrites it, as Prisma's own deploy would, and an old snapshot then sees no rows; the way back and redo do not."""
    it = live(T, ROWS)
    it.deploy(change)
    with it.connect() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        assert reader.execute("SELECT count(*) FROM pg_class WHERE relname = 't'").fetchone() == (1,)
        it.rollback()
        it.redo()
        it.rollback()
        assert reader.execute("SELECT count(*), count(b) FROM t").fetchone() == (4, 4)
    assert it.rows(A)[0] == (1, "a1")


def test_a_rewrite_waits_for_older_snapshots(live: Make) -> None:
    it = live(T, ROWS)
    said: list[str] = []
    with it.connect() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT FROM pg_class WHERE relname = 't'")

        def on_progress(line: str) -> None:
            said.append(line)
            if "snapshots" in line:
                assert reader.execute("SELECT count(*) FROM t").fetchone() == (4,)
                reader.execute("COMMIT")

        it.deploy(TO_INT, on_progress=on_progress)
        assert [line for line in said if f"pid {reader.info.backend_pid}" in line and "waiting" in line]
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (4,)


def test_a_snapshot_that_does_not_end_is_told_and_does_not_stop_us(live: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "SNAPSHOT_SECONDS", 0.2)
    it = live(T, ROWS)
    said: list[str] = []
    with it.connect() as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT FROM pg_class WHERE relname = 't'")
        it.deploy(TO_INT, on_progress=said.append)
        assert reader.execute("SELECT count(*) FROM t").fetchone() == (0,)
        assert [line for line in said if f"pid {reader.info.backend_pid}" in line and "public.t will be empty" in line]
    (note,) = it.guarded[-1].up.notes
    assert "public.t is rewritten" in note


def test_a_widening_rewrites_nothing_and_keeps_nothing(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, a varchar(10))", "INSERT INTO t VALUES (1, 'x')")
    node = it.value("SELECT pg_relation_filenode('t')")
    it.deploy("ALTER TABLE t ALTER COLUMN a TYPE text")
    assert it.value("SELECT pg_relation_filenode('t')") == node
    assert it.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname ~ 'unmigrate'") == 0
    it.rollback()
    assert (
        it.value("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'a'")
        == "character varying(10)"
    )


def test_a_parked_column_that_somebody_dropped_is_missed(live: Make) -> None:
    """As `prisma db push` does with parked columns that are empty."""
    it = live(T, "INSERT INTO t (id) VALUES (1)")
    it.deploy(DROP_A)
    (column,) = [c for (c,) in it.rows("SELECT quote_ident(attname) FROM pg_attribute WHERE attname ~ '_old_a$'")]
    it.run(f"ALTER TABLE t DROP COLUMN {column}")
    with pytest.raises(RefusedError) as refusal:
        it.rollback()
    assert refusal.value.code == "drift"


def test_sessions_that_prepared_with_a_type_that_was_swapped(live: Make) -> None:
    """They go on with a type that is another by now: it is said that they must connect again, and then they are right."""
    swap = (
        "CREATE TYPE mood_new AS ENUM ('A', 'B', 'C'); ALTER TABLE t ALTER COLUMN m TYPE mood_new USING (m::text::mood_new); "
        "ALTER TYPE mood RENAME TO mood_old; ALTER TYPE mood_new RENAME TO mood; DROP TYPE mood_old"
    )
    it = live("CREATE TYPE mood AS ENUM ('A', 'B'); CREATE TABLE t (id int PRIMARY KEY, m mood)", "INSERT INTO t VALUES (1, 'A')")
    it.deploy(swap)
    (note,) = [n for n in (it.guarded[-1].back.notes if it.guarded[-1].back else ()) if "connect again" in n]
    assert "public.mood" in note
    with it.connect() as session:
        session.execute("PREPARE q (mood) AS SELECT id FROM t WHERE m = $1")
        assert session.execute("EXECUTE q ('A')").fetchall() == [(1,)]
        it.rollback()
        with pytest.raises(psycopg.Error):
            session.execute("EXECUTE q ('A')")
    with it.connect() as session:
        session.execute("PREPARE q (mood) AS SELECT id FROM t WHERE m = $1")
        assert session.execute("EXECUTE q ('A')").fetchall() == [(1,)]


@pytest.mark.parametrize("change", ["SELECT setval('t_id_seq', 1000)", "ALTER SEQUENCE t_id_seq RESTART WITH 1000"])
def test_where_a_sequence_stands_is_not_taken_back(live: Make, change: str) -> None:
    it = live("CREATE TABLE t (id serial PRIMARY KEY, a text)", "INSERT INTO t (a) SELECT 'a' FROM generate_series(1, 3)")
    it.deploy(f"{change}; {DROP_A}")
    it.run("INSERT INTO t DEFAULT VALUES")
    it.rollback()
    it.run("INSERT INTO t DEFAULT VALUES")
    assert it.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM t").startswith("1,2,3,100")
    assert it.value("SELECT min(id) FROM t WHERE id > 3") >= 1000


def test_what_belongs_to_postgresql_itself_is_not_guarded(server: Server) -> None:
    history = [
        migration("1", "CREATE TABLE t (id int, a int)"),
        migration("2", "ALTER TABLE t DROP a; REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC"),
    ]
    with Pool(server, trusted=True) as pool:
        (one,) = guard(Workspace(pool), history[:1], history[1:], lambda _: None)
    assert (one.up.verdicts[0].schema, one.back) == ("refused", None)
    assert "put it back by hand" in one.why
