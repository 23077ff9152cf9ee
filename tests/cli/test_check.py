"""unmigrate check from the command line, and the steps of the Action in a real shell."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import write_project

ROOT = Path(__file__).parents[2]
ONE = ("20240101_one", 'CREATE TABLE "A" ("id" INTEGER PRIMARY KEY, "b" TEXT);\n')
FINE = ("20240201_two", 'ALTER TABLE "A" ADD COLUMN "c" TEXT;\n')
LOSSY = ("20240202_three", 'ALTER TABLE "A" DROP COLUMN "b";\n')


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone whose origin has one migration; the branch is at the same commit."""
    write_project(tmp_path / "origin", [ONE])
    git(tmp_path, "init", "-q", "-b", "main", "origin")
    git(tmp_path / "origin", "add", "-A")
    git(tmp_path / "origin", "commit", "-qm", "one")
    subprocess.run(["git", "clone", "-q", str(tmp_path / "origin"), str(tmp_path / "clone")], check=True)
    git(tmp_path / "clone", "checkout", "-qb", "feature")
    return tmp_path / "clone"


def add(project: Path, *scripts: tuple[str, str]) -> None:
    for name, sql in scripts:
        (project / "prisma" / "migrations" / name).mkdir()
        (project / "prisma" / "migrations" / name / "migration.sql").write_text(sql)


def run(project: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "unmigrate", "check", *arguments]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI"))}
    return subprocess.run(command, cwd=project, capture_output=True, text=True, env=environ | variables)


def test_nothing_new(project: Path) -> None:
    result = run(project)
    assert result.returncode == 0
    assert re.fullmatch(r"No new migrations against origin/\w+ \(\w{10}\)\.\n", result.stdout)


def test_fine_and_lossy(project: Path) -> None:
    add(project, FINE)
    fine = run(project, "--base", "origin/main")
    assert fine.returncode == 0 and "way back exact, data lossless" in fine.stdout, fine.stdout + fine.stderr
    add(project, LOSSY)
    lossy = run(project, "--base", "origin/main", "--json")
    report = json.loads(lossy.stdout)
    assert lossy.returncode == 1 and report["failed"]
    assert [m["name"] for m in report["migrations"]] == [FINE[0], LOSSY[0]]
    assert {f["rule"] for f in report["findings"] if f["level"] == "error"} == {"lossy-inverse", "breaks-previous-app"}
    assert run(project, "--since", FINE[0], "--json").returncode == 1


def test_the_schema_of_the_base_speaks_for_all_new_migrations(project: Path) -> None:
    """Its app writes what is @updatedAt, whatever the catalog says."""
    add(project, ("20240102_at", 'ALTER TABLE "A" ADD COLUMN "at" TIMESTAMP(3), ADD COLUMN "no" INTEGER;\n'))
    schema = project / "prisma" / "schema.prisma"
    schema.write_text(schema.read_text() + "\nmodel A {\n  id Int @id\n  b String?\n  at DateTime? @updatedAt\n  no Int?\n}\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "at")
    add(project, FINE, ("20240203_must", 'ALTER TABLE "A" ALTER COLUMN "at" SET NOT NULL, ALTER COLUMN "no" SET NOT NULL;\n'))
    report = json.loads(run(project, "--base", "HEAD", "--json").stdout)
    (breaks,) = [f for f in report["findings"] if f["rule"] == "breaks-previous-app"]
    assert breaks["migration"] == "20240203_must" and '"no"' in breaks["message"]


def test_configuration_and_errors(project: Path) -> None:
    add(project, LOSSY)
    (project / "unmigrate.toml").write_text('[lint]\nsquawk = false\n[lint.rules]\nlossy-inverse = "note"\nbreaks-previous-app = "off"\n')
    result = run(project, "--base", "main")
    assert result.returncode == 0 and "squawk" not in result.stdout and "breaks-previous-app" not in result.stdout
    (project / "unmigrate.toml").write_text("[lint]\nfail_om = 1\n")
    assert run(project).returncode == 2
    (project / "unmigrate.toml").unlink()
    both = run(project, "--base", "main", "--all")
    assert both.returncode == 2 and "three different things" in both.stderr


def test_what_does_not_replay_counts(project: Path) -> None:
    add(project, ("20240201_bad", 'DROP TABLE "nowhere";\n'), LOSSY)
    result = run(project, "--base", "main")
    assert result.returncode == 1
    assert "does-not-replay" in result.stdout and f"{LOSSY[0]}: not examined" in result.stdout


def test_begin_without_commit_counts(project: Path) -> None:
    add(project, ("20240201_bad", 'BEGIN;\nALTER TABLE "A" ADD COLUMN "c" TEXT;\n'))
    result = run(project, "--base", "main")
    assert result.returncode == 1 and "[begin-without-commit]" in result.stdout


def steps() -> list[dict[str, object]]:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    return list(action["runs"]["steps"])


def test_the_action_in_a_shell(project: Path, tmp_path: Path) -> None:
    """Each step as the runner would start it, in a shallow clone; gh is a script that writes down what it was asked."""
    add(project, LOSSY)
    git(project, "add", "-A")
    git(project, "commit", "-qm", "lossy")
    git(project, "push", "-q", "origin", "feature")
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth", "1", "-b", "feature", f"file://{tmp_path}/origin", str(shallow)], check=True)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "unmigrate").write_text(f'#!/bin/sh\nexec {sys.executable} -m unmigrate "$@"\n')
    (programs / "gh").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/gh.log\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    inputs = {"inputs.base": "", "inputs.project": ".", "inputs.args": "", "inputs.version": "unmigrate", "inputs.token": "secret",
              "github.event.pull_request.number": "7"}  # fmt: skip
    outputs, summary = tmp_path / "outputs", tmp_path / "summary"
    environ = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_BASE_REF": "main", "GITHUB_ACTIONS": "true", "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(outputs), "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_REPOSITORY": "o/r",
    }  # fmt: skip
    said, status = "", 0
    for step in steps():
        for line in outputs.read_text().splitlines() if outputs.exists() else ():
            key, _, value = line.partition("=")
            inputs[f"steps.check.outputs.{key}"] = value
        given = {k: re.sub(r"\$\{\{ (.+?) \}\}", lambda m: inputs[m[1]], str(v)) for k, v in dict(step.get("env", {})).items()}  # type: ignore[call-overload]
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", str(step["run"])]
        result = subprocess.run(command, cwd=shallow, env=environ | given, capture_output=True, text=True)
        said += result.stdout + result.stderr
        status = result.returncode
        assert status == 0 or step["name"] == "Result", said
    assert status == 1
    assert "::error title=lossy-inverse,file=prisma/migrations/20240202_three/migration.sql,line=1" in said
    assert "lossy-inverse" in summary.read_text() and Path(inputs["steps.check.outputs.sarif"]).exists()
    assert f"repos/o/r/issues/7/comments --field body=@{inputs['steps.check.outputs.markdown']}" in (tmp_path / "gh.log").read_text()


def test_pre_commit_installs_the_hook_and_refuses_the_commit(project: Path, tmp_path: Path) -> None:
    """The real pre-commit, which makes an environment of its own from our repository."""
    ours = tmp_path / "unmigrate"
    ours.mkdir()
    for name in (".pre-commit-hooks.yaml", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, ours)
    for name in ("src", "examples"):
        shutil.copytree(ROOT / name, ours / name, ignore=shutil.ignore_patterns("__pycache__"))
    git(tmp_path, "init", "-q", "-b", "main", "unmigrate")
    git(ours, "add", "-A")
    git(ours, "commit", "-qm", "ours")
    head = subprocess.run(["git", "-C", str(ours), "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    hook = {"id": "unmigrate-check", "args": ["--base", "origin/main"]}
    (project / ".pre-commit-config.yaml").write_text(yaml.safe_dump({"repos": [{"repo": str(ours), "rev": head, "hooks": [hook]}]}))
    program = str(Path(sys.executable).with_name("pre-commit"))
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "PYTHONPATH"))} | {
        "PRE_COMMIT_HOME": str(tmp_path / "home")
    }

    def commit(message: str) -> "subprocess.CompletedProcess[str]":
        git(project, "add", "-A")
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-m", message]
        return subprocess.run(command, cwd=project, env=environ, capture_output=True, text=True)

    subprocess.run([program, "install"], cwd=project, env=environ, check=True, capture_output=True)
    add(project, LOSSY)
    refused = commit("lossy")
    assert refused.returncode == 1 and "unmigrate check" in refused.stderr and "[lossy-inverse]" in refused.stderr, refused.stderr
    assert "squawk/ban-drop-column" in refused.stderr
    shutil.rmtree(project / "prisma" / "migrations" / LOSSY[0])
    add(project, FINE)
    done = commit("fine")
    assert done.returncode == 0 and re.search(r"unmigrate check\.+Passed", done.stderr), done.stderr


BOTH = ("20240203_both", 'ALTER TABLE "A" DROP COLUMN "b", ADD COLUMN "d" TEXT;\n')


def split(project: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "unmigrate", "split", *arguments], cwd=project, capture_output=True, text=True)


def test_a_lossy_migration_is_made_two(project: Path) -> None:
    add(project, BOTH)
    (project / "unmigrate.toml").write_text('[[flags]]\nname = "letters"\nmigrations = ["both"]\noff_command = "true"\n')
    checked = run(project, "--base", "main")
    assert f"unmigrate split {BOTH[0]} makes two of it" in checked.stdout and "behind the flag letters" in checked.stdout
    shown = split(project, BOTH[0])
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "Nothing was written" in shown.stdout and not (project / "prisma" / "migrations-split").exists()
    result = split(project, BOTH[0], "--write", "--json")
    report = json.loads(result.stdout)
    assert report["same_catalog"] == "exact" and report["flags"] == ["letters"] and report["new"] == ['public."A".d']
    first, second = (project / path for path in report["written"])
    assert first.parent.name == "20240203_both_expand"
    assert "behind the flag letters" in first.read_text() and "DROP COLUMN" not in first.read_text()
    assert "DROP COLUMN" in second.read_text()
    before = first.read_text()
    again = split(project, BOTH[0], "--write")
    assert again.returncode == 2 and "there already" in again.stderr and first.read_text() == before
    # taken over, the first step passes the check
    (project / "prisma" / "migrations" / BOTH[0] / "migration.sql").unlink()
    (project / "prisma" / "migrations" / BOTH[0]).rmdir()
    first.parent.rename(project / "prisma" / "migrations" / first.parent.name)
    assert run(project, "--base", "main").returncode == 0


def test_only_taking_away_has_no_split(project: Path) -> None:
    add(project, LOSSY)
    result = split(project, LOSSY[0])
    assert result.returncode == 3 and "only takes away" in result.stderr
    assert "makes two of it" not in run(project, "--base", "main").stdout
