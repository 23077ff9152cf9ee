"""What the commands around snapshots share: the provider and its source, a migration's moments, choosing a snapshot."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from unmigrate.cli import options
from unmigrate.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Opened:
    """A provider, and the database it belongs to. text: of its URL, secrets included."""

    provider: Any
    text: str
    url: Any
    config: Any

    def connect(self) -> Any:
        from unmigrate.prisma.url import connect

        return connect(self.url)


def provider_options(function: F) -> F:
    """--provider, and where the source is."""
    names = click.Choice(["pg_dump", "template", "rds", "pgbackrest", "command"])
    function = options.where_options(function)
    return click.option("--provider", type=names, help="Who makes snapshots, if not as unmigrate.toml says.")(function)


def opened(at: options.Where, provider: str | None, *, end_sessions: bool = False, url: str | None = None) -> Opened:
    """url: of another source than the project's database. Raises UsageError for a provider that is not configured."""
    from unmigrate.cli.target import url_text
    from unmigrate.config import load
    from unmigrate.prisma.url import parse_url
    from unmigrate.snapshot.open import open_provider

    text, config = url or url_text(at), load(at.project)
    made = open_provider(config, text, at.project.resolve(), os.environ, name=provider, end_sessions=end_sessions)
    return Opened(made, text, parse_url(text), config)


def moments_of(source: Opened, migration: str) -> Any:
    """When a migration was applied, by ledger or vault."""
    from unmigrate.snapshot.find import moments

    with source.connect() as connection:
        return moments(connection, source.url.schema, migration)


def named(source: Opened, snapshot: str) -> Any:
    """The snapshot of this id. Raises UsageError."""
    found = source.provider.snapshots()
    for each in found:
        if each.id == snapshot:
            return each
    near = [s.id for s in found if snapshot in s.id]
    remedy = f"did you mean {near[-1]}?" if near else "unmigrate snapshot list shows those there are"
    raise UsageError(f"there is no snapshot {snapshot}", code="no-snapshot", remedy=remedy)


def checked_label(label: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,30}", label):
        remedy = "use lower-case letters, digits and dashes, 31 at most"
        raise UsageError(f"{label!r} is no label", code="label", remedy=remedy)
    return label


def size(count: int | None) -> str:
    """Bytes for people."""
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def tell_commands(lines: tuple[str, ...], as_json: bool) -> int:
    """What a dry run says."""
    from unmigrate.cli import render

    if as_json:
        render.print_json({"dry_run": True, "commands": list(lines)})
    else:
        for line in lines:
            click.echo(line)
    return 0
