"""Options that several commands share, and what they mean."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class Secret(click.ParamType):  # type: ignore[type-arg]  # older versions are not generic
    """A URL; or where it stands, as no password should be in a command line: env:VARIABLE, or @FILE, as `restore --url-file` writes it."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        try:
            if text.startswith("env:"):
                found = os.environ[text.removeprefix("env:")]
            elif text.startswith("@"):
                found = Path(text[1:]).read_text(encoding="utf-8")
            else:
                return text
        except KeyError:
            self.fail(f"{text.removeprefix('env:')} is not set", param, ctx)
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"{text[1:]} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}", param, ctx)
        if not found.strip():
            self.fail(f"{text} is empty", param, ctx)
        return found.strip()


SECRET = Secret()


@dataclass(frozen=True, slots=True)
class Where:
    """Where the project and the database are, as the flags say."""

    project: Path
    url: str | None
    package: str | None
    schema_file: Path | None
    migrations: Path | None
    scratch: str | None
    setup: Path | None = None
    trusted: bool = False


def where_options(function: F) -> F:
    """--project, --url, --filter, --schema-file, --migrations, --scratch."""
    for option in (
        click.option(
            "--scratch",
            metavar="URL",
            help="Scratch server: embedded, debian, debian:15, target or a URL. Default: what fits of Debian's and embedded.",
        ),
        click.option("--migrations", type=click.Path(path_type=Path), help="The migrations folder, if not where Prisma looks."),
        click.option("--schema-file", type=click.Path(path_type=Path), help="schema.prisma or the folder of schema files."),
        click.option("--filter", "package", metavar="NAME", help="Package of a monorepo, by its package.json name."),
        click.option("--url", type=SECRET, help="Database URL, env:VARIABLE or @FILE, if not the one that Prisma finds."),
        click.option("--project", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Project folder. Default: here."),
    ):
        function = option(function)
    return function


def replay_options(function: F) -> F:
    """--setup, --trusted: for commands that replay migrations on scratch."""
    fence = (
        "Run migrations on scratch as a superuser, for histories that need one (event triggers, say). Gives up the "
        "fence that keeps their SQL from this machine's files and programs: never for a pull request from a fork."
    )
    function = click.option("--trusted", is_flag=True, help=fence)(function)
    path = click.Path(path_type=Path, exists=True, dir_okay=False)
    return click.option("--setup", metavar="FILE", type=path, help="SQL to run on scratch before the first migration.")(function)


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
        values.pop("setup", None),
        values.pop("trusted", False),
    )


def setup_text(at: Where) -> str:
    """The SQL that --setup gives, else [scratch] of unmigrate.toml. Raises UsageError."""
    from unmigrate.config.load import load
    from unmigrate.prisma.migrations import read_sql

    if at.setup:
        return read_sql(at.setup)
    config = load(at.project)
    return read_sql(config.file.parent / config.scratch.setup) if config.file and config.scratch.setup else ""


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
    trusted: bool = False,
    target: str | None = None,
    persistent: bool = False,
    guard: Callable[[Any], None] = lambda server: None,
) -> Iterator[Any]:
    """A scratch server with a pool of databases, as a prove.workspace.Workspace. guard: may refuse the server before it is touched.

    trusted: see Pool. Raises RefusedError for it on the target's own server.
    """
    from unmigrate.cli import render
    from unmigrate.errors import RefusedError
    from unmigrate.prove.workspace import Workspace
    from unmigrate.scratch.pool import Pool
    from unmigrate.scratch.server import open_server

    choice = f"target:{target}" if scratch == "target" and target else scratch
    with open_server(choice, extensions=extensions, environ=os.environ, persistent=persistent) as server:
        if trusted and server.target:
            message = "--trusted would run migrations as a superuser on the target's own server"
            raise RefusedError(message, code="trusted", remedy="give another scratch server (--scratch embedded), or leave --trusted out")
        guard(server)
        with Pool(server, trusted=trusted) as pool:
            if trusted and not pool.is_superuser:
                render.say(f"note: {pool.role} is no superuser of {server.label}: --trusted changes nothing there")
            yield Workspace(pool, schema, setup)
