"""What inverting yields, as plain data: steps, what they cannot bring back, and what can stop them."""

from dataclasses import dataclass
from typing import Literal

from unmigrate.catalog.model import Key

SERVER = "the server"  # the object of a check that asks for no rows


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


@dataclass(frozen=True, slots=True)
class Check:
    """A question asked of the target before anything is touched: rows that would make a step fail.

    count: SQL returning one number. sample: SQL returning up to 5 rows of keys, as text. ways_out: flags or SQL.
    table, columns, where: the rows in question, as t of that table, and what is wrong with them; "" where they are no plain rows of one.
    enum: whose labels are asked for, and whether in arrays. still: what is asked once a person has decided, None for the same again.
    before: the step before which a value given for them is filled in, "" for the beginning. later: a step of the switch or
    after it asks for it in another way, so that the table is not read for it under the locks.
    """

    migration: str
    object: str
    reason: str
    count: str
    sample: str
    ways_out: tuple[str, ...] = ()
    table: str = ""
    columns: tuple[str, ...] = ()
    where: str = ""
    enum: str = ""
    array: bool = False
    still: str | None = None
    before: str = ""
    later: bool = False
