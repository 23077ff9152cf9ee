"""A project and its database as the commands meet them: folder, ledger, states."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.cli import render
from unmigrate.cli.options import Where, load_project
from unmigrate.config import Config
from unmigrate.config import load as load_config
from unmigrate.errors import RefusedError, UsageError
from unmigrate.execute.blocking import told_waits
from unmigrate.prisma.ledger import MigrationState, read_ledger, states
from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prisma.project import Project
from unmigrate.prisma.url import DatabaseUrl, connect, parse_url


@dataclass(frozen=True, slots=True)
class Target:
    """A connected database and what its ledger says of the folder."""

    project: Project
    migrations: tuple[Migration, ...]
    url: DatabaseUrl
    connection: psycopg.Connection[Any]
    states: tuple[MigrationState, ...]
    has_ledger: bool = True

    @property
    def major(self) -> int:
        return self.connection.info.server_version // 10000

    @property
    def applied(self) -> list[str]:
        """Names applied, in order; those without a folder last, as they are ahead of it."""
        return [s.name for s in self.states if s.state == "applied"]

    @property
    def failed(self) -> list[str]:
        return [s.name for s in self.states if s.state == "failed"]

    def history(self) -> list[Migration]:
        """The applied migrations as the folder has them. Raises RefusedError where it lacks one."""
        by_name = {m.name: m for m in self.migrations}
        if missing := [name for name in self.applied if name not in by_name]:
            message = f"the database has {missing[-1]}, which the migrations folder does not"
            remedy = "check out the commit that was deployed, so that its folder is there, and try again"
            raise RefusedError(message, code="ahead", remedy=remedy)
        return [by_name[name] for name in self.applied]

    def open(self) -> psycopg.Connection[Any]:
        """One more connection."""
        return connect(self.url)


def load(at: Where) -> tuple[Project, tuple[Migration, ...]]:
    project: Project = load_project(at)
    return project, read_migrations(project.migrations_dir)


@contextmanager
def connect_only(at: Where) -> Iterator[tuple[psycopg.Connection[Any], Config]]:
    """Connect to --url, or to the project's database, for commands that need no migrations folder; and unmigrate.toml, if there is one."""
    connection = connecting(at)()
    try:
        yield connection, load_config(at.project)
    finally:
        connection.close()


def connecting(at: Where) -> Callable[[], psycopg.Connection[Any]]:
    """What connects to --url, or to the project's database, each time it is called."""
    url = parse_url(at.url) if at.url else url_of(load_project(at))
    return lambda: connect(url)


def url_of(project: Project) -> DatabaseUrl:
    if project.url is None:
        named = project.url_source.isidentifier()
        why = f"{project.url_source} is not set" if named else f"{project.url_source} does not say it in plain words"
        remedy = f"set {project.url_source}, or give --url" if named else "give --url"
        raise UsageError(f"no database URL was found: {why}", code="no-url", remedy=remedy)
    return parse_url(project.url)


def url_text(at: Where) -> str:
    """--url, or the project's database URL, as it is written, with its secrets. Raises UsageError where there is none."""
    if at.url:
        return at.url
    project = load_project(at)
    url_of(project)
    return str(project.url)


@contextmanager
def open_target(at: Where, *, ledger: bool = True) -> Iterator[Target]:
    """Connect to the project's database. Raises UsageError without a URL, EnvironmentProblem where it cannot be reached.

    ledger: refuse a database without one.
    """
    project, migrations = load(at)
    url = url_of(project)
    connection = connect(url)
    try:
        rows = read_ledger(connection, url.schema)
        if rows is None and ledger:
            remedy = f'the ledger is looked for in schema "{url.schema}": check ?schema= in the URL'
            raise RefusedError("this database has no _prisma_migrations table", code="no-ledger", remedy=remedy)
        with told_waits(connection, lambda: connect(url), render.say):
            yield Target(project, migrations, url, connection, states(migrations, rows or ()), rows is not None)
    finally:
        connection.close()
