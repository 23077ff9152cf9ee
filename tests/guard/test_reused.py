"""Rows that go while their old values wait in the vault: they stay gone, and who gets their key gets nothing of theirs."""

from collections.abc import Callable

import psycopg
import pytest

from tests.guard.conftest import Live
from unmigrate.config.park import Park
from unmigrate.errors import FailedError, RefusedError
from unmigrate.park.purge import kept, purge

INIT = """CREATE TABLE person (id int PRIMARY KEY, email text UNIQUE NOT NULL, name text, ssn text, grade text);
CREATE TABLE role (person int, role text, level int NOT NULL DEFAULT 1, PRIMARY KEY (person, role))"""
ROWS = """INSERT INTO person SELECT g, 'e' || g, 'n' || g, 'secret' || g, '1' FROM generate_series(1, 9) g;
INSERT INTO role SELECT g, 'admin', 1 FROM generate_series(1, 9) g"""
SIDE = Park(mode="side-table")
Make = Callable[[str, str], Live]
# What is done, and how the column is called that a new person must not inherit.
COPIED = {
    "a column": (SIDE, "ALTER TABLE person DROP COLUMN ssn", "ssn"),
    "a type": (SIDE, "ALTER TABLE person ALTER COLUMN ssn TYPE int USING (length(ssn))", "ssn"),
    "in a block": (Park(), "DO $$ BEGIN UPDATE person SET ssn = NULL; END $$", "ssn"),
    "an update": (Park(), "UPDATE person SET ssn = NULL", "ssn"),
    "a function of another": (Park(), "ALTER TABLE person ALTER COLUMN grade TYPE int USING (length(grade) + id)", "grade"),
}
GOES = {
    "deleted": ("DELETE FROM person WHERE id = 5", "INSERT INTO person (id, email) VALUES (5, 'e5')"),
    "truncated": ("TRUNCATE person", "INSERT INTO person (id, email) VALUES (5, 'e5')"),
    "replaced": ("DELETE FROM person WHERE id = 5; UPDATE person SET id = 5 WHERE id = 6", ""),
}


@pytest.mark.parametrize("goes", GOES)
@pytest.mark.parametrize("name", COPIED)
def test_a_reused_key_inherits_nothing(live: Make, name: str, goes: str) -> None:
    it, (park, change, column) = live(INIT, ROWS), COPIED[name]
    it.park = park
    it.deploy(change)
    away, back = GOES[goes]
    if name == "a type" and goes != "replaced":
        back = back.replace("(id, email)", "(id, email, ssn)").replace(
            "'e5')", "'e5', 7)"
        )  # bit by bit what the migration made of the old one
    it.run(away)
    if back:
        it.run(back)
    it.rollback()
    found = it.rows(f"SELECT {column} FROM person WHERE id = 5")[0][0]
    if goes == "replaced":
        assert found == ("secret6" if column == "ssn" else "1")  # a row takes its values along
        assert it.value("SELECT count(*) FROM person WHERE id = 6") == 0
    else:
        assert found in (None, "7"), found
    if goes == "deleted":
        assert it.value(f"SELECT {column} FROM person WHERE id = 4") == ("secret4" if column == "ssn" else "1")
    assert it.value("SELECT count(*) FROM pg_trigger WHERE tgname ~ 'unmigrate'") == 0


def test_deleted_rows_are_forgotten(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    image = f"unmigrate_{it.guarded[-1].up.guard}.image_1"
    assert it.value(f"SELECT count(*) FROM {image} i WHERE i::text ~ 'secret5'") == 1
    it.run("DELETE FROM person WHERE id = 5")
    assert it.value(f"SELECT count(*) FROM {image} i WHERE i::text ~ 'secret5'") == 0
    it.rollback()
    assert it.rows("SELECT id FROM person WHERE ssn IS DISTINCT FROM 'secret' || id") == []
    assert it.value("SELECT count(*) FROM person") == 8


def test_the_last_word_was_a_delete(live: Make) -> None:
    """A right that the migration took away, and that was given and taken again since, does not return."""
    it = live(INIT, ROWS)
    it.deploy("DELETE FROM role WHERE person < 4")
    it.run("INSERT INTO role VALUES (2, 'admin'); DELETE FROM role WHERE person = 2")
    it.rollback()
    assert it.value("SELECT string_agg(person::text, '' ORDER BY person) FROM role") == "13456789"


def test_a_row_deleted_between_rollback_and_redo_stays_deleted(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy("DELETE FROM role WHERE person < 4; UPDATE person SET name = upper(name)")
    it.rollback()
    it.run("DELETE FROM role WHERE person = 2; DELETE FROM person WHERE id = 5")
    it.redo()
    it.run("INSERT INTO person (id, email, name) VALUES (5, 'x', 'N5')")
    it.rollback()
    assert it.value("SELECT string_agg(person::text, '' ORDER BY person) FROM role") == "13456789"
    assert it.value("SELECT name FROM person WHERE id = 5") == "N5"
    assert it.value("SELECT name FROM person WHERE id = 6") == "n6"


def test_what_a_later_guarded_migration_deletes_is_not_forgotten(live: Make) -> None:
    """It comes back with that one's rollback, and must then get its own values."""
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    it.deploy("DELETE FROM person WHERE id < 4")
    it.rollback()
    it.history.pop()
    it.rollback()
    assert it.rows("SELECT id FROM person WHERE ssn IS DISTINCT FROM 'secret' || id") == []
    assert it.value("SELECT count(*) FROM person") == 9


@pytest.mark.parametrize("change", ["DELETE FROM person WHERE id < 4", "TRUNCATE person"])
def test_whose_row_is_not_brought_back_by_the_later_one_gets_nothing_either(live: Make, change: str) -> None:
    """Its key was used again in between: it is another's."""
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    it.deploy(change)
    it.run("INSERT INTO person (id, email) VALUES (2, 'another')")
    it.rollback()
    it.history.pop()
    it.rollback()
    found = it.rows("SELECT id, ssn FROM person ORDER BY id")
    assert found == [(n, None if n == 2 else f"secret{n}") for n in range(1, 10)]


def test_back_and_forth_over_a_later_delete(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    it.deploy("DELETE FROM person WHERE id < 4")
    it.rollback()
    it.redo()
    it.run("INSERT INTO person (id, email) VALUES (3, 'another')")
    it.rollback()
    it.run("DELETE FROM person WHERE id = 1")
    it.history.pop()
    it.rollback()
    assert it.rows("SELECT id, ssn FROM person WHERE id < 5 ORDER BY id") == [(2, "secret2"), (3, None), (4, "secret4")]


def test_keys_that_move_on_take_their_values_along(live: Make) -> None:
    it = live(INIT + "; CREATE TABLE pet (owner int PRIMARY KEY REFERENCES person ON UPDATE CASCADE, name text)", ROWS)
    it.run("INSERT INTO pet VALUES (9, 'rex')")
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn; ALTER TABLE pet DROP COLUMN name")
    it.run("UPDATE person SET id = id + 100; UPDATE person SET id = id - 1")
    it.rollback()
    assert it.rows("SELECT id, ssn FROM person WHERE id > 106 ORDER BY id") == [(107, "secret8"), (108, "secret9")]
    assert it.rows("SELECT owner, name FROM pet") == [(108, "rex")]


def test_keys_that_change_places_stop_the_rollback(live: Make) -> None:
    """Under a key that is checked late nobody can tell which row is which."""
    it = live("CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, a text)", "INSERT INTO t SELECT g, 'a' || g FROM generate_series(1, 5) g")
    it.park = SIDE
    it.deploy("ALTER TABLE t DROP COLUMN a")
    it.run("UPDATE t SET id = 6 - id WHERE id IN (2, 4)")
    with pytest.raises(RefusedError, match="keys of rows were changed") as refusal:
        it.rollback()
    guard = it.guarded[-1].up.guard
    assert f"DELETE FROM unmigrate_{guard}.lost_1" in str(refusal.value.remedy)
    it.run(f"DELETE FROM unmigrate_{guard}.lost_1")
    it.rollback()
    assert it.rows("SELECT id, a FROM t ORDER BY id") == [(1, "a1"), (2, None), (3, "a3"), (4, None), (5, "a5")]


LATER = {
    "renamed": "ALTER TABLE person RENAME COLUMN id TO number",
    "renamed, and its name taken": "ALTER TABLE person RENAME COLUMN id TO number; ALTER TABLE person ADD COLUMN id int",
    "of another type": "ALTER TABLE person ALTER COLUMN id TYPE bigint",
    "dropped": "ALTER TABLE person DROP COLUMN id",
    "in another table's place": "ALTER TABLE person RENAME TO people",
}


@pytest.mark.parametrize("name", LATER)
def test_the_application_is_refused_nothing(live: Make, name: str) -> None:
    """Whatever becomes of the key: in the same session, which has its plans already, and in a new one."""
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    with it.connect() as connection:
        connection.execute("DELETE FROM person WHERE email = 'e1'; UPDATE person SET name = 'x' WHERE email = 'e2'")
        connection.execute(LATER[name])
        table = "people" if "people" in LATER[name] else "person"
        connection.execute(f"UPDATE {table} SET name = 'y' WHERE email = 'e2'")
        connection.execute(f"DELETE FROM {table} WHERE email = 'e5'")
    it.run(f"UPDATE {table} SET name = 'y' WHERE email = 'e3'; DELETE FROM {table} WHERE email = 'e6'")
    image = f"unmigrate_{it.guarded[-1].up.guard}.image_1"
    left = it.value(f"SELECT string_agg(substr(i.o1, 7), '' ORDER BY i.o1) FROM (SELECT ssn AS o1 FROM {_side(it, image)}) i")
    lost = it.value(f"SELECT count(*) FROM unmigrate_{it.guarded[-1].up.guard}.lost_1")
    assert (left == "234789" and lost == 0) or lost == 1, (left, lost)
    assert lost == (name == "dropped")
    it.run(f"TRUNCATE {table}")


def test_a_key_that_changes_under_another_name_stops_the_rollback(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    it.run("ALTER TABLE person RENAME COLUMN id TO number; UPDATE person SET number = 50 WHERE number = 5")
    it.run("ALTER TABLE person RENAME COLUMN number TO id")
    with pytest.raises(RefusedError, match="keys of rows were changed"):
        it.rollback()


def _side(it: Live, image: str) -> str:
    """The image, with the column of the secret called so."""
    (column,) = [
        c
        for (c,) in it.rows(f"SELECT attname FROM pg_attribute WHERE attrelid = '{image}'::regclass AND attnum > 0")
        if it.value(f"SELECT count(*) FROM {image} WHERE {c}::text ~ 'secret'")
    ]
    return f"(SELECT {column} AS ssn FROM {image}) s"


def test_nobody_else_can_call_or_read_it(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    rows = it.rows(
        "SELECT prosecdef, proconfig, has_function_privilege('public', p.oid, 'EXECUTE'), tgenabled FROM pg_trigger g JOIN pg_proc p ON p.oid = tgfoid "
        "WHERE tgname ~ 'unmigrate'"
    )
    assert len(rows) == 4
    for definer, config, public, enabled in rows:
        assert definer and "search_path=pg_catalog, pg_temp" in config and not public and enabled == "A"


def test_purge_takes_it_away(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)
    assert it.value("SELECT count(*) FROM pg_trigger WHERE tgname ~ 'unmigrate'") == 0
    it.run("DELETE FROM person; INSERT INTO person (id, email) VALUES (1, 'x'); UPDATE person SET id = 2")


def test_a_refused_rollback_leaves_it_in_place(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    it.run("CREATE VIEW v AS SELECT id FROM person; DELETE FROM person WHERE id = 5; ALTER TABLE person ADD COLUMN ssn int")
    with pytest.raises(RefusedError):
        it.rollback()
    it.run("ALTER TABLE person DROP COLUMN ssn; DELETE FROM person WHERE id = 6; INSERT INTO person (id, email) VALUES (5, 'x'), (6, 'y')")
    it.rollback()
    assert it.rows("SELECT id, ssn FROM person WHERE id > 4 AND id < 8 ORDER BY id") == [(5, None), (6, None), (7, "secret7")]


def test_rows_that_a_replication_worker_deletes_are_gone_too(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    with it.work.pool.connect_superuser(it.name) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("DELETE FROM public.person WHERE id = 5; INSERT INTO public.person (id, email) VALUES (5, 'x')")
    it.rollback()
    assert it.value("SELECT ssn FROM person WHERE id = 5") is None


def test_of_partitions_and_children(live: Make) -> None:
    it = live(
        """CREATE TABLE p (id int, day int, a text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
        CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);""",
        "INSERT INTO p SELECT g, g, 'a' || g FROM generate_series(1, 15) g",
    )
    it.deploy("ALTER TABLE p DROP COLUMN a")
    it.run("DELETE FROM p WHERE id = 3; DELETE FROM p2 WHERE id = 12; INSERT INTO p VALUES (3, 3), (12, 12)")
    it.rollback()
    assert it.rows("SELECT id, a FROM p WHERE id IN (3, 4, 12, 13) ORDER BY id") == [(3, None), (4, "a4"), (12, None), (13, "a13")]


def test_a_serializable_application_is_not_in_the_way(live: Make) -> None:
    it = live(INIT, ROWS)
    it.park = SIDE
    it.deploy("ALTER TABLE person DROP COLUMN ssn")
    with it.connect() as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            connection.execute("DELETE FROM person WHERE id = 5")
            connection.execute("INSERT INTO person (id, email) VALUES (5, 'x')")
    it.rollback()
    assert it.value("SELECT ssn FROM person WHERE id = 5") is None


@pytest.mark.parametrize(
    "later", ["DELETE FROM person WHERE id < 4", "TRUNCATE person", "DO $$ BEGIN DELETE FROM person WHERE id < 4; END $$"]
)
@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE person DROP COLUMN ssn", "ALTER TABLE person ALTER COLUMN ssn TYPE int USING (length(ssn))"],
    ids=["column", "type"],
)
def test_rows_that_a_later_migration_deletes_come_back_with_their_parked_values(live: Make, change: str, later: str) -> None:
    it = live(INIT, ROWS)
    before = it.rows("SELECT id, email, name, ssn, grade FROM person ORDER BY id")
    it.deploy(change)
    it.deploy(later)
    it.rollback()
    it.history.pop()
    it.rollback()
    assert it.rows("SELECT id, email, name, ssn, grade FROM person ORDER BY id") == before


HOME = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE home (id int PRIMARY KEY, t int REFERENCES t ON DELETE CASCADE, street text)"
HOMES = "INSERT INTO t SELECT generate_series(1, 4); INSERT INTO home SELECT g, g, 's' || g FROM generate_series(1, 4) g"


def test_rows_that_went_with_a_parent_that_a_later_migration_deleted_stop_the_rollback(live: Make) -> None:
    it = live(HOME, HOMES)
    it.deploy("DROP TABLE home")
    it.deploy("DELETE FROM t WHERE id = 2")
    it.rollback()
    assert it.value("SELECT count(*) FROM t") == 4
    it.history.pop()
    left = f"unmigrate_{it.guarded[0].up.guard}.left_1"
    with pytest.raises(RefusedError, match="went along with rows that a later migration deleted") as refusal:
        it.rollback()
    assert f"DELETE FROM {left}" in str(refusal.value.remedy)
    assert it.rows(f"SELECT why FROM {left}") == [("a row of home: (2,2,s2)",)]
    it.run(f"DELETE FROM {left}")
    it.rollback()
    assert it.value("SELECT count(*) FROM home") == 3


def test_a_parked_reference_to_rows_that_a_later_migration_deletes_stops_that_one(live: Make) -> None:
    it = live(HOME, HOMES)
    it.deploy("ALTER TABLE home DROP COLUMN t")
    with pytest.raises(FailedError) as failure:
        it.deploy("DELETE FROM t WHERE id = 2")
    assert failure.value.code == "unrecorded"
    it.history.pop()
    it.rollback()
    assert it.value("SELECT t FROM home WHERE id = 2") == 2


def test_values_of_every_kind_are_carried_over_a_later_delete(live: Make) -> None:
    it = live(
        "CREATE TYPE mood AS ENUM ('A b', 'B'); CREATE TABLE t (id int, day date, f float8, n numeric, i interval, j json, arr int[], m mood[], "
        "z timestamptz, b bytea, PRIMARY KEY (id, day))",
        "INSERT INTO t VALUES (1, '2026-02-01', '-0', 1.10, '1 month', '{\"a\": 1, \"a\": 2}', '[2:3]={7,8}', '{\"A b\",B}', now(), '\\x00ff'), "
        "(2, '2026-01-02', 0.1::float8 + 0.2, 'NaN', '-3 days 02:00', NULL, NULL, NULL, NULL, NULL)",
    )
    before = it.rows("SELECT t::text FROM t ORDER BY id")
    it.deploy(
        "ALTER TABLE t DROP COLUMN f, DROP COLUMN n, DROP COLUMN i, DROP COLUMN j, DROP COLUMN arr, DROP COLUMN m, DROP COLUMN z, DROP COLUMN b; DROP TYPE mood"
    )
    it.deploy("DELETE FROM t")
    it.run(f"ALTER DATABASE {it.name} SET intervalstyle = 'sql_standard'; ALTER DATABASE {it.name} SET timezone = 'Asia/Kolkata'")
    it.rollback()
    it.history.pop()
    it.run(f"ALTER DATABASE {it.name} RESET intervalstyle; ALTER DATABASE {it.name} RESET timezone")
    it.rollback()
    assert it.rows("SELECT t::text FROM t ORDER BY id") == before
