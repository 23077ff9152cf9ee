"""A history that makes roles, replayed in several databases of one server."""

import psycopg
import pytest

from tests.support import migration
from unmigrate.plan.build import Request, build
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server, given

SCRIPTS = [
    ("1_role", "-- ä\nCREATE ROLE um_made; CREATE TABLE t (id int PRIMARY KEY); GRANT SELECT ON t TO um_made;"),
    ("2_more", "ALTER TABLE t ADD COLUMN x int"),
]


def test_a_plan_and_an_audit_with_rows(pool: Pool) -> None:
    work = Workspace(pool)
    plan = build(work, Request([migration(*s) for s in SCRIPTS], 2), lambda _: None)
    assert [(v.schema, v.data) for v in plan.verdicts] == [("exact", "lossless")] * 2
    entries = list(audit(work, [migration(*s) for s in SCRIPTS], rows=True))
    assert [e.report["data"]["plain"]["verdict"] for e in entries] == ["lossless"] * 2
    pool.drop_new_roles()


def test_only_what_another_database_made_is_left_out(pool: Pool) -> None:
    one, other = pool.create(), pool.create()
    with pool.connect(one) as first, pool.connect(other) as second:
        first.execute("CREATE ROLE um_one")
        with pytest.raises(psycopg.errors.DuplicateObject):  # as Prisma would meet it
            first.execute("CREATE ROLE um_one")
        second.execute("CREATE TABLE t (id int); CREATE USER um_one; GRANT SELECT ON t TO um_one; CREATE ROLE um_two")
        assert second.execute("select has_table_privilege('um_one', 't', 'select')").fetchone() == (True,)
        with pytest.raises(psycopg.errors.DuplicateObject):
            second.execute("CREATE ROLE um_two")
    pool.drop(one)
    pool.drop(other)
    assert set(pool.drop_new_roles()) >= {"um_one", "um_two"}


def test_a_role_that_was_rolled_back_is_made_again(pool: Pool) -> None:
    one, other = pool.create(), pool.create()
    with pool.connect(one) as first, pool.connect(other) as second:
        with first.transaction(force_rollback=True):
            first.execute("CREATE ROLE um_gone")
        second.execute("CREATE ROLE um_gone")
        assert second.execute("select count(*) from pg_roles where rolname = 'um_gone'").fetchone() == (1,)
    pool.drop(one)
    pool.drop(other)
    pool.drop_new_roles()


GIVEN_AWAY = [
    ("1_view", "CREATE TABLE t (id int PRIMARY KEY); CREATE MATERIALIZED VIEW m AS SELECT id FROM t"),
    (
        "2_owner",
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'um_owner') THEN CREATE USER um_owner; END IF; "
        "GRANT SELECT ON t TO um_owner; ALTER MATERIALIZED VIEW m OWNER TO um_owner; END $$",
    ),
    ("3_table", "ALTER TABLE t ADD COLUMN x int; ALTER TABLE t OWNER TO um_owner"),
    ("4_schema", "CREATE SCHEMA s AUTHORIZATION um_owner; ALTER DEFAULT PRIVILEGES FOR ROLE um_owner GRANT SELECT ON TABLES TO PUBLIC"),
    ("5_gone", "DROP SCHEMA s; REASSIGN OWNED BY um_owner TO CURRENT_USER; DROP OWNED BY um_owner; DROP ROLE um_owner"),
]


@pytest.fixture(params=["pool", "debian_pool"])
def any_pool(request: pytest.FixtureRequest) -> Pool:
    pool = request.getfixturevalue(request.param)
    assert isinstance(pool, Pool)
    return pool


def test_things_are_given_to_roles_of_the_history(any_pool: Pool) -> None:
    entries = list(audit(Workspace(any_pool), [migration(*s) for s in GIVEN_AWAY], rows=True))
    schema = [e.report["schema"] for e in entries]
    assert [s["verdict"] for s in schema] == ["exact"] * 4 + ["refused"], schema
    assert "um_owner" in schema[4]["reason"]
    any_pool.drop_new_roles()


def test_a_role_that_is_lent_to_leaves_no_trace_in_the_schema(any_pool: Pool, request: pytest.FixtureRequest) -> None:
    name = any_pool.create()
    acls = "select nspname, nspacl::text from pg_namespace where nspname in ('public', 's') order by 1"
    with any_pool.connect(name) as connection:
        connection.execute("CREATE ROLE um_lent; CREATE SCHEMA s; CREATE TABLE s.t (id int)")
        before = connection.execute(acls).fetchall()
        connection.execute("ALTER TABLE s.t OWNER TO um_lent")
        assert connection.execute("select tableowner from pg_tables where tablename = 't'").fetchone() == ("um_lent",)
        assert connection.execute(acls).fetchall() == before
        connection.execute("SET ROLE um_lent")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE s.mine (id int)")
    any_pool.drop(name)
    any_pool.drop_new_roles()


@pytest.mark.parametrize("role", ["unmigrate_superuser", "pg_read_server_files", "pg_execute_server_program"])
def test_only_roles_of_migrations_are_lent(any_pool: Pool, role: str) -> None:
    name = any_pool.create()
    with any_pool.connect(name) as connection:
        connection.execute(f"SELECT unmigrate_scratch.lend('{role}', true)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"SET ROLE {role}")
    any_pool.drop(name)


def test_on_a_given_server_roles_are_others(server: Server) -> None:
    with server.connect() as connection, Pool(given(f"{server.conninfo} dbname=template1")) as pool:
        connection.execute("CREATE ROLE um_theirs")
        try:
            with pool.connect(pool.create()) as mine:
                mine.execute("SELECT unmigrate_scratch.lend('um_theirs', true)")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    mine.execute("SET ROLE um_theirs")
        finally:
            connection.execute("DROP ROLE um_theirs")


def test_a_role_known_elsewhere_is_dropped_with_the_last_database(any_pool: Pool) -> None:
    one, other = any_pool.create(), any_pool.create()
    with any_pool.connect(one) as first, any_pool.connect(other) as second:
        first.execute("CREATE ROLE um_known; CREATE TABLE t (id int); GRANT SELECT ON t TO um_known")
        second.execute("CREATE TABLE t (id int); GRANT SELECT ON t TO um_known")
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):  # as anywhere
            first.execute("DROP ROLE um_known")
        first.execute("DO $$ BEGIN REVOKE ALL ON t FROM um_known; DROP USER IF EXISTS um_known; END $$")
        second.execute("DROP TABLE t; DROP ROLE um_known")
        assert second.execute("select count(*) from pg_roles where rolname = 'um_known'").fetchone() == (0,)
    any_pool.drop(one)
    any_pool.drop(other)


def test_grants_in_another_order_are_not_called_exact(pool: Pool) -> None:
    """pg_dump shows grants in the order in which they were given."""
    scripts = [
        ("1", "CREATE ROLE um_z; CREATE ROLE um_a; CREATE ROLE um_b; CREATE TABLE t (id int); CREATE VIEW v AS SELECT 1 AS a"),
        ("2", "GRANT SELECT ON t, v TO um_z; GRANT SELECT ON t, v TO um_a; GRANT SELECT ON t, v TO um_b"),
        ("3", "DROP VIEW v"),
        ("4", "REVOKE SELECT ON t FROM um_z"),
        ("5", "REVOKE SELECT ON t FROM um_a; GRANT SELECT ON t TO um_a"),
    ]
    entries = list(audit(Workspace(pool), [migration(*s) for s in scripts], rows=False))
    assert [e.report["schema"]["verdict"] for e in entries[:4]] == ["exact"] * 4
    assert entries[2].down is not None and entries[2].down.index("um_z") < entries[2].down.index("um_a") < entries[2].down.index("um_b")
    last = entries[4].report["schema"]
    assert (last["verdict"], last["reason"]) == ("exact", "") or last["reason"] == "grants on public.t stand in another order"
    pool.drop_new_roles()
