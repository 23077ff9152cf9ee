"""Whether a catalog is back where it was, object by object, by name."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from unmigrate.catalog.fingerprint import BY_OID
from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Key, Object

Verdict = Literal["exact", "equivalent", "column-order", "refused"]
DERIVED = frozenset({"definition", "default", "using", "check", "columns", "signature", "partition_bound", "tables"})


@dataclass(frozen=True, slots=True)
class Difference:
    """One object that is not as it was: missing, left over, or with these facts different."""

    wanted: Object | None
    found: Object | None
    facts: frozenset[str] = frozenset()

    @property
    def derived_only(self) -> bool:
        """Only deparsed text differs, which may settle when it is loaded again."""
        return bool(self.facts) and self.facts <= DERIVED

    def __str__(self) -> str:
        if self.found is None and self.wanted is not None:
            return f"{self.wanted.kind} {self.wanted.name} is missing"
        if self.wanted is None and self.found is not None:
            return f"{self.found.kind} {self.found.name} is left over"
        assert self.wanted is not None and self.found is not None
        detail = "; ".join(f"{f}: {self.found.facts.get(f)!r} instead of {self.wanted.facts.get(f)!r}" for f in sorted(self.facts))
        return f"{self.wanted.kind} {self.wanted.name} differs in {detail}"[:600]


def differences(wanted: Catalog, found: Catalog, keys: Iterable[Key] | None = None, *, one_database: bool = True) -> list[Difference]:
    """What differs by name between two catalogs, among the objects with these keys (None: all).

    one_database: whether both are of one, or of a clone of it. In two others equal identities mean nothing.
    """
    chosen = set(keys) if keys is not None else wanted.objects.keys() | found.objects.keys()
    mine = {(o.kind, o.name): o for k in chosen if (o := wanted.objects.get(k))}
    theirs = {(o.kind, o.name): o for k in chosen if (o := found.objects.get(k))}
    result = []
    for name in sorted(mine.keys() | theirs.keys(), key=lambda n: (KINDS[n[0]].rank, n)):  # the table before its columns
        a, b = mine.get(name), theirs.get(name)
        if a is None or b is None:
            result.append(Difference(a, b))
            continue
        told = a.facts.keys() | b.facts.keys() if one_database and a.key == b.key else (a.facts.keys() | b.facts.keys()) - BY_OID
        if facts := frozenset(f for f in told if a.facts.get(f) != b.facts.get(f)):
            result.append(Difference(a, b, facts))
    whole = {d.wanted.key for d in result if d.wanted and not d.found} | {d.found.key for d in result if d.found and not d.wanted}
    result = [d for d in result if not _part_of(d, whole)]
    for key in chosen if one_database else ():  # a survivor must bear its own name: others speak of it by identity
        a, b = wanted.objects.get(key), found.objects.get(key)
        if a and b and a.name != b.name and not any(d.wanted in (a, b) or d.found in (a, b) for d in result):
            result.append(Difference(a, b, frozenset({"name"})))
    return result


def _part_of(difference: Difference, whole: set[Key]) -> bool:
    """Whether a table that is missing or left over already tells of this part of it."""
    o = difference.found if difference.wanted is None else difference.wanted if difference.found is None else None
    return o is not None and o.parent is not None and Key(o.parent.catalog, o.parent.oid) in whole


def out_of_order(wanted: Catalog, found: Catalog, keys: Iterable[Key]) -> list[str]:
    """What is the same but stands in another order, in words: columns of tables, and grants, which pg_dump shows as they were given."""
    keys = list(keys)
    told = {"columns of": _columns_reordered(wanted, found, keys), "grants on": _grants_reordered(wanted, found, keys)}
    return [f"{what} {', '.join(names)}" for what, names in told.items() if names]


def _columns_reordered(wanted: Catalog, found: Catalog, keys: Iterable[Key]) -> list[str]:
    """Tables among the keys whose columns are the same but stand in another order."""
    tables = {Key("pg_class", key.oid) for key in keys if key.catalog == "pg_class"}
    changed = []
    for key in tables:
        table = wanted.get(key)
        now = found.named("table", table.name) if table is not None and table.kind == "table" else None
        if table is None or now is None:
            continue
        before = [c.facts["label"] for c in wanted.columns(key)]
        after = [c.facts["label"] for c in found.columns(now.key)]
        if before != after:
            changed.append(table.name)
    return sorted(changed)


def _grants_reordered(wanted: Catalog, found: Catalog, keys: Iterable[Key]) -> list[str]:
    """Objects among the keys whose grants are the same but were given in another order, in which pg_dump shows them."""
    changed = set()
    for key in keys:
        before = wanted.objects.get(key)
        after = found.named(before.kind, before.name) if before is not None else None
        old, new = ((o.raw.get("grantees") or []) if o is not None else [] for o in (before, after))
        if before is not None and [g for g in old if g in new] != [g for g in new if g in old]:
            changed.add(before.name)
    return sorted(changed)
