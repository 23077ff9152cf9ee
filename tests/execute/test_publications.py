"""A publication FOR ALL TABLES takes the vault in: it must not stand in our way, and must be told."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command import run
from tests.execute.conftest import Live
from tests.support import deploy, prisma_url, write_project
from unmigrate.park.publications import remarks
from unmigrate.plan.model import Plan
from unmigrate.scratch.pool import Pool

Run = Callable[..., Any]
SCRIPTS = [("1_init", "CREATE TABLE t (id int PRIMARY KEY)"), ("2_more", "ALTER TABLE t ADD COLUMN x int; CREATE TABLE u (id int)")]
VAULT = """select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname ~ '^unmigrate' and n.nspname <> 'unmigrate_scratch' and c.relkind = 'r'"""


def publish(live: Live) -> None:
    with live.pool.connect_superuser(live.name) as connection:
        connection.execute('CREATE PUBLICATION "Everything" FOR ALL TABLES')


@pytest.fixture
def published(pool: Pool) -> Iterator[str]:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, SCRIPTS)
    publish(Live(pool, name))
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)


def test_every_table_of_the_vault_can_still_be_changed(live: Live, concurrent_plan: Plan, rollback: Run) -> None:
    """The journal is updated on the way; afterwards every row of every table can be updated and deleted, as a purge would."""
    publish(live)
    live.run("CREATE TABLE bare (id int); INSERT INTO bare VALUES (1)")
    with pytest.raises(psycopg.Error, match="replica identity"):  # what happens to a table without one
        live.run("UPDATE bare SET id = 2")
    live.run("DROP TABLE bare")
    assert rollback(live, concurrent_plan).copies
    assert live.state() == "new"
    with live.connect() as connection:
        tables = [name for (name,) in connection.execute(VAULT).fetchall()]
        assert len(tables) >= 5  # metadata, and copies of rows
        for table in sorted(tables, key=lambda name: name == "unmigrate.operation"):
            column = connection.execute(
                "select quote_ident(attname) from pg_attribute where attrelid = %s::regclass and attnum = 1", [table]
            ).fetchone()
            assert column is not None
            connection.execute(f"UPDATE {table} SET {column[0]} = {column[0]}")
            connection.execute(f"DELETE FROM {table}")


def test_it_is_told_with_a_remedy(live: Live) -> None:
    with live.connect() as connection:
        assert remarks(connection) == ()
    publish(live)
    with live.connect() as connection:
        (told,) = remarks(connection)
        assert 'publication "Everything" is FOR ALL TABLES' in told and "FOR TABLES IN SCHEMA" in told
    with live.pool.connect_superuser(live.name) as connection:
        connection.execute('DROP PUBLICATION "Everything"; CREATE PUBLICATION part FOR TABLE public."User"')
        assert remarks(connection) == ()


def test_plan_status_and_rollback_tell_it(tmp_path: Path, published: str) -> None:
    project = write_project(tmp_path / "app", SCRIPTS)
    for words in (["plan"], ["status"], ["rollback", "--yes", "--accept-loss"]):
        _, printed = run(*words, "--project", project, "--url", published)
        assert "is FOR ALL TABLES" in " ".join(printed.split()), words
