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
    """child(columns) references parent(referenced); all as SQL names."""

    child: str
    columns: tuple[str, ...]
    parent: str
    referenced: tuple[str, ...]


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


def foreign_keys(catalog: Catalog) -> Iterator[ForeignKey]:
    """All foreign keys whose definition can be read."""
    for o in catalog:
        if o.kind == "constraint" and o.facts["contype"] == "f" and (match := _FOREIGN.search(o.facts["definition"])):
            yield ForeignKey(o.facts["owner"], names(match[1]), o.facts["references"], names(match[3]))
