"""What a provider of snapshots is: six verbs, and for each what it would do, as text.

A provider belongs to one database, the source. It never restores over it: `restore` makes a new database or instance beside it, which
is nobody's until the app's connection string is changed, and the source stays until a person drops it.

`create` and `restore` finish atomically: what was interrupted is never listed or taken for whole, and the same call made again goes on
or answers as before. Errors: RefusedError where doing it would do harm, EnvironmentProblem where something is missing or full or not
permitted (nothing is left behind), each with its remedy. No error and no line of text holds a secret.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """id: as the provider names it. created_at: a moment not before the state it holds, by the clock of the database where it can be had
    (`find` compares it with the ledger's). lsn: likewise a position not before that state, None where it is not known. size: bytes.
    protected: the provider itself keeps it from being dropped or pruned; detail: what providers tell besides, "note" for people."""

    id: str
    provider: str
    created_at: datetime
    lsn: str | None = None
    size: int | None = None
    protected: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        told = {name: value for name, value in self.detail.items() if name != "counters"}  # one per table
        return {**asdict(self), "created_at": self.created_at.isoformat(), "detail": told}


@dataclass(frozen=True, slots=True)
class At:
    """What to restore to: a snapshot by its id, or, with providers that have `points`, a position of the log or a time. tables: only the
    rows of these (SQL names) and of the ledger are read, as a refill does: a provider that can leaves out those of others."""

    snapshot: str | None = None
    lsn: str | None = None
    time: datetime | None = None
    tables: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return self.snapshot or (f"LSN {self.lsn}" if self.lsn else f"{self.time:%Y-%m-%d %H:%M:%S %Z}")


@dataclass(frozen=True, slots=True)
class Restored:
    """A database that was restored. url: with its secrets, the source's user and parameters; display: for people; fresh: False when an
    earlier call had restored it already; seconds: that it took."""

    name: str
    url: str = field(repr=False)
    display: str
    fresh: bool
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "url"}


class Provider(Protocol):
    """points: which of "lsn" and "time" `restore` takes besides snapshots."""

    name: str
    points: frozenset[str]

    def snapshots(self) -> tuple[Snapshot, ...]:
        """Snapshots of the source, oldest first."""
        ...

    def create(self, label: str, say: Say) -> Snapshot:
        """Make one now. label: lower-case letters, digits and dashes, part of its name."""
        ...

    def protect(self, snapshot: str, on: bool) -> Snapshot:
        """Keep one from being dropped and pruned, or no longer."""
        ...

    def drop(self, snapshot: str) -> None:
        """Raises RefusedError for a protected one."""
        ...

    def restore(self, at: At, to: str, say: Say) -> Restored:
        """Make a new database (or instance) of this name. Raises RefusedError when the name is taken by anything but an earlier call's."""
        ...

    def discard(self, to: str) -> None:
        """Drop what `restore` made, whole or not. Raises RefusedError for anything that `restore` did not make."""
        ...

    def lacking(self) -> tuple[str, ...]:
        """What is missing (programs, rights, access) for all this, each with what to do; changes nothing."""
        ...

    def shown_create(self, label: str) -> tuple[str, ...]:
        """The exact commands, SQL or API calls; likewise below."""
        ...

    def shown_protect(self, snapshot: str, on: bool) -> tuple[str, ...]: ...

    def shown_drop(self, snapshot: str) -> tuple[str, ...]: ...

    def shown_restore(self, at: At, to: str) -> tuple[str, ...]: ...
