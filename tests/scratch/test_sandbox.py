"""The fence: what a hostile migration tries on scratch, and what extensions honest ones get."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from unmigrate.scratch.pool import Pool
from unmigrate.scratch.sandbox import rewrite
from unmigrate.scratch.server import Server, open_server

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module", params=["pool", "debian_pool"])
def any_pool(request: pytest.FixtureRequest) -> Pool:
    pool = request.getfixturevalue(request.param)
    assert isinstance(pool, Pool)
    return pool


@pytest.fixture
def migration(any_pool: Pool) -> Iterator[Connection]:
    """A connection as migrations have it."""
    name = any_pool.create()
    with any_pool.connect(name) as connection:
        yield connection
    any_pool.drop(name)
    any_pool.drop_new_roles()


def available(connection: Connection, name: str) -> bool:
    return connection.execute("SELECT FROM pg_available_extensions WHERE name = %s", [name]).fetchone() is not None


ATTACKS = {
    "programs by COPY TO": "CREATE TABLE t (a text); COPY t TO PROGRAM 'cat > /tmp/unmigrate-was-here'",
    "programs by COPY FROM": "CREATE TABLE t (a text); COPY t FROM PROGRAM 'env'",
    "programs in a DO block": "DO $$ BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''true'''; END $$",
    "files by COPY": "CREATE TABLE t (a text); COPY t FROM '/etc/passwd'",
    "files written by COPY": "COPY (SELECT 1) TO '/tmp/unmigrate-was-here'",
    "pg_read_file": "SELECT pg_read_file('/etc/passwd')",
    "pg_read_binary_file": "SELECT pg_read_binary_file('/proc/self/environ')",
    "pg_ls_dir": "SELECT pg_ls_dir('/')",
    "pg_stat_file": "SELECT pg_stat_file('/etc/passwd')",
    "lo_import": "SELECT lo_import('/etc/passwd')",
    "lo_export": "SELECT lo_export(lo_from_bytea(0, 'x'), '/tmp/unmigrate-was-here')",
    "functions in C": "CREATE FUNCTION f(text) RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'system'",
    "internal functions": "CREATE FUNCTION f(text) RETURNS text LANGUAGE internal AS 'pg_read_file_all'",
    "LOAD": "LOAD '/tmp/evil.so'",
    "untrusted languages": "CREATE LANGUAGE plpython3u",
    "file_fdw": "CREATE EXTENSION file_fdw",
    "file_fdw by its wrapper": "CREATE FOREIGN DATA WRAPPER w HANDLER file_fdw_handler",
    "dblink": "CREATE EXTENSION dblink",
    "dblink by the function itself": "SELECT unmigrate_scratch.create_extension('dblink')",
    "postgres_fdw": "CREATE EXTENSION postgres_fdw",
    "postgres_fdw in a DO block": "DO $$ BEGIN CREATE EXTENSION IF NOT EXISTS postgres_fdw; END $$",
    "an extension by a path": "SELECT unmigrate_scratch.create_extension('../../../tmp/evil')",
    "an extension by quotes": "SELECT unmigrate_scratch.create_extension('vector\" VERSION \"x')",
    "subscriptions": "CREATE SUBSCRIPTION s CONNECTION 'host=192.0.2.1' PUBLICATION p",
    "becoming superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "making a superuser": "CREATE ROLE evil SUPERUSER",
    "altering the superuser": "ALTER ROLE unmigrate_superuser PASSWORD 'x'",
    "becoming the superuser": "SET ROLE unmigrate_superuser",
    "session authorization": "SET SESSION AUTHORIZATION unmigrate_superuser",
    "session authorization in a function": "DO $$ BEGIN PERFORM set_config('session_authorization', 'unmigrate_superuser', false); END $$",
    "membership of the superuser": "GRANT unmigrate_superuser TO CURRENT_USER",
    "programs by membership": "GRANT pg_execute_server_program TO CURRENT_USER",
    "programs by a new role": "CREATE ROLE evil IN ROLE pg_execute_server_program",
    "files by membership": "GRANT pg_read_server_files TO CURRENT_USER",
    "files written by membership": "GRANT pg_write_server_files TO CURRENT_USER",
    "programs by setting the role": "SET ROLE pg_execute_server_program",
    "replication": "CREATE ROLE evil REPLICATION LOGIN",
    "ALTER SYSTEM": "ALTER SYSTEM SET archive_command = 'touch /tmp/unmigrate-was-here'",
    "the reload": "SELECT pg_reload_conf()",
    "settings of the server": "SET archive_cleanup_command = 'true'",
    "preloaded libraries": "ALTER ROLE CURRENT_USER SET session_preload_libraries = '/tmp/evil'",
    "library path": "SET dynamic_library_path = '/tmp'",
    "extension path": "SET extension_control_path = '/tmp'",
    "catalogs": "UPDATE pg_authid SET rolsuper = true",
    "tablespaces": "CREATE TABLESPACE s LOCATION '/tmp'",
    "passwords": "SELECT rolpassword FROM pg_authid",
    "other databases": "CREATE TABLE t (a int); ALTER DATABASE template1 OWNER TO CURRENT_USER",
    "event triggers": "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; "
    "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
    "our functions replaced": "CREATE OR REPLACE FUNCTION unmigrate_scratch.check_extension(wanted name) RETURNS void LANGUAGE sql AS ''",
    "our schema dropped": "DROP SCHEMA unmigrate_scratch CASCADE",
    "things in our schema": "CREATE TABLE unmigrate_scratch.t (a int)",
    "our schema renamed": "ALTER SCHEMA unmigrate_scratch RENAME TO mine",
    "psql's shell": r"\! touch /tmp/unmigrate-was-here",
    "programs for certificates": "SET ssl_passphrase_command = 'true'",
    "backups": "SELECT pg_backup_start('x')",
    "WAL": "SELECT pg_switch_wal()",
    "the control file": "SELECT pg_promote()",
    "log files": "SELECT pg_rotate_logfile()",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=list(ATTACKS))
def test_a_hostile_migration_gets_nowhere(migration: Connection, attack: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        migration.execute(attack.encode())
    assert caught.value.sqlstate is not None, "the server died of it"
    query = "SELECT rolsuper, current_user = session_user FROM pg_roles WHERE rolname = current_user"
    assert migration.execute(query).fetchone() == (False, True)


WAYS_BACK = ["RESET ROLE", "RESET SESSION AUTHORIZATION", "SET ROLE NONE", "SET SESSION AUTHORIZATION DEFAULT", "DISCARD ALL"]


@pytest.mark.parametrize("way", WAYS_BACK)
def test_there_is_nobody_to_go_back_to(migration: Connection, way: str, any_pool: Pool) -> None:
    migration.execute(way.encode())
    assert migration.execute("SELECT current_user, session_user").fetchone() == (any_pool.role, any_pool.role)


def test_other_databases_of_the_server_are_closed(any_pool: Pool) -> None:
    for name in ("template1", "postgres", any_pool._base):
        with pytest.raises(psycopg.OperationalError):
            any_pool.connect(str(name))


def test_a_login_made_by_a_migration_has_no_more_rights(any_pool: Pool) -> None:
    name = any_pool.create()
    with any_pool.connect(name) as connection:
        connection.execute("CREATE ROLE visitor LOGIN")
    with psycopg.connect(psycopg.conninfo.make_conninfo(any_pool.conninfo(name), user="visitor"), autocommit=True) as visitor:
        for attack in ("COPY (SELECT 1) TO PROGRAM 'true'", "SELECT unmigrate_scratch.create_extension('hstore')"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                visitor.execute(attack.encode())
    any_pool.drop(name)
    any_pool.drop_new_roles()


TRAPS = """
CREATE FUNCTION public.trap() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        ALTER ROLE {role} SUPERUSER;
    END IF; END $$;
CREATE FUNCTION public.format(text, name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(); RETURN 'SELECT 1'; END $$;
CREATE FUNCTION public.quote_ident(name) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(); RETURN 'public'; END $$;
CREATE FUNCTION public.check_extension(name) RETURNS void LANGUAGE sql AS $$ SELECT public.trap() $$;
CREATE FUNCTION public.eq(name, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM public.trap(); RETURN true; END $$;
CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.eq);
CREATE OPERATOR public.<> (LEFTARG = name, RIGHTARG = text, FUNCTION = public.eq);
CREATE TABLE public.pg_extension (extname name, oid oid, extowner oid);
CREATE TEMPORARY TABLE pg_available_extension_versions AS
    SELECT 'dblink'::name AS name, '1.2'::text AS version, false AS superuser, true AS trusted, true AS relocatable,
    NULL::name AS schema, '{{}}'::name[] AS requires;
"""


def test_names_in_the_way_do_not_catch_our_functions(migration: Connection, any_pool: Pool) -> None:
    migration.execute(TRAPS.format(role=any_pool.role).encode())
    migration.execute("SET search_path = public, pg_temp, pg_catalog")
    migration.execute("CREATE EXTENSION pg_stat_statements")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        migration.execute("CREATE EXTENSION dblink")
    assert migration.execute("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user").fetchone() == (False,)


def test_a_script_that_runs_as_superuser_does_not_meet_the_schema_it_is_for(pool: Pool, database: str) -> None:
    with pool.connect(database) as connection:
        connection.execute("CREATE TYPE public.halfvec AS ENUM ('trap')")
        with pytest.raises(psycopg.errors.DuplicateObject):  # only when it is moved there, with nothing run
            connection.execute("CREATE EXTENSION vector")
        assert connection.execute("SELECT FROM pg_namespace WHERE nspname = 'unmigrate_scratch_empty'").fetchone() is None


# honest migrations


def test_extensions_that_need_a_superuser_can_be_had(migration: Connection, any_pool: Pool) -> None:
    migration.execute("CREATE EXTENSION pg_stat_statements; CREATE SCHEMA extra; CREATE EXTENSION bloom WITH SCHEMA extra")
    migration.execute("CREATE EXTENSION IF NOT EXISTS bloom SCHEMA extra; CREATE EXTENSION earthdistance CASCADE")
    query = """SELECT extname, extowner::regrole::text, extnamespace::regnamespace::text FROM pg_extension
        WHERE extname <> 'plpgsql' ORDER BY 1"""
    role = any_pool.role
    assert migration.execute(query).fetchall() == [
        ("bloom", role, "extra"), ("cube", role, "public"), ("earthdistance", role, "public"), ("pg_stat_statements", role, "public"),
    ]  # fmt: skip
    migration.execute("COMMENT ON EXTENSION bloom IS 'x'; ALTER EXTENSION bloom SET SCHEMA public")
    migration.execute("ALTER EXTENSION pg_stat_statements UPDATE")
    migration.execute("DROP EXTENSION bloom, earthdistance; DROP EXTENSION IF EXISTS cube CASCADE; DROP EXTENSION pg_stat_statements")
    assert migration.execute(query).fetchall() == []


def test_vector_is_there_and_works(pool: Pool, database: str) -> None:
    with pool.connect(database) as connection:
        connection.execute('CREATE EXTENSION IF NOT EXISTS "vector"; CREATE TABLE t (e vector(3))')
        connection.execute("CREATE INDEX ON t USING hnsw (e vector_l2_ops)")
        connection.execute("INSERT INTO t VALUES ('[1,2,3]')")
        with pytest.raises(psycopg.errors.DuplicateObject):
            connection.execute("CREATE EXTENSION vector")


def test_an_extension_is_created_from_a_literal_too(migration: Connection) -> None:
    migration.execute("DO $$ BEGIN IF true THEN EXECUTE 'CREATE EXTENSION IF NOT EXISTS bloom'; END IF; END $$")
    assert migration.execute("SELECT FROM pg_extension WHERE extname = 'bloom'").fetchone() is not None


def test_a_rolled_back_extension_is_gone(migration: Connection) -> None:
    migration.execute("BEGIN; CREATE EXTENSION bloom; ROLLBACK")
    assert migration.execute("SELECT FROM pg_extension WHERE extname = 'bloom'").fetchone() is None


@pytest.mark.parametrize("name", ["nobody_has_it", "plrust"])
def test_a_missing_extension_is_said_in_postgresqls_words(migration: Connection, name: str) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported, match=f'extension "{name}" is not available'):
        migration.execute(f"CREATE EXTENSION {name}".encode())


def test_an_unknown_extension_needs_somebody_to_vouch_for_it(server: Server) -> None:
    from dataclasses import replace

    refused = pytest.raises(psycopg.errors.InsufficientPrivilege, match="pg_logicalinspect")
    with Pool(server) as pool, pool.connect(pool.create()) as connection, refused:
        connection.execute("CREATE EXTENSION pg_logicalinspect")
    with Pool(replace(server, allow_extensions=frozenset({"pg_logicalinspect"}))) as pool, pool.connect(pool.create()) as connection:
        connection.execute("CREATE EXTENSION pg_logicalinspect")


def test_the_variable_vouches(server: Server) -> None:
    environ = {"UNMIGRATE_SCRATCH_EXTENSIONS": "one, two"}
    with open_server(f"{server.conninfo} dbname=template1", environ=environ) as opened:
        assert opened.allow_extensions == {"one", "two"}


# text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("CREATE EXTENSION vector;", "SELECT unmigrate_scratch.create_extension('vector', home => pg_catalog.current_schema());"),
        (
            '-- ä€😀\nSELECT 1; create extension if not exists "vector"\n  with schema "my ""s" version \'0.5\' cascade -- why\n; SELECT 2',
            "-- ä€😀\nSELECT 1; SELECT unmigrate_scratch.create_extension('vector', if_not_exists => true, in_schema => 'my \"s', "
            "in_version => '0.5', cascade => true, home => pg_catalog.current_schema()) -- why\n; SELECT 2",
        ),
        ("ALTER EXTENSION vector UPDATE TO '0.7'", "SELECT unmigrate_scratch.update_extension('vector', '0.7')"),
        ("ALTER EXTENSION vector SET SCHEMA x", "SELECT unmigrate_scratch.move_extension('vector', 'x')"),
        (
            "DO $x$ BEGIN IF true THEN CREATE EXTENSION vector; END IF; END $x$;",
            "DO $x$ BEGIN IF true THEN PERFORM unmigrate_scratch.create_extension('vector', home => pg_catalog.current_schema()); "
            "END IF; END $x$;",
        ),
        (
            "DO 'BEGIN CREATE EXTENSION vector VERSION ''0.5''; END'",
            "DO 'BEGIN PERFORM unmigrate_scratch.create_extension(''vector'', in_version => ''0.5'', home => pg_catalog.current_schema()); END'",
        ),
        (
            "DO $$ BEGIN IF true THEN EXECUTE 'CREATE EXTENSION vector'; ELSE EXECUTE $x$CREATE EXTENSION bloom$x$; END IF; END $$",
            "DO $$ BEGIN IF true THEN EXECUTE 'SELECT unmigrate_scratch.create_extension(''vector'', home => pg_catalog.current_schema())'; "
            "ELSE EXECUTE $x$SELECT unmigrate_scratch.create_extension('bloom', home => pg_catalog.current_schema())$x$; END IF; END $$",
        ),
    ],
)
def test_statements_that_need_a_superuser_become_calls(before: str, after: str) -> None:
    assert rewrite(before) == after


@pytest.mark.parametrize(
    "text",
    [
        'CREATE EXTENSION citext; CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;',
        "DROP EXTENSION vector",
        "COMMENT ON EXTENSION vector IS 'CREATE EXTENSION vector'",
        "SELECT 'CREATE EXTENSION vector'; -- CREATE EXTENSION vector;\n/* CREATE EXTENSION vector; */",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE EXTENSION vector; END $$",
        "CREATE EXTENSION 'unterminated",
        "CREATE EXTENSION",
        "CREATE TABLE extension (id int)",
        "ALTER EXTENSION vector ADD FUNCTION f()",
        "DO E'BEGIN CREATE EXTENSION vector; END'",
        "DO $$ BEGIN EXECUTE 'CREATE EXTENSION ' || quote_ident(name); RAISE NOTICE 'CREATE EXTENSION vector'; END $$",
    ],
)
def test_everything_else_stays_byte_for_byte(text: str) -> None:
    assert rewrite(text) == text


def test_what_is_lacking_is_said_with_the_way_out(pool: Pool) -> None:
    lacking = pool.lacking(frozenset({"vector", "pgcrypto", "dblink", "pg_logicalinspect", "postgis"}))
    assert set(lacking) == {"dblink", "pg_logicalinspect", "postgis"}
    assert "--scratch" in lacking["postgis"] and "UNMIGRATE_SCRATCH_EXTENSIONS" in lacking["pg_logicalinspect"]


# stand-ins


@pytest.fixture
def real_and_stand_in(pool: Pool, debian_pool: Pool, database: str) -> Iterator[tuple[Connection, Connection]]:
    if "pgcrypto" not in pool.server.stand_ins:
        pytest.skip("the embedded server has the real ones")
    other = debian_pool.create()
    with debian_pool.connect(other) as real, pool.connect(database) as ours:
        for connection in (real, ours):
            connection.execute('CREATE EXTENSION pgcrypto; CREATE EXTENSION "uuid-ossp"')
        yield real, ours
    debian_pool.drop(other)


SAME = [
    *(f"SELECT digest('{text}', '{kind}')" for text in ("", "abc", "x" * 55, "x" * 56, "x" * 64, "ä" * 100)
      for kind in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")),
    *(f"SELECT hmac('data', '{key}', '{kind}')" for key in ("k", "x" * 200) for kind in ("md5", "sha1", "sha256", "sha512")),
    "SELECT uuid_generate_v3(uuid_ns_dns(), 'www.example.org')",
    "SELECT uuid_generate_v5(uuid_ns_url(), 'https://example.org/ä')",
    "SELECT uuid_nil(), uuid_ns_dns(), uuid_ns_url(), uuid_ns_oid(), uuid_ns_x500()",
    "SELECT armor('hello'), armor('abc', ARRAY['Comment'], ARRAY['x'])",
    "SELECT dearmor(armor('\\x00ff10'::bytea)), (SELECT array_agg(h) FROM pgp_armor_headers(armor('abc', ARRAY['A'], ARRAY['b'])) AS h)",
    "SELECT length(gen_salt('bf')), length(gen_salt('md5')), length(gen_salt('xdes')), length(gen_salt('des')), left(gen_salt('bf', 8), 7)",
    *(f"SELECT length(h), crypt('secret', h) = h, crypt('other', h) = h FROM (SELECT crypt('secret', gen_salt('{kind}')) AS h) AS made"
      for kind in ("bf", "md5", "xdes", "des")),
    "SELECT pgp_sym_decrypt(pgp_sym_encrypt('text', 'key'), 'key'), pgp_sym_decrypt_bytea(pgp_sym_encrypt_bytea('text', 'key'), 'key')",
    "SELECT decrypt(encrypt('data', 'key', 'aes'), 'key', 'aes'), length(gen_random_bytes(33))",
    *(f"SELECT substring(uuid_generate_{version}()::text, 15, 1)" for version in ("v1", "v1mc", "v4")),
]  # fmt: skip


@pytest.mark.parametrize("query", list(dict.fromkeys(SAME)))
def test_stand_ins_answer_as_the_real_ones(real_and_stand_in: tuple[Connection, Connection], query: str) -> None:
    real, ours = real_and_stand_in
    assert real.execute(query.encode()).fetchall() == ours.execute(query.encode()).fetchall()


def test_stand_ins_have_the_functions_of_the_real_ones(real_and_stand_in: tuple[Connection, Connection]) -> None:
    query = """SELECT p.oid::regprocedure::text, p.provolatile, p.proisstrict, p.proparallel, p.prorettype::regtype::text, p.proretset
        FROM pg_proc AS p JOIN pg_depend AS d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension AS e ON e.oid = d.refobjid WHERE e.extname IN ('pgcrypto', 'uuid-ossp') ORDER BY 1"""
    real, ours = (connection.execute(query).fetchall() for connection in real_and_stand_in)
    assert ours == real


def test_wrong_keys_and_kinds_fail_in_stand_ins_too(real_and_stand_in: tuple[Connection, Connection]) -> None:
    for query in (
        "SELECT pgp_sym_decrypt(pgp_sym_encrypt('text', 'key'), 'other')", "SELECT digest('x', 'nope')", "SELECT gen_salt('nope')",
        "SELECT gen_random_bytes(0)", "SELECT dearmor('nonsense')",
    ):  # fmt: skip
        states = []
        for connection in real_and_stand_in:
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(query.encode())
            states.append(caught.value.sqlstate)
        assert states[0] == states[1], query


def test_stand_ins_are_said_and_available(pool: Pool) -> None:
    assert pool.server.stand_ins <= {"pgcrypto", "uuid-ossp"}
    assert {"pgcrypto", "uuid-ossp", "vector"} <= pool.server.available_extensions()


def test_v1_uuids_carry_the_time(pool: Pool, database: str) -> None:
    with pool.connect(database) as connection:
        connection.execute('CREATE EXTENSION "uuid-ossp"')
        row = connection.execute("SELECT abs(extract(epoch FROM uuid_extract_timestamp(uuid_generate_v1()) - now())) < 60").fetchone()
        assert row == (True,)
        many = connection.execute("SELECT uuid_generate_v1()::text FROM generate_series(1, 200)").fetchall()
        form = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
        assert len(set(many)) == 200 and all(form.fullmatch(text) for (text,) in many)


def test_migrations_do_not_wait(migration: Connection) -> None:
    began = time.monotonic()
    migration.execute("SELECT pg_sleep(60), pg_sleep_for('1 minute'), pg_sleep_until(clock_timestamp() + interval '1 minute')")
    migration.execute("DO $$ BEGIN FOR i IN 1..3 LOOP PERFORM pg_catalog.pg_sleep(60.5); END LOOP; END $$")
    assert time.monotonic() - began < 30
