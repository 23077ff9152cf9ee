"""Ways that `deploy` or `guard` proved and left in the vault: the rollback and the redo that need no repository and no scratch."""

from collections.abc import Sequence
from typing import Any

import psycopg

from unmigrate.errors import RefusedError
from unmigrate.park import vault
from unmigrate.plan.model import Plan, from_json


def rollback_plans(connection: psycopg.Connection[Any], newest_first: Sequence[str]) -> list[Plan] | None:
    """The stored ways back of these migrations; None unless all of them have one, and were last applied by us."""
    last = {name: o.kind for o in vault.operations(connection) if o.state == "done" for name in o.migrations}
    if any(last.get(name) not in ("deploy", "guard", "redo") for name in newest_first):
        return None  # rolled back by us, and applied again by Prisma: what stands there now is not what was guarded
    stored = [vault.way(connection, name, "rollback") for name in newest_first]
    found = [from_json(plan) for plan in stored if plan is not None]
    return found if found and len(found) == len(stored) else None


def refuse_namesakes(newest_first: Sequence[Plan]) -> None:
    """Raise RefusedError where a plan brings back a column or table whose name a newer migration gave to another, which goes before.

    What was written to that other one would be out of sight at once; one after the other, it is seen what is parked.
    """
    gone: dict[str, str] = {}
    for plan in newest_first:
        if same := [label for label, digest in plan.after.items() if digest and not plan.before[label] and label in gone]:
            newer = gone[same[0]]
            message = (
                f"{plan.migrations[0]} brings {same[0]} back, and {newer} made another of that name, which may have been written to since"
            )
            remedy = f"roll them back one after the other, first unmigrate rollback {newer}, and look at what is parked then"
            raise RefusedError(message, code="namesake", remedy=remedy)
        taken = (label for label, digest in plan.before.items() if digest and not plan.after[label])
        gone |= {label: plan.migrations[0] for label in taken if label.startswith(("table ", "column "))}


def redo_plans(connection: psycopg.Connection[Any], oldest_first: Sequence[str] = ()) -> list[Plan]:
    """The ways forward again of these migrations, or of the one rolled back last. Raises RefusedError where there is none,
    EnvironmentProblem for a vault that may not be read.
    """
    vault.version(connection)
    waiting = rolled_back(connection)
    if not waiting:
        raise RefusedError("nothing was rolled back last in this database", code="nothing-to-redo", remedy="unmigrate status")
    names = oldest_first or waiting[:1]
    if list(names) != waiting[: len(names)]:
        message = f"{waiting[0]} was rolled back last, not {', '.join(names)}"
        raise RefusedError(message, code="not-last", remedy=f"unmigrate redo {waiting[0]}")
    stored = {name: vault.way(connection, name, "redo") for name in names}
    if missing := [name for name, plan in stored.items() if plan is None]:
        message = f"no way forward of {missing[0]} is in the vault"
        raise RefusedError(message, code="no-way", remedy="unmigrate deploy applies it anew, from the folder")
    return [from_json(plan) for plan in stored.values() if plan is not None]


def rolled_back(connection: psycopg.Connection[Any]) -> list[str]:
    """Migrations that were rolled back, and neither brought back nor followed by others since: the last one first."""
    waiting: list[str] = []
    for operation in (o for o in vault.operations(connection) if o.state == "done"):
        if operation.kind == "rollback":
            waiting += operation.migrations
        elif operation.kind == "redo" and waiting[-1:] == list(operation.migrations):
            waiting.pop()
        elif operation.kind in ("deploy", "guard", "redo"):
            waiting.clear()
    return waiting[::-1]
