"""Databases and the migration role."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.scratch.identity import refuse_same_database
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server, given, open_server
from unmigrate.scratch.templates import MAX_KEPT, template_key


@pytest.fixture(params=["pool", "debian_pool"])
def any_pool(request: pytest.FixtureRequest) -> Pool:
    pool = request.getfixturevalue(request.param)
    assert isinstance(pool, Pool)
    return pool


def databases(server: Server) -> set[str]:
    with server.connect() as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'unmigrate_scratch%'")}


def test_migrations_own_their_database_and_are_no_superuser(any_pool: Pool) -> None:
    name = any_pool.create()
    with any_pool.connect(name) as connection:
        query = "SELECT current_user, session_user, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(query).fetchone() == (any_pool.role, any_pool.role, False, False)
        connection.execute("CREATE TABLE t (id int); CREATE SCHEMA s; CREATE TYPE s.e AS ENUM ('a'); DROP SCHEMA public CASCADE")
        connection.execute(f'COMMENT ON DATABASE "{name}" IS $$mine$$')
    any_pool.drop(name)


def test_a_clone_has_what_its_origin_had_and_lives_on_its_own(any_pool: Pool) -> None:
    first = any_pool.create()
    open_ = any_pool.connect(first)
    open_.execute("CREATE TABLE t AS SELECT 1 AS id")
    second = any_pool.clone(first)  # ends the open session
    with any_pool.connect(second) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
    with any_pool.connect(first) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError):
        open_.execute("SELECT 1")
    any_pool.drop(first)
    any_pool.drop(second)


def test_databases_and_roles_go_with_the_pool(server: Server) -> None:
    before = databases(server)
    with Pool(server) as pool, pool.connect(pool.create()) as connection:
        connection.execute("CREATE ROLE reporting; CREATE TABLE t (id int); GRANT SELECT ON t TO reporting")
        assert pool.new_roles() == {"reporting"}
    assert databases(server) == before
    with server.connect() as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = 'reporting'").fetchone() is None


def test_databases_go_after_an_exception_too(server: Server) -> None:
    before = databases(server)
    with pytest.raises(ZeroDivisionError), Pool(server) as pool:
        pool.create()
        raise ZeroDivisionError
    assert databases(server) == before


def test_the_next_pool_does_not_inherit_what_a_migration_did_to_the_role(server: Server) -> None:
    with Pool(server) as pool, pool.connect(pool.create()) as connection:
        connection.execute("ALTER ROLE CURRENT_USER SET search_path = nowhere; ALTER ROLE CURRENT_USER SET role = none")
    with Pool(server) as pool, pool.connect(pool.create()) as connection:
        assert connection.execute("SELECT current_schema()").fetchone() == ("public",)


def test_the_environment_does_not_change_how_migrations_run(pool: Pool, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c search_path=elsewhere")
    with pool.connect(database) as connection:
        assert connection.execute("SELECT current_schema()").fetchone() == ("public",)


def test_trusted_migrations_run_as_a_superuser(server: Server) -> None:
    with Pool(server, trusted=True) as pool, pool.connect(pool.create()) as connection:
        connection.execute("CREATE EXTENSION vector; CREATE PUBLICATION p FOR ALL TABLES")
        assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,)


def test_a_superuser_searches_nothing_but_pg_catalog(pool: Pool, database: str) -> None:
    with pool.connect(database) as connection:
        connection.execute("CREATE FUNCTION public.now() RETURNS text LANGUAGE sql AS $$ SELECT 'trap' $$")
        connection.execute(f'ALTER DATABASE "{database}" SET search_path = public, pg_catalog')
    with pool.connect_superuser(database) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog",)
        row = connection.execute("SELECT now()").fetchone()
        assert row is not None and row[0] != "trap"


# given servers


@pytest.fixture
def given_server(server: Server) -> Iterator[Server]:
    yield given(f"{server.conninfo} dbname=template1")


def test_on_a_given_server_the_role_is_ours_and_goes_with_us(given_server: Server) -> None:
    before = databases(given_server)
    with Pool(given_server) as pool:
        assert pool.role.startswith("unmigrate_migrator_") and pool.is_superuser
        with pool.connect(pool.create()) as connection:
            assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
            connection.execute("CREATE EXTENSION vector")
        role = pool.role
    assert databases(given_server) == before
    with given_server.connect() as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None


@pytest.fixture
def plain_role(server: Server) -> Iterator[str]:
    with server.connect() as connection:
        connection.execute("CREATE ROLE plain LOGIN; GRANT CONNECT ON DATABASE template1 TO plain")
        yield f"{server.conninfo} user=plain dbname=template1"
        connection.execute("REVOKE CONNECT ON DATABASE template1 FROM plain; DROP ROLE plain")


def test_a_role_that_may_not_create_databases_is_told_so(plain_role: str) -> None:
    with pytest.raises(EnvironmentProblem, match="may not create databases") as caught, Pool(given(plain_role)):
        pass
    assert caught.value.exit_status == 4 and "CREATEDB" in caught.value.remedy


def test_a_role_without_superuser_runs_the_migrations_itself(server: Server, plain_role: str) -> None:
    with server.connect() as connection:
        connection.execute("ALTER ROLE plain CREATEDB")
    with open_server(f"target:{plain_role}", environ={}) as opened, Pool(opened) as pool:
        assert opened.target and not pool.is_superuser and pool.role == "plain"
        name = pool.create()
        with pool.connect(name) as connection:
            connection.execute("CREATE TABLE t (id int); CREATE EXTENSION citext")
        assert pool.keep_template(name, "key") and pool.find_template("key")
        with pytest.raises(EnvironmentProblem, match="needs a superuser"):
            pool.connect_superuser(name)
    assert not [name for name in databases(server) if "kept" in name]


def test_the_target_is_never_scratch(server: Server, pool: Pool, database: str, debian_server: Server) -> None:
    other = pool.create()
    with pool.connect(database) as one, pool.connect(database) as same, pool.connect(other) as another, debian_server.connect() as far:
        with pytest.raises(RefusedError, match="is the target"):
            refuse_same_database(one, same)
        refuse_same_database(one, another)
        refuse_same_database(far, one)
    with server.connect(database) as admin, pool.connect(database) as one:
        admin.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        with pytest.raises(RefusedError):  # told apart by start time and database
            refuse_same_database(one, admin)
    pool.drop(other)


# templates


def test_the_least_recently_used_templates_go(server: Server) -> None:
    with Pool(server) as pool:
        for number in range(MAX_KEPT):
            assert pool.keep_template(pool.create(), f"lru-{number}")
        assert pool.find_template("lru-0")  # used again
        assert pool.keep_template(pool.create(), "lru-new")
        assert pool.find_template("lru-1") is None
        assert pool.find_template("lru-0") and pool.find_template("lru-new")


def test_a_template_of_the_same_key_is_replaced(server: Server) -> None:
    with Pool(server) as pool:
        pool.keep_template(pool.create(), "same")
        name = pool.create()
        with pool.connect(name) as connection:
            connection.execute("CREATE TABLE newer (id int)")
        pool.keep_template(name, "same")
        with pool.connect(pool.create(pool.find_template("same"))) as connection:
            assert connection.execute("SELECT to_regclass('newer')::text").fetchone() == ("newer",)


def test_what_needs_a_role_is_not_kept(server: Server) -> None:
    with Pool(server) as pool:
        name = pool.create()
        with pool.connect(name) as connection:
            connection.execute("CREATE ROLE auditor")
        assert not pool.keep_template(name, "with-role")
        with pool.connect(name):
            pass


def test_keys_differ_by_version_and_content(server: Server, debian_server: Server) -> None:
    keys = {template_key(server, ["a", "b"]), template_key(server, ["ab"]), template_key(server, ["a"]), template_key(debian_server, ["a"])}
    assert len(keys) == 4
