"""Options that several commands share, and what they mean."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Where:
    """Where the project and the database are, as the flags say."""

    project: Path
    url: str | None
    package: str | None
    schema_file: Path | None
    migrations: Path | None
    scratch: str | None


def where_options(function: F) -> F:
    """--project, --url, --filter, --schema-file, --migrations, --scratch."""
    for option in (
        click.option("--scratch", metavar="URL", help="Scratch server: embedded, debian, target or a URL. Default: embedded."),
        click.option("--migrations", type=click.Path(path_type=Path), help="The migrations folder, if not where Prisma looks."),
        click.option("--schema-file", type=click.Path(path_type=Path), help="schema.prisma or the folder of schema files."),
        click.option("--filter", "package", metavar="NAME", help="Package of a monorepo, by its package.json name."),
        click.option("--url", help="Database URL, if not the one that Prisma finds."),
        click.option("--project", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Project folder. Default: here."),
    ):
        function = option(function)
    return function


def json_option(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def where(values: dict[str, Any]) -> Where:
    """Take the shared options out of a command's arguments."""
    return Where(
        values.pop("project"),
        values.pop("url"),
        values.pop("package"),
        values.pop("schema_file"),
        values.pop("migrations"),
        values.pop("scratch"),
    )


def load_project(at: Where) -> Any:
    """The project the flags speak of. Raises UsageError, RefusedError."""
    from unmigrate.prisma.project import find_project

    return find_project(at.project, package=at.package, schema=at.schema_file, migrations=at.migrations, url=at.url, environ=os.environ)


@contextmanager
def workspace(
    scratch: str | None,
    extensions: frozenset[str],
    *,
    schema: str = "public",
    setup: str = "",
    target: str | None = None,
    persistent: bool = False,
    guard: Callable[[Any], None] = lambda server: None,
) -> Iterator[Any]:
    """A scratch server with a pool of databases, as a prove.workspace.Workspace. guard: may refuse the server before it is touched."""
    from unmigrate.prove.workspace import Workspace
    from unmigrate.scratch.pool import Pool
    from unmigrate.scratch.server import open_server

    choice = f"target:{target}" if scratch == "target" and target else scratch
    with open_server(choice, extensions=extensions, environ=os.environ, persistent=persistent) as server:
        guard(server)
        with Pool(server) as pool:
            yield Workspace(pool, schema, setup)
