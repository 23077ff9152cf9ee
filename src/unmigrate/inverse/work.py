"""What there is to undo, by object: what goes, returns or changes back, and what must be out of its way meanwhile.

`invert` puts it in order.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.kinds.enum import same_labels
from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.inverse import retype
from unmigrate.inverse.dependents import Dependents

# Derived objects: they can be dropped and made again without loss, so they may be taken out of the way.
REBUILDABLE = frozenset(
    {
        "view",
        "materialized view",
        "rule",
        "policy",
        "trigger",
        "routine",
        "index",
        "constraint",
        "statistics",
        "publication",
        "event trigger",
    }
)


@dataclass(slots=True)
class Work:
    """drop: what goes, as it is now; create: what returns, as it was; alter: (now, before, changed facts); retype: enums, (now, before)."""

    drop: dict[Key, Object] = field(default_factory=dict)
    create: dict[Key, Object] = field(default_factory=dict)
    alter: list[tuple[Object, Object, frozenset[str]]] = field(default_factory=list)
    retype: list[tuple[Object, Object]] = field(default_factory=list)


def undoing(delta: Delta, dependents: Dependents) -> tuple[Work, dict[Key, retype.Conversion]]:
    """The work, and the columns that are converted because their enum is."""
    work = _sort_out(delta)
    converted = {
        key: conversion
        for key, conversion in retype.conversions(work.retype, delta.after).items()
        if key not in work.drop and conversion.column.parent not in work.drop
    }
    _clear_the_way(work, delta, dependents, converted)
    return work, converted


def _sort_out(delta: Delta) -> Work:
    """What was created goes, what was dropped returns, what was altered changes back; twins of one name are paired."""
    work = Work({o.key: o for o in delta.created}, {o.key: o for o in delta.dropped})
    twins = {(o.kind, o.name): o for o in delta.created}
    named = [(twins[o.kind, o.name], o) for o in delta.dropped if (o.kind, o.name) in twins]
    pairs = [(now, wanted) for now, wanted in named if _same_parent(now, wanted, delta)]
    for now, wanted in pairs:
        if now.facts == wanted.facts and _same_columns(now, wanted):
            del work.drop[now.key], work.create[wanted.key]
        elif now.kind == "enum":
            del work.drop[now.key], work.create[wanted.key]
            work.retype.append((now, wanted))
    detached = [o for o in delta.dropped if o.kind in ("index", "constraint")]
    attached = _attached(delta) if detached else set()
    for o in detached:
        owner, name = o.facts.get("table") or o.facts.get("owner"), o.facts.get("index") or o.name
        if (owner, name) in attached:
            work.create.pop(o.key, None)  # it is there, and stands for itself again once its table is detached
    _whole_tables(work, pairs, delta)
    for old, new in delta.altered:
        changed = new.changes(old)
        if new.kind == "enum" and "labels" in changed and not same_labels(new, old):
            work.retype.append((new, old))
        elif KINDS[new.kind].alter(new, old, changed) is None:
            work.drop[new.key] = new
            work.create[old.key] = old
        else:
            work.alter.append((new, old, changed))
    return work


def _attached(delta: Delta) -> set[tuple[str, str]]:
    """(table, schema.name) of indexes of partitions that belong to an index of the partitioned table: no objects of their own."""
    kept = (o for kind in ("index", "constraint") for o in delta.after.of_kind(kind).values() if o.key in delta.before.objects)
    parents = [o for o in kept if o.facts["partitions"]]
    listed = [part for o in parents for part in o.facts["partitions"]]
    return {(table, f"{schema}.{name}") for table, schema, name, _ in listed}


def _same_parent(now: Object, wanted: Object, delta: Delta) -> bool:
    """Whether both stand in one object, or in two of which one took the other's place."""
    if now.parent == wanted.parent or now.parent is None or wanted.parent is None:
        return now.parent == wanted.parent
    return now.parent not in delta.before.objects and wanted.parent not in delta.after.objects


def _same_columns(now: Object, wanted: Object) -> bool:
    """Whether an index or constraint is on the very same columns: of columns that changed names, the text does not tell."""
    return now.parent != wanted.parent or now.raw.get("columns") == wanted.raw.get("columns")


def _whole_tables(work: Work, pairs: list[tuple[Object, Object]], delta: Delta) -> None:
    """A table that was dropped and made anew is either the same in all its parts, or goes and comes back whole."""
    for now, wanted in pairs:
        if now.kind != "table":
            continue
        old_parts = {(o.kind, o.name): o.facts for o in delta.before.parts(wanted.key.oid)}
        new_parts = {(o.kind, o.name): o.facts for o in delta.after.parts(now.key.oid)}
        if old_parts == new_parts and now.key not in work.drop:
            continue
        work.drop[now.key], work.create[wanted.key] = now, wanted
        work.drop |= {o.key: o for o in delta.after.parts(now.key.oid) if o.key.catalog != "pg_type"}
        work.create |= {o.key: o for o in delta.before.parts(wanted.key.oid) if o.key.catalog != "pg_type"}


def _clear_the_way(work: Work, delta: Delta, dependents: Dependents, converted: dict[Key, retype.Conversion]) -> None:
    """Dependents of what is dropped or retyped are dropped too, and made again if they were there before."""
    types = [now.key for now, _ in work.retype]
    retyped = [now.key for now, _, changed in work.alter if now.kind == "column" and changed & {"type", "collation"}]
    pending = [*work.drop, *types, *retyped, *converted]
    if not _in_question(pending, delta):
        return
    in_place = {*types, *retyped, *converted}
    seen: set[Key] = set(pending)
    while pending:
        fresh = []
        for dependent, on in dependents(pending):
            victim = delta.after.get(dependent)
            if victim is None or dependent in seen or not (victim.kind in REBUILDABLE or victim.facts.get("generated")):
                continue
            if on in in_place and not _in_the_way(victim, on, types):
                continue
            seen.add(dependent)
            fresh.append(dependent)
            work.drop[dependent] = victim
            work.alter = [entry for entry in work.alter if entry[0].key != dependent]
            twin = delta.before.get(dependent) or delta.before.named(victim.kind, victim.name)
            if twin is not None:
                work.create.setdefault(twin.key, twin)
        pending = fresh


def _in_question(pending: Iterable[Key], delta: Delta) -> bool:
    """Whether something may depend on these that is not itself among what the migration created.

    What the migration created has no dependents but those it created too, and those of before that it changed to use it.
    """
    if any(key in delta.before.objects or key not in delta.after.objects for key in pending) or delta.dropped:
        return True  # what was dropped may have twins among what was created, which stand there in its place
    changed = (o for key in delta.keys if key in delta.before.objects and (o := delta.after.get(key)) is not None)
    return any(o.kind in REBUILDABLE or o.facts.get("generated") for o in changed)


def _in_the_way(victim: Object, on: Key, types: list[Key]) -> bool:
    """Whether a dependent stops ALTER COLUMN TYPE. Plain indexes and constraints of the column are rebuilt by PostgreSQL."""
    if victim.kind in ("index", "statistics"):
        return on in types
    if victim.kind == "constraint":
        return on in types or victim.facts["contype"] == "f"
    return True
