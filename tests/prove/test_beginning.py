"""A replay that goes on where an earlier one stopped."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.support import migration
from unmigrate.catalog.fingerprint import fingerprint
from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.beginning import replayed
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

FIRST = [migration("1", "CREATE TABLE t (id int PRIMARY KEY)"), migration("2", "ALTER TABLE t ADD COLUMN a text")]
NEXT = migration("3", "ALTER TABLE t ADD COLUMN b text; CREATE INDEX i ON t (b)")


@pytest.fixture(scope="module")
def cache() -> Iterator[dict[str, str]]:
    """A cache directory the server's account can enter (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="unmigrate-test-cache-") as folder:
        Path(folder).chmod(0o755)
        yield {**os.environ, "UNMIGRATE_CACHE": folder}


@pytest.fixture(scope="module")
def pool(cache: dict[str, str]) -> Iterator[Pool]:
    with open_server("embedded", environ=cache, persistent=True) as server, Pool(server) as opened:
        assert server.persistent
        yield opened


def ran(work: Workspace, migrations: list[Migration]) -> tuple[list[str], dict[str, str]]:
    """(what was replayed, the catalog at the end)."""
    names: list[str] = []
    skip = History.skip

    def noted(history: History, one: Migration) -> None:
        names.append(one.name)
        skip(history, one)

    with patch.object(History, "skip", noted):
        history = replayed(work, migrations)
    found = fingerprint(history.observer.catalog)
    assert history.observer.check() == []
    history.connection.close()
    return names, found


def test_only_what_is_new_is_replayed(pool: Pool) -> None:
    work = Workspace(pool)
    assert ran(work, FIRST)[0] == ["1", "2"]
    assert ran(work, FIRST)[0] == []
    names, catalog = ran(work, [*FIRST, NEXT])
    assert names == ["3"]
    assert ran(work, [*FIRST, NEXT]) == ([], catalog)
    assert ran(Workspace(pool, setup="SELECT 1"), [*FIRST, NEXT]) == (["1", "2", "3"], catalog)


def test_a_changed_file_ends_what_is_known(pool: Pool) -> None:
    work = Workspace(pool, setup="SELECT 2")
    ran(work, FIRST)
    edited = migration("2", "ALTER TABLE t ADD COLUMN other text")
    names, catalog = ran(work, [FIRST[0], edited])
    assert names == ["1", "2"]  # only whole histories are kept
    assert "column public.t.other" in catalog and "column public.t.a" not in catalog


def test_settings_left_behind_and_roles_are_not_lost(pool: Pool) -> None:
    work = Workspace(pool, setup="SELECT 3")
    leaving = [migration("1", "CREATE SCHEMA s; SET search_path = s"), migration("2", "CREATE TABLE t (id int)")]
    for _ in range(2):
        names, catalog = ran(work, leaving)
        assert (names, "table s.t" in catalog) == (["1", "2"], True)
    for _ in range(2):
        assert ran(work, [migration("1", "CREATE ROLE um_kept")])[0] == ["1"]
        pool.drop_new_roles()


def test_the_migration_that_fails_is_named(pool: Pool) -> None:
    with pytest.raises(ReplayError, match="2: syntax error"):
        replayed(Workspace(pool, setup="SELECT 4"), [FIRST[0], migration("2", "ALTER TABEL t")])


def test_without_a_persistent_server_nothing_is_kept(cache: dict[str, str]) -> None:
    with open_server("embedded", environ=cache) as server, Pool(server) as plain:
        assert [ran(Workspace(plain), FIRST)[0] for _ in range(2)] == [["1", "2"], ["1", "2"]]
