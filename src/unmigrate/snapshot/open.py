"""The provider that the configuration means, for one database."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from unmigrate.config import Config
from unmigrate.errors import UsageError
from unmigrate.snapshot.command import Command
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import Provider
from unmigrate.snapshot.template import Template


def open_provider(
    config: Config, url: str, root: Path, environ: Mapping[str, str], *, name: str | None = None, end_sessions: bool = False
) -> Provider:
    """url: of the source, with its secrets; root: of the project, which paths are relative to where there is no unmigrate.toml;
    name: of another provider than configured; end_sessions: consent to ending sessions. Raises UsageError for one not configured."""
    section, chosen = config.snapshot, name or config.snapshot.chosen
    base = config.file.parent if config.file else root
    if chosen == "pg_dump":
        return PgDump(section.pg_dump, url, base, environ)
    if chosen == "template":
        return Template(replace(section.template, end_sessions=section.template.end_sessions or end_sessions), url)
    if chosen == "command" and section.command is not None:
        return Command(section.command, url, base, environ)
    if chosen == "rds" and section.rds is not None:
        from unmigrate.snapshot.rds import Rds

        return Rds(section.rds, url)
    if chosen == "pgbackrest" and section.pgbackrest is not None:
        from unmigrate.snapshot.pgbackrest import PgBackRest

        return PgBackRest(section.pgbackrest, url, environ)
    raise UsageError(f"{chosen} is not configured", code="no-provider", remedy=f"write [snapshot.{chosen}] into unmigrate.toml")
