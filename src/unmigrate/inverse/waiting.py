"""What is made late on the way back, and in which order: views, and whatever reads them or is made of their rows.

By its kind alone a composite type of a view's rows would be made before the view, and so would what is replaced to read a view that
returns. Among views, the oid does not tell: an older one may have been replaced to read a newer one.
"""

from collections.abc import Collection, Mapping, Sequence

from unmigrate.catalog.model import Catalog, Key, Object

VIEWS = frozenset({"view", "materialized view"})
LATE = VIEWS | {"statistics"}
TYPES = frozenset({"composite", "domain"})
SOON = TYPES | {"routine"}  # made before tables are made or changed, unless they use those
READERS = VIEWS | {"routine"}
PARTS = frozenset({"index", "constraint", "sequence"})


def uses(created: Sequence[Object], altered: Sequence[Object], before: Catalog) -> dict[Key, set[Key]]:
    """{what is made or changed back: what of that it reads or is made of}. altered: as they shall be."""
    objects = {o.key: o for o in (*created, *altered)}
    names = {o.name: o.key for o in created if o.kind in TYPES | VIEWS or o.kind == "table"}
    return {key: used & objects.keys() - {key} for key, o in objects.items() if (used := _uses(o, names, before))}


def late(created: Sequence[Object], altered: Sequence[Object], used: Mapping[Key, set[Key]], before: Catalog) -> set[Key]:
    """What is made, or changed back, late."""
    tables = {o.key for o in created if o.kind in ("table", "column")} | {o.key for o in altered}
    found = {o.key for o in created if o.kind in LATE}
    pending = bool(found or tables)
    while pending:
        soon = {key: found | tables if before.objects[key].kind in SOON else found for key in used.keys() - found}
        fresh = {key for key, reasons in soon.items() if used[key] & reasons}
        found |= fresh
        pending = bool(fresh)
    return found


def parts(created: Sequence[Object], waits: Collection[Key], before: Catalog) -> dict[Key, Object]:
    """Indexes, constraints and sequences of tables that are late, or have a column that is, and foreign keys to such tables."""
    owners = [before.get(Key(key.catalog, key.oid)) for key in waits]
    tables = {o.name for o in owners if o is not None and o.kind == "table"}
    return {o.key: o for o in created if tables and o.kind in PARTS and tables & _speaks_of(o)}


def _speaks_of(o: Object) -> set[str]:
    owner = str(o.facts.get("owned_by")).rpartition(".")[0]
    return {owner, *(str(o.facts.get(fact)) for fact in ("table", "owner", "references"))}


def _uses(o: Object, names: Mapping[str, Key], before: Catalog) -> set[Key]:
    """What it reads, if it is a view or routine; else the relations and types that it is made of, arrays of them included."""
    if o.kind in READERS:
        return {key for use in o.raw["uses"] or [] for key in (Key(*use), Key(*use[:2]))}
    if o.kind == "composite":
        types = [type_ for _, type_, _ in o.facts["attributes"] or []]
    elif o.kind == "table":
        types = [column.facts["type"] for column in before.columns(o.key)]
    else:
        types = [o.facts["type"]] if o.kind in ("domain", "column") else []
    return {names[plain] for type_ in types if (plain := type_.removesuffix("[]")) in names}
