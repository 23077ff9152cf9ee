"""The type swap: the way back for enum labels that were added, since PostgreSQL cannot drop a label.

Give labels that were renamed their old names, rename the type aside, create it with the old labels, convert every column of the
type (with its default) by way of text, drop the type aside. Several columns of a table are converted in one ALTER TABLE, so that it
is rewritten once.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from unmigrate.catalog.kinds.enum import attributes, create_as, rename_labels
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.sqltext import ident


@dataclass(frozen=True, slots=True)
class Conversion:
    """A column whose type is swapped."""

    column: Object
    enum: Object


def conversions(retyped: list[tuple[Object, Object]], after: Catalog) -> dict[Key, Conversion]:
    """Columns whose type (or array of it) is swapped, by key."""
    result = {}
    for now, _ in retyped:
        for o in after.of_kind("column").values():
            if o.facts["type"] in (now.name, f"{now.name}[]"):
                result[o.key] = Conversion(o, now)
    return result


def swap(now: Object, wanted: Object, converted: dict[Key, Conversion], before: Catalog) -> list[str]:
    """Statements of the swap; columns keep the names and defaults they had before."""
    aside = _aside(now.name)
    label = aside.rsplit(".", 1)[1]
    made = [create_as(wanted, wanted.name), *attributes(wanted)]
    statements = [*rename_labels(now, wanted), f"ALTER TYPE {wanted.name} RENAME TO {label}", *made]
    tables: dict[str, list[str]] = defaultdict(list)
    before_all, defaults = [], []
    for key, conversion in sorted(converted.items()):
        if conversion.enum.key != now.key:
            continue
        column = before.get(key) or conversion.column
        f = column.facts
        alter = f"ALTER COLUMN {f['label']}"
        if conversion.column.facts["inherited"]:  # its parent's conversion takes it along, save for a default of its own
            if conversion.column.facts["default"] is not None:
                before_all.append(f"ALTER TABLE {f['table']} {alter} DROP DEFAULT")
            defaults += [f"ALTER TABLE {f['table']} {alter} SET DEFAULT {f['default']}"] if f["default"] is not None else []
            continue
        if conversion.column.facts["default"] is not None:
            tables[f["table"]].append(f"{alter} DROP DEFAULT")
        type_ = f["type"] if key in before.objects else conversion.column.facts["type"]
        array = "[]" if conversion.column.facts["type"].endswith("[]") else ""
        tables[f["table"]].append(f"{alter} TYPE {type_} USING {f['label']}::text{array}::{type_}")
        if f["default"] is not None:
            defaults.append(f"ALTER TABLE {f['table']} {alter} SET DEFAULT {f['default']}")
    statements += before_all + [f"ALTER TABLE {table} {', '.join(parts)}" for table, parts in tables.items()]
    for composite in before:
        for name, type_, _ in composite.facts["attributes"] or [] if composite.kind == "composite" else []:
            if type_ in (wanted.name, f"{wanted.name}[]"):
                statements.append(f"ALTER TYPE {composite.name} ALTER ATTRIBUTE {name} TYPE {type_}")
    return [*statements, *defaults, f"DROP TYPE {aside}"]


def cast(sql: str, now: Object, wanted: Object, returning: set[str], spoken: set[str], compiles: Callable[[str], bool]) -> str:
    """A column's type goes back by a cast; where there is none, by text; where that fails too, the values cannot return.

    sql: one of the statements that alter the column; returning: enums that come back; spoken: types whose values are words.
    """
    label, old, new = wanted.facts["label"], now.facts["type"], wanted.facts["type"]
    head, using, expression = sql.partition(" USING ")
    if not using or f" TYPE {new}" not in head:
        return sql
    by_label = new.removesuffix("[]") in returning and re.sub(r"\(\d+\)", "", old.removesuffix("[]")) in spoken
    if by_label and old.endswith("[]") == new.endswith("[]"):  # the type is not there yet, so that nothing would compile
        return f"{head} USING {label}::text{'[]' * new.endswith('[]')}::{new}"
    source = f"(select null::{old} as {label}) q"
    options = (expression, f"{label}::text::{new}", f"NULL::{new}")
    return f"{head} USING {next(e for e in options if e == options[-1] or compiles(f'{e} from {source}'))}"


def _aside(name: str) -> str:
    schema, _, label = name.rpartition(".")
    plain = label[1:-1].replace('""', '"') if label.startswith('"') else label
    return f"{schema}.{ident(plain[:50] + '__unmigrate')}"
