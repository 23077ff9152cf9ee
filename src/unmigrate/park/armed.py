"""Guards that wait for a migration somebody else runs: what was put on the target for them, and what ends them.

One is kept in the vault as an operation of kind "guard", state "preparing" (not all is in place), "armed", "switched" (the ways are in
the vault, what kept them is being taken away), then "done" or "abandoned".
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import psycopg

from unmigrate.park import vault

KIND = "guard"


@dataclass(frozen=True, slots=True)
class Logged:
    """One table, as SQL, each a transaction. arm: log and triggers; copy: its rows; unsure: SELECT of the number of writes that nobody can
    place; empty, fill, settle: the image `name`, afterwards; drop: log, copy and functions. triggers: of ours that must still be on it
    then, 0 where the table goes.
    """

    table: str
    name: str
    arm: tuple[str, ...]
    copy: tuple[str, ...]
    unsure: str
    empty: tuple[str, ...]
    fill: tuple[str, ...]
    settle: tuple[str, ...]
    drop: tuple[str, ...]
    triggers: int


@dataclass(frozen=True, slots=True)
class Guard:
    """A migration about to be run by somebody else. schema: of the ledger; first, last: SQL around all tables' own; following: once the
    images are there, before they are filled.

    before, after: fingerprints of what it concerns, as in Plan; ways: its way back and again, as JSON of plans. operation, state: once
    it is in the vault.
    """

    migration: str
    checksum: str
    id: str
    schema: str
    first: tuple[str, ...]
    tables: tuple[Logged, ...]
    following: tuple[str, ...]
    last: tuple[str, ...]
    before: dict[str, str]
    after: dict[str, str]
    ways: tuple[dict[str, Any], ...]
    operation: str = ""
    state: str = ""


def store(connection: psycopg.Connection[Any], guard: Guard, state: str) -> None:
    """Put it into the vault."""
    plan = {"id": guard.id, "guard": guard.id, "migrations": [guard.migration], **asdict(guard)}
    vault.open_operation(connection, guard.operation, KIND, plan, state=state, consent=False)


def armed(connection: psycopg.Connection[Any]) -> tuple[Guard, ...]:
    """Guards that are not at their end, oldest first; empty where there is no vault."""
    found = [o for o in vault.operations(connection) if o.kind == KIND and o.state not in vault.ENDS]
    return tuple(_read(vault.stored_plan(connection, o.id)[0], o) for o in found)


def _read(value: dict[str, Any], operation: vault.Operation) -> Guard:
    fields = {k: v for k, v in value.items() if k not in ("guard", "migrations")}
    fields["tables"] = tuple(Logged(**{k: _tuple(v) for k, v in table.items()}) for table in value["tables"])
    return replace(Guard(**{k: _tuple(v) for k, v in fields.items()}), operation=operation.id, state=operation.state)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def expected(guards: Sequence[Guard], *, applied: bool) -> dict[str, str]:
    """Fingerprints of what these guards concern, before the first of them was applied or after the last."""
    found: dict[str, str] = {}
    for guard in guards if applied else reversed(guards):
        found |= guard.after if applied else guard.before
    return found
