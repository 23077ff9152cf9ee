"""What must be dropped before a relation or column because it uses the row type, or reads it in a body that is parsed.

Functions that take or return rows, tables, columns, composite types and domains made of them, casts, operators and aggregates that
use those functions: by kind alone they would be dropped after the relation, and PostgreSQL would refuse that.
"""

from collections.abc import Collection, Mapping

from unmigrate.catalog.kinds import other
from unmigrate.catalog.model import Key, Object
from unmigrate.inverse.dependents import Dependents

RELATIONS = frozenset({"table", "view", "materialized view", "other relation", "column"})
USERS = frozenset({"routine", "composite", "domain", "other type", *(kind.name for kind in other.KINDS)})
WITH_ITS_COLUMN = "sequence"  # falls with the column it belongs to, whose default needs it until then


def edges(drop: Mapping[Key, Object], dependents: Dependents) -> dict[Key, set[Key]]:
    """{what is dropped: what is dropped and must go before it}. The database is asked only where something can use rows or columns."""
    names = {o.name for o in drop.values() if o.kind in RELATIONS}
    found: dict[Key, set[Key]] = {}
    for reader in drop.values():
        for use in reader.raw.get("uses") or []:
            if (used := Key(*use[:2])) in drop and used != reader.key:
                found.setdefault(used, set()).add(reader.key)
    if not names or not any(o.kind in USERS or _made_of(o, names) for o in drop.values()):
        return found
    for dependent, on in dependents(drop):
        first, then = (_falls_with(key, drop) for key in (dependent, on))
        if first != then and first in drop and then in drop and drop[first].kind != WITH_ITS_COLUMN:
            found.setdefault(then, set()).add(first)
    return found


def pull(phases: dict[Key, int], before: Mapping[Key, Collection[Key]], drop: Mapping[Key, Object]) -> None:
    """Move what must go before a relation to the relation's phase, and what must go before that, too."""
    pending = [key for key in before if drop[key].kind in RELATIONS]
    while pending:
        key = pending.pop()
        for first in before.get(key, ()):
            if phases[first] > phases[key]:
                phases[first] = phases[key]
                pending.append(first)


def sort(objects: list[Object], before: Mapping[Key, Collection[Key]]) -> list[Object]:
    """The same objects in the same order, but for those that must go before another one: they stand right before it."""
    if not before:
        return objects
    here = {o.key: o for o in objects}
    done: dict[Key, Object] = {}
    entered: set[Key] = set()

    def visit(o: Object) -> None:
        if o.key in entered:
            return
        entered.add(o.key)
        for key in sorted(before.get(o.key, ()), reverse=True):
            if key in here:
                visit(here[key])
        done[o.key] = o

    for o in objects:
        visit(o)
    return list(done.values())


def _made_of(o: Object, names: Collection[str]) -> bool:
    return o.kind == "column" and str(o.facts["type"]).removesuffix("[]") in names


def _falls_with(key: Key, drop: Mapping[Key, Object]) -> Key:
    """The table that takes a part of it along, else the object itself."""
    o = drop.get(key)
    if o is not None and o.kind == "column" and o.parent in drop:
        return Key("pg_class", key.oid)
    if o is None and key.sub and (whole := Key(key.catalog, key.oid)) in drop:
        return whole  # a column of a view, an attribute of a composite type
    return key
