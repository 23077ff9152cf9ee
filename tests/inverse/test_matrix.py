"""The matrix: create, alter, drop and rename of every kind of object, one row per case, and what is refused.

Each case is proved by the product and looked at again by an independent witness, pg_dump, on a database where the migration and
its way back were committed.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.inverse.case import Case
from tests.inverse.table import CASES, page
from tests.inverse.witness import RANK, dump, seen
from tests.support import migration
from unmigrate.catalog.kinds import KINDS
from unmigrate.prove.history import History
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server
from unmigrate.sql import script

PAGE = Path(__file__).parents[2] / "docs" / "matrix.md"


class World:
    """One server: databases at the state before, kept per set-up, with what pg_dump says of them."""

    def __init__(self, server: Server) -> None:
        self.pools = {False: Pool(server), True: Pool(server, trusted=True)}
        self.server = server
        self._kept: dict[tuple[str, bool], tuple[str, str]] = {}

    def before(self, case: Case) -> tuple[Pool, str, str]:
        """(pool, database to copy, its dump)."""
        pool, key = self.pools[case.trusted], (case.setup, case.trusted)
        if key not in self._kept:
            database = pool.create()
            if case.setup:
                with pool.connect(database) as connection:
                    connection.execute(case.setup)
            self._kept[key] = database, dump(pool, database)
        return pool, *self._kept[key]


def on_servers() -> list[object]:
    """Every case on one server, a fifth of them on Debian's. UNMIGRATE_MATRIX=full: every case on both; quick: that fifth alone."""
    choice = os.environ.get("UNMIGRATE_MATRIX")
    debian = [c for c in CASES if c.since <= 15 and zlib.crc32(str(c).encode()) % 5 == 0]
    if choice == "full":
        chosen = {"embedded": list(CASES), "debian": [c for c in CASES if c.since <= 15]}
    else:
        chosen = {"embedded": [c for c in CASES if c not in debian and choice != "quick"], "debian": debian}
    return [pytest.param(server, case, id=f"{server}-{case}") for server, cases in chosen.items() for case in cases]


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    server: Server = request.getfixturevalue("server" if request.param == "embedded" else "debian_server")
    made = World(server)
    with made.pools[False] as pool, made.pools[True]:
        pool.admin.execute("CREATE ROLE matrix_reader")
        yield made


@pytest.mark.parametrize(("world", "case"), on_servers(), indirect=["world"])
def test_case(world: World, case: Case) -> None:
    pool, template, before = world.before(case)
    database = pool.create(template)
    connection = pool.connect(database)
    try:
        history = History(connection)
        proof = history.prove(migration("1", case.up))
        assert history.observer.check() == [], "the observer lost track"
        claim, reason = proof.outcome.verdict, proof.outcome.reason
        connection.close()
        connection = pool.connect(database)  # another session, as psql would be
        if claim != "refused":
            back(connection, proof.statements)
            truth, difference = seen(pool, before, dump(pool, database))
            assert RANK[claim] <= RANK[truth], f"false claim: {claim}, but {truth}: {difference}\n" + "\n".join(proof.statements)
            again(connection, case.up)
        assert claim == case.expected, reason
        assert case.reason in reason
    finally:
        connection.close()
        pool.drop(database)


def back(connection: psycopg.Connection, statements: tuple[str, ...]) -> None:
    connection.execute("SET check_function_bodies = off")
    for sql in statements:
        connection.execute(sql)


def again(connection: psycopg.Connection, up: str) -> None:
    """The way forward is open again."""
    try:
        connection.execute(up)
    except (psycopg.errors.ActiveSqlTransaction, psycopg.errors.UnsafeNewEnumValueUsage):
        for statement in script.split(up):
            connection.execute(statement.text)


def test_ids_are_unique() -> None:
    names = [str(case) for case in CASES]
    assert sorted(set(names)) == sorted(names)


def test_every_kind_has_rows() -> None:
    covered = {case.kind for case in CASES} | {"extension dependency"}  # among the routines'
    assert set(KINDS) - covered == set()


def test_every_refusal_has_its_reason() -> None:
    assert [str(case) for case in CASES if case.expected == "refused" and not case.reason] == []


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.inverse.table > docs/matrix.md"
