"""The catalog as plain data: objects by identity (catalog, oid, sub-id) and by name.

An `Object` is one thing that `pg_dump -s` would show: a table, a column, a constraint, ... Its `facts` are canonical and speak
of other objects by name only, so that two catalogs of different databases compare. Its `raw` holds, for every fact whose text is
derived (deparsed), a digest of what is stored: a rename elsewhere changes the text, but not the digest.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


class Catalog:
    """All objects of one database that are not the server's, an extension's or ours. Found by key, kind, kind and name, or parent.

    `objects` is for reading; `put` and `remove` write. A copy shares what neither of the two has changed since.
    """

    __slots__ = ("_kinds", "_names", "_own", "_parts", "objects")

    def __init__(self, objects: dict[Key, Object] | None = None) -> None:
        self.objects: dict[Key, Object] = {}
        self._kinds: dict[str, dict[Key, Object]] = {}
        self._parts: dict[int, dict[Key, Object]] = {}  # by the parent's oid
        self._names: dict[str, dict[str, Object]] = {}  # made when asked for
        self._own: set[str | int] = set()  # kinds and parents whose dictionary no copy shares
        for o in (objects or {}).values():
            self.put(o)

    @classmethod
    def of(cls, objects: Iterable[Object]) -> "Catalog":
        return cls({o.key: o for o in objects})

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects.values())

    def put(self, o: Object) -> None:
        """Add an object, or replace the one with its key."""
        old = self.objects.get(o.key)
        if old is not None and (old.kind, old.parent) != (o.kind, o.parent):
            self.remove(o.key)
        self.objects[o.key] = o
        self._write(self._kinds, o.kind)[o.key] = o
        self._names.pop(o.kind, None)
        if o.parent is not None:
            self._write(self._parts, o.parent.oid)[o.key] = o

    def remove(self, key: Key) -> bool:
        """Take an object out; whether it was there."""
        o = self.objects.pop(key, None)
        if o is None:
            return False
        del self._write(self._kinds, o.kind)[key]
        self._names.pop(o.kind, None)
        if o.parent is not None:
            del self._write(self._parts, o.parent.oid)[key]
        return True

    def _write(self, index: dict[Any, dict[Key, Object]], word: Any) -> dict[Key, Object]:
        if word not in self._own:
            self._own.add(word)
            index[word] = dict(index.get(word, ()))
        return index[word]

    def get(self, key: Key | None) -> Object | None:
        return self.objects.get(key) if key else None

    def of_kind(self, kind: str) -> Mapping[Key, Object]:
        return self._kinds.get(kind, {})

    def named(self, kind: str, name: str) -> Object | None:
        if kind not in self._names:
            self._names[kind] = {o.name: o for o in self.of_kind(kind).values()}
        return self._names[kind].get(name)

    def parts(self, oid: int) -> list[Object]:
        """What falls with the object of this oid, columns included."""
        return list(self._parts.get(oid, {}).values())

    def children(self, parent: Key) -> list[Object]:
        return [o for o in self.parts(parent.oid) if o.parent == parent]

    def columns(self, table: Key) -> list[Object]:
        """Columns of a table in their order."""
        columns = [o for o in self.parts(table.oid) if o.kind == "column" and o.key.oid == table.oid]
        return sorted(columns, key=lambda c: c.key.sub)

    def by_name(self) -> dict[tuple[str, str], Object]:
        return {(o.kind, o.name): o for o in self.objects.values()}

    def copy(self) -> "Catalog":
        self._own.clear()
        other = Catalog()
        other.objects = dict(self.objects)
        other._kinds, other._parts, other._names = dict(self._kinds), dict(self._parts), dict(self._names)
        return other
