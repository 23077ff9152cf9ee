"""A job of merging as data: what is asked for, what is to be merged, what was done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from unmigrate.snapshot import merge
from unmigrate.snapshot.lost import Found, Part
from unmigrate.snapshot.provider import Say

Connect = Callable[[], psycopg.Connection[Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """batch: rows per transaction. touched: fill too what is empty in rows written since. jobs: sessions that merge at once, where
    a part has that many rows. on_step: for tests that interrupt there."""

    snapshot: str
    batch: int = 5000
    touched: bool = False
    lock_timeout_ms: int = 200
    say: Say = lambda _: None
    on_step: Say = lambda _: None
    jobs: int = 2


@dataclass(frozen=True, slots=True)
class Filled:
    """One part. staged: rows of the snapshot; filled: rows inserted or changed; gone: rows that are not here any more; conflicts: rows
    or values kept as they are here; reasons: {why: how many of these}; samples: keys of some."""

    table: str
    kind: str
    columns: tuple[str, ...]
    staged: int
    filled: int
    gone: int
    conflicts: int
    reasons: dict[str, int]
    samples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Report:
    """again: an earlier run had done it all. longest: seconds of the longest batch, which is as long as a writer may have waited."""

    id: str
    migrations: tuple[str, ...]
    snapshot: str
    parts: tuple[Filled, ...]
    left_out: tuple[tuple[str, str], ...]
    again: bool = False
    seconds: float = 0.0
    longest: float = 0.0
    conflict_table: str = f"{merge.SCHEMA}.conflict"

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("parts", "left_out")}
        left = [{"object": name, "reason": why} for name, why in self.left_out]
        return {**plain, "parts": [p.to_json() for p in self.parts], "left_out": left}


class Stage(Protocol):
    """Where rows come from."""

    def __call__(self, live: psycopg.Connection[Any], job: str, part: Part, say: Say) -> None:
        """Fill the part's staging table and journal how many rows it has, unless that was done."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be merged. id: the same for the same job, whenever it is run; xid: see `merge`; begin: done before anything is staged."""

    id: str
    kind: str
    migrations: tuple[str, ...]
    found: Found
    stage: Stage
    begin: Callable[[psycopg.Connection[Any]], None]
    xid: str | None = None
