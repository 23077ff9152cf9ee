"""Finding a Prisma project: schema files, migrations folder, provider, URL. Flags win over everything found."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmigrate.errors import RefusedError, UsageError

_CONFIG_ENDINGS = ("ts", "js", "mjs", "cjs", "mts", "cts")
_CONFIG_NAMES = tuple(
    f"{stem}.{ending}" for stem in ("prisma.config", ".config/prisma", "prisma7.config", ".config/prisma7") for ending in _CONFIG_ENDINGS
)
_REMEDY = "give --project DIR, or --schema-file and --migrations"


@dataclass(frozen=True, slots=True)
class Project:
    """A Prisma project on disk. url_source: where the URL was found ("" if nowhere). schema_name: of the URL's ?schema=."""

    root: Path
    schema_files: tuple[Path, ...]
    migrations_dir: Path
    provider: str
    url: str | None
    url_source: str
    schema_name: str


@dataclass(frozen=True, slots=True)
class _Config:
    """The plain part of a prisma.config file."""

    folder: Path
    schema: str | None = None
    migrations: str | None = None
    url_env: str | None = None
    url: str | None = None


def find_project(
    start: Path, *, package: str | None, schema: Path | None, migrations: Path | None, url: str | None, environ: Mapping[str, str]
) -> Project:
    """Find the project at or under `start`. Raises UsageError (not a project), RefusedError (not PostgreSQL)."""
    if not start.is_dir():
        raise UsageError(f"there is no folder {start}", code="not-a-project", remedy=_REMEDY)
    root = _package(start, package) if package else start
    config = _config(root)
    files = _schema_files(root, schema, config)
    if not files and migrations is None:
        raise UsageError(f"{root.resolve()} is not a Prisma project: no schema.prisma", code="not-a-project", remedy=_REMEDY)
    texts = {file: _without_comments(file.read_text(encoding="utf-8", errors="replace")) for file in files}
    source = next((f for f, text in texts.items() if re.search(r"^\s*datasource\s+\w+\s*\{", text, re.MULTILINE)), None)
    block = _block(texts[source]) if source else {}
    provider = block.get("provider", "postgresql").strip('"')
    if provider not in ("postgresql", "postgres"):
        raise RefusedError(f"the datasource's provider is {provider}; unmigrate is for PostgreSQL", code="provider", remedy="")
    folder = _migrations_dir(root, files, source, migrations, config)
    variables = {**({} if config else _dotenv(root)), **environ}
    found, where = (url, "--url") if url else _url(block, config, variables)
    return Project(root, files, folder, "postgresql", found, where if found else "", _schema_name(found))


def _package(root: Path, name: str) -> Path:
    for path in _package_files(root):
        try:
            if json.loads(path.read_text(encoding="utf-8")).get("name") == name:
                return path.parent
        except (OSError, ValueError):
            continue
    raise UsageError(f"no package.json under {root.resolve()} has the name {name}", code="no-package", remedy="check --filter")


def _package_files(folder: Path, depth: int = 5) -> Iterator[Path]:
    if (folder / "package.json").is_file():
        yield folder / "package.json"
    if depth:
        for child in sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".") and p.name != "node_modules"):
            yield from _package_files(child, depth - 1)


def _config(root: Path) -> _Config | None:
    """The plain forms of prisma.config: string literals and env("X"). It is code: anything else needs flags."""
    path = next((root / name for name in _CONFIG_NAMES if (root / name).is_file()), None)
    if path is None:
        return None
    text = _without_comments(path.read_text(encoding="utf-8", errors="replace"))
    folder = path.parent.parent if path.parent.name == ".config" else path.parent
    datasource = _braces(text, "datasource")
    url = re.search(
        r"\burl\s*:\s*(?:env\(\s*(['\"`])(\w+)\1\s*\)|process\.env\.(\w+)|process\.env\[(['\"])(\w+)\4\]|(['\"`])(.+?)\6)", datasource
    )
    return _Config(
        folder,
        _literal(text, "schema"),
        _literal(_braces(text, "migrations"), "path"),
        (url[2] or url[3] or url[5]) if url else None,
        url[7] if url else None,
    )


def _literal(text: str, name: str) -> str | None:
    """name: 'x', path.join('a', 'b') or path.resolve(__dirname, 'a')."""
    match = re.search(rf"\b{name}\s*:\s*(?:path\.)?(?:join|resolve)?\(?\s*((?:(?:__dirname|['\"`][^'\"`]*['\"`])\s*,?\s*)+)", text)
    parts = re.findall(r"['\"`]([^'\"`]*)['\"`]", match[1]) if match else []
    return "/".join(parts) or None


def _braces(text: str, name: str) -> str:
    match = re.search(rf"\b{name}\s*:\s*\{{([^{{}}]*)\}}", text)
    return match[1] if match else ""


def _schema_files(root: Path, flag: Path | None, config: _Config | None) -> tuple[Path, ...]:
    candidates: list[Path] = []
    if flag is not None:
        candidates = [flag if flag.is_absolute() or flag.exists() else root / flag]
    elif config is not None and config.schema:
        candidates = [config.folder / config.schema]
    elif (named := _package_schema(root)) is not None:
        candidates = [root / named]
    else:
        candidates = [root / "schema.prisma", root / "prisma" / "schema.prisma", root / "prisma" / "schema", root / "prisma"]
    for path in candidates:
        if path.is_file():
            return (path,)
        if path.is_dir() and (files := tuple(sorted(p for p in path.rglob("*.prisma") if "node_modules" not in p.parts))):
            return files
    if flag is not None or (config is not None and config.schema):
        raise UsageError(f"there is no schema at {candidates[0]}", code="no-schema", remedy="check --schema-file or prisma.config")
    return ()


def _package_schema(root: Path) -> str | None:
    path = root / "package.json"
    if not path.is_file():
        return None
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    value = content.get("prisma", {}).get("schema") if isinstance(content.get("prisma"), dict) else None
    return str(value) if value else None


def _migrations_dir(root: Path, files: tuple[Path, ...], source: Path | None, flag: Path | None, config: _Config | None) -> Path:
    if flag is not None:
        return flag if flag.is_absolute() or flag.exists() else root / flag
    if config is not None and config.migrations:
        return config.folder / config.migrations
    beside = (source or files[0]).parent
    tops = [beside, *beside.parents[: len(beside.parts) - len(root.parts)]]  # 7.x: at the schema's root
    return next((top / "migrations" for top in tops if (top / "migrations").is_dir()), beside / "migrations")


def _without_comments(text: str) -> str:
    return re.sub(r"(?<![:\"'\w])//[^\n]*|/\*.*?\*/", "", text, flags=re.DOTALL)


def _block(text: str) -> dict[str, str]:
    match = re.search(r"^\s*datasource\s+\w+\s*\{(.*?)^\s*\}", text, re.MULTILINE | re.DOTALL)
    lines = match[1].splitlines() if match else []
    return {k.strip(): v.strip() for k, _, v in (line.partition("=") for line in lines) if v}


def _url(block: dict[str, str], config: _Config | None, variables: Mapping[str, str]) -> tuple[str | None, str]:
    """directUrl before url in the datasource block (6.x), then the config's (7.x)."""
    for name in ("directUrl", "url"):
        value = block.get(name, "")
        if env := re.match(r"env\(\s*\"(\w+)\"\s*\)", value):
            if found := variables.get(env[1]):
                return found, env[1]
        elif value.startswith('"'):
            return value.strip('"'), "schema.prisma"
    if config is not None and config.url_env:
        return variables.get(config.url_env), config.url_env
    if config is not None and config.url:
        return config.url, "prisma.config"
    return (variables.get("DATABASE_URL"), "DATABASE_URL") if not block.get("url") else (None, "")


def _dotenv(root: Path) -> dict[str, str]:
    """.env of the package's folder, and of prisma/ below it, with ${NAME} expanded."""
    values: dict[str, str] = {}
    for path in (root / "prisma" / ".env", root / ".env"):
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            match = re.match(r"\s*(?:export\s+)?([\w.]+)\s*=\s*(.*?)\s*$", line)
            if match and not line.lstrip().startswith("#"):
                values[match[1]] = _unquoted(match[2])
    return {k: re.sub(r"\$\{(\w+)\}", lambda m: values.get(m[1], ""), v) for k, v in values.items()}


def _unquoted(value: str) -> str:
    if value[:1] in ("'", '"') and value.endswith(value[0]) and len(value) > 1:
        return value[1:-1]
    return re.sub(r"\s+#.*$", "", value)


def _schema_name(url: str | None) -> str:
    match = re.search(r"[?&]schema=([^&]+)", url or "")
    if not match:
        return "public"
    from urllib.parse import unquote

    return unquote(match[1])
