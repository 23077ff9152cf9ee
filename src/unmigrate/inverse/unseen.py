"""What generated rows need not show, and no question on the target counts: told wherever something is claimed of a way back.

Read from the catalog before and after alone. `lost` are losses like others; `unsure` leaves open whether values come back; `stricter` is
what may stop the way back uncounted.
"""

import re
from collections.abc import Iterator

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.inverse import server
from unmigrate.inverse.checks import asked, checks, fitting
from unmigrate.inverse.counting import counting
from unmigrate.inverse.fits import ZONED
from unmigrate.inverse.model import Loss
from unmigrate.inverse.retyped import coarser, cut
from unmigrate.inverse.zones import by_zone
from unmigrate.sql.numbers import sets_numbers
from unmigrate.sql.words import says

_SETS_TIME_ZONE = re.compile(r"\bset\s+(session\s+|local\s+)?time\s*zone\b|set_config\(\s*'timezone'", re.IGNORECASE)


def lost(migration: str, sql: str, delta: Delta) -> Iterator[Loss]:
    """Losses that only the catalog tells of."""
    yield from _counters(migration, delta)
    yield from _attributes(migration, delta)
    if sets_time_zone(sql):
        for old in _open(sql, delta):
            yield Loss(migration, old.name, "values", "the migration converted its values in a time zone that it sets")


def unsure(sql: str, delta: Delta) -> tuple[tuple[str, str], ...]:
    """(column, why): values of which nobody knows whether they come back as they were."""
    same = "come back as they were only where migration and rollback run with the same TimeZone, one without summer time"
    spaces = "come back as they were, but for spaces at the end beyond {}, which the migration cut off"
    zoned = () if sets_time_zone(sql) else tuple((old.name, same) for old in _open(sql, delta))
    return (*zoned, *((old.name, spaces.format(new.facts["type"])) for old, new in trimmed(delta)))


def sure(sql: str, delta: Delta) -> bool:
    """Whether what generated rows showed may be claimed: nothing is unsure, and the migration asked the server nothing."""
    return not (unsure(sql, delta) or server.asks(sql, delta.before, delta.after))


def trimmed(delta: Delta) -> list[tuple[Object, Object]]:
    """Columns of text, before and after, that got a limit."""
    return [(old, new) for old, new in delta.altered if cut(delta, old, new)]


def told(sql: str, delta: Delta) -> tuple[str, ...]:
    """All of it that is no loss, in words."""
    again = "goes on after the highest number that rows have: numbers of deleted rows may be given again"
    return (
        *(f"values of {name} {why}" for name, why in unsure(sql, delta)),
        *(f"rows can stop the way back of {name}, uncounted: {why}" for name, why in stricter(delta)),
        *(f"{name} {again}" for _, name, fresh in counting(delta) if fresh),
        *(f"no sequence is set back after {text[:120]}" for text in sets_numbers(sql)),
        *server.told(sql, delta.before, delta.after),
        *rounded(delta),
    )


def rounded(delta: Delta) -> tuple[str, ...]:
    """Columns that go back to a coarser type, in words: what they hold by then is rounded, also where the old values are kept."""
    coarse = [(old, new) for old, new in delta.altered if coarser(delta, old, new)]
    return tuple(f"values of {new.name} written since are rounded to {old.facts['type']}" for old, new in coarse)


def stricter(delta: Delta) -> Iterator[tuple[str, str]]:
    """(object, reason): what returns and was stricter, and is not among the questions that are asked of the rows."""
    known = {check.object for check in checks("", delta)}
    for o in delta.dropped:
        if o.name not in known and asked(delta, o):
            yield o.name, f"{o.facts['label']} makes rows unique again" if o.kind == "index" else f"{o.facts['definition'][:80]} returns"
    for old, new in delta.altered:
        changed = new.changes(old)
        if new.kind == "table" and "partition_bound" in changed and old.facts["partition_bound"]:
            yield new.name, f"it becomes a partition again ({old.facts['partition_bound']}), whose rows must be within its bounds"
        if new.kind == "column" and "type" in changed and fitting(delta, old, new) is None:
            yield new.name, f"its values become {old.facts['type']} again, from {new.facts['type']}"


def sets_time_zone(sql: str) -> bool:
    """Whether it may run in another time zone than its way back, which runs in the session's."""
    return says(sql, ("zone", "timezone")) and _SETS_TIME_ZONE.search(sql) is not None


def _open(sql: str, delta: Delta) -> list[Object]:
    """Those `shifted` for which the migration itself names no zone that brings them back."""
    given = by_zone(sql, delta)
    return [old for old in shifted(delta) if old.key not in given]


def shifted(delta: Delta) -> list[Object]:
    """Columns, as before, whose timestamps got a time zone, or lost it: by the session's, which may have hours twice, or not at all."""
    columns = [(old, new) for old, new in delta.altered if new.kind == "column" and "type" in new.changes(old)]
    return [o for o, n in columns if {re.sub(r"\(\d+\)", "", c.facts["type"]) for c in (o, n)} == set(ZONED)]


def _counters(migration: str, delta: Delta) -> Iterator[Loss]:
    """Sequences that return at their beginning, where no column tells how far they had counted."""
    gone = {o.key for o in delta.dropped if o.kind in ("table", "column")}
    told = {name for _, name, _ in counting(delta)}
    for o in delta.dropped:
        if o.kind == "sequence" and o.name not in told and o.parent not in gone and not _of_a_dropped_table(o.parent, gone):
            yield Loss(migration, o.name, "values", "the sequence that the migration dropped returns at its beginning")


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
