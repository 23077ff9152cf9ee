"""The migrations folder: one folder per migration, in the order in which Prisma applies them."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from unmigrate.errors import UsageError

DOWN_FILES = ("down.sql", "rollback.sql")
_PLACEHOLDER = re.compile(r"^\s*(\{\{.*\}\}|<%.*%>|\$\{.*\})\s*;?\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration. checksum: hex SHA-256 of the file's bytes, as the ledger holds it. down_sql: a hand-written way back beside it."""

    name: str
    folder: Path
    sql: str
    checksum: str
    down_sql: str | None = None


def read_migrations(folder: Path) -> tuple[Migration, ...]:
    """All migrations of a folder, in Prisma's order. Raises UsageError for what cannot be read as SQL."""
    if not folder.is_dir():
        raise UsageError(f"there is no migrations folder {folder}", code="no-migrations", remedy="give the folder, or --migrations")
    folders = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    found = [_read(p) for p in sorted(folders, key=lambda p: locale_key(p.name)) if _is_migration(p)]
    if not found:
        raise UsageError(f"{folder} holds no migrations", code="no-migrations", remedy="give the folder that holds <name>/migration.sql")
    return tuple(found)


def _is_migration(folder: Path) -> bool:
    if (folder / "migration.sql").is_file():
        return True
    if scripts := sorted(p.name for p in folder.iterdir() if p.suffix in (".ts", ".js", ".mjs")):
        message = f"{folder.name} has no migration.sql, only {scripts[0]}: its steps are code, which unmigrate does not run"
        raise UsageError(message, code="code-migration", remedy="put the SQL it runs into migration.sql, or move the folder aside")
    return False


def _read(folder: Path) -> Migration:
    path = folder / "migration.sql"
    raw = _bytes(path)
    sql = _text(path, raw)
    if match := _PLACEHOLDER.search(sql):
        message = f"{folder.name}/migration.sql still has a template placeholder: {match[0].strip()[:60]}"
        raise UsageError(message, code="placeholder", remedy="render the template first: Prisma would send it as it is")
    down = next((folder / name for name in DOWN_FILES if (folder / name).is_file()), None)
    return Migration(folder.name, folder, sql, hashlib.sha256(raw).hexdigest(), _text(down, _bytes(down)) if down else None)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", code="unreadable", remedy="check its permissions") from error


def _text(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"{path} is not UTF-8 (byte {error.start})"
        raise UsageError(message, code="not-utf8", remedy="save it as UTF-8; PostgreSQL would refuse it too") from error


_PUNCTUATION = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"


def locale_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key like JavaScript's localeCompare: spaces and punctuation, digits, letters; accents, then lower case first."""
    import unicodedata

    primary = []
    for char in unicodedata.normalize("NFD", name):
        if unicodedata.combining(char):
            continue
        if char in _PUNCTUATION:
            primary.append((1, _PUNCTUATION.index(char), ""))
        elif char.isspace():
            primary.append((0, ord(char), ""))
        elif char.isdigit():
            primary.append((2, ord(char), ""))
        else:
            primary.append((3, 0, char.lower()))
    return primary, name.swapcase()


def checksum_matches(recorded: str, path_bytes: bytes) -> bool:
    """Whether a ledger's checksum is that of these bytes, line ends and unpadded hex of old versions aside."""
    unix = path_bytes.replace(b"\r\n", b"\n")
    variants = {path_bytes, unix, unix.replace(b"\n", b"\r\n")}
    digests = [hashlib.sha256(v).digest() for v in variants]
    return recorded in {d.hex() for d in digests} | {"".join(f"{byte:x}" for byte in d) for d in digests}
