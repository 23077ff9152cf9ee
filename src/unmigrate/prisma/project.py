"""Finding a Prisma project as Prisma finds it: schema files, migrations folder, provider, URL. Flags win over everything found.

schema       --schema-file; prisma.config; package.json `prisma.schema`; schema.prisma; prisma/schema.prisma; a folder of schema files
migrations   --migrations; prisma.config; beside the file with the datasource (6.x); at the schema's root (7.x)
URL          --url; the datasource's directUrl, then url (6.x); prisma.config's datasource (7.x, and 6.x with engine "classic")
variables    the environment; .env files, which Prisma reads itself only without a prisma.config
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmigrate.errors import RefusedError, UsageError
from unmigrate.prisma import dotenv
from unmigrate.prisma.config import Config, find_config, read_config
from unmigrate.prisma.migrations import POSTGRES, locked_provider
from unmigrate.prisma.url import schema_of

_REMEDY = "give --project DIR, or --schema-file and --migrations"
_FOLDER = "migrations"
_DEPTH = 5  # of folders below the start in which packages and projects are looked for


@dataclass(frozen=True, slots=True)
class Project:
    """A Prisma project on disk.

    url_source: where the URL was found, or where it was looked for in vain; schema_name: of the URL's ?schema=; version: of the
    prisma package, as installed or else as package.json asks for, where that can be seen.
    """

    root: Path
    schema_files: tuple[Path, ...]
    migrations_dir: Path
    provider: str
    url: str | None
    url_source: str
    schema_name: str
    version: tuple[int, int] | None = None


def find_project(
    start: Path, *, package: str | None, schema: Path | None, migrations: Path | None, url: str | None, environ: Mapping[str, str]
) -> Project:
    """Find the project at `start`, or in the package of that name under it.

    Raises UsageError where there is none, RefusedError where it is not for PostgreSQL.
    """
    if not start.is_dir():
        raise UsageError(f"there is no folder {start}", code="not-a-project", remedy=_REMEDY)
    root = _package(start, package) if package else start
    file = find_config(root)
    config = read_config(file, root, environ) if file else None
    files = _schema_files(root, schema, config)
    if not files and migrations is None:
        message = f"{root.resolve()} is not a Prisma project: no schema.prisma"
        raise UsageError(message, code="not-a-project", remedy=_elsewhere(root) or _REMEDY)
    source, block = _datasource(files)
    version = prisma_version(root)
    folder = _migrations_dir(root, files, source, migrations, config, version)
    _check_provider(block, folder)
    variables = environ if config else {**_dotenv(root, files, environ), **environ}
    found, where = (url, "--url") if url else _url(block, config, variables, version)
    return Project(root, files, folder, "postgresql", found or None, where, schema_of(found), version)


def prisma_version(root: Path) -> tuple[int, int] | None:
    """Major and minor of the prisma package: installed in or above this folder, else as the nearest package.json asks for it."""
    above = [root.resolve(), *root.resolve().parents]
    for folder in above:
        if version := _numbers(_json(folder / "node_modules" / "prisma" / "package.json").get("version")):
            return version
    for folder in above:
        content = _json(folder / "package.json")
        for group in ("devDependencies", "dependencies"):
            wanted = content.get(group)
            if isinstance(wanted, dict) and (version := _numbers(wanted.get("prisma") or wanted.get("@prisma/client"))):
                return version
    return None


def _numbers(text: Any) -> tuple[int, int] | None:
    match = re.match(r"[\^~=v>\s]*(\d+)\.(\d+)", text) if isinstance(text, str) else None
    return (int(match[1]), int(match[2])) if match else None


# ---------------------------------------------------------------------------------------------------------------------------- packages


def _package(root: Path, name: str) -> Path:
    names = []
    for folder in _folders(root):
        found = _json(folder / "package.json").get("name")
        if found == name:
            return folder
        if isinstance(found, str) and _is_project(folder):
            names.append(found)
    remedy = f"packages with Prisma there: {', '.join(names[:5])}" if names else "check --filter"
    raise UsageError(f"no package.json under {root.resolve()} has the name {name}", code="no-package", remedy=remedy)


def _elsewhere(root: Path) -> str:
    """Where projects are below a folder that is none: what a person at the root of a monorepo needs to hear."""
    found: list[Path] = []
    for folder in _folders(root):
        if folder != root and _is_project(folder) and not any(each in folder.parents for each in found):
            found.append(folder)
    return f"give --project {' or --project '.join(shlex.quote(str(each)) for each in found[:4])}" if found else ""


def _is_project(folder: Path) -> bool:
    return find_config(folder) is not None or (folder / "prisma" / "schema.prisma").is_file() or (folder / "schema.prisma").is_file()


def _folders(folder: Path, depth: int = _DEPTH) -> Iterator[Path]:
    yield folder
    if depth:
        for child in _children(folder):
            yield from _folders(child, depth - 1)


def _children(folder: Path) -> list[Path]:
    try:
        children = [each for each in folder.iterdir() if each.is_dir() and not each.is_symlink()]
    except OSError:
        return []
    return sorted(each for each in children if not each.name.startswith(".") and each.name not in ("node_modules", _FOLDER))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


# ------------------------------------------------------------------------------------------------------------------------------ schema


def _schema_files(root: Path, flag: Path | None, config: Config | None) -> tuple[Path, ...]:
    named, where = _named_schema(root, flag, config)
    if named is not None:
        if files := _prisma_files(named):
            return files
        raise UsageError(f"there is no schema at {named} ({where})", code="no-schema", remedy="give --schema-file FILE or FOLDER")
    for path in (root / "schema.prisma", root / "prisma" / "schema.prisma"):
        if path.is_file():
            return (path,)
    for folder in (root / "prisma" / "schema", root / "prisma"):  # for which Prisma itself wants to be told
        if (files := _prisma_files(folder)) and _datasource(files)[0] is not None:
            return files
    return ()


def _named_schema(root: Path, flag: Path | None, config: Config | None) -> tuple[Path | None, str]:
    if flag is not None:
        return _from(root, flag), "--schema-file"
    if config is not None and "schema" in config.unreadable:
        message = f"{config.file} computes where the schema is, and unmigrate does not run it"
        raise UsageError(message, code="config", remedy="give --schema-file and --migrations")
    if config is not None and config.schema is not None:
        return config.schema, config.file.name
    setting = _json(root / "package.json").get("prisma")
    value = setting.get("schema") if isinstance(setting, dict) else None
    return (root / value, "package.json") if isinstance(value, str) and value else (None, "")


def _from(root: Path, flag: Path) -> Path:
    """A flag's path: from where the person stands, else from the project."""
    return flag if flag.is_absolute() or flag.exists() else root / flag


def _prisma_files(path: Path) -> tuple[Path, ...]:
    if path.is_file():
        return (path,)
    return tuple(sorted(p for p in path.rglob("*.prisma") if "node_modules" not in p.parts)) if path.is_dir() else ()


def _datasource(files: tuple[Path, ...]) -> tuple[Path | None, dict[str, str]]:
    """The file that holds the datasource block, and the block's settings as they are written."""
    for file in files:
        try:
            text = file.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror}", code="unreadable", remedy="check its permissions") from error
        text = re.sub(r'("(?:[^"\\\n]|\\.)*")|//[^\n]*', lambda match: match[1] or "", text)  # comments, but not in strings
        if match := re.search(r"^\s*datasource\s+\w+\s*\{(.*?)^\s*\}", text, re.MULTILINE | re.DOTALL):
            pairs = (line.partition("=") for line in match[1].splitlines())
            return file, {key.strip(): value.strip() for key, sign, value in pairs if sign}
    return None, {}


def _check_provider(block: dict[str, str], folder: Path) -> None:
    written = block.get("provider", "")
    literal = [] if written.startswith("env(") else re.findall(r'"([^"]*)"', written)  # env() was for Prisma 2, where the lock file knows
    providers = literal or [locked_provider(folder) or "postgresql"]
    if not POSTGRES.intersection(providers):
        message = f"the datasource's provider is {providers[0]}; unmigrate is for PostgreSQL"
        raise RefusedError(message, code="provider", remedy="give the project that uses PostgreSQL with --project or --schema-file")


def _migrations_dir(
    root: Path, files: tuple[Path, ...], source: Path | None, flag: Path | None, config: Config | None, version: tuple[int, int] | None
) -> Path:
    if flag is not None:
        return _from(root, flag)
    if config is not None and "migrations" in config.unreadable:
        message = f"{config.file} computes where the migrations are, and unmigrate does not run it"
        raise UsageError(message, code="config", remedy="give --migrations")
    if config is not None and config.migrations is not None:
        return config.migrations
    beside = (source or files[0]).parent / _FOLDER
    top = _top(files) / _FOLDER
    # Last the place of the preview feature prismaSchemaFolder: beside the folder of schema files.
    places = [top, beside] if version is not None and version[0] >= 7 else [beside, top]
    places += [top.parent.parent / _FOLDER] if len(files) > 1 else []
    return next((place for place in places if place.is_dir()), places[0])


def _top(files: tuple[Path, ...]) -> Path:
    """The folder that holds all schema files."""
    folders = [file.parent for file in files]
    return next(folder for folder in [folders[0], *folders[0].parents] if all(folder == f or folder in f.parents for f in folders))


# --------------------------------------------------------------------------------------------------------------------------------- URL


def _url(
    block: dict[str, str], config: Config | None, variables: Mapping[str, str], version: tuple[int, int] | None
) -> tuple[str | None, str]:
    written = _written_url(block, variables)
    if config is None or (config.url is None and "url" not in config.unreadable):
        return written or (variables.get("DATABASE_URL"), "DATABASE_URL")
    if config.classic or written is None or (version is not None and version[0] >= 7):
        return config.url, config.url_source
    return written


def _written_url(block: dict[str, str], variables: Mapping[str, str]) -> tuple[str | None, str] | None:
    """The schema's own URL and its source; None where the schema has none.

    Where directUrl's variable is not set, Prisma stops, and so do we: `url` would lead through a pooler.
    """
    value = block.get("directUrl") or block.get("url", "")
    if match := re.match(r"env\(\s*\"([^\"]+)\"\s*\)", value):
        return variables.get(match[1]), match[1]
    return (match[1], "schema.prisma") if (match := re.match(r'"([^"]*)"', value)) else None


def _dotenv(root: Path, files: tuple[Path, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """What Prisma 6 reads on its own: .env of the package, and one beside the schema, in prisma/ or here. The package's wins."""
    package = next((folder for folder in [root, *root.resolve().parents] if (folder / "package.json").is_file()), root)
    beside = [file.parent for file in files] + [root / "prisma", root]
    second = next((folder / ".env" for folder in beside if (folder / ".env").is_file()), None)
    values = {**(dotenv.read(second) if second else {}), **dotenv.read(package / ".env")}
    return dotenv.expand(values, environ)
