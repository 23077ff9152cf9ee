"""What inverting yields: steps as plain data."""

from dataclasses import dataclass

from unmigrate.catalog.model import Key


@dataclass(frozen=True, slots=True)
class InverseStep:
    """One statement of the way back and the object it concerns.

    loses: "schema.table" or "schema.table.column" whose values do not survive the step, or "".
    """

    sql: str
    kind: str
    name: str
    keys: frozenset[Key]
    loses: str = ""
