"""Disks that fill up, and servers on them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from unmigrate.scratch import cluster
from unmigrate.scratch.account import server_account
from unmigrate.scratch.binaries import embedded


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; `resize` makes it larger."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def resize(disk: Path, megabytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={megabytes}m", disk], check=True)


@contextmanager
def server_on(disk: Path, *, password: str, wal: Path | None = None) -> Iterator[str]:
    """The URL of a database of a server that keeps all it has there, but for the WAL where another place is given for it.

    A full disk under the WAL ends the server; one under tables is an error that must be told.
    """
    binaries, account = embedded(), server_account()
    assert binaries is not None
    for folder in (disk, *disk.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    data = disk / "data"
    cluster.initialise(binaries, data, account)
    cluster.write_settings(binaries, data, {"max_wal_size": "'32MB'"})
    if wal is not None:
        subprocess.run(["cp", "-a", data / "pg_wal", wal], check=True)
        shutil.rmtree(data / "pg_wal")
        (data / "pg_wal").symlink_to(wal)
    with cluster.private_dir(account) as sockets, cluster.running(binaries, data, sockets, account, lock=None):
        yield f"postgresql://{cluster.SUPERUSER}:{password}@localhost/postgres?host={sockets}&port={cluster.PORT}"
