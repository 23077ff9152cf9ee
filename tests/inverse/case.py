"""One row of the matrix: what a migration does to one kind of object, and what is expected of its way back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """setup: SQL for the state before; up: the migration; expected: the verdict; reason: part of the reason where refused.

    since: first server version (server_version_num / 10000) it runs on; trusted: the migration needs a superuser.
    """

    kind: str
    action: str
    setup: str
    up: str
    expected: str = "exact"
    reason: str = ""
    since: int = 14
    trusted: bool = False

    def __str__(self) -> str:
        return f"{self.kind}-{self.action}".replace(" ", "_")


def rows(kind: str, *cases: tuple[str, str, str] | tuple[str, str, str, str] | tuple[str, str, str, str, str]) -> tuple[Case, ...]:
    """Cases of one kind: (action, setup, migration, expected, reason)."""
    return tuple(Case(kind, *case) for case in cases)
