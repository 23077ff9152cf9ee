"""What is not observed must not be called exact: servers that do not count rows, and whatever else the observation may miss."""

import psycopg
import pytest

from tests.support import migration
from unmigrate.catalog.observer import Observer
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.prisma.url import require_supported
from unmigrate.prove.audit import audit
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server, given

FIRST = migration("1", "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL)")
BLIND = "SET track_counts = off; ALTER TABLE t DROP COLUMN a"


def test_a_server_that_does_not_count_is_refused(server: Server) -> None:
    with psycopg.connect(f"{server.conninfo} dbname=postgres", autocommit=True) as connection:
        connection.execute("SET track_counts = off")
        with pytest.raises(EnvironmentProblem, match="track_counts is off") as refused:
            require_supported(connection, "it")
        assert (refused.value.code, connection.closed) == ("track-counts", True)


@pytest.mark.parametrize("where", ["ROLE unmigrate_uncounted", "DATABASE template1"])
def test_a_setting_of_a_role_or_database_is_seen(server: Server, where: str) -> None:
    with psycopg.connect(f"{server.conninfo} dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE ROLE unmigrate_uncounted")
        try:
            connection.execute(f"ALTER {where} SET track_counts = off")
            with pytest.raises(EnvironmentProblem, match="track_counts is off"):
                given(server.conninfo)
            connection.execute(f"ALTER {where} SET track_counts = on")
            given(server.conninfo)
        finally:
            connection.execute(f"ALTER {where} RESET track_counts")
            connection.execute("DROP ROLE unmigrate_uncounted")


@pytest.mark.parametrize("sql", [BLIND, f"{BLIND}; SET track_counts = on"])
def test_a_migration_that_ends_the_counting_is_not_exact(server: Server, sql: str) -> None:
    with Pool(server, trusted=True) as pool:
        with pytest.raises((EnvironmentProblem, RefusedError)) as refused:
            list(audit(Workspace(pool), [FIRST, migration("2", sql)], rows=False))
        assert refused.value.code in ("track-counts", "unseen")


def test_what_the_observation_misses_is_found_at_the_end(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(Workspace(pool).fresh())
    proved = list(history.prove_all([FIRST]))
    assert proved[0].outcome.verdict == "exact"
    monkeypatch.setattr(Observer, "_wanted", lambda self, touched: ({}, set()))
    with pytest.raises(RefusedError, match=r"something else than was seen of column public\.t\.b"):
        list(history.prove_all([migration("2", "ALTER TABLE t ADD b int")]))


@pytest.mark.parametrize("between", ["SELECT", "SELECT pg_stat_force_next_flush()", "SELECT pg_sleep(1.2)", "DISCARD ALL"])
def test_what_a_file_commits_itself_is_seen_whether_reported_or_not(pool: Pool, between: str) -> None:
    """PostgreSQL reports what a session wrote about once a second: counters go from the session's own to those of all."""
    if between == "SELECT pg_stat_force_next_flush()" and pool.server.major < 15:
        pytest.skip("before 15 nothing forces a report")
    history = History(Workspace(pool).fresh())
    first = "CREATE INDEX CONCURRENTLY i ON t (a); {0}; ALTER TABLE t ADD b int DEFAULT 1; {0}; COMMENT ON COLUMN t.b IS 'b'"
    then = "DROP INDEX CONCURRENTLY i; {0}; CREATE TYPE e AS ENUM ('A'); {0}; ALTER TABLE t DROP COLUMN b"
    for number, sql in enumerate((first, then), 2):
        if number == 2:
            list(history.prove_all([FIRST]))
        (proof,) = history.prove_all([migration(str(number), sql.format(between))])
        assert (proof.mode, proof.outcome.verdict) == ("statements", "exact"), proof.outcome.reason
        assert history.observer.check() == []
    assert {o.name for o in proof.delta.dropped} == {"public.i", "public.t.b"}


ONE_BY_ONE = [
    "CREATE TYPE e AS ENUM ('A', 'B')",
    "CREATE TABLE p (id int PRIMARY KEY, k e DEFAULT 'A', n text NOT NULL)",
    "CREATE TABLE c (id int PRIMARY KEY, p int CONSTRAINT f REFERENCES p, CHECK (id > 0))",
    "ALTER TABLE p ADD COLUMN m int DEFAULT 1",
    "DO $$ BEGIN ALTER TABLE p ADD COLUMN gone int; ALTER TABLE p RENAME n TO lost; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "ALTER TABLE p RENAME n TO name",
    "ALTER TABLE p RENAME TO parent",
    "CREATE VIEW v AS SELECT name, k FROM parent",
    "DO $$ BEGIN BEGIN DROP VIEW v; RAISE 'x'; EXCEPTION WHEN OTHERS THEN NULL; END; COMMENT ON COLUMN parent.m IS 'm'; END $$",
    "ALTER TYPE e RENAME VALUE 'B' TO 'C'",
    "ALTER TABLE parent ALTER m TYPE bigint, ALTER m DROP DEFAULT",
    "CREATE UNIQUE INDEX u ON parent (name)",
    "ALTER TABLE parent ADD CONSTRAINT u UNIQUE USING INDEX u",
    "ALTER TABLE c DROP CONSTRAINT f",
    "ALTER INDEX u RENAME TO w",
    "GRANT SELECT ON parent TO PUBLIC",
    "DROP VIEW v",
    "ALTER TABLE parent DROP COLUMN k",
    "DROP TYPE e",
]


@pytest.mark.parametrize("back", [None, "last", "earlier"])
def test_rows_read_before_are_read_again_where_they_were_written_again(pool: Pool, back: str | None) -> None:
    """back: each statement is rolled back and run again, from the state saved last, or from one that was not."""
    connection = Workspace(pool).fresh()
    observer = Observer(connection)
    observer.begin()
    for sql in ONE_BY_ONE:
        before = observer.save()
        if back:
            connection.execute("SAVEPOINT here")
            connection.execute(sql)
            observer.refresh()
            if back == "earlier":
                observer.save()
            connection.execute("ROLLBACK TO SAVEPOINT here")
            observer.restore(before)
            assert observer.check() == []
        connection.execute(sql)
        observer.refresh()
        assert observer.check() == []
