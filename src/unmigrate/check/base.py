"""What is new: the migrations of the working tree that the base lacks, by git, or those after a name.

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
from unmigrate.prisma.migrations import SCRIPT, Migration, checksums
from unmigrate.prisma.order import order_key
from unmigrate.prisma.schema import Schema, read_schema
from unmigrate.verify.tag import contents, top_of, write

Load = Callable[[Path, Callable[[Path], Path]], Any]


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


def against(root: Path, migrations: Sequence[Migration], base: str, load: Load) -> Base:
    """Against a commit, branch or tag. load: the project at a folder (as cli.options.load_project), with paths that flags give moved
    there. Raises UsageError."""
    top = top_of(root)
    inside = root.resolve().relative_to(top.resolve())
    tip = _commit(top, base)
    fork = _merge_base(top, tip) or tip
    with tempfile.TemporaryDirectory(prefix="unmigrate-base-") as folder:
        then, schema = _read(top, fork, Path(folder) / "fork", inside, load)
        later = then if tip == fork else _read(top, tip, Path(folder) / "tip", inside, load)[0]
    return compare(f"{base} ({fork[:10]})", migrations, then, later, schema)


def compare(label: str, now: Sequence[Migration], then: Mapping[str, str], later: Mapping[str, str], schema: Schema | None) -> Base:
    """then: names and checksums at the merge base; later: at the base's tip."""
    names = {m.name for m in now}
    new = [m for m in now if m.name not in then and m.name not in later]
    last = max((order_key(name) for name in (*then, *later)), default=None)
    newest = max((*then, *later), key=order_key, default="")
    return Base(
        label,
        tuple(m for m in now if m.name in then or m.name in later),
        tuple(new),
        tuple(m.name for m in now if m.name in then and not m.matches(then[m.name])),
        tuple(name for name in then if name not in names),
        tuple((m.name, newest) for m in new if last is not None and order_key(m.name) < last),
        schema,
    )


def _read(top: Path, commit: str, into: Path, inside: Path, load: Load) -> tuple[dict[str, str], Schema | None]:
    """Migrations (their checksums) and schema.prisma as a commit has them; none where the project was not there yet."""
    files = contents(top, commit)
    scripts = {path: raw for path, raw in files.items() if path.name == SCRIPT}
    standing = {path.parents[1]: path for path in scripts}  # one for each folder, so that it is found; the others are not written
    write({path: raw for path, raw in files.items() if path not in scripts or path in standing.values()}, into)
    try:
        project = load(into / inside, lambda path: _moved(path, top, into))
    except UsageError:
        return {}, None
    folder = project.migrations_dir.resolve()
    found = {path.parent.name: checksums(raw)[0] for path, raw in scripts.items() if (into.resolve() / path).parents[1] == folder}
    try:
        return found, read_schema(project.schema_files) if project.schema_files else None
    except UsageError:
        return found, None


def _moved(path: Path, top: Path, into: Path) -> Path:
    """A path of the checkout, in the copy of a commit; one that is not there yet, or outside, as it is."""
    full = path.resolve()
    return into / full.relative_to(top.resolve()) if path.exists() and full.is_relative_to(top.resolve()) else path


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
