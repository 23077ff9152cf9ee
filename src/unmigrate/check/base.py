"""What is new: the migrations of the working tree that the base has not, by git, or those after a name.

New and edited are told against the merge base of BASE and HEAD (what this branch changed); order against BASE itself (what will have been
deployed by then).
"""

import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unmigrate.errors import EnvironmentProblem, UsageError
from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prisma.order import order_key
from unmigrate.prisma.schema import Schema, read_schema
from unmigrate.verify.tag import extract, top_of


@dataclass(frozen=True, slots=True)
class Base:
    """label: for people. kept: the migrations that were there, as they are now; new: those to look at, in order.

    edited: (name, remark) of old files whose text changed; removed: names that are gone; late: new names that sort before an older one.
    schema: the previous schema.prisma, None where there is none.
    """

    label: str
    kept: tuple[Migration, ...]
    new: tuple[Migration, ...]
    edited: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    late: tuple[tuple[str, str], ...] = ()
    schema: Schema | None = None


def since(migrations: Sequence[Migration], name: str | None) -> Base:
    """Everything after the migration of this name; with None, everything. Raises UsageError."""
    if name is None:
        return Base("the beginning", (), tuple(migrations))
    names = [m.name for m in migrations]
    if name not in names:
        raise UsageError(f"there is no migration {name}", code="unknown-migration", remedy="take the name of its folder")
    count = names.index(name) + 1
    return Base(name, tuple(migrations[:count]), tuple(migrations[count:]))


def against(root: Path, migrations: Sequence[Migration], base: str, load: Callable[[Path], Any]) -> Base:
    """Against a commit, branch or tag. load: the project at a folder (as cli.options.load_project). Raises UsageError."""
    top = top_of(root)
    inside = root.resolve().relative_to(top.resolve())
    tip = _commit(top, base)
    fork = _merge_base(top, tip) or tip
    with tempfile.TemporaryDirectory(prefix="unmigrate-base-") as folder:
        then, schema = _read(top, fork, Path(folder) / "fork", inside, load)
        later = then if tip == fork else _read(top, tip, Path(folder) / "tip", inside, load)[0]
    return compare(f"{base} ({fork[:10]})", migrations, then, later, schema)


def compare(
    label: str, now: Sequence[Migration], then: Mapping[str, Migration], later: Mapping[str, Migration], schema: Schema | None
) -> Base:
    """then: at the merge base; later: at the base's tip."""
    names = {m.name for m in now}
    new = [m for m in now if m.name not in then and m.name not in later]
    last = max((order_key(name) for name in (*then, *later)), default=None)
    newest = max((*then, *later), key=order_key, default="")
    return Base(
        label,
        tuple(m for m in now if m.name in then or m.name in later),
        tuple(new),
        tuple(m.name for m in now if m.name in then and not m.matches(then[m.name].checksum)),
        tuple(name for name in then if name not in names),
        tuple((m.name, newest) for m in new if last is not None and order_key(m.name) < last),
        schema,
    )


def _read(top: Path, commit: str, into: Path, inside: Path, load: Callable[[Path], Any]) -> tuple[dict[str, Migration], Schema | None]:
    """Migrations and schema.prisma as a commit has them; none where the project was not there yet."""
    into.mkdir()
    extract(top, commit, into)
    try:
        project = load(into / inside)
    except UsageError:
        return {}, None
    try:
        found = {m.name: m for m in read_migrations(project.migrations_dir, on_code=lambda _: None)}
    except UsageError:
        found = {}
    try:
        return found, read_schema(project.schema_files) if project.schema_files else None
    except UsageError:
        return found, None


def default_base(root: Path, environ: Mapping[str, str]) -> str:
    """What a pull request is compared with when nobody says: what CI says, else origin's default branch. Raises UsageError."""
    if name := environ.get("GITHUB_BASE_REF"):
        return f"origin/{name}"
    if commit := environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA"):
        return commit
    top = top_of(root)
    for name in ("origin/HEAD", "origin/main", "origin/master"):
        if _git(top, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
            return name
    raise UsageError("there is nothing to compare with: no origin/HEAD, origin/main or origin/master", code="no-base",
                     remedy="give --base BRANCH, --since MIGRATION or --all")  # fmt: skip


def _commit(top: Path, name: str) -> str:
    found = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if not found:
        remedy = "fetch it (git fetch origin; in CI check out with the whole history), or check the name"
        raise UsageError(f"git knows no branch, tag or commit {name}", code="base", remedy=remedy)
    return found


def _merge_base(top: Path, commit: str) -> str:
    """Where this branch left it; "" in a shallow clone that does not go so far back."""
    return _git(top, "merge-base", commit, "HEAD")


def _git(top: Path, *arguments: str) -> str:
    try:
        result = subprocess.run(["git", "-C", str(top), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise EnvironmentProblem("git cannot be run", code="no-git", remedy="install git, or give --since") from error
    return result.stdout.strip() if result.returncode == 0 else ""
