"""The way back by plans: what `unmigrate rollback` runs. The vault knows which plans were run, so none is run twice."""

from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.errors import RefusedError
from unmigrate.execute.rollback import execute, history
from unmigrate.execute.ways import redo_plans
from unmigrate.plan.model import Plan, from_json
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step


def plans(scene: Scene) -> list[Plan]:
    return [from_json(plan) for plan in scene.spec.plans]


def _known(connection: psycopg.Connection[Any]) -> set[str]:
    return {operation.id for operation in history(connection)}


def _prepare(scene: Scene) -> Json:
    with closing_connection(scene) as connection:
        return {"operations": sorted(_known(connection))}


def _state(connection: psycopg.Connection[Any], prepared: Json, plan: Plan) -> str:
    """Of this run's operation of this plan: "done"; "switched" when it is rolled back and steps after that are left; else ""."""
    mine = (o for o in history(connection) if o.kind == "rollback" and o.plan_id == plan.id and o.id not in prepared["operations"])
    return next((o.state for o in mine if o.state in ("done", "switched")), "")


def _apply(scene: Scene, prepared: Json) -> Json:
    said: list[str] = []
    for plan in plans(scene):
        with closing_connection(scene) as connection:
            if _state(connection, prepared, plan) == "done":
                said.append(f"{', '.join(plan.migrations)}: already rolled back by this run")
                continue
        outcome = execute(
            scene.connect, plan, accept_loss=scene.consents, lock_timeout_ms=scene.spec.lock_timeout_ms,
            max_lock_seconds=scene.spec.max_lock_seconds, on_progress=scene.say, returning=scene.returning,
            on_step=lambda at: scene.trace(f"reverse: {at}"),
        )  # fmt: skip
        said += outcome.lines()
    losses = [
        {"object": loss.object, "rows": loss.rows} for plan in plans(scene) for loss in plan.losses if loss.object not in scene.returning
    ]
    return {"said": said, "losses": losses}


def _undone(scene: Scene, prepared: Json) -> list[str]:
    """Migrations that this run has rolled back, oldest first."""
    with closing_connection(scene) as connection:
        return [name for plan in reversed(plans(scene)) if _state(connection, prepared, plan) for name in reversed(plan.migrations)]


def _objection(scene: Scene, prepared: Json) -> None:
    names = _undone(scene, prepared)
    if not names:
        return
    with closing_connection(scene) as connection:
        if any(_state(connection, prepared, plan) == "switched" for plan in plans(scene)):
            message = f"{', '.join(names)} is rolled back already, and the steps after that are not finished"
            remedy = f"go on with unmigrate resume {scene.spec.run}, which finishes them; abort is possible again afterwards"
            raise RefusedError(message, code="unfinished", remedy=remedy)
        try:
            redo_plans(connection, names)
        except RefusedError as error:
            message = f"{', '.join(names)} was rolled back already, and cannot be brought back by itself: {error}"
            remedy = f"go on with unmigrate resume {scene.spec.run}; to go forward again, deploy the migration anew afterwards"
            raise RefusedError(message, code="no-way", remedy=remedy) from error


def _undo(scene: Scene, prepared: Json) -> Json:
    said: list[str] = []
    for name in _undone(scene, prepared):
        with closing_connection(scene) as connection:
            found = redo_plans(connection, [name]) if not _applied(connection, scene.spec.schema, name) else []
        for plan in found:
            said += execute(
                scene.connect, plan, accept_loss=False, on_progress=scene.say, on_step=lambda at: scene.trace(f"redo: {at}")
            ).lines()
        said += [] if found else [f"{name}: already applied again"]
    return {"said": said or ["nothing had been rolled back"]}


def _applied(connection: psycopg.Connection[Any], schema: str, name: str) -> bool:
    from unmigrate.prisma.ledger import read_ledger, states

    rows = read_ledger(connection, schema) or ()
    return any(s.name == name and s.state == "applied" for s in states((), rows))


def _shown(scene: Scene) -> list[str]:
    lines = []
    for plan in plans(scene):
        names = ", ".join(map(literal, plan.migrations))
        lines.append(f"unmigrate rollback: plan {plan.id} of {', '.join(plan.migrations)}, one transaction")
        lines += [step.sql for step in plan.steps]
        lines.append(f"DELETE FROM {ident(scene.spec.schema)}._prisma_migrations WHERE migration_name IN ({names})  -- kept in the vault")
    return lines


STEP = Step(
    "reverse", "roll back in the database", _shown, _apply, prepare=_prepare, undo=_undo, objection=_objection,
    shown_undo=lambda scene, prepared: [f"unmigrate redo {name}" for name in reversed(scene.spec.migrations)],
)  # fmt: skip
