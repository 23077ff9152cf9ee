"""The story's end as the real Prisma CLI sees it: after a run nothing is pending, and the next deploy applies nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.oracle.conftest import CONFIG, ROOT
from tests.runbook.shop import BAD_NAME, TOML, Shop, shop
from tests.runbook.test_restore import RESTORE
from unmigrate.scratch.pool import Pool


def environ(version: str) -> dict[str, str]:
    home = ROOT / version
    return {
        "PRISMA_SCHEMA_ENGINE_BINARY": str(home / "engine.mjs"), "PRISMA_QUERY_ENGINE_LIBRARY": str(home / "none.so.node"),
        "CHECKPOINT_DISABLE": "1", "PRISMA_HIDE_UPDATE_MESSAGE": "1", "NO_COLOR": "1", "CI": "1",
    }  # fmt: skip


def prisma(made: Shop, version: str, folder: Path, url: str, *words: str) -> tuple[int, str]:
    binary = ROOT / version / "node_modules" / ".bin" / "prisma"
    done = subprocess.run(
        [binary, *words], cwd=folder, env={**os.environ, **environ(version), "DATABASE_URL": url}, capture_output=True, text=True, check=False,
        timeout=120,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("way", ["reverse", "restore"])
@pytest.mark.parametrize("version", ["6", "7"])
def test_the_real_cli_agrees(tmp_path: Path, pool: Pool, version: str, way: str) -> None:
    binary = ROOT / version / "node_modules" / ".bin" / "prisma"
    if shutil.which("node") is None or not binary.exists():
        pytest.skip(f"the Prisma CLI {version} is not installed (tests/oracle/install.sh)")
    toml = TOML.replace(">= 3", ">= 2").replace('deploy = "sh bin/deploy"', 'deploy = "sh bin/deploy"\ncheckout = "../now"')
    toml += f'[checks]\nprisma = "{binary} migrate status"\n[snapshot]\nrestore_command = "{RESTORE}"\n[connection.env_file]\n'
    with shop(tmp_path, pool, toml=toml, snapshot=True) as made:
        made.git("worktree", "add", "-q", "--detach", "../now", "v2")
        now = made.root.parent / "now"
        (now / "node_modules").symlink_to(ROOT / version / "node_modules")
        if version == "7":
            (now / "prisma.config.ts").write_text(CONFIG)
            if "url" in (made.root / "prisma/schema.prisma").read_text():  # 7 wants it in its configuration alone
                status = made.root / "status.sh"
                status.write_text(
                    f"sed -i '/url *=/d' prisma/schema.prisma && {binary} migrate status; s=$?; git checkout -q prisma; exit $s\n"
                )
                (made.root / "unmigrate.toml").write_text(toml.replace(f"{binary} migrate status", f"sh {status}"))
        words = ["run", "rollback", "--yes", "--accept-loss", "--way", way, *(["--snapshot", "s"] if way == "restore" else [])]
        said = made.unmigrate(*words, **environ(version))
        assert said.exit_code == 0, said.text
        url = made.url if way == "reverse" else made.url.replace(f"/{made.database}?", f"/{made.database}_new?")
        if version == "7":
            schema = now / "prisma/schema.prisma"
            schema.write_text("\n".join(line for line in schema.read_text().splitlines() if "url " not in line))
        code, text = prisma(made, version, now, url, "migrate", "status")
        assert (code, "up to date" in text) == (0, True), text
        code, text = prisma(made, version, now, url, "migrate", "deploy")
        assert (code, "No pending migrations" in text) == (0, True), text
        assert not (now / "prisma/migrations" / BAD_NAME).exists()
        report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
        assert "prisma migrate status" in report


def test_the_gate_stops_while_the_deployed_folder_would_apply_it_again(tmp_path: Path, pool: Pool) -> None:
    """Nothing says what is deployed, so the project's own folder counts, which ships it."""
    toml = '[[checks.sql]]\nname = "orders"\nsql = \'select count(*) from "Order"\'\n'
    with shop(tmp_path, pool, toml=toml, app=False) as made:
        said = made.unmigrate("run", "rollback", "--dry-run", "--accept-loss")
        assert (said.exit_code, f"the run will stop here, as {BAD_NAME} is in" in said.text) == (0, True), said.text
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss")
        assert said.exit_code == 6, said.text
        assert f"the next deploy applies {BAD_NAME} again" in said.text
        assert made.unmigrate("resume").exit_code == 6
        said = made.unmigrate("resume", "--approve", "gate")
        assert said.exit_code == 0, said.text
        assert "before anything deploys" in said.text


def test_the_gate_believes_no_answer_that_names_nothing(tmp_path: Path, pool: Pool) -> None:
    """A command whose output is no list of migrations settles nothing, and names may come with their folder."""
    toml = '[app.deployed]\nmigrations = "{}"\n'
    with shop(tmp_path, pool, toml=toml.format("ls -l prisma/migrations/nowhere || true"), app=False) as made:
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss")
        assert said.exit_code == 6, said.text
        assert "is not known" in said.text
        for command, word in (
            ("ls -l prisma/migrations", "is not known"),
            ("find prisma/migrations -name migration.sql -printf '%h\n'", f"applies {BAD_NAME} again"),
        ):
            (made.root / "unmigrate.toml").write_text(toml.format(command.replace("\n", "\\n")))
            said = made.unmigrate("resume")
            assert (said.exit_code, word in said.text) == (6, True), said.text
        (made.root / "unmigrate.toml").write_text(toml.format("git ls-tree --name-only v1 prisma/migrations/"))
        said = made.unmigrate("resume")
        assert said.exit_code == 0, said.text


def test_a_tag_that_ships_it_is_refused_before_harm(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool) as made:
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss", "--tag", "v2")
        assert said.exit_code == 3, said.text
        assert "it would be applied again" in said.text
        assert made.ledger()[-1] == BAD_NAME


def test_a_deploy_that_brings_the_bad_version_is_caught_by_the_gate(tmp_path: Path, pool: Pool) -> None:
    """The deploy command does not do what it was told: the app that answers decides."""
    toml = TOML.replace('deploy = "sh bin/deploy"', 'deploy = "UNMIGRATE_TAG=v2 sh bin/deploy"')
    with shop(tmp_path, pool, toml=toml) as made:
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss", "--maintenance")
        assert said.exit_code == 6, said.text
        assert "the deployed version v2" in said.text
        assert (made.root / "maintenance.log").read_text() == "on\n", "maintenance is not lifted"
