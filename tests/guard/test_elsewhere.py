"""Parked things with fewer rights, and in a database that was dumped and restored elsewhere."""

import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.guard.around import arm, prisma_deploy
from tests.guard.around import finish as guard_finish
from tests.guard.conftest import Live
from tests.guard.shop import contents
from tests.guard.test_preparation import between
from tests.support import deploy as deploy_plainly
from tests.support import migration
from unmigrate.errors import EnvironmentProblem
from unmigrate.execute.pipeline import abandon
from unmigrate.execute.privileges import loud_triggers
from unmigrate.park.purge import kept, purge
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool

INIT = """CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TABLE t (id serial PRIMARY KEY, a numeric NOT NULL, role "Role" NOT NULL DEFAULT 'USER', note text UNIQUE, seq bigserial); CREATE INDEX t_a ON t (a);
CREATE TABLE child (id int PRIMARY KEY, t int NOT NULL REFERENCES t ON DELETE RESTRICT);"""
ROWS = "INSERT INTO t (a, note) SELECT g + 0.5, 'n' || g FROM generate_series(1, 6) g; INSERT INTO child SELECT g, g FROM generate_series(1, 3) g"
CHANGE = """ALTER TABLE t ALTER COLUMN a TYPE int USING (round(a)); ALTER TABLE t DROP COLUMN role, DROP COLUMN note, DROP COLUMN seq;
DROP TYPE "Role"; DROP TABLE child; DROP INDEX t_a; ALTER TABLE t ADD COLUMN more text"""
SINCE = "INSERT INTO t (a) VALUES (70); UPDATE t SET a = 20 WHERE id = 2; DELETE FROM t WHERE id = 3"
OWNER, APP = "unmigrate_test_owner", "unmigrate_test_app"


@dataclass
class Owned(Live):
    """As a role that owns the schema's tables, and nothing else."""

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.work.pool.server.conninfo, dbname=self.name, user=OWNER, autocommit=True, prepare_threshold=None)


@pytest.fixture
def owned(pool: Pool) -> Iterator[Owned]:
    name = pool.create()
    with pool.server.connect() as admin:
        admin.execute(f"CREATE ROLE {OWNER} LOGIN NOCREATEROLE NOCREATEDB NOBYPASSRLS; CREATE ROLE {APP} LOGIN")
    with pool.connect_superuser(name) as admin:
        admin.execute(f"ALTER SCHEMA public OWNER TO {OWNER}; GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO {OWNER}")
        admin.execute(f"GRANT CONNECT ON DATABASE {name} TO {APP}")
    found = Owned(Workspace(pool), name, [migration("1", INIT)])
    with found.connect() as connection:
        deploy_plainly(connection, [("1", INIT)])
        connection.execute(ROWS)
        connection.execute(
            f"GRANT USAGE ON SCHEMA public TO {APP}; GRANT ALL ON t TO {APP}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {APP}"
        )
    yield found
    pool.drop(name)
    with pool.server.connect() as admin:
        admin.execute(f"DROP ROLE {OWNER}; DROP ROLE {APP}")


def test_the_owner_of_the_schema_can_do_all_of_it(owned: Owned) -> None:
    """And the application's own role, that has no right in the vault, writes all the while."""
    with psycopg.connect(owned.work.pool.server.conninfo, dbname=owned.name, user=APP, autocommit=True) as app:
        shape, rows = owned.shape(), contents(owned)
        owned.deploy(CHANGE)
        app.execute("UPDATE t SET a = 7 WHERE id = 1")
        owned.rollback(on_step=between(lambda: app.execute("UPDATE t SET a = 8 WHERE id = 1; INSERT INTO t (a) VALUES (9)")))
        app.execute("UPDATE t SET a = 1.5, note = 'n1' WHERE id = 1; DELETE FROM t WHERE a = 9")
        assert (owned.shape(), contents(owned)) == (shape, rows)
        owned.redo(on_step=between(lambda: app.execute("UPDATE t SET a = 5 WHERE id = 5")))
        assert owned.value("SELECT a FROM t WHERE id = 5") == 5
        with owned.connect() as connection:
            for each in kept(connection):
                purge(connection, each.guard)
        assert owned.value("SELECT count(*) FROM pg_attribute WHERE attname ~ '_unmigrate_' AND NOT attisdropped") == 0


def test_the_owner_of_the_schema_can_guard_what_prisma_deploys(owned: Owned) -> None:
    with psycopg.connect(owned.work.pool.server.conninfo, dbname=owned.name, user=APP, autocommit=True) as app:
        shape, rows = owned.shape(), contents(owned)
        arm(owned, f"{CHANGE}; UPDATE t SET id = id + 100 WHERE id = 6")
        app.execute("UPDATE t SET note = 'while armed' WHERE id = 4; UPDATE t SET note = 'n4' WHERE id = 4")
        prisma_deploy(owned)
        app.execute("INSERT INTO t (a) VALUES (70); DELETE FROM t WHERE a = 70")
        (done,) = guard_finish(owned)
        assert done.state == "done"
        owned.rollback()
        assert (owned.shape(), contents(owned)) == (shape, rows)
        owned.history.pop()
        arm(owned, "ALTER TABLE child DROP COLUMN t")
        assert len(abandon(owned.connect, accept_loss=False)) == 1


def test_what_the_owner_lacks_is_said_before_anything_is_touched(owned: Owned) -> None:
    with owned.work.pool.connect_superuser(owned.name) as admin:
        admin.execute(f"REVOKE CREATE ON DATABASE {owned.name} FROM {OWNER}, PUBLIC")
    with pytest.raises(EnvironmentProblem) as problem:
        owned.deploy(CHANGE)
    assert problem.value.code == "privilege"
    assert "GRANT CREATE ON DATABASE" in problem.value.remedy


def test_doctor_knows_which_triggers_cannot_be_kept_quiet(owned: Owned) -> None:
    with owned.connect() as connection:
        assert loud_triggers(connection, "public") == ""
        connection.execute("CREATE TRIGGER g AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()")
        assert "GRANT SET ON PARAMETER session_replication_role" in loud_triggers(connection, "public")


def restored(it: Live) -> Live:
    """A dump of the database, restored into another."""
    pool = it.work.pool
    other = pool.create()
    assert pool.server.bin_dir is not None
    dumped = subprocess.run(
        [pool.server.bin_dir / "pg_dump", "-Fc", "-N", "unmigrate_scratch", "-d", pool.conninfo(it.name)], check=True, capture_output=True
    ).stdout
    command = [pool.server.bin_dir / "pg_restore", "--exit-on-error", "--no-owner", "-d", pool.conninfo(other)]
    done = subprocess.run(command, input=dumped, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return Live(it.work, other, list(it.history), list(it.guarded))


def test_a_restored_database_rolls_back_as_the_first_one(live: Callable[[str, str], Live]) -> None:
    it = live(INIT, ROWS)
    shape = it.shape()
    it.deploy(CHANGE)
    it.run(SINCE)
    now = it.shape(), contents(it)
    other = restored(it)
    assert (other.shape(), contents(other)) == now
    it.rollback()
    other.rollback()
    assert other.shape() == it.shape() == shape
    assert contents(other) == contents(it)
    third = restored(other)
    other.redo()
    third.redo()
    assert (other.shape(), contents(other)) == (third.shape(), contents(third)) == now


def test_images_of_a_restored_database_go_back_too(live: Callable[[str, str], Live]) -> None:
    it = live(INIT, ROWS)
    rows = contents(it)
    it.deploy("UPDATE t SET a = a + 1; DELETE FROM child WHERE id = 1")
    other = restored(it)
    other.rollback()
    assert contents(other) == rows


def partly(it: Live, *flags: str) -> tuple[str, list[str]]:
    """A dump of a part of the database, restored into a new one: its name, and what failed there."""
    pool = it.work.pool
    other = pool.create()
    with pool.connect_superuser(other) as admin:
        admin.execute("DROP SCHEMA public CASCADE" if "-n" in flags else "SELECT")
    assert pool.server.bin_dir is not None
    dump = [pool.server.bin_dir / "pg_dump", "-Fc", *flags, "-d", pool.conninfo(it.name)]
    dumped = subprocess.run(dump, check=True, capture_output=True).stdout
    command = [pool.server.bin_dir / "pg_restore", "--no-owner", "-d", pool.conninfo(other)]
    done = subprocess.run(command, input=dumped, check=False, capture_output=True)
    return other, [line for line in done.stderr.decode().splitlines() if line.startswith("pg_restore: error: ")]


@pytest.fixture
def parked(live: Callable[[str, str], Live]) -> Live:
    """Columns, a type, a table, and images with what follows their keys."""
    it = live(INIT, ROWS)
    it.deploy(CHANGE)
    it.deploy("UPDATE t SET more = 'x' WHERE id < 3; DELETE FROM t WHERE id = 6")
    return it


def test_a_dump_of_the_schema_alone_lacks_only_what_follows_keys(parked: Live) -> None:
    """Columns are there with their types, as these are renamed in place; triggers that call functions of the vault are not restored."""
    other, failed = partly(parked, "-n", "public")
    assert failed and all(re.search(r'schema "unmigrate_[0-9a-f]+" does not exist', line) for line in failed)
    rows = "SELECT * FROM t ORDER BY id"
    with parked.work.pool.connect(other) as there:
        assert there.execute(rows).fetchall() == parked.rows(rows)
        assert there.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone() == (0,)
        there.execute("INSERT INTO t (a) VALUES (1); UPDATE t SET id = id + 100; DELETE FROM t")


def test_a_dump_of_the_schema_with_the_vault_rolls_back(parked: Live) -> None:
    rows = contents(parked)
    other, failed = partly(parked, "-n", "public", "-n", "unmigrate*", "-N", "unmigrate_scratch")
    assert failed == []
    there = Live(parked.work, other, list(parked.history))
    assert contents(there) == rows
    for it in (parked, there):
        for _ in range(2):
            it.rollback()
            it.history.pop()
    assert contents(there) == contents(parked)


def test_a_dump_of_one_table_needs_the_type_that_is_parked_in_it(parked: Live) -> None:
    """As `pg_dump -t` dumps no types. What is purged is not there to be missed."""
    _, failed = partly(parked, "-t", "public.t")
    assert re.search(r'type "public\._unmigrate_[0-9a-f]+_old_Role" does not exist', failed[0])
    with parked.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)
    for flags in (("-t", "public.t"), ("-n", "public")):
        other, failed = partly(parked, *flags)
        assert failed == []
        with parked.work.pool.connect(other) as there:
            assert there.execute("SELECT id, a, more FROM t ORDER BY id").fetchall() == parked.rows("SELECT id, a, more FROM t ORDER BY id")
