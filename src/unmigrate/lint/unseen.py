"""What generated rows need not show and no question counts: values and rows for which the way back is not known to be safe.

Told from the catalog alone, by both states; where something else holds the rows to the same (a narrower key, say) it is told all the same.
"""

import re
from collections.abc import Iterator

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.inverse.model import Loss
from unmigrate.plan.checks import held
from unmigrate.plan.model import Check

_SETS_TIME_ZONE = re.compile(r"\btime\s*zone\b\s*(=|to\b|'|local|default)|set_config\(\s*'timezone'", re.IGNORECASE)
_TIMESTAMPS = ("timestamp without time zone", "timestamp with time zone")


def lost(migration: str, sql: str, delta: Delta) -> tuple[Loss, ...]:
    """All losses of this kind."""
    return (*_counters(migration, delta), *_attributes(migration, delta), *_shifted(migration, sql, delta))


def _shifted(migration: str, sql: str, delta: Delta) -> Iterator[Loss]:
    """Timestamps converted in a time zone that the file itself sets: the way back runs in the session's."""
    if _SETS_TIME_ZONE.search(sql):
        for old, new in delta.altered:
            if _time_zone_comes_or_goes(old, new):
                yield Loss(migration, old.name, "values", "the migration converted its values in a time zone that it sets")


def _time_zone_comes_or_goes(old: Object, new: Object) -> bool:
    if new.kind != "column" or "type" not in new.changes(old):
        return False
    return {re.sub(r"\(\d+\)", "", o.facts["type"]) for o in (old, new)} == set(_TIMESTAMPS)


def _counters(migration: str, delta: Delta) -> Iterator[Loss]:
    """Sequences and identities that return at their beginning, while rows have the numbers."""
    gone = {o.key for o in delta.dropped if o.kind in ("table", "column")}
    for o in delta.dropped:
        if o.kind == "sequence" and o.parent not in gone and not _of_a_dropped_table(o.parent, gone):
            yield Loss(migration, o.name, "values", "the sequence that the migration dropped returns at its beginning")
    for old, new in delta.altered:
        if new.kind == "column" and old.facts["identity"] and not new.facts["identity"]:
            yield Loss(migration, old.name, "values", "the identity that the migration dropped returns at its beginning")


def _of_a_dropped_table(parent: Key | None, gone: set[Key]) -> bool:
    return parent is not None and Key(parent.catalog, parent.oid) in gone


def _attributes(migration: str, delta: Delta) -> Iterator[Loss]:
    """Columns of composite types (arrays of them too) that lost an attribute, or whose attribute has another type."""
    for old, new in delta.altered:
        if new.kind != "composite" or "attributes" not in new.changes(old):
            continue
        after = {number: (type_, size) for number, _, type_, size, *_ in new.raw["attributes"] or []}
        if all(after.get(number) == (type_, size) for number, _, type_, size, *_ in old.raw["attributes"] or []):
            continue
        for column in delta.before.of_kind("column").values():
            if column.facts["type"] in (old.name, f"{old.name}[]"):
                yield Loss(migration, column.name, "values", f"the migration changed the attributes of its type {old.name}")


def stricter(delta: Delta, asked: tuple[Check, ...]) -> Iterator[tuple[str, str]]:
    """(object, reason): what returns and was stricter, and is not among the questions that are asked of the rows."""
    known = {check.object for check in asked}
    created = {(o.kind, o.name, str(o.facts)) for o in delta.created}
    for o in delta.dropped:
        if o.name in known or (o.kind, o.name, str(o.facts)) in created:
            continue
        if o.kind == "constraint" and delta.after.get(o.parent) is not None and not held(delta, o):
            yield o.name, f"{o.facts['definition'][:80]} returns"
        elif o.kind == "index" and o.facts["unique"] and _on_a_table(delta, o) and not held(delta, o):
            yield o.name, f"{o.facts['label']} makes rows unique again"
    for old, new in delta.altered:
        yield from _altered(old, new, known)


def _on_a_table(delta: Delta, o: Object) -> bool:
    table = delta.after.get(o.parent)
    return table is not None and table.kind == "table"


def _altered(old: Object, new: Object, known: set[str]) -> Iterator[tuple[str, str]]:
    changed = new.changes(old)
    if new.kind == "table" and "partition_bound" in changed and old.facts["partition_bound"]:
        yield new.name, f"it becomes a partition again ({old.facts['partition_bound']}), whose rows must be within its bounds"
    if new.kind == "domain" and "notnull" in changed and old.facts["notnull"]:
        yield new.name, f"domain {new.name} becomes NOT NULL again"
    if new.name not in known and _time_zone_comes_or_goes(old, new):
        reason = "its values come back as they were only where migration and rollback run with the same TimeZone, one without summer time"
        yield new.name, reason
