"""The way back of a migration that failed half-way (P3009): how far it got is read from the catalog, not from the ledger.

The file is run on scratch statement by statement; the state of the target's catalog is looked for among the states between.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.observer import Delta
from unmigrate.errors import RefusedError
from unmigrate.inverse.checks import checks
from unmigrate.inverse.losses import added, losses
from unmigrate.inverse.model import InverseStep
from unmigrate.plan.locks import locks
from unmigrate.plan.model import Plan, Step, Verdict
from unmigrate.plan.options import options
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import attempt
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.sql import script

REMEDY = "unmigrate verify names every difference; bring the database to one of the states between the statements, or restore a snapshot"


@dataclass(frozen=True, slots=True)
class _State:
    """The catalog after the first `count` statements, and what undoes the last of them."""

    count: int
    catalog: Catalog
    delta: Delta | None
    steps: tuple[InverseStep, ...]
    statement: str


def build_failed(work: Workspace, kept: Sequence[Migration], failed: Migration, live: Catalog) -> Plan:
    """A proved plan for the part of `failed` that took effect. Raises RefusedError where the target is in none of its states."""
    connection = work.fresh()
    history = History(connection)
    for migration in kept:
        history.skip(migration)
    states = _states(connection, history, failed)
    connection.close()
    names = {label(o) for state in states[1:] if state.delta for key in state.delta.keys for o in _both(state.delta, key)}
    broken = [o for o in live if o.kind == "index" and not o.facts["valid"] and label(o) in names]
    present = {label(o): digest(o) for o in live if label(o) in names and o not in broken}
    matching = [s for s in states if {label(o): digest(o) for o in s.catalog if label(o) in names} == present]
    if not matching:
        message = f"{failed.name} failed, and the database is in none of the states between its statements"
        raise RefusedError(message, code="drift", remedy=REMEDY)
    reached = matching[0]
    done = states[1 : reached.count + 1]
    verdict = _prove(work, kept, done)
    drops = [Step("switch", failed.name, f"DROP INDEX {o.name}", label(o), "left INVALID by a failed build") for o in broken]
    steps = [Step("switch", failed.name, s.sql, f"{s.kind} {s.name}", state.statement) for state in reversed(done) for s in state.steps]
    before = {name: present.get(name, "") for name in sorted(names)} | {label(o): digest(o) for o in broken}
    after_objects = {label(o): digest(o) for o in states[0].catalog}
    deltas = [(failed.name, s.delta) for s in done if s.delta]
    destroyed = [loss for s in done if s.delta for loss in losses(failed.name, s.statement, s.delta)]
    found = (*destroyed, *added(deltas, reached.catalog))
    maybe = [s.statement for s in matching[1:]]
    notes = [f"{reached.count} of {len(states) - 1} statements of {failed.name} took effect"]
    notes += [f"may have run, and only wrote rows, which is not undone: {' '.join(s.split())[:120]}" for s in maybe]
    verdicts = (Verdict(failed.name, verdict[0], verdict[1], "lossy" if found else "unknown", tuple(x.object for x in found), ("rows",)),)
    return Plan(
        migrations=(failed.name,),
        checksums={failed.name: failed.checksum},
        schema=work.schema,
        server_major=work.pool.server.major,
        steps=(*drops, *steps),
        losses=found,
        checks=checks(failed.name, Delta.between(states[0].catalog, reached.catalog)),
        locks=tuple(lock for s in done if s.delta for lock in locks(list(s.steps), s.delta)),
        verdicts=verdicts,
        before=before,
        after={name: after_objects.get(name, "") for name in before},
        options=options(verdicts, found),
        failed=True,
        notes=(*notes, *work.remarks(m.sql for m in (*kept, failed))),
    )


def _both(delta: Delta, key: Any) -> list[Any]:
    return [o for o in (delta.before.get(key), delta.after.get(key)) if o]


def _states(connection: psycopg.Connection[Any], history: History, migration: Migration) -> list[_State]:
    """Catalog after each statement, committed one by one; ends where a statement fails here too."""
    observer = history.observer
    states = [_State(0, observer.catalog, None, (), "")]
    for statement in (s for s in script.split(migration.sql) if not s.control):
        before = observer.catalog
        try:
            connection.execute(statement.text)
        except psycopg.Error:
            break
        observer.reset()
        after = observer.catalog
        delta = Delta.between(before, after)
        try:
            steps = tuple(history.invert(delta, statement.text))
        except CannotInvert as reason:
            message = f"{migration.name} failed half-way, and its statement {len(states)} cannot be undone: {reason}"
            raise RefusedError(message, code="unproved", remedy="restore a snapshot from before it") from reason
        states.append(_State(len(states), after, delta, steps, statement.text.strip()))
    return states


def _prove(work: Workspace, kept: Sequence[Migration], done: Sequence[_State]) -> tuple[str, str]:
    """Apply the part that took effect to a fresh database and try the way back."""
    if not done:
        return "exact", ""
    connection = work.fresh()
    history = History(connection)
    for migration in kept:
        history.skip(migration)
    before = history.observer.catalog
    for state in done:
        connection.execute(state.statement)
    history.observer.reset()
    after = history.observer.catalog
    history.observer.begin()
    statements = [step.sql for state in reversed(done) for step in state.steps]
    outcome = attempt(connection, history.observer, Delta.between(before, after), statements)
    connection.execute("ROLLBACK")
    connection.close()
    return outcome.verdict, outcome.reason
