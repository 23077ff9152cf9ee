"""The other major versions of PostgreSQL: a part of the matrix, and guarded migrations deployed, rolled back, redone and purged."""

import zlib
from collections.abc import Callable

import pytest

from tests.guard.conftest import Live, live  # noqa: F401
from tests.guard.shop import CHANGES, INIT, ROWS, contents
from tests.inverse.case import Case
from tests.inverse.table import CASES
from tests.support import migration
from unmigrate.park.purge import kept, purge
from unmigrate.prove.audit import audit
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool

SAMPLE = [case for case in CASES if not case.trusted and zlib.crc32(f"{case} of all".encode()) % 8 == 0]
GUARDED = ("drop a column with what hangs on it", "drop a table", "change a type", "update", "delete by cascade", "enum swap", "add things")


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_matrix(pool: Pool, major: int, case: Case) -> None:
    if case.since > major:
        pytest.skip(f"since PostgreSQL {case.since}")
    database = pool.create()
    with pool.connect(database) as connection:
        if case.setup:
            connection.execute(case.setup)
        history = History(connection)
        proof = history.prove(migration("1", case.up))
        history.require_exact()
        assert (proof.outcome.verdict, case.reason in proof.outcome.reason) == (case.expected, True), proof.outcome.reason
    pool.drop(database)


@pytest.mark.parametrize("change", GUARDED)
def test_guarded_back_and_forth(live: Callable[..., Live], change: str) -> None:  # noqa: F811
    it = live(INIT, ROWS)
    shape, rows = it.shape(), contents(it)
    it.deploy(CHANGES[change])
    changed = it.shape()
    it.rollback()
    assert (it.shape(), contents(it)) == (shape, rows)
    it.redo()
    assert it.shape() == changed
    it.rollback()
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)
    assert (it.shape(), contents(it)) == (shape, rows)


def test_rows_are_proved(pool: Pool) -> None:
    scripts = [INIT, 'ALTER TABLE tag DROP COLUMN note; ALTER TABLE "User" ADD COLUMN z int', 'CREATE INDEX "i" ON "User" (z)']
    entries = list(audit(Workspace(pool), [migration(str(n), sql) for n, sql in enumerate(scripts)], rows=True))
    told = [(e.report["schema"]["verdict"], e.report["data"]["plain"]["verdict"], e.report["data"]["plain"]["lost"]) for e in entries]
    assert told == [("exact", "lossless", []), ("exact", "lossy", ["public.tag.note"]), ("exact", "lossless", [])]
