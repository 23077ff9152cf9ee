"""Writers are seen to be gone, not assumed: what PostgreSQL hides from a role, what it has not reported yet, and what it forgot."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from time import sleep
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from unmigrate.errors import RefusedError
from unmigrate.runbook.adapters import database
from unmigrate.scratch import cluster
from unmigrate.scratch.server import Server, open_server


@pytest.fixture(scope="module")
def own() -> Iterator[Server]:
    """A server of its own: roles are the whole server's, and its statistics begin anew here."""
    with pytest.MonkeyPatch.context() as patch, open_server_with(patch, max_prepared_transactions="2") as opened:
        with opened.connect() as admin:
            admin.execute("CREATE ROLE owns LOGIN; CREATE ROLE writes LOGIN")
        yield opened


def open_server_with(patch: pytest.MonkeyPatch, **settings: str) -> AbstractContextManager[Server]:
    for name, value in settings.items():
        patch.setitem(cluster.SETTINGS, name, value)
    return open_server("embedded", environ=os.environ)


class Shop:
    """A database of `owns`, in which `writes` writes."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connect(self, role: str) -> psycopg.Connection[Any]:
        return psycopg.connect(make_conninfo(self._server.conninfo, dbname="shop", user=role), autocommit=True)


@pytest.fixture
def made(own: Server) -> Iterator[Shop]:
    with own.connect() as admin:
        admin.execute("CREATE DATABASE shop OWNER owns")
    opened = Shop(own)
    with opened.connect("owns") as owner:
        owner.execute("CREATE TABLE orders (id serial PRIMARY KEY, item text); GRANT ALL ON ALL TABLES IN SCHEMA public TO writes")
        owner.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO writes; GRANT CREATE ON SCHEMA public TO writes")
    yield opened
    with own.connect() as admin:
        admin.execute("DROP DATABASE shop WITH (FORCE)")


def test_an_open_transaction_of_a_role_whose_sessions_are_hidden_is_seen(made: Shop) -> None:
    with made.connect("owns") as owner, made.connect("writes") as writer:
        writer.execute("BEGIN; INSERT INTO orders (item) VALUES ('a')")
        hidden = owner.execute("select backend_type from pg_stat_activity where usename = 'writes'").fetchone()
        assert hidden == (None,), "PostgreSQL tells the owner nothing of it"
        with pytest.raises(RefusedError, match="of writes"):
            database.watch(owner, 0.2, 0.5, sleep)
        assert [o.role for o in database.others(owner)] == ["writes"]
        assert "may not end sessions of writes" in " ".join(database.may(owner))
        writer.execute("COMMIT")
        assert "writers are gone" in database.watch(owner, 0.2, 20, sleep)["said"][0]


def test_a_prepared_transaction_is_seen(made: Shop) -> None:
    """It belongs to no session, and may be committed at any time."""
    with made.connect("owns") as owner:
        with made.connect("writes") as writer:
            writer.execute("BEGIN; INSERT INTO orders (item) VALUES ('a'); PREPARE TRANSACTION 'later'")
        with pytest.raises(RefusedError, match="prepared transaction later of writes"):
            database.watch(owner, 0.2, 0.5, sleep)
        with made.connect("writes") as writer:
            writer.execute("ROLLBACK PREPARED 'later'")
        assert "writers are gone" in database.watch(owner, 0.2, 20, sleep)["said"][0]


def test_a_transaction_that_is_open_at_the_last_look_stops_it(made: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_IDLE_REPORT", 0.3)
    with made.connect("owns") as owner, made.connect("writes") as writer:
        seen = database.watch(owner, 0.2, 20, sleep)
        assert database.since(owner, seen, sleep) == {}
        writer.execute("BEGIN; INSERT INTO orders (item) VALUES ('late')")
        with pytest.raises(RefusedError, match="is open"):
            database.since(owner, seen, sleep)


def test_what_an_idle_session_wrote_is_waited_for(made: Shop) -> None:
    """It reports a second later at the soonest, and 10 s later at the latest."""
    with made.connect("owns") as owner, made.connect("writes") as writer:
        seen = database.watch(owner, 0.2, 20, sleep)
        for _ in range(3):
            writer.execute("INSERT INTO orders (item) VALUES ('late')")
        assert database.since(owner, seen, sleep)["public.orders"] >= 1


def test_rows_of_a_table_made_meanwhile_count(made: Shop) -> None:
    with made.connect("owns") as owner:
        seen = database.mark(owner)
        with made.connect("writes") as writer:
            writer.execute("CREATE TABLE carts (id int); INSERT INTO carts VALUES (1), (2)")
        assert database.since(owner, seen, sleep) == {"public.carts": 2}


def test_statistics_that_began_anew_are_not_taken_for_silence(made: Shop, own: Server) -> None:
    with made.connect("owns") as owner:
        with made.connect("writes") as writer:
            writer.execute("INSERT INTO orders (item) VALUES ('a')")
        seen = database.mark(owner)
        with made.connect("writes") as writer:
            writer.execute("INSERT INTO orders (item) VALUES ('b')")
        with own.connect("shop") as admin:
            admin.execute("select pg_stat_reset()")
        with pytest.raises(RefusedError, match="began anew"):
            database.since(owner, seen, sleep)


def test_nobody_connected_is_known_at_once(made: Shop, own: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a session wrote is reported when it ends, so others' databases may be as busy as they like."""
    monkeypatch.setattr(database, "_IDLE_REPORT", 1e9)
    with made.connect("owns") as owner:
        seen = database.mark(owner)
        with own.connect() as admin:
            admin.execute("CREATE DATABASE another")
            admin.execute("DROP DATABASE another")
        assert database.since(owner, seen, sleep) == {}
