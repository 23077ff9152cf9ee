"""The migrations folder: one folder per migration, in the order in which Prisma applies them.

Prisma takes every folder (links to folders it overlooks) and stops at one without migration.sql (P3015). We do the same for folders that
are meant as migrations, with a reason and a remedy, and overlook others. Files must be UTF-8: Prisma replaces what it cannot read,
so the SQL that ran is not the SQL in the file.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unmigrate.errors import RefusedError, UsageError
from unmigrate.prisma.order import order_key

SCRIPT = "migration.sql"
LOCK_FILE = "migration_lock.toml"
POSTGRES = frozenset({"postgresql", "postgres"})
# Where people keep a hand-written way back, seen in real projects; the first that is there counts.
DOWN_FILES = ("down.sql", "rollback.sql", "down/migration.sql", "down/down.sql", "migration.down.sql", "revert.sql")
_CODE = frozenset({".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"})

# Braces mean nothing in SQL outside of what _QUOTED takes away, so {{x}}, ${x} and <%= x %> there are a template's.
_PLACEHOLDER = re.compile(r"\{\{[^{}\n]*\}\}|\$\{[^{}\n]*\}|<%=[^\n]*?%>")
_QUOTED = re.compile(
    r"""--[^\n]*                            # a comment to the end of the line
      | /\*.*?\*/                           # a comment in the middle
      | \b[eE]'(?:[^'\\]|\\.|'')*'          # an escape string
      | '(?:[^']|'')*'                      # a string
      | "(?:[^"]|"")*"                      # a name
      | (?P<tag>\$\w*\$).*?(?P=tag)         # a dollar-quoted string""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration. sql: without byte order mark; checksum: hex SHA-256 of the file's bytes, as the ledger holds it; down_sql: a
    hand-written way back beside it; variants: other checksums that Prisma takes for the same file."""

    name: str
    folder: Path
    sql: str
    checksum: str
    down_sql: str | None = None
    variants: frozenset[str] = frozenset()

    def matches(self, recorded: str) -> bool:
        """Whether a ledger's checksum is this file's; if not, the file was edited after it was applied."""
        return recorded == self.checksum or recorded in self.variants


def read_migrations(folder: Path, *, on_code: Callable[[UsageError], None] | None = None) -> tuple[Migration, ...]:
    """All migrations of a folder, in Prisma's order. Raises UsageError for what cannot be read as SQL, RefusedError for other databases.

    on_code: told of each folder without migration.sql, which is then left out; without it such a folder is an error.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no migrations folder {folder}", code="no-migrations", remedy="give the folder, or --migrations")
    provider = locked_provider(folder)
    if provider is not None and provider not in POSTGRES:
        message = f"the migrations are for {provider} ({LOCK_FILE}); unmigrate is for PostgreSQL"
        raise RefusedError(message, code="provider", remedy="give the folder of a PostgreSQL project")
    found = tuple(_read(each, names) for each, names in sorted(_folders(folder, on_code), key=lambda each: order_key(each[0].name)))
    if not found:
        raise UsageError(
            f"{folder} holds no migrations", code="no-migrations", remedy="give the folder that holds <name>/migration.sql, or --project"
        )
    return found


def locked_provider(folder: Path) -> str | None:
    """What migration_lock.toml says the migrations are for; None where there is no such file."""
    try:
        text = (folder / LOCK_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r"^\s*provider\s*=\s*[\"']([^\"']+)[\"']", text, re.MULTILINE)
    return match[1] if match else None


def checksums(raw: bytes) -> tuple[str, frozenset[str]]:
    """The checksum of a file, and those of its variants: other line ends, and hex without leading zeros as old versions wrote it."""
    unix = raw.replace(b"\r\n", b"\n")
    digests = [hashlib.sha256(variant).digest() for variant in {raw, unix, unix.replace(b"\n", b"\r\n")}]
    written = {digest.hex() for digest in digests} | {f" {digest.hex(' ')}".replace(" 0", "").replace(" ", "") for digest in digests}
    exact = hashlib.sha256(raw).hexdigest()
    return exact, frozenset(written - {exact})


def _folders(folder: Path, on_code: Callable[[UsageError], None] | None) -> Iterator[tuple[Path, list[str]]]:
    """The migrations' folders, and the names in each."""
    try:
        with os.scandir(folder) as listing:
            entries = sorted(each.name for each in listing if each.is_dir(follow_symlinks=False))
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", code="unreadable", remedy="check its permissions") from error
    for each in map(folder.joinpath, entries):
        try:
            names = _names(each)
            if _is_migration(each, names):
                yield each, names
        except UsageError as error:
            if on_code is None or error.code not in ("code-migration", "no-sql"):
                raise
            on_code(error)


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as listing:
            return sorted(each.name for each in listing)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", code="unreadable", remedy="check its permissions") from error


def _is_migration(folder: Path, names: list[str]) -> bool:
    if SCRIPT in names:
        return True
    if folder.name.startswith("."):
        return False
    if code := next((name for name in names if Path(name).suffix in _CODE), None):
        message = f"{folder.name} has no {SCRIPT}, only {code}: its steps are code, which unmigrate does not run"
        raise UsageError(message, code="code-migration", remedy="put the SQL it runs into migration.sql, or move the folder aside")
    if folder.name[:1].isdigit():
        message = f"{folder.name} has no {SCRIPT}: prisma migrate deploy stops there too (P3015)"
        raise UsageError(message, code="no-sql", remedy="restore migration.sql, or remove the folder")
    return False


def _read(folder: Path, names: list[str]) -> Migration:
    path = folder / SCRIPT
    raw = _bytes(path)
    sql = _text(path, raw)
    # Taking the quoted away costs; almost no file has anything that looks like a placeholder.
    if _PLACEHOLDER.search(sql) and (match := _PLACEHOLDER.search(_QUOTED.sub(" ", sql))):
        message = f"{folder.name}/{SCRIPT} still has a template placeholder: {match[0][:60]}"
        raise UsageError(message, code="placeholder", remedy="fill in the template first: Prisma would send it as it stands")
    down = next((folder / name for name in DOWN_FILES if name.split("/")[0] in names and (folder / name).is_file()), None)
    exact, variants = checksums(raw)
    return Migration(folder.name, folder, sql, exact, _text(down, _bytes(down)) if down else None, variants)


def read_sql(path: Path) -> str:
    """A file of SQL, without byte order mark. Raises UsageError for what cannot be read as that."""
    return _text(path, _bytes(path))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", code="unreadable", remedy="check its permissions") from error


def _text(path: Path, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = "it looks like UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {error.start}"
        remedy = "save it as UTF-8: Prisma would send something else than the file says"
        raise UsageError(f"{path} is not UTF-8 ({what})", code="not-utf8", remedy=remedy) from error
    if "\0" in text:
        raise UsageError(f"{path} holds a zero byte: it is not SQL", code="not-utf8", remedy="save it as UTF-8 text")
    return text
