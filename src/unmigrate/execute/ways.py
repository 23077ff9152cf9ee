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


def redo_plan(connection: psycopg.Connection[Any], name: str | None) -> Plan:
    """The way forward again of the migration rolled back last. Raises RefusedError where there is none, EnvironmentProblem for a vault
    that may not be read.
    """
    vault.version(connection)
    rolled_back = [o for o in vault.operations(connection) if o.kind in ("rollback", "redo", "deploy", "guard") and o.state == "done"]
    if not rolled_back or rolled_back[-1].kind != "rollback":
        raise RefusedError("nothing was rolled back last in this database", code="nothing-to-redo", remedy="unmigrate status")
    last = rolled_back[-1].migrations[0]
    if name not in (None, last):
        raise RefusedError(f"{last} was rolled back last, not {name}", code="not-last", remedy=f"unmigrate redo {last}")
    stored = vault.way(connection, last, "redo")
    if stored is None:
        message = f"no way forward of {last} is in the vault"
        raise RefusedError(message, code="no-way", remedy="unmigrate deploy applies it anew, from the folder")
    return from_json(stored)
