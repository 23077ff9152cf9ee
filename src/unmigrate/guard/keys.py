"""What identifies a row, and which rows refer to it, read from the definitions of constraints and indexes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Object

_NAME = r'(?:"(?:[^"]|"")+"|\w+)'
_LIST = rf"{_NAME}(?:, {_NAME})*"
_KEY = re.compile(rf"^(?:PRIMARY KEY|UNIQUE) \(({_LIST})\)|^CREATE UNIQUE INDEX .* USING btree \(({_LIST})\)$")
_FOREIGN = re.compile(rf"FOREIGN KEY \(({_LIST})\) REFERENCES (\S+?|\"[^\"]+\"\.\"[^\"]+\"|\S+\.\"[^\"]+\")\(({_LIST})\)")


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """child(columns) references parent(referenced); all as SQL names. label and definition: of the constraint."""

    child: str
    columns: tuple[str, ...]
    parent: str
    referenced: tuple[str, ...]
    label: str = ""
    definition: str = ""


def names(listed: str) -> tuple[str, ...]:
    """'a, "b c"' as names."""
    return tuple(re.findall(_NAME, listed))


def row_key(table: Object, catalog: Catalog, allowed: frozenset[str]) -> tuple[str, ...]:
    """The columns (SQL names, all within `allowed`) that identify a row: the primary key, else a unique one without NULLs; else ()."""
    required = {c.facts["label"] for c in catalog.columns(table.key) if c.facts["notnull"]}
    found: list[tuple[bool, int, tuple[str, ...]]] = []
    for o in catalog:
        if o.parent != table.key or o.kind not in ("constraint", "index") or o.facts.get("valid") is False:
            continue
        match = _KEY.match(o.facts["definition"])
        columns = names(match[1] or match[2]) if match else ()
        if columns and set(columns) <= allowed and set(columns) <= required:
            found.append((o.facts.get("contype") != "p", len(columns), columns))
    return min(found)[2] if found else ()


def deferrable_keys(table: Object, catalog: Catalog, known: frozenset[str | None]) -> tuple[tuple[str, ...], ...]:
    """All unique keys over `known` columns of a table of which one is deferrable; () where none is."""
    mine = [o.facts["definition"] for o in catalog if o.parent == table.key and o.kind in ("constraint", "index")]
    if not any(" DEFERRABLE" in d for d in mine if _KEY.match(d)):
        return ()
    found = [names(match[1] or match[2]) for d in mine if (match := _KEY.match(d))]
    return tuple(sorted({columns for columns in found if known.issuperset(columns)}))


def foreign_keys(catalog: Catalog) -> Iterator[ForeignKey]:
    """All foreign keys whose definition can be read."""
    for o in catalog:
        if o.kind == "constraint" and o.facts["contype"] == "f" and (match := _FOREIGN.search(o.facts["definition"])):
            columns, referenced = names(match[1]), names(match[3])
            yield ForeignKey(o.facts["owner"], columns, o.facts["references"], referenced, o.facts["label"], o.facts["definition"])


def refusals(catalog: Catalog, column: Object) -> tuple[str, ...]:
    """Conditions over `unmigrate_made`, a new value of this column in row NEW, under which a unique index or foreign key refuses it."""
    table, label = column.facts["table"], column.facts["label"]
    found = []
    for o in catalog:
        if o.kind not in ("constraint", "index") or o.parent != column.parent:
            continue
        match = _KEY.match(o.facts["definition"]) if o.facts.get("contype") in (None, "p", "u") else None
        columns = names(match[1] or match[2]) if match else ()
        if label in columns:
            same = " AND ".join(f"x.{c} = {'unmigrate_made' if c == label else f'NEW.{c}'}" for c in columns)
            found.append(f"EXISTS (SELECT FROM {table} x WHERE {same})")
    for fk in foreign_keys(catalog):
        if fk.child == table and label in fk.columns:
            pairs = zip(fk.referenced, fk.columns, strict=True)
            same = " AND ".join(f"x.{a} = {'unmigrate_made' if b == label else f'NEW.{b}'}" for a, b in pairs)
            null = " OR ".join("unmigrate_made IS NULL" if b == label else f"NEW.{b} IS NULL" for b in fk.columns)
            found.append(f"NOT ({null}) AND NOT EXISTS (SELECT FROM {fk.parent} x WHERE {same})")
    return tuple(found)


def without_leaves(tables: list[Object], catalog: Catalog) -> list[Object]:
    """Tables without partitions of others among them, whose rows those hold."""
    parents = {o.name: o.facts["parents"][0] for o in catalog if o.kind == "table" and o.facts["partition_bound"]}
    names = {t.name for t in tables}

    def held(name: str) -> bool:
        parent = parents.get(name)
        return parent is not None and (parent in names or held(parent))

    return [t for t in tables if not held(t.name)]


def parents_first(tables: list[Object], catalog: Catalog) -> list[Object]:
    """Tables in an order in which each comes after those it refers to, as far as there is one."""
    refers = {(k.child, k.parent) for k in foreign_keys(catalog) if k.child != k.parent}
    waiting, ordered = list(tables), []
    while waiting:
        free = [t for t in waiting if not any((t.name, o.name) in refers for o in waiting if o is not t)] or waiting[:1]
        ordered += free
        waiting = [t for t in waiting if t not in free]
    return ordered
