"""Values, given by a person, for columns that return as NOT NULL without a default and find rows."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from unmigrate.inverse.model import InverseStep


def with_values(steps: Iterable[InverseStep], fill: Mapping[str, str]) -> list[InverseStep]:
    """The steps, with ADD COLUMN ... NOT NULL of a column in `fill` ({schema.table.column: SQL}) taken apart around an UPDATE."""
    result = []
    for step in steps:
        expression = fill.get(step.name)
        if expression is None or " ADD COLUMN " not in step.sql or not step.sql.endswith(" NOT NULL"):
            result.append(step)
            continue
        table = step.sql.removeprefix("ALTER TABLE ").partition(" ADD COLUMN ")[0]
        column = step.name.removeprefix(f"{table}.")
        statements = (
            step.sql.removesuffix(" NOT NULL"),
            f"UPDATE {table} SET {column} = {expression}",
            f"ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL",
        )
        result += [replace(step, sql=sql) for sql in statements]
    return result
