"""Proving a whole history: each migration is applied on scratch, observed, inverted, and its way back tried at once."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.errors import RefusedError
from unmigrate.inverse import replay
from unmigrate.inverse.dependents import castable_on, dependents_on
from unmigrate.inverse.fill import with_values
from unmigrate.inverse.invert import invert
from unmigrate.inverse.model import InverseStep
from unmigrate.inverse.zones import by_zone, with_zones
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import Attempt, attempt, emptying
from unmigrate.scratch.sandbox import roles_dropped
from unmigrate.sql import script

IN_BLOCK = "cannot run inside a transaction block"
RANK = {"refused": 0, "column-order": 1, "equivalent": 2, "exact": 3}


@dataclass(frozen=True, slots=True)
class SchemaProof:
    """The schema half of a migration's proof, and its way back.

    source: "net" (from the whole file), "fine" (statement by statement) or "hand-written" (down.sql).
    delta: what the migration did; statements: the way back as plain SQL, newest first; empty where refused. emptied: rows that the
    history itself writes stop it, and it was proved with all tables empty.
    """

    migration: Migration
    mode: replay.Mode
    delta: Delta
    outcome: Attempt
    source: str
    steps: tuple[InverseStep, ...]
    handwritten: Attempt | None = None
    notes: tuple[str, ...] = ()
    emptied: bool = False

    @property
    def statements(self) -> tuple[str, ...]:
        return tuple(step.sql for step in self.steps)

    @property
    def refused(self) -> bool:
        return self.outcome.verdict == "refused"


@dataclass(slots=True)
class History:
    """A history being proved on one scratch database.

    fill: {column: SQL} for columns that return as NOT NULL. stopped: the migration it stopped at, and why. may_empty: where rows of the
    history's own stop a way back, prove it without them; who runs it must then ask for rows that do, as a plan does.
    """

    connection: psycopg.Connection[Any]
    fill: Mapping[str, str] = field(default_factory=dict)
    stopped: tuple[str, replay.ReplayError] | None = None
    may_empty: bool = False
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
                self.stopped = (migration.name, error)
                return
            yield proof
        self.require_exact()

    def require_exact(self) -> None:
        """After the last proof: read the whole catalog. Raises RefusedError where it is not what was followed: no proof can be trusted."""
        if missed := self.observer.check():
            message = f"a full reading of the catalog finds something else than was seen of {', '.join(missed[:3])}: nothing is claimed"
            raise RefusedError(message, code="unseen", remedy="please report it, with these migrations")

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
        delta, source, (steps, outcome) = applied.delta, "net", self._net(applied, migration)
        if outcome.verdict == "refused" and applied.mode == "transaction" and not delta.system:
            delta, fine_steps, fine = self._fine(migration, delta.before)
            if fine is not None and fine.verdict != "refused":
                source, steps, outcome = "fine", fine_steps, fine
        handwritten = None
        if migration.down_sql is not None:
            text, handwritten = self._handwritten(migration.down_sql, delta)
            if RANK[handwritten.verdict] > RANK[outcome.verdict]:
                source, steps, outcome = "hand-written", text, handwritten
        emptied = False
        if outcome.by_rows and self.may_empty:
            stopped, outcome = outcome, self._without_rows(delta, steps, outcome)
            emptied = outcome is not stopped
        if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.connection.execute("COMMIT")
        notes = self.observer.notes(delta)
        if emptied:
            notes += (f"{migration.name}: proved with empty tables, and the way forward not again: on scratch, {stopped.reason}",)
        if handwritten is not None and handwritten.verdict == "refused":
            notes += (f"{migration.name}: its down.sql is not used: {handwritten.reason}",)
        if outcome.verdict != "refused" and (reason := _needs_a_role(migration, steps)):
            outcome = Attempt("refused", reason)
        kept = tuple(steps) if outcome.verdict != "refused" else ()
        return SchemaProof(migration, applied.mode, delta, outcome, source, kept, handwritten, notes, emptied)

    def _without_rows(self, delta: Delta, steps: Sequence[InverseStep], stopped: Attempt) -> Attempt:
        """The same way back tried with all tables empty; `stopped` where that leads nowhere either."""
        statements = [emptying(self.observer.catalog), *(step.sql for step in steps)]
        outcome = attempt(self.connection, self.observer, delta, statements)
        return stopped if outcome.verdict == "refused" else outcome

    def _handwritten(self, down_sql: str, delta: Delta) -> tuple[list[InverseStep], Attempt]:
        """Try a down.sql; its BEGIN and COMMIT are ours: on the target it runs in one transaction, together with the ledger."""
        text = script.without_control(down_sql)
        if text is None:
            return [], Attempt("refused", script.why_not_one_transaction(down_sql))
        outcome = attempt(self.connection, self.observer, delta, [text])
        if outcome.verdict == "refused" and IN_BLOCK in outcome.reason:
            outcome = Attempt("refused", f"{outcome.reason}; {script.ONE_TRANSACTION}")
        return [InverseStep(text, "script", "down.sql", frozenset())], outcome

    def _net(self, applied: replay.Applied, migration: Migration) -> tuple[list[InverseStep], Attempt]:
        try:
            steps = self.invert(applied.delta, migration.sql)
        except CannotInvert as reason:
            return [], Attempt("refused", str(reason))
        point = replay.APPLIED if applied.mode == "transaction" else None
        statements = [step.sql for step in steps]
        return steps, attempt(self.connection, self.observer, applied.delta, statements, savepoint=point, last=migration.down_sql is None)

    def invert(self, delta: Delta, sql: str) -> list[InverseStep]:
        """What undoes a delta just observed on this connection, which this text made. Raises CannotInvert."""
        steps = invert(delta, dependents_on(self.connection), castable_on(self.connection))
        return with_values(with_zones(steps, by_zone(sql, delta), delta), self.fill)

    def _fine(self, migration: Migration, before: Catalog) -> tuple[Delta, list[InverseStep], Attempt | None]:
        """Once more, observed statement by statement; no attempt where the file cannot be split or behaves differently so.

        The migration is applied anew, under new identities: the delta returned is the one that holds now.
        """
        self.connection.execute("ROLLBACK")
        self.observer.restore(before)
        self.observer.begin()
        try:
            steps = [step for block in reversed(self._statement_inverses(migration)) for step in block]
        except (psycopg.Error, script.ScriptError, CannotInvert):
            self.connection.execute("ROLLBACK")
            self.observer.restore(before)
            return replay.apply(self.connection, self.observer, migration.sql).delta, [], None
        delta = Delta.between(before, self.observer.catalog)
        return delta, steps, attempt(self.connection, self.observer, delta, [step.sql for step in steps])

    def _statement_inverses(self, migration: Migration) -> list[list[InverseStep]]:
        blocks = []
        for statement in script.split(migration.sql):
            if statement.control:
                continue
            self.connection.execute(statement.text)
            blocks.append(self.invert(self.observer.refresh(), statement.text))
        return blocks


def _needs_a_role(migration: Migration, steps: Sequence[InverseStep]) -> str | None:
    """Why these steps cannot be had: they name a role that the migration drops. On scratch it may live on, in other databases."""
    names = sorted(roles_dropped(migration.sql))
    text = "\n".join(step.sql for step in steps)
    needed = next((n for n in names if re.search(rf'(?<!\w)"?{re.escape(n)}"?(?!\w)', text)), None)
    return needed and f'role "{needed}" does not exist: the migration drops it, and roles are not made again'
