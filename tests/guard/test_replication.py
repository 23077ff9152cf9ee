"""A real subscriber of tables that are parked in, and come back: it goes on through deploy, rollback, redo and purge."""

import os
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.guard.conftest import Live
from tests.support import deploy as deploy_plainly
from tests.support import migration
from unmigrate.errors import FailedError, RefusedError
from unmigrate.park.purge import kept, purge
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch import cluster
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

INIT = """CREATE TABLE t (id int PRIMARY KEY, a text, b text, old int);
CREATE TABLE gone (id int PRIMARY KEY REFERENCES t ON DELETE CASCADE); CREATE TABLE other (id int PRIMARY KEY)"""
REPLICATING = {"wal_level": "logical", "max_wal_senders": "4", "max_replication_slots": "4", "max_logical_replication_workers": "4"}


@pytest.fixture(scope="module")
def publisher() -> Iterator[Pool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "SETTINGS", {**cluster.SETTINGS, **REPLICATING})
        with open_server("embedded", environ=os.environ) as server, Pool(server) as pool:
            yield pool


@pytest.fixture
def live(publisher: Pool) -> Live:
    found = Live(Workspace(publisher), publisher.create(), [migration("1", INIT)])
    with found.connect() as connection:
        deploy_plainly(connection, [("1", INIT)])
        connection.execute("INSERT INTO t VALUES (1, 'a', 'b', 1), (2, 'a', 'b', 2); INSERT INTO gone VALUES (1), (2)")
        connection.execute("CREATE PUBLICATION app FOR TABLE t, gone, other")
    return found


@pytest.fixture
def subscriber(live: Live, publisher: Pool) -> Iterator[psycopg.Connection[object]]:
    name = publisher.create()
    with publisher.connect(name) as connection:
        connection.execute(INIT)
    server = publisher.server
    source = psycopg.conninfo.make_conninfo(server.conninfo, dbname=live.name)
    with server.connect(live.name) as admin, server.connect(name) as connection:
        admin.execute("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
        connection.execute(f"CREATE SUBSCRIPTION s CONNECTION '{source}' PUBLICATION app WITH (create_slot = false, slot_name = 's')")
        connection.execute("SET search_path = public")
        yield connection
        connection.execute("ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s")
        for _ in range(100):
            try:
                admin.execute("SELECT pg_drop_replication_slot('s')")
                break
            except psycopg.errors.ObjectInUse:
                time.sleep(0.1)


def arrives(subscriber: psycopg.Connection[object], sql: str, wanted: object) -> None:
    for _ in range(150):
        row = subscriber.execute(sql).fetchone()
        if row == (wanted,):
            return
        time.sleep(0.1)
    raise AssertionError(f"{sql} is {row}, not {wanted}")


def purge_all(it: Live) -> None:
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)


def test_a_subscriber_goes_on(live: Live, subscriber: psycopg.Connection[object]) -> None:
    arrives(subscriber, "SELECT count(*) FROM t", 2)
    live.deploy("ALTER TABLE t DROP COLUMN a; DROP TABLE gone")
    live.run("INSERT INTO t (id, b) VALUES (3, 'after deploy'); DELETE FROM t WHERE id = 2")
    arrives(subscriber, "SELECT string_agg(id || b, ',' ORDER BY id) FROM t", "1b,3after deploy")
    live.rollback()
    assert live.rows("SELECT tablename, rowfilter FROM pg_publication_tables ORDER BY 1") == [("gone", None), ("other", None), ("t", None)]
    assert live.value("SELECT count(*) FROM pg_publication_rel WHERE prattrs IS NOT NULL") == 0
    live.run("INSERT INTO t (id, a, b) VALUES (4, 'back', 'x'); INSERT INTO gone VALUES (4)")
    arrives(subscriber, "SELECT a FROM t WHERE id = 4", "back")
    arrives(subscriber, "SELECT max(id) FROM gone", 4)
    live.redo()
    live.run("INSERT INTO t (id, b) VALUES (5, 'after redo')")
    arrives(subscriber, "SELECT b FROM t WHERE id = 5", "after redo")
    purge_all(live)
    assert live.value("SELECT count(*) FROM pg_publication_rel WHERE prattrs IS NOT NULL") == 0
    live.run("INSERT INTO t (id, b) VALUES (6, 'after purge')")
    arrives(subscriber, "SELECT b FROM t WHERE id = 6", "after purge")


def test_what_a_rollback_parks_reaches_no_subscriber(live: Live, subscriber: psycopg.Connection[object]) -> None:
    arrives(subscriber, "SELECT count(*) FROM t", 2)
    subscriber.execute("ALTER TABLE t ADD COLUMN c text")
    live.deploy("ALTER TABLE t ADD COLUMN c text")
    live.run("INSERT INTO t (id, c) VALUES (7, 'new')")
    arrives(subscriber, "SELECT c FROM t WHERE id = 7", "new")
    live.rollback()
    live.run("INSERT INTO t (id, b) VALUES (8, 'old app')")
    arrives(subscriber, "SELECT b FROM t WHERE id = 8", "old app")


def test_a_list_of_columns_stays_what_it_was(live: Live) -> None:
    """A table that returns is published as before; a column that a list names is not dropped, as PostgreSQL itself would refuse it."""
    listed = "SELECT tablename, attnames::text FROM pg_publication_tables WHERE tablename <> 'other' ORDER BY 1"
    live.run("ALTER PUBLICATION app SET TABLE t (id, b), gone, other")
    before = live.rows(listed)
    assert before == [("gone", "{id}"), ("t", "{id,b}")]
    with pytest.raises(FailedError, match="publication of table t in publication app depends on it"):
        live.deploy("ALTER TABLE t DROP COLUMN b")
    live.history.pop()
    live.deploy("ALTER TABLE t DROP COLUMN a; DROP TABLE gone; DROP TABLE t")
    assert live.rows(listed) == []
    live.rollback()
    assert live.rows(listed) == before
    live.redo()
    live.rollback()
    assert live.rows(listed) == before


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("DROP PUBLICATION app; CREATE PUBLICATION app FOR TABLES IN SCHEMA public", "names no tables"),
        ("ALTER TABLE t REPLICA IDENTITY FULL", "REPLICA IDENTITY FULL"),
    ],
)
def test_where_a_subscriber_would_stop_nothing_is_deployed(live: Live, publisher: Pool, made: str, told: str) -> None:
    if "FULL" in made:
        live.deploy(made)
    else:
        with publisher.connect_superuser(live.name) as admin:
            admin.execute(made)
    with pytest.raises(RefusedError) as refusal:
        live.deploy("ALTER TABLE t DROP COLUMN a")
    assert refusal.value.code == "published"
    assert told in str(refusal.value)
    assert live.value("SELECT a FROM t WHERE id = 1") == "a"
