"""prisma.config files: where they are, and what the plain ones say.

Relative paths count from the file's own folder. They are programs; unmigrate reads values and never runs them, as a pull request's config
would otherwise run with our rights. What it cannot read is listed in `unreadable`, to be given as a flag.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unmigrate.errors import UsageError
from unmigrate.prisma import dotenv
from unmigrate.prisma.javascript import FromEnvironment, Program, Reference, Unknown, Value, member

_ENDINGS = ("js", "ts", "mjs", "cjs", "mts", "cts")
_STEMS = ("prisma7.config", ".config/prisma7", "prisma.config", ".config/prisma", ".config/prisma.config")
_NAMES = tuple(f"{stem}.{ending}" for stem in _STEMS for ending in _ENDINGS)
_DOTENV_IMPORT = re.compile(r"""(?:import|require\()\s*['"](?:dotenv|@dotenvx/dotenvx|dotenv-flow)/config(?:\.js)?['"]""")
_DOTENV_NAMES = re.compile(r"""import\s*\{([^}]*)\}\s*from\s*['"](?:dotenv|@dotenvx/dotenvx)['"]""")


@dataclass(frozen=True, slots=True)
class Config:
    """What a config file says. classic: 6.x takes the URL from here and not from the schema; unreadable: settings that are computed."""

    file: Path
    schema: Path | None = None
    migrations: Path | None = None
    url: str | None = None
    url_source: str = ""
    classic: bool = False
    unreadable: frozenset[str] = frozenset()


def find_config(root: Path) -> Path | None:
    """The config file that Prisma would load when started in this folder."""
    return next((root / name for name in _NAMES if (root / name).is_file()), None)


def read_config(file: Path, root: Path, environ: Mapping[str, str]) -> Config:
    """Read it as Prisma would, started in `root`. The .env files that it loads itself count, below the environment. Raises UsageError."""
    try:
        text = file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", code="unreadable", remedy="check its permissions") from error
    file, root = file.resolve(), root.resolve()
    variables = {**_env_files(Program(text, file, root, environ), environ), **environ}
    exported = Program(text, file, root, variables).default_export()
    if not isinstance(exported, dict):
        return Config(file, unreadable=frozenset({"schema", "migrations", "url"}))
    migrations = member(exported, "migrations")
    path = member(migrations, "path") if isinstance(migrations, dict) else migrations
    url = _url(member(exported, "datasource"))
    settings = {"schema": member(exported, "schema"), "migrations": path, "url": url}
    return Config(
        file,
        _path(file, settings["schema"]),
        _path(file, path),
        str(url) if isinstance(url, str) and url else None,
        url.variable if isinstance(url, FromEnvironment) else file.name,
        exported.get("engine") == "classic",
        frozenset(name for name, value in settings.items() if not isinstance(value, str | None)),
    )


def _url(datasource: Value) -> Value:
    if not isinstance(datasource, dict):
        return datasource
    return member(datasource, "directUrl") or member(datasource, "url")


def _path(file: Path, value: Value) -> Path | None:
    return Path(file.parent / value) if isinstance(value, str) and value else None


def _env_files(program: Program, environ: Mapping[str, str]) -> dict[str, str]:
    """The values of .env files that the program loads: import "dotenv/config", dotenv.config({ path }), process.loadEnvFile(path)."""
    named = _DOTENV_NAMES.search(program.text)
    aliases = re.findall(r"\bconfig(?:\s+as\s+(\w+))?", named[1]) if named else []
    names = {"loadEnvFile", *(alias or "config" for alias in aliases)}
    if re.search(r"\bdotenvx?\s*\.\s*config\s*\(", program.text):
        names.add("config")
    paths = [".env"] if _DOTENV_IMPORT.search(program.text) else []
    for arguments in program.calls(*names):
        paths += _paths(arguments[0] if arguments else None)
    values: dict[str, str] = {}
    for path in paths:
        values = {**dotenv.read(program.cwd / path), **values}
    return dotenv.expand(values, environ) if "dotenv-expand" in program.text or "dotenvx" in program.text else values


def _paths(argument: Value) -> list[str]:
    given = argument.get("path", ".env") if isinstance(argument, dict) else argument
    if given is None:
        return [".env"]
    if isinstance(given, Unknown | Reference):
        return []
    return [path for path in (given if isinstance(given, list) else [given]) if isinstance(path, str)]
