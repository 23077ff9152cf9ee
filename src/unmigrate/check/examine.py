"""Everything that is known of one new migration: run, watched, proved, undone, and met by the previous app, on scratch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg

from unmigrate.catalog.model import Catalog
from unmigrate.check import app
from unmigrate.check.impact import merged
from unmigrate.check.observe import observe_down, observe_up
from unmigrate.check.previous import AppTable, from_catalog
from unmigrate.check.resume import second_run
from unmigrate.check.stage import Stage
from unmigrate.config.lint import Lint
from unmigrate.inverse.checks import checks
from unmigrate.inverse.losses import losses
from unmigrate.inverse.replay import NOT_IN_TRANSACTION, ReplayError
from unmigrate.lint.model import Effect, Subject
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.beginning import chain, replayed
from unmigrate.prove.rows import RowsHistory
from unmigrate.prove.workspace import Workspace
from unmigrate.sql import script

Previous = Callable[[Catalog], tuple[AppTable, ...]]


def filled(work: Workspace, kept: Sequence[Migration]) -> RowsHistory:
    """A database with these migrations and generated rows, from an earlier run where it can be."""
    key = f"filled {chain(work, kept)[-1]}" if kept and work.pool.server.persistent else ""
    connection = work.at(key) if key else None
    if connection is not None:
        rows = RowsHistory(connection)
        rows.begin()  # only what could not be filled is tried again
        return rows
    connection = replayed(work, kept).connection
    rows = RowsHistory(connection)
    rows.begin()
    if not key:
        return rows
    database = connection.info.dbname
    kept_copy = work.at(key) if work.keep(connection, key) else None
    rows = RowsHistory(kept_copy or work.prepare(work.pool.connect(database)))
    rows.begin()
    return rows


@dataclass(slots=True)
class Examiner:
    """Looks at one migration after the other; the databases follow. previous: what the previous app knows, from the catalog before."""

    stage: Stage
    rows: RowsHistory
    limits: Lint
    previous: Previous = from_catalog

    def examine(self, migration: Migration, file: str) -> Subject:
        """Everything about one migration. Where it does not replay, that alone; nothing after it can be examined then."""
        try:
            effects = observe_up(self.stage, migration.sql)
            again = second_run(self.stage, migration.sql) if _in_pieces(migration.sql, effects) else None
            proof = self.stage.history.prove(migration)
            self.stage.history.require_exact()
        except ReplayError as error:
            return Subject(migration, file, failure=error, limits=self.limits)
        except psycopg.Error as error:
            failure = ReplayError(str(error.diag.message_primary or error), error.sqlstate)
            return Subject(migration, file, failure=failure, limits=self.limits)
        rehearsal = app.rehearse(self.rows.connection, self.previous(proof.delta.before), proof.delta) if not self.rows.stopped else None
        data = self.rows.prove(proof, written_after=True)
        if rehearsal is not None and not self.rows.stopped:
            problems, unjudged = app.play(self.rows.connection, rehearsal, proof.delta)
        else:
            # The next migration is met by new rows: it is no worse for what this one did to ours.
            self.rows.connection.close()
            self.rows = self.stage.rows()
            problems, unjudged = (), ("whether the previous app still works: the migration fails on generated rows",)
        return Subject(
            migration,
            file,
            proof,
            data,
            losses(migration.name, migration.sql, proof.delta),
            checks(migration.name, proof.delta),
            effects,
            merged(tuple(e.locks for e in effects)),
            observe_down(self.stage, proof),
            problems,
            unjudged,
            None,
            again,
            self.limits,
        )

    def close(self) -> None:
        self.stage.close()
        self.rows.connection.close()


def examiner(work: Workspace, kept: Sequence[Migration], limits: Lint, previous: Previous = from_catalog) -> Examiner:
    """Ready for the migrations after `kept`. Raises ReplayError where those do not replay."""
    return Examiner(Stage(work, replayed(work, kept)), filled(work, kept), limits, previous)


def pairs(subject: Subject) -> list[tuple[str, int, list[str]]]:
    """(statement, its offset, what undoes it) in the file's order; last, under "", what undoes several of them."""
    proof = subject.proof
    if proof is None:
        return []
    owner: dict[tuple[str, str], int] = {}
    for number, effect in enumerate(subject.effects):
        for name in effect.touched:
            owner.setdefault(name, number)
    inverse: dict[int, list[str]] = {}
    for step in proof.steps:
        inverse.setdefault(owner.get((step.kind, step.name), -1), []).append(step.sql)
    found = [(e.statement.text.strip(), e.statement.start, inverse.get(number, [])) for number, e in enumerate(subject.effects)]
    return found + ([("", 0, inverse[-1])] if -1 in inverse else [])


def _in_pieces(sql: str, effects: Sequence[Effect]) -> bool:
    """Whether no transaction holds the file together."""
    return script.without_control(sql) is None or any(e.sqlstate in NOT_IN_TRANSACTION for e in effects) or _blocks(sql) > 1


def _blocks(sql: str) -> int:
    """How many pieces the file's own BEGIN and COMMIT make of it."""
    try:
        statements = script.split(sql)
    except script.ScriptError:
        return 1
    begun = sum(s.control == script.BEGIN for s in statements)
    if not begun:
        return 1
    open_, outside = False, 0
    for statement in statements:
        open_ = (open_ or statement.control == script.BEGIN) and statement.control != script.COMMIT
        outside += not open_ and not statement.control
    return begun + bool(outside)
