"""What inverting yields, as plain data: steps, and what they cannot bring back."""

from dataclasses import dataclass
from typing import Literal

from unmigrate.catalog.model import Key


@dataclass(frozen=True, slots=True)
class InverseStep:
    """One statement of the way back and the object it concerns."""

    sql: str
    kind: str
    name: str
    keys: frozenset[Key]


@dataclass(frozen=True, slots=True)
class Loss:
    """What the rollback cannot bring back or will take away.

    object: "schema.table" or "schema.table.column". kind: "column" and "table" were dropped by the migration (their old values are
    gone already); "added column" and "added table" hold values written since, which the rollback removes (they are copied to the
    vault first); "values" were changed by the migration's own UPDATE, DELETE, INSERT or by a conversion.
    rows: affected rows on the target, None if not counted.
    """

    migration: str
    object: str
    kind: Literal["column", "table", "added column", "added table", "values"]
    reason: str
    rows: int | None = None
