"""check --deploy and deploy: policy wants a snapshot unless the guarded way back is lossless; asked with the real provider."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.command import run
from tests.support import deploy, prisma_url, write_project
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool

INIT = ("1_init", "CREATE TABLE t (id int PRIMARY KEY, gone text)")
GUARDED = ("2_drop", "ALTER TABLE t DROP COLUMN gone")
# two transactions of its own: nothing guards it
BARE = ("2_drop", "BEGIN; ALTER TABLE t DROP COLUMN gone; COMMIT; BEGIN; ALTER TABLE t ADD COLUMN c int; ROLLBACK;")
POLICY = "[policy]\nsnapshot_hours = 24\n"


@pytest.fixture
def url(pool: Pool) -> Iterator[str]:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, [INIT])
        connection.execute("INSERT INTO t VALUES (1, 'x')")
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)


def project(tmp_path: Path, script: tuple[str, str], policy: str) -> Path:
    root = write_project(tmp_path / "app", [INIT, script])
    (root / "unmigrate.toml").write_text(policy)
    return root


def asked(root: Path, url: str, *more: str) -> tuple[int, str]:
    return run("check", "--since", "1_init", "--deploy", "--project", root, "--url", url, *more)


def test_a_guarded_migration_needs_none(tmp_path: Path, url: str) -> None:
    status, printed = asked(project(tmp_path, GUARDED, POLICY), url)
    assert "may be deployed; policy asks for no snapshot" in printed and status == 1  # lossy when deployed plainly


def test_refused_until_there_is_a_snapshot(tmp_path: Path, url: str) -> None:
    root = project(tmp_path, BARE, POLICY)
    status, printed = asked(root, url)
    assert status == 3 and "policy wants a snapshot younger than 24 hours before 2_drop" in printed
    status, printed = run("snapshot", "create", "--project", root, "--url", url)
    assert status == 0, printed
    status, printed = asked(root, url, "--json")
    told = json.loads(printed[printed.index("{") :])["deploy"]
    assert status == 1 and told["allowed"] and told["snapshot"]["id"] and "2_drop" in told["needed"]


def test_without_policy_nothing_is_asked(tmp_path: Path, url: str) -> None:
    status, printed = asked(project(tmp_path, BARE, ""), url)
    assert status == 1 and "policy asks for no snapshot" in printed


def test_deploy_itself_refuses_too(tmp_path: Path, url: str) -> None:
    root = project(tmp_path, BARE, POLICY)
    status, printed = run("deploy", "--yes", "--accept-loss", "--project", root, "--url", url)
    assert status == 3 and "[no-restore-point]" in printed
    assert columns(url) == ["id", "gone"]
    assert run("snapshot", "create", "--project", root, "--url", url)[0] == 0
    status, printed = run("deploy", "--yes", "--accept-loss", "--project", root, "--url", url)
    assert status == 0, printed
    assert columns(url) == ["id"]


def test_deploy_of_a_guarded_migration_needs_none(tmp_path: Path, url: str) -> None:
    status, printed = run("deploy", "--yes", "--project", project(tmp_path, GUARDED, POLICY), "--url", url)
    assert status == 0, printed


def columns(url: str) -> list[str]:
    with psycopg.connect(parse_url(url).conninfo) as connection:
        query = "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        return [name for (name,) in connection.execute(query)]
