"""Dumps in a folder: one directory each, with a manifest that says what it is and what every file of it must hash to.

A dump is written under another name and renamed when all of it is on disk, so a directory with a manifest is whole.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from unmigrate.errors import EnvironmentProblem, RefusedError, UsageError
from unmigrate.snapshot.provider import Snapshot

MANIFEST = "unmigrate.json"
DATA = "dump"
_PARTIAL = ".partial"


def read(folder: Path) -> dict[str, Any] | None:
    """The manifest of a dump; None for what is none."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "created_at" in found else None


def snapshots(root: Path, database: str) -> tuple[Snapshot, ...]:
    """Whole dumps of this database, oldest first."""
    found = []
    for folder in root.iterdir() if root.is_dir() else ():
        manifest = read(folder)
        if manifest and manifest["database"] == database and not folder.name.endswith(_PARTIAL):
            found.append(_snapshot(folder.name, manifest))
    return tuple(sorted(found, key=lambda s: s.created_at))


def _snapshot(name: str, manifest: dict[str, Any]) -> Snapshot:
    detail: dict[str, Any] = {key: manifest[key] for key in ("server", "version", "seconds", "counters", "restored_in") if key in manifest}
    created = datetime.fromisoformat(manifest["created_at"])
    return Snapshot(name, "pg_dump", created, manifest["lsn"], manifest["size"], bool(manifest.get("protected")), detail)


def find(root: Path, database: str, name: str) -> tuple[Path, dict[str, Any]]:
    """A dump's folder and manifest. Raises UsageError where there is none of this name."""
    folder = root / name
    manifest = read(folder) if Path(name).name == name else None
    if manifest is None or manifest["database"] != database:
        remedy = "unmigrate snapshot list shows those there are"
        raise UsageError(f"there is no dump {name} of {database} in {root}", code="no-snapshot", remedy=remedy)
    return folder, manifest


@contextmanager
def writing(root: Path, name: str) -> Iterator[Path]:
    """A folder to write a dump to; gone when that fails. Raises EnvironmentProblem where the root may not be written to."""
    if (root / name).exists():
        raise RefusedError(f"there is a dump {name} already", code="taken", remedy="give another label")
    partial = root / f"{name}{_PARTIAL}"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _sweep(root)
        partial.mkdir(mode=0o700)
        lock = (partial / "lock").open("w")
    except OSError as error:
        raise _refused(root, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield partial
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            raise _refused(root, error) from error
        raise
    finally:
        lock.close()


def _refused(root: Path, error: OSError) -> EnvironmentProblem:
    full = error.errno in (28, 122)  # ENOSPC, EDQUOT
    remedy = "free space, and try again; nothing was left" if full else "check that the folder may be written to, or give another"
    return EnvironmentProblem(f"{root}: {error.strerror}", code="disk-full" if full else "folder", remedy=remedy)


def _sweep(root: Path) -> None:
    """Remove what was left by those that were killed: nobody holds its lock."""
    for folder in root.glob(f"*{_PARTIAL}"):
        with contextlib.suppress(OSError), (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def complete(partial: Path, manifest: dict[str, Any]) -> Snapshot:
    """Hash all files, write the manifest, bring everything to disk, and give the dump its name."""
    files = {str(path.relative_to(partial)): (_hash(path), path.stat().st_size) for path in _files(partial)}
    whole = {**manifest, "files": files, "size": sum(size for _, size in files.values())}
    write(partial, whole)
    (partial / "lock").unlink()
    for folder in (partial / DATA, partial):
        _sync(folder)
    target = partial.with_name(partial.name.removesuffix(_PARTIAL))
    partial.rename(target)
    _sync(target.parent)
    return _snapshot(target.name, whole)


def write(folder: Path, manifest: dict[str, Any]) -> None:
    """The manifest, at once or not at all."""
    new = folder / f"{MANIFEST}.new"
    with new.open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / MANIFEST)


def damaged(folder: Path, manifest: dict[str, Any], wanted: Iterable[str]) -> list[str]:
    """Which of these files are not as they were written."""
    files: dict[str, list[Any]] = manifest["files"]
    return [name for name in sorted(wanted) if not _as_written(folder / name, *files[name])]


def _as_written(path: Path, digest: str, size: int) -> bool:
    try:
        same_size: bool = path.stat().st_size == size
        return same_size and _hash(path) == digest
    except OSError:
        return False


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "lock"]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    for path in [*(p for p in folder.iterdir() if p.is_file()), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
