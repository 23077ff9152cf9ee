"""What a provider needs to be put through its paces: a source database with rows and a ledger, and a way into what it restored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.support import deploy, record
from unmigrate.errors import UnmigrateError
from unmigrate.prisma.url import parse_url
from unmigrate.snapshot.provider import Provider, Restored

INIT = """CREATE TABLE "User" (id serial PRIMARY KEY, email text, note text);
CREATE INDEX "User_email_idx" ON "User" (email);"""
BAD = 'ALTER TABLE "User" DROP COLUMN note'
SECRET = "s3cret-of-the-test"


@dataclass
class Kit:
    """provider; url: of its source; connects: whether a server is behind what it restores; leave: what must be cleaned at the end."""

    provider: Provider
    url: str
    connects: bool = True
    settle: Callable[[], None] = lambda: None

    def source(self) -> psycopg.Connection[Any]:
        return psycopg.connect(parse_url(self.url).conninfo, autocommit=True)

    def restored(self, restored: Restored) -> psycopg.Connection[Any]:
        return psycopg.connect(parse_url(restored.url).conninfo, autocommit=True)

    def run(self, sql: str) -> None:
        with self.source() as connection:
            connection.execute(sql)
        self.settle()

    def value(self, sql: str) -> Any:
        with self.source() as connection:
            row = connection.execute(sql).fetchone()
        self.settle()
        return row[0] if row else None

    def begin(self) -> None:
        """A database with one migration and three users."""
        with self.source() as connection:
            deploy(connection, [("1_init", INIT)])
            connection.execute("insert into \"User\" (email, note) select 'u' || g, 'n' || g from generate_series(1, 3) g")
        self.settle()

    def deploy_bad(self) -> None:
        with self.source() as connection:
            connection.execute(BAD)
            record(connection, "2_bad", BAD)
            connection.execute("insert into \"User\" (email) values ('since')")
        self.settle()


def quiet(_: str) -> None:
    pass


def fails(code: str, kind: type[UnmigrateError], do: Callable[[], object]) -> UnmigrateError:
    """The error that it raises: with a remedy, and without a secret."""
    with pytest.raises(kind) as problem:
        do()
    assert problem.value.code == code, problem.value
    assert problem.value.remedy
    assert SECRET not in f"{problem.value} {problem.value.remedy}"
    return problem.value
