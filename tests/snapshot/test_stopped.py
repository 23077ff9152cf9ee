"""What stops the way by a snapshot, as people meet it: before harm, with what to do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import run
from tests.snapshot.conftest import Do, databases, url_of
from tests.snapshot.kit import Kit
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool

WAYS = [
    ("restore", "--before", "2_bad", "--to", "elsewhere"),
    ("rollback", "--refill", "last", "--yes", "--accept-loss"),
    ("run", "rollback", "2_bad", "--refill", "last", "--yes", "--accept-loss"),
    ("run", "rollback", "2_bad", "--way", "restore", "--yes", "--accept-loss"),
]


@pytest.fixture
def untouched(kit: Kit, pool: Pool, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether database, ledger and server are as they were when this was asked for first."""
    monkeypatch.setenv("UNMIGRATE_STATE", str(tmp_path / "state"))
    (project / ".env").write_text(f'DATABASE_URL="{kit.url}"\n')
    (project / "unmigrate.toml").write_text("[connection.env_file]\n")
    seen: list[object] = []

    def same() -> bool:
        seen.append(
            (
                databases(pool),
                kit.value("select array_agg(migration_name order by 1) from _prisma_migrations"),
                (project / ".env").read_text(),
            )
        )
        return seen[0] == seen[-1] and kit.value("select to_regnamespace('unmigrate_refill') is null")

    return same


@pytest.mark.parametrize("words", WAYS, ids=["restore", "rollback", "run-refill", "run-restore"])
def test_without_a_snapshot_and_with_one_in_flight_or_from_after(
    kit: Kit, do: Do, untouched: Callable[[], bool], words: tuple[str, ...]
) -> None:
    kit.run("insert into _prisma_migrations (id, checksum, migration_name) values ('x', 'x', '2_bad')")
    assert do("snapshot", "create", "--label", "during")[0] == 0
    kit.run("delete from _prisma_migrations where id = 'x'")
    kit.deploy_bad()
    kit.run("update _prisma_migrations set started_at = (select min(started_at) from _prisma_migrations) where migration_name = '2_bad'")
    assert untouched()
    status, printed = do(*words)
    assert (status, "in flight" in printed) == (3, True), printed
    assert "what to do" in printed
    assert do("snapshot", "create", "--label", "after")[0] == 0
    status, printed = do(*words)
    assert (status, "taken after 2_bad began" in printed, "what to do" in printed) == (3, True, True), printed
    assert untouched()


def test_a_full_disk(kit: Kit, project: Path, do: Do, untouched: Callable[[], bool], small_disk: Path) -> None:
    kit.run('insert into "User" (note) select md5(g::text) || md5((g + 1)::text) from generate_series(1, 60000) g')
    assert untouched()
    (project / "unmigrate.toml").write_text(f'[snapshot.pg_dump]\ndirectory = "{small_disk}"\ncompress = 0\n')
    status, printed = do("snapshot", "create")
    assert (status, "free space, and try again; nothing was left" in printed) == (4, True), printed
    assert list(small_disk.iterdir()) == []
    assert untouched()


def test_missing_rights(kit: Kit, pool: Pool, project: Path, do: Do, untouched: Callable[[], bool], role: Callable[[str], str]) -> None:
    assert do("snapshot", "create")[0] == 0
    kit.deploy_bad()
    kit.run('REVOKE ALL ON "User" FROM PUBLIC; GRANT SELECT ON _prisma_migrations TO PUBLIC')
    assert untouched()
    url = url_of(pool, parse_url(kit.url).database, role(""))
    for words in (
        ("snapshot", "create"),
        ("restore", "--before", "2_bad", "--to", "elsewhere"),
        ("refill", "--column", 'public."User".note', "--yes"),
    ):
        status, printed = run(*words, "--project", project, "--url", url)
        assert (status in (3, 4), "what to do" in printed) == (True, True), printed
    assert untouched()
