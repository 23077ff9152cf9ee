"""The files of a Prisma project as a git tag has them, in a folder of their own."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from unmigrate.errors import EnvironmentProblem, UsageError

_WANTED = re.compile(
    r"(^|/)(migration\.sql|down\.sql|rollback\.sql|migration_lock\.toml|package\.json|prisma7?\.config\.\w+|\.config/prisma7?\.\w+|[^/]+\.prisma"
    r"|migrations/[^/]+/[^/]+\.(ts|js|mjs))$"
)


def top_of(folder: Path) -> Path:
    """The root of the git checkout around `folder`. Raises UsageError outside of one."""
    result = _git(folder, "rev-parse", "--show-toplevel")
    if result.returncode:
        raise UsageError(f"{folder.resolve()} is not in a git checkout", code="no-git", remedy="leave --tag, or run it in the checkout")
    return Path(result.stdout.decode().strip())


def described(folder: Path) -> str | None:
    """What git calls the commit that is checked out (its tag, or the nearest one and how far); None outside of a checkout."""
    try:
        result = _git(folder, "describe", "--tags", "--always", "--dirty")
    except EnvironmentProblem:
        return None
    return result.stdout.decode().strip() or None if result.returncode == 0 else None


def extract(top: Path, tag: str, into: Path) -> str:
    """Write the Prisma files of `tag` below `into`; returns the commit. Raises UsageError for an unknown tag."""
    found = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{tag}^{{commit}}")
    if found.returncode:
        raise UsageError(f"git knows no tag or commit {tag}", code="tag", remedy="git fetch --tags, or check the name")
    commit = found.stdout.decode().strip()
    write(contents(top, commit), into)
    return commit


def contents(top: Path, commit: str) -> dict[Path, bytes]:
    """The Prisma files of a commit, by their path in the checkout."""
    entries = list(_entries(top, commit))
    request = "".join(f"{blob}\n" for blob, _ in entries).encode()
    answer = _git(top, "cat-file", "--batch", stdin=request).stdout if entries else b""
    found: dict[Path, bytes] = {}
    at = 0
    for _, path in entries:
        end = answer.index(b"\n", at)
        size = int(answer[at:end].split()[2])
        found[Path(path)] = answer[end + 1 : end + 1 + size]
        at = end + 1 + size + 1
    return found


def write(files: Mapping[Path, bytes], into: Path) -> None:
    """Write these below a folder."""
    for path, raw in files.items():
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(raw)


def _entries(top: Path, commit: str) -> Iterator[tuple[str, str]]:
    """(blob, path) of the wanted files."""
    listing = _git(top, "ls-tree", "-r", "-z", "--full-tree", commit).stdout
    for entry in listing.decode("utf-8", "surrogateescape").split("\0"):
        meta, _, path = entry.partition("\t")
        if path and meta.startswith("100") and _WANTED.search(path) and "node_modules/" not in path:
            yield meta.split()[2], path


def _git(folder: Path, *arguments: str, stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], input=stdin, capture_output=True, check=False)
    except OSError as error:
        raise EnvironmentProblem("git cannot be run", code="no-git", remedy="install git, or leave --tag") from error
