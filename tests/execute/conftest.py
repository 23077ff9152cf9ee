"""A target database with a deployed migration, and the proved plan that undoes it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.support import deploy, migration
from unmigrate.plan.build import Request, build
from unmigrate.plan.model import Plan
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool

INIT = """CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TABLE "User" (id serial PRIMARY KEY, email text NOT NULL, role "Role" NOT NULL DEFAULT 'USER', nick text NOT NULL DEFAULT '');
CREATE INDEX "User_nick_idx" ON "User" (nick);"""
CHANGE = """ALTER TYPE "Role" ADD VALUE 'OWNER';
CREATE TABLE "Post" (id serial PRIMARY KEY, "userId" int NOT NULL REFERENCES "User" ON DELETE CASCADE);
ALTER TABLE "User" ADD COLUMN name text, ALTER COLUMN nick DROP NOT NULL;
ALTER TABLE "User" RENAME COLUMN email TO mail;
DROP INDEX "User_nick_idx";"""
SCRIPTS = [("1_init", INIT), ("2_change", CHANGE)]


@dataclass(frozen=True)
class Live:
    """A database to roll back, and how to connect to it."""

    pool: Pool
    name: str

    def connect(self) -> psycopg.Connection[Any]:
        return self.pool.connect(self.name)

    def value(self, sql: str) -> Any:
        with self.connect() as connection:
            row = connection.execute(sql).fetchone()
            return row[0] if row else None

    def run(self, sql: str) -> None:
        with self.connect() as connection:
            connection.execute(sql)

    def state(self) -> str:
        """old: as after 2_change; new: as before it."""
        with self.connect() as connection:
            rows = connection.execute("select migration_name from _prisma_migrations where finished_at is not null").fetchall()
            post = connection.execute("select to_regclass('\"Post\"') is not null").fetchone()
            mail = connection.execute(
                "select count(*) from pg_attribute where attname = 'mail' and attrelid = '\"User\"'::regclass"
            ).fetchone()
        seen = (("2_change",) in rows, bool(post and post[0]), bool(mail and mail[0]))
        return {(True, True, True): "old", (False, False, False): "new"}.get(seen, f"mixed {seen}")


@pytest.fixture(scope="session")
def work(pool: Pool) -> Workspace:
    return Workspace(pool)


@pytest.fixture(scope="session")
def plan(work: Workspace) -> Plan:
    request = Request([migration(*s) for s in SCRIPTS], 1, rows=False)
    return build(work, request, lambda _: None)


@pytest.fixture(scope="session")
def concurrent_plan(work: Workspace) -> Plan:
    request = Request([migration(*s) for s in SCRIPTS], 1, rows=False, concurrently=True)
    return build(work, request, lambda _: None)


@pytest.fixture(scope="session")
def _template(pool: Pool) -> str:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, SCRIPTS)
        connection.execute("insert into \"User\" (mail, name, nick) select 'u' || g, 'n' || g, g::text from generate_series(1, 200) g")
        connection.execute('insert into "Post" ("userId") select g from generate_series(1, 50) g')
    return name


@pytest.fixture
def live(pool: Pool, _template: str) -> Iterator[Live]:
    name = pool.clone(_template)
    yield Live(pool, name)
    pool.drop(name)


@pytest.fixture
def rollback() -> Callable[..., Any]:
    from unmigrate.execute.rollback import execute

    def run(live: Live, plan: Plan, **kwargs: Any) -> Any:
        return execute(live.connect, plan, **{"accept_loss": True, **kwargs})

    return run


@pytest.fixture
def deployed(pool: Pool, work: Workspace) -> Iterator[Callable[..., tuple[Live, Plan]]]:
    """Deploys migrations of one's own with rows, and plans the way back over the last `count`."""
    made: list[str] = []

    def make(scripts: list[tuple[str, str]], rows: str = "", count: int = 1) -> tuple[Live, Plan]:
        plan = build(work, Request([migration(*s) for s in scripts], count, rows=False), lambda _: None)
        made.append(pool.create())
        with pool.connect(made[-1]) as connection:
            deploy(connection, scripts)
            connection.execute(rows or "select 1")
        return Live(pool, made[-1]), plan

    yield make
    for name in made:
        pool.drop(name)


STRANGER = "unmigrate_test_stranger"


@pytest.fixture
def stranger(pool: Pool) -> Iterator[str]:
    """A role that may log in, and nothing else. Ask for it after the database: it goes when nothing is its own any more."""
    with pool.server.connect() as connection:
        connection.execute(f"CREATE ROLE {STRANGER}")
    yield STRANGER
    with pool.server.connect() as connection:
        for (name,) in connection.execute("select datname from pg_database where datallowconn and datname ~ '^unmigrate_'").fetchall():
            with pool.connect_superuser(name) as inside:
                inside.execute(f"REASSIGN OWNED BY {STRANGER} TO {pool.role}; DROP OWNED BY {STRANGER}")
        connection.execute(f"DROP ROLE {STRANGER}")


def as_role(live: Live, role: str) -> Callable[[], psycopg.Connection[Any]]:
    """Connects as a role that has no password."""

    def connect() -> psycopg.Connection[Any]:
        connection = live.pool.connect_superuser(live.name)
        connection.execute(f"SET SESSION AUTHORIZATION {role}; SET search_path = public")
        return connection

    return connect
