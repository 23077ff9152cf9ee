"""A live database with rows, and migrations guarded on scratch to be deployed there."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from tests.support import deploy as deploy_plainly
from tests.support import migration
from unmigrate.catalog.fingerprint import fingerprint
from unmigrate.catalog.parked import without_parked
from unmigrate.catalog.read import read_catalog
from unmigrate.config.park import Park
from unmigrate.execute.deploy import deploy
from unmigrate.execute.rollback import Outcome, execute
from unmigrate.execute.ways import redo_plans, rollback_plans
from unmigrate.guard.build import Guarded, guard
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool


@dataclass
class Live:
    """One database, and what can be done to it."""

    work: Workspace
    name: str
    history: list[Any] = field(default_factory=list)
    guarded: list[Guarded] = field(default_factory=list)
    park: Park = field(default_factory=Park)

    def connect(self) -> psycopg.Connection[Any]:
        return self.work.pool.connect(self.name)

    def run(self, sql: str) -> None:
        with self.connect() as connection:
            connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(sql).fetchall()

    def value(self, sql: str) -> Any:
        return self.rows(sql)[0][0]

    def shape(self) -> dict[str, str]:
        """Fingerprints of everything but what is parked."""
        with self.connect() as connection:
            return fingerprint(without_parked(read_catalog(connection)))

    def guard(self, sql: str) -> Guarded:
        """The next migration, guarded."""
        new = migration(str(len(self.history) + 1), sql)
        (one,) = guard(self.work, self.history, [new], lambda _: None, self.park)
        self.history.append(new)
        self.guarded.append(one)
        return one

    def deploy(self, sql: str, **options: Any) -> Outcome:
        one = self.guard(sql)
        ways = [way for way in (one.back, one.again) if way]
        return deploy(self.connect, one.up, ways, **{"accept_loss": False, **options})

    def rollback(self, **options: Any) -> Outcome:
        """The last migration, from the vault alone."""
        with self.connect() as connection:
            plans = rollback_plans(connection, [self.history[-1].name])
        assert plans
        return execute(self.connect, plans[0], **{"accept_loss": False, **options})

    def redo(self, **options: Any) -> Outcome:
        with self.connect() as connection:
            (plan,) = redo_plans(connection)
        return execute(self.connect, plan, **{"accept_loss": False, **options})


@pytest.fixture
def live(pool: Pool) -> Iterator[Callable[[str, str], Live]]:
    """A database with these migrations applied plainly, and these rows."""
    made = []

    def make(init: str, rows: str) -> Live:
        found = Live(Workspace(pool), pool.create(), [migration("1", init)])
        made.append(found.name)
        with pool.connect(found.name) as connection:
            deploy_plainly(connection, [("1", init)])
            connection.execute(rows)
        return found

    yield make
    for name in made:
        pool.drop(name)
