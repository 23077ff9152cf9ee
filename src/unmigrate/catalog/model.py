"""The catalog as plain data: objects by identity (catalog, oid, sub-id) and by name.

An `Object` is one thing that `pg_dump -s` would show: a table, a column, a constraint, ... Its `facts` are canonical and speak
of other objects by name only, so that two catalogs of different databases compare. Its `raw` holds, for every fact whose text is
derived (deparsed), a digest of what is stored: a rename elsewhere changes the text, but not the digest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Key(NamedTuple):
    """Identity of an object inside one database: catalog ("pg_class"), oid, sub-id (attnum of a column, else 0)."""

    catalog: str
    oid: int
    sub: int = 0


@dataclass(frozen=True, slots=True)
class Object:
    """One object of the catalog. `name` is unique within its kind; `parent` is the object it falls with."""

    key: Key
    kind: str
    name: str
    parent: Key | None
    facts: dict[str, Any]
    raw: dict[str, Any]

    def changes(self, other: "Object") -> frozenset[str]:
        """Facts that really differ between two states of one object, not only because something else was renamed."""
        return frozenset(
            fact
            for fact in self.facts.keys() | other.facts.keys()
            if self.facts.get(fact) != other.facts.get(fact) and (fact not in self.raw or self.raw[fact] != other.raw.get(fact))
        )


@dataclass(slots=True)
class Catalog:
    """All objects of one database that are not the server's, an extension's or ours."""

    objects: dict[Key, Object] = field(default_factory=dict)

    @classmethod
    def of(cls, objects: Iterable[Object]) -> "Catalog":
        return cls({o.key: o for o in objects})

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects.values())

    def get(self, key: Key | None) -> Object | None:
        return self.objects.get(key) if key else None

    def children(self, parent: Key) -> list[Object]:
        return [o for o in self.objects.values() if o.parent == parent]

    def columns(self, table: Key) -> list[Object]:
        """Columns of a table in their order."""
        columns = [o for o in self.objects.values() if o.kind == "column" and o.key.oid == table.oid]
        return sorted(columns, key=lambda c: c.key.sub)

    def by_name(self) -> dict[tuple[str, str], Object]:
        return {(o.kind, o.name): o for o in self.objects.values()}

    def copy(self) -> "Catalog":
        return Catalog(dict(self.objects))
