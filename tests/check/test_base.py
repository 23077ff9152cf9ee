"""What is new against a base: real git repositories."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import SCHEMA, write_project
from unmigrate.check import base
from unmigrate.errors import UsageError
from unmigrate.prisma.migrations import read_migrations
from unmigrate.prisma.project import find_project

ONE, TWO = ("20240101_one", 'CREATE TABLE "A" ("id" INTEGER PRIMARY KEY);\n'), ("20240201_two", 'ALTER TABLE "A" ADD COLUMN "b" TEXT;\n')


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """main has two migrations; we are on a branch of it. The project is a package of a monorepo."""
    root = tmp_path / "repo" / "packages" / "db"
    write_project(root, [ONE, TWO], SCHEMA + "model A {\n  id Int @id\n  b String?\n}\n")
    git(tmp_path, "init", "-q", "-b", "main", "repo")
    git(tmp_path / "repo", "add", "-A")
    git(tmp_path / "repo", "commit", "-qm", "main")
    git(tmp_path / "repo", "checkout", "-qb", "feature")
    return root


def add(project: Path, name: str, sql: str = "SELECT 1;\n") -> None:
    folder = project / "prisma" / "migrations" / name
    folder.mkdir(exist_ok=True)
    (folder / "migration.sql").write_text(sql)


def look(project: Path, name: str = "main", flag: Path | None = None) -> base.Base:
    def load(folder: Path, moved: Callable[[Path], Path]) -> object:
        return find_project(folder, package=None, schema=None, migrations=moved(flag) if flag else None, url=None, environ={})

    return base.against(project, read_migrations(project / "prisma" / "migrations"), name, load)


def test_new_ones(project: Path) -> None:
    add(project, "20240301_three")
    found = look(project)
    assert ([m.name for m in found.kept], [m.name for m in found.new]) == ([ONE[0], TWO[0]], ["20240301_three"])
    assert (found.edited, found.removed, found.late) == ((), (), ())
    assert found.schema is not None and found.schema.model("A") is not None


def test_a_flag_that_names_the_folder_is_of_the_base_there(project: Path) -> None:
    """--migrations PATH speaks of this checkout; compared with itself nothing would ever be new."""
    add(project, "20240301_three")
    (project / "prisma" / "migrations" / ONE[0] / "migration.sql").write_text("SELECT 2;\n")
    found = look(project, flag=(project / "prisma" / "migrations").resolve())
    assert ([m.name for m in found.kept], [m.name for m in found.new]) == ([ONE[0], TWO[0]], ["20240301_three"])
    assert found.edited == (ONE[0],)


def test_the_base_has_gone_on(project: Path) -> None:
    """What main got meanwhile is not removed by us, and counts for the order."""
    add(project, "20240301_three")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "ours")
    git(project, "checkout", "-q", "main")
    add(project, "20240401_theirs")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "theirs")
    git(project, "checkout", "-q", "feature")
    found = look(project)
    assert [m.name for m in found.new] == ["20240301_three"]
    assert found.removed == () and found.late == (("20240301_three", "20240401_theirs"),)


def test_edited_and_removed(project: Path) -> None:
    add(project, ONE[0], ONE[1].replace("\n", "\r\n"))  # other line ends are no edit: Prisma sees none either
    assert look(project).edited == ()
    add(project, ONE[0], "-- changed\n" + ONE[1])
    (project / "prisma" / "migrations" / TWO[0] / "migration.sql").unlink()
    (project / "prisma" / "migrations" / TWO[0]).rmdir()
    found = look(project)
    assert (found.edited, found.removed) == ((ONE[0],), (TWO[0],))


def test_no_such_base(project: Path) -> None:
    with pytest.raises(UsageError, match="no branch, tag or commit nowhere"):
        look(project, "nowhere")
    with pytest.raises(UsageError, match="nothing to compare with"):
        base.default_base(project, {})
    assert base.default_base(project, {"GITHUB_BASE_REF": "main"}) == "origin/main"


def test_a_project_that_is_new(project: Path, tmp_path: Path) -> None:
    git(project, "checkout", "-q", "--orphan", "empty")
    (tmp_path / "repo" / "README").write_text("x")
    git(project, "rm", "-rq", "--cached", ".")
    git(tmp_path / "repo", "add", "README")
    git(project, "commit", "-qm", "nothing")
    found = look(project, "empty")
    assert [m.name for m in found.new] == [ONE[0], TWO[0]] and found.schema is None


def test_since(project: Path) -> None:
    migrations = read_migrations(project / "prisma" / "migrations")
    assert [m.name for m in base.since(migrations, ONE[0]).new] == [TWO[0]]
    assert len(base.since(migrations, None).new) == 2
    with pytest.raises(UsageError):
        base.since(migrations, "no")
