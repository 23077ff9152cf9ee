"""Deploy, roll back, apply again, roll back: catalogs and rows are equal each time, and what is purged leaves no trace."""

from collections.abc import Callable

import psycopg
import pytest

from tests.guard.conftest import Live
from tests.guard.shop import CHANGES, INIT, NO_REDO, ROWS, contents, plainly
from unmigrate.park.purge import kept, purge


@pytest.mark.parametrize("name", CHANGES)
def test_back_and_forth(live: Callable[..., Live], name: str) -> None:
    it = live(INIT, ROWS)
    shape, rows = it.shape(), contents(it)
    it.deploy(CHANGES[name])
    one = it.guarded[-1]
    assert one.back is not None, one.why
    assert not one.losses
    new_shape, new_rows = it.shape(), contents(it)
    assert (new_shape, new_rows) == plainly(live, CHANGES[name])
    it.rollback()
    assert (it.shape(), contents(it)) == (shape, rows)
    assert (one.again is None) == (name in NO_REDO)
    if one.again is not None:
        it.redo()
        assert (it.shape(), contents(it)) == (new_shape, new_rows)
        it.rollback()
        assert (it.shape(), contents(it)) == (shape, rows)
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)
        left = connection.execute(
            "select relname from pg_class where relname ~ '_unmigrate_' union all select attname from pg_attribute where attname ~ '_unmigrate_' "
            "and not attisdropped union all select nspname from pg_namespace where nspname ~ '^unmigrate_[0-9a-f]{6}' "
            "union all select typname from pg_type where typname ~ '_unmigrate_'"
        ).fetchall()
    assert left == []
    assert (it.shape(), contents(it)) == (shape, rows)


EDITED = {
    "a type by a cast": ("ALTER TABLE t ALTER COLUMN a TYPE text USING (a::text)", "5", "'7'", 5, 7),
    "a type with loss": ("ALTER TABLE t ALTER COLUMN a TYPE int USING (round(a))", "5", "7", 5, 7),
    "a copy": ("ALTER TABLE t ADD COLUMN b numeric; UPDATE t SET b = a; ALTER TABLE t DROP COLUMN a", "5", "7", 5, 7),
}


@pytest.mark.parametrize("name", EDITED)
def test_rows_written_or_edited_since_get_what_follows_from_the_new_column(live: Callable[..., Live], name: str) -> None:
    change, written, edited, as_written, as_edited = EDITED[name]
    it = live("CREATE TABLE t (id int PRIMARY KEY, a numeric NOT NULL)", "INSERT INTO t VALUES (1, 1.5), (2, 2.5), (3, 3.5), (4, 4.5)")
    it.deploy(change)
    assert it.guarded[-1].verdict == "lossless"
    column = "b" if "COLUMN b" in change else "a"
    it.run(f"INSERT INTO t (id, {column}) VALUES (9, {written}); UPDATE t SET {column} = {edited} WHERE id = 2; DELETE FROM t WHERE id = 3")
    it.rollback()
    assert it.rows("SELECT id, a::float8 FROM t ORDER BY id") == [(1, 1.5), (2, as_edited), (4, 4.5), (9, as_written)]
    it.run("INSERT INTO t (id, a) VALUES (10, 8); UPDATE t SET a = 6 WHERE id = 4")
    it.redo()
    assert [(i, float(v)) for i, v in it.rows(f"SELECT id, {column} FROM t WHERE id > 3 ORDER BY id")] == [(4, 6.0), (9, 5.0), (10, 8.0)]


def test_an_edit_that_nobody_can_turn_back_blocks(live: Callable[..., Live]) -> None:
    from unmigrate.errors import RefusedError

    it = live("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x'), (2, 'y')")
    it.deploy("ALTER TABLE t ADD COLUMN b text; UPDATE t SET b = upper(a); ALTER TABLE t DROP COLUMN a")
    it.run("UPDATE t SET b = 'EDITED' WHERE id = 2")
    with pytest.raises(RefusedError) as refusal:
        it.rollback()
    assert refusal.value.code == "blocked"
    assert "1 row blocks: public.t.a" in str(refusal.value)


def test_redo_applies_what_the_migration_did_to_rows_and_keeps_what_was_edited_before_the_rollback(live: Callable[..., Live]) -> None:
    it = live(
        "CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z'); INSERT INTO t VALUES (4, 'gone')"
    )
    it.deploy("UPDATE t SET a = upper(a); INSERT INTO t VALUES (9, 'NEW'); DELETE FROM t WHERE id = 4; ALTER TABLE t ALTER a SET NOT NULL")
    after = [(1, "X"), (2, "mine"), (3, "Z"), (9, "NEW")]
    it.run("UPDATE t SET a = 'mine' WHERE id = 2")
    for _ in range(2):
        assert it.rows("SELECT * FROM t ORDER BY id") == after
        it.rollback()
        assert it.rows("SELECT * FROM t ORDER BY id") == [(1, "x"), (2, "mine"), (3, "z"), (4, "gone")]
        it.redo()
    assert it.rows("SELECT * FROM t ORDER BY id") == after


def test_rows_written_since_the_rollback_stand_in_the_way_of_redoing_changes_of_rows(live: Callable[..., Live]) -> None:
    """The migration would have changed them too; and which transactions are newer is not decided by their ids alone."""
    from unmigrate.errors import RefusedError

    it = live("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x')")
    it.deploy("UPDATE t SET a = upper(a)")
    with it.connect() as early:
        early.autocommit = False
        early.execute("SELECT pg_current_xact_id()")  # its id is older than that of the rollback, and its row newer
        it.rollback()
        early.execute("SAVEPOINT s; INSERT INTO t VALUES (2, 'y')")
        early.commit()
    with pytest.raises(RefusedError) as refusal:
        it.redo()
    assert refusal.value.code == "blocked"
    assert "1 row blocks: public.t: rows were written since the rollback" in str(refusal.value)
    it.run("DELETE FROM t WHERE id = 2")
    it.redo()
    assert it.rows("SELECT * FROM t") == [(1, "X")]


def test_in_a_restored_database_every_row_counts_as_written_since(live: Callable[..., Live]) -> None:
    from unmigrate.errors import RefusedError

    it = live("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t VALUES (1, 'x')")
    it.deploy("UPDATE t SET a = upper(a)")
    it.rollback()
    copy = it.work.pool.clone(it.name)
    try:
        other = Live(it.work, copy, it.history, it.guarded)
        with pytest.raises(RefusedError, match="1 row blocks"):
            other.redo()
    finally:
        it.work.pool.drop(copy)


def test_what_cannot_be_kept_needs_consent(live: Callable[..., Live]) -> None:
    from unmigrate.errors import RefusedError

    it = live("CREATE TABLE nokey (a int, b text)", "INSERT INTO nokey VALUES (1, 'x')")
    with pytest.raises(RefusedError) as refusal:
        it.deploy("UPDATE nokey SET b = 'y'")
    assert refusal.value.code == "loss"
    assert it.value("SELECT b FROM nokey") == "x"


def test_a_migration_that_fails_on_rows_changes_nothing(live: Callable[..., Live]) -> None:
    from unmigrate.errors import FailedError

    it = live(INIT, ROWS)
    shape, rows = it.shape(), contents(it)
    with pytest.raises(FailedError):
        it.deploy('ALTER TABLE "User" DROP COLUMN seq, ADD CONSTRAINT low CHECK (score < 5)')
    assert (it.shape(), contents(it)) == (shape, rows)
    assert it.rows("SELECT migration_name FROM _prisma_migrations") == [("1",)]


def test_the_vault_is_closed_to_others(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    it.deploy(CHANGES["update"] + ";" + CHANGES["drop a table"])
    with it.work.pool.server.connect() as admin:
        admin.execute("CREATE ROLE unmigrate_test_nobody")
    try:
        with it.work.pool.connect_superuser(it.name) as connection:
            schemas = [
                n
                for (n,) in connection.execute(
                    "select nspname from pg_namespace where nspname ~ '^unmigrate' and nspname <> 'unmigrate_scratch'"
                )
            ]
            assert len(schemas) == 4
            connection.execute("SET ROLE unmigrate_test_nobody")
            for schema in schemas:
                row = connection.execute("select has_schema_privilege(%s, 'USAGE')", [schema]).fetchone()
                assert row == (False,)
    finally:
        with it.work.pool.server.connect() as admin:
            admin.execute("DROP ROLE unmigrate_test_nobody")


def test_a_table_that_changed_since_is_drift(live: Callable[..., Live]) -> None:
    from unmigrate.errors import RefusedError

    it = live(INIT, ROWS)
    it.deploy(CHANGES["drop a column"])
    parked = it.value("select quote_ident(attname) from pg_attribute where attname ~ '_old_nick$'")
    it.run(f'ALTER TABLE "User" ALTER COLUMN {parked} TYPE varchar(5)')
    with pytest.raises(RefusedError) as refusal:
        it.rollback()
    assert refusal.value.code == "drift"


def test_hidden_writes_are_not_deployed(live: Callable[..., Live]) -> None:
    """A trigger that scratch does not know writes to a table of which nobody takes an image."""
    from unmigrate.errors import FailedError

    it = live(INIT, ROWS)
    it.run(
        "CREATE FUNCTION sneak() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN UPDATE org SET name = ''x''; RETURN NULL; END'; "
        "CREATE TRIGGER sneak AFTER UPDATE ON tag EXECUTE FUNCTION sneak()"
    )
    with pytest.raises(FailedError) as failure:
        it.deploy("UPDATE tag SET note = 'n'")
    assert failure.value.code == "unrecorded"
    assert it.value("SELECT count(*) FROM org WHERE name = 'x'") == 0


def test_psycopg_sees_no_parked_thing_by_name(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    it.deploy(CHANGES["drop a column"])
    with it.connect() as connection, pytest.raises(psycopg.errors.UndefinedColumn):
        connection.execute('SELECT nick FROM "User"')


def test_a_deploy_leaves_a_restore_point(live: Callable[..., Live]) -> None:
    from unmigrate.park.restore_points import read

    it = live(INIT, ROWS)
    it.deploy(CHANGES["drop a table"], app="v1.2.3")
    with it.connect() as connection:
        (point,) = read(connection)
        row = connection.execute("select pg_current_wal_lsn() > %s::pg_lsn", [point.lsn]).fetchone()
    assert (point.migrations, point.app, row) == (("2",), "v1.2.3", (True,))


def test_parked_things_return_with_their_grants(live: Callable[..., Live]) -> None:
    """A keyless table too, which must not be given a replica identity while it is parked."""
    grants = 'GRANT SELECT, INSERT ON loose TO PUBLIC; GRANT SELECT (nick), UPDATE (nick) ON "User" TO PUBLIC'
    it = live(INIT + "CREATE TABLE loose (a int);", ROWS + grants)
    asked = (
        "SELECT (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(c.relacl) a), c.relreplident::text, "
        "(SELECT attacl::text FROM pg_attribute WHERE attrelid = '\"User\"'::regclass AND attname = 'nick') "
        "FROM pg_class c WHERE oid = 'loose'::regclass"
    )
    before = it.rows(asked)
    it.deploy('DROP TABLE loose; ALTER TABLE "User" DROP COLUMN nick CASCADE')
    it.rollback()
    assert it.rows(asked) == before
    it.redo()
    it.rollback()
    assert it.rows(asked) == before
