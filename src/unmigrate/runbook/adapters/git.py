"""Releases as git knows them: which migrations each tag ships, switching a worktree, and what is checked out."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from unmigrate.errors import EnvironmentProblem, UsageError


@dataclass(frozen=True, slots=True)
class Release:
    """A tag: its commit, when it was made (ISO time), and the migrations its folder ships."""

    tag: str
    commit: str
    at: str
    migrations: frozenset[str]

    def fits(self, applied: set[str]) -> bool:
        """Whether its folder is exactly what is applied."""
        return self.migrations == applied


def releases(root: Path, folder: Path, pattern: str) -> list[Release]:
    """Tags of this pattern, newest first, with the migrations of `folder` (as it is in the checkout) at each."""
    top = Path(call(root, "rev-parse", "--show-toplevel").strip())
    inside = folder.resolve().relative_to(top.resolve()).as_posix()
    form = "%(refname:short)%09%(creatordate:iso-strict)%09%(*objectname)%09%(objectname)"
    lines = call(root, "for-each-ref", "--sort=-creatordate", f"--format={form}", f"refs/tags/{pattern}").splitlines()
    found = []
    for line in lines:
        tag, at, peeled, plain = line.split("\t")
        found.append(Release(tag, peeled or plain, at, shipped(top, peeled or plain, inside)))
    return found


def shipped(top: Path, commit: str, inside: str) -> frozenset[str]:
    """Names of the migrations in this folder at a commit."""
    listing = call(top, "ls-tree", "-r", "--name-only", "-z", "--full-tree", commit, "--", inside)
    paths = (Path(path) for path in listing.split("\0") if path)
    return frozenset(path.parent.name for path in paths if path.name == "migration.sql" and path.parent.parent.as_posix() == inside)


def shipped_by(root: Path, folder: Path, revision: str) -> frozenset[str]:
    """Names of the migrations that a tag or commit ships. Raises UsageError where git does not know it."""
    top = Path(call(root, "rev-parse", "--show-toplevel").strip())
    return shipped(top, commit_of(root, revision), folder.resolve().relative_to(top.resolve()).as_posix())


def commit_of(root: Path, revision: str) -> str:
    try:
        return call(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except EnvironmentProblem as error:
        raise UsageError(f"git knows no tag or commit {revision}", code="tag", remedy="git fetch --tags, or check the name") from error


def head(worktree: Path) -> str:
    """What is checked out: the branch, else the commit."""
    branch = call(worktree, "rev-parse", "--abbrev-ref", "HEAD").strip()
    return branch if branch != "HEAD" else call(worktree, "rev-parse", "HEAD").strip()


def refuse_dirty(worktree: Path) -> None:
    """Raises EnvironmentProblem where switching would meet changed files."""
    if changed := call(worktree, "status", "--porcelain", "--untracked-files=no").strip():
        message = f"{worktree} has changed files ({changed.splitlines()[0].strip()})"
        raise EnvironmentProblem(message, code="dirty", remedy="commit or put them aside")


def switch(worktree: Path, revision: str) -> None:
    call(worktree, "checkout", "--quiet", revision, "--")


def call(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"git cannot be run: {error}", code="no-git", remedy="install git") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended with {done.returncode}"
        raise EnvironmentProblem(f"git {arguments[0]} in {folder}: {said}", code="git", remedy="run it in the checkout of the project")
    return done.stdout
