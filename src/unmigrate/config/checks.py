"""[checks]: how to see that all is well, from inside (database) and from outside (the app as people meet it)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unmigrate.config.http import Request


@dataclass(frozen=True, slots=True)
class Sql:
    """A query of one value. equals: what it must be; without it, it must be true, or a number other than 0."""

    name: str
    sql: str
    equals: Any = None


@dataclass(frozen=True, slots=True)
class Command:
    """A command that must end with 0. It sees DATABASE_URL of the database that the app is to use."""

    name: str
    command: str
    timeout: float = 120.0


@dataclass(frozen=True, slots=True)
class Http:
    """One request, or several one after another that share cookies and captured values: a login, a round trip of rows."""

    name: str
    requests: tuple[Request, ...]

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not self.requests:
            yield "requests", f"the check {self.name} has no requests", "give at least one"


@dataclass(frozen=True, slots=True)
class Checks:
    """prisma: the command for `prisma migrate status`, run inside when given; schema: compare the database with schema.prisma.

    attempts and pause (seconds): outside checks are tried so often, as apps take time to start.
    """

    prisma: str | None = None
    schema: bool = True
    sql: tuple[Sql, ...] = ()
    command: tuple[Command, ...] = ()
    http: tuple[Http, ...] = ()
    attempts: int = 10
    pause: float = 1.0

    def problems(self) -> Iterator[tuple[str, str, str]]:
        seen: set[str] = set()
        groups: tuple[tuple[str, tuple[Sql | Command | Http, ...]], ...] = (
            ("sql", self.sql),
            ("command", self.command),
            ("http", self.http),
        )
        for key, group in groups:
            for each in group:
                if each.name in seen:
                    yield key, f"two checks are named {each.name}", "give each its own name"
                seen.add(each.name)
        if self.attempts < 1:
            yield "attempts", f"attempts is {self.attempts}", "give 1 or more"
