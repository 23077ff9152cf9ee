"""Proving a whole history: each migration is applied on scratch, observed, inverted, and its way back tried at once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.inverse import replay
from unmigrate.inverse.dependents import castable_on, dependents_on
from unmigrate.inverse.fill import with_values
from unmigrate.inverse.invert import invert
from unmigrate.inverse.model import InverseStep
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import Attempt, attempt
from unmigrate.sql import script

RANK = {"refused": 0, "column-order": 1, "equivalent": 2, "exact": 3}


@dataclass(frozen=True, slots=True)
class SchemaProof:
    """The schema half of a migration's proof, and its way back.

    source: "net" (from the whole file), "fine" (statement by statement) or "hand-written" (down.sql).
    delta: what the migration did; statements: the way back as plain SQL, newest first; empty where refused.
    """

    migration: Migration
    mode: replay.Mode
    delta: Delta
    outcome: Attempt
    source: str
    steps: tuple[InverseStep, ...]
    handwritten: Attempt | None = None
    notes: tuple[str, ...] = ()

    @property
    def statements(self) -> tuple[str, ...]:
        return tuple(step.sql for step in self.steps)

    @property
    def refused(self) -> bool:
        return self.outcome.verdict == "refused"


@dataclass(slots=True)
class History:
    """A history being proved on one scratch database.

    fill: {column: SQL} for columns that return as NOT NULL. stopped: why it could not go on, with the migration's name.
    """

    connection: psycopg.Connection[Any]
    fill: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, str] | None = None
    observer: Observer = field(init=False)

    def __post_init__(self) -> None:
        self.connection.execute("SET plan_cache_mode = force_generic_plan")
        self.observer = Observer(self.connection)

    def prove_all(self, migrations: Sequence[Migration]) -> Iterator[SchemaProof]:
        """One proof per migration, in order. Stops at a migration that does not replay and says so in `stopped`."""
        for migration in migrations:
            try:
                proof = self.prove(migration)
            except replay.ReplayError as error:
                self.stopped = (migration.name, str(error))
                return
            yield proof

    def skip(self, migration: Migration) -> None:
        """Apply a migration without proving it. Raises ReplayError."""
        applied = replay.apply(self.connection, self.observer, migration.sql)
        if applied.mode == "transaction":
            self.connection.execute("COMMIT")

    def prove(self, migration: Migration) -> SchemaProof:
        """Apply one migration, find its way back and try it. The database is left with the migration applied."""
        applied = replay.apply(self.connection, self.observer, migration.sql)
        if applied.mode != "transaction":
            self.observer.begin()
        source, (steps, outcome) = "net", self._net(applied.delta)
        if outcome.verdict == "refused" and applied.mode == "transaction":
            fine = self._fine(migration, applied.delta)
            if fine is not None and fine[1].verdict != "refused":
                source, (steps, outcome) = "fine", fine
        handwritten = None
        if migration.down_sql is not None:
            script_text = script.without_control(migration.down_sql)
            if script_text is None:
                handwritten = Attempt("refused", "down.sql manages transactions in a way that cannot be proved")
            else:
                handwritten = attempt(self.connection, self.observer, applied.delta, [script_text])
            if script_text is not None and RANK[handwritten.verdict] > RANK[outcome.verdict]:
                text = InverseStep(script_text, "script", "down.sql", frozenset())
                source, steps, outcome = "hand-written", [text], handwritten
        self.connection.execute("COMMIT")
        kept = tuple(steps) if outcome.verdict != "refused" else ()
        return SchemaProof(migration, applied.mode, applied.delta, outcome, source, kept, handwritten, self.observer.notes(applied.delta))

    def _net(self, delta: Delta) -> tuple[list[InverseStep], Attempt]:
        try:
            steps = self.invert(delta)
        except CannotInvert as reason:
            return [], Attempt("refused", str(reason))
        return steps, attempt(self.connection, self.observer, delta, [step.sql for step in steps])

    def invert(self, delta: Delta) -> list[InverseStep]:
        """What undoes a delta just observed on this connection. Raises CannotInvert."""
        return with_values(invert(delta, dependents_on(self.connection), castable_on(self.connection)), self.fill)

    def _fine(self, migration: Migration, delta: Delta) -> tuple[list[InverseStep], Attempt] | None:
        """Once more, observed statement by statement; None where the file cannot be split or behaves differently so."""
        after = self.observer.catalog
        self.connection.execute("ROLLBACK")
        self.observer.catalog = delta.before
        self.observer.reset()
        self.observer.begin()
        try:
            steps = [step for block in reversed(self._statement_inverses(migration)) for step in block]
        except (psycopg.Error, script.ScriptError, CannotInvert):
            self._again(migration)
            return None
        whole = Delta(delta.before, self.observer.catalog, delta.keys | self.observer.catalog.objects.keys() ^ after.objects.keys())
        return steps, attempt(self.connection, self.observer, whole, [step.sql for step in steps])

    def _statement_inverses(self, migration: Migration) -> list[list[InverseStep]]:
        blocks = []
        for statement in script.split(migration.sql):
            if statement.control:
                continue
            self.connection.execute(statement.text)
            blocks.append(self.invert(self.observer.refresh()))
        return blocks

    def _again(self, migration: Migration) -> None:
        self.connection.execute("ROLLBACK")
        self.observer.reset()
        replay.apply(self.connection, self.observer, migration.sql)
