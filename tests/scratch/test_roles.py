"""A history that makes roles, replayed in several databases of one server."""

import psycopg
import pytest

from tests.support import migration
from unmigrate.plan.build import Request, build
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool

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
