"""Kits of the providers that every machine has."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.command import run
from tests.snapshot.amazon import amazon, moto
from tests.snapshot.archived import backrest
from tests.snapshot.kit import BAD, INIT, SECRET, Kit
from tests.snapshot.story import Story, tell
from tests.support import write_project
from unmigrate.config.snapshot import PgDump as PgDumpConfig
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot.pg_dump import PgDump

__all__ = ["amazon", "backrest", "moto"]
Do = Callable[..., tuple[int, str]]


def url_of(pool: Pool, database: str, user: str | None = None, schema: str = "public") -> str:
    """A URL as people write it, with a password in it that no output may show."""
    parts = conninfo_to_dict(pool.server.conninfo)
    return f"postgresql://{user or parts['user']}:{SECRET}@localhost/{database}?host={parts['host']}&port={parts['port']}&schema={schema}"


@pytest.fixture
def fresh_url(pool: Pool) -> Iterator[str]:
    """The URL of an empty database. What the test makes beside it goes with it."""
    before = databases(pool)
    name = pool.create()
    yield url_of(pool, name)
    with pool.server.connect() as connection:
        for made in databases(pool) - before:
            connection.execute(f'ALTER DATABASE "{made}" WITH IS_TEMPLATE false')
            connection.execute(f'DROP DATABASE IF EXISTS "{made}" WITH (FORCE)')


def databases(pool: Pool) -> set[str]:
    with pool.server.connect() as connection:
        return {name for (name,) in connection.execute("select datname::text from pg_database")}


@pytest.fixture
def role(pool: Pool) -> Iterator[Callable[[str], str]]:
    """Make a role with these attributes; its name."""
    made: list[str] = []

    def make(attributes: str) -> str:
        name = f"snapshot_role_{len(made)}"
        made.append(name)
        with pool.server.connect() as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN {attributes}")
        return name

    yield make
    with pool.server.connect() as connection:
        for name in made:
            for database in databases(pool) - {"template0"}:
                try:
                    with pool.server.connect(database) as inside:
                        inside.execute(f"DROP OWNED BY {name}")
                except psycopg.OperationalError:
                    continue
            connection.execute(f"DROP ROLE {name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dumps"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """On disk, both migrations."""
    return write_project(tmp_path / "app", [("1_init", INIT), ("2_bad", BAD)])


@pytest.fixture
def kit(fresh_url: str, project: Path) -> Kit:
    """A database at the first migration, whose snapshots are made by pg_dump."""
    made = Kit(PgDump(PgDumpConfig(), fresh_url, project), fresh_url)
    made.begin()
    return made


@pytest.fixture
def do(kit: Kit, project: Path) -> Do:
    """The command, on that project and database."""

    def doing(*words: str) -> tuple[int, str]:
        status, printed = run(*words, "--project", project, "--url", kit.url)
        assert SECRET not in printed
        return status, printed

    return doing


@pytest.fixture
def stories(pool: Pool) -> Iterator[Callable[..., Story]]:
    """Tell a story, see `tell`. Its databases go with the test."""
    made: list[Story] = []

    def make(init: str, rows: str, bad: str, between: str = "", after: str = "") -> Story:
        made.append(tell(pool, init, rows, bad, between, after))
        return made[-1]

    yield make
    for each in made:
        pool.drop(each.live)
        pool.drop(each.old)
