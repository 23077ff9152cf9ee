"""Sequences behind columns that give numbers again: they go on after the highest number that rows have."""

import re
from collections.abc import Iterator

from unmigrate.catalog.model import Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import literal
from unmigrate.inverse.model import InverseStep

_NEXT = re.compile(r"^nextval\('((?:[^']|'')+)'::regclass\)$")
_WHOLE = ("smallint", "integer", "bigint")


def counting(delta: Delta) -> Iterator[tuple[Object, str, bool]]:
    """(column as it was, its sequence, whether that is made anew): columns that are there, and take their numbers from it again."""
    made = {o.name for o in delta.dropped if o.kind == "sequence"}
    for old, new in delta.altered:
        name = _sequence(old) if old.kind == "column" and not old.facts["inherited"] else None
        if name is not None and new.changes(old) & {"default", "identity"} and not (old.facts["identity"] and new.facts["identity"]):
            yield old, name, bool(old.facts["identity"]) or name in made


def _sequence(column: Object) -> str | None:
    f = column.facts
    if f["type"] not in _WHOLE:
        return None
    if f["identity"]:
        return f"{f['sequence']['schema']}.{f['sequence']['label']}"
    match = _NEXT.match(f["default"] or "")
    return match[1].replace("''", "'") if match and not f["generated"] else None


def going_on(delta: Delta) -> list[InverseStep]:
    """Steps that let these sequences go on, once all is there again."""
    return [InverseStep(_goes_on(delta, column, name), "sequence", name, frozenset({column.key})) for column, name, _ in counting(delta)]


def _goes_on(delta: Delta, column: Object, name: str) -> str:
    """After what rows have; never back."""
    sequence = delta.before.named("sequence", name)
    options = column.facts["sequence"] or (sequence.facts if sequence else {"increment": 1, "max": 2**63 - 1, "min": 1})
    label, table = column.facts["label"], column.facts["table"]
    down = int(options["increment"]) < 0
    furthest, last = f"{'min' if down else 'max'}({label})", f"(SELECT last_value FROM {name})"
    bounds = f"{options['min']} AND {last}" if down else f"{last} AND {options['max']}"
    return f"SELECT setval({literal(name)}, {furthest}) FROM {table} HAVING {furthest} BETWEEN {bounds}"
