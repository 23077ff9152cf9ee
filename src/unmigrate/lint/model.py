"""What rules look at, what they find, and what a rule is, as plain data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from unmigrate.config.lint import Level, Lint
from unmigrate.inverse.model import Loss
from unmigrate.inverse.replay import ReplayError
from unmigrate.plan.model import Check, Lock
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import SchemaProof
from unmigrate.prove.rows import DataProof
from unmigrate.sql.script import Statement


@dataclass(frozen=True, slots=True)
class Effect:
    """One statement of a migration as it was seen to run on scratch.

    touched: (kind, name) of the objects it created, changed or dropped, by the names before and after it.
    locks: what it newly locks on relations that were there before the migration, by their names before it. sqlstate: of the error
    it gave when run inside the transaction, "" where it ran.
    """

    statement: Statement
    touched: frozenset[tuple[str, str]] = frozenset()
    locks: tuple[Lock, ...] = ()
    sqlstate: str = ""


@dataclass(frozen=True, slots=True)
class AppProblem:
    """What the previous version of the app does and the new schema refuses, or would hand it in a type it cannot read.

    action: "read", "insert", "update" or "type". object: "schema.table" or "schema.table.column" as it was before.
    says: PostgreSQL's words, or ours.
    """

    model: str
    action: Literal["read", "insert", "update", "type"]
    object: str
    says: str


@dataclass(frozen=True, slots=True)
class Subject:
    """One migration with everything that is known of it. file: its path for reports.

    effects: () where it could not be seen running statement by statement. down: locks of the way back. failure: why it does not
    replay; then nothing else is known. second_run: what running the file again after it was interrupted half-way answers, for files that
    no transaction holds together; None where one does, or it goes through. unjudged: what of the previous app could not be tried.
    """

    migration: Migration
    file: str
    proof: SchemaProof | None = None
    data: DataProof | None = None
    losses: tuple[Loss, ...] = ()
    checks: tuple[Check, ...] = ()
    effects: tuple[Effect, ...] = ()
    up: tuple[Lock, ...] = ()
    down: tuple[Lock, ...] = ()
    app: tuple[AppProblem, ...] = ()
    unjudged: tuple[str, ...] = ()
    failure: ReplayError | None = None
    second_run: "Interrupted | None" = None
    limits: Lint = field(default_factory=Lint)


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A file that stopped after `done` statements and was run again. at: offset of the statement that came next; says: the error."""

    done: int
    at: int
    says: str


@dataclass(frozen=True, slots=True)
class Hit:
    """A place in a migration's text (offset, None: the file as a whole) and what is wrong there."""

    message: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding, ready to be shown. rule: "lossy-inverse", or "squawk/ban-drop-column". line and column count from 1.

    allowed: the reason that a comment in the migration gives for it, "" where it counts.
    """

    rule: str
    level: Level
    migration: str
    message: str
    file: str = ""
    line: int = 1
    column: int = 1
    help: str = ""
    allowed: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of our own, with what its page in docs/rules/ says. level: unless unmigrate.toml says otherwise."""

    name: str
    level: Level
    title: str
    why: str
    bad: str
    good: str
    remedy: str
    find: Callable[[Subject], Iterator[Hit]] = field(repr=False, compare=False)
