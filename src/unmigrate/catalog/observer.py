"""Keeps a catalog in step with a database while migrations run: reads only what the open transaction touched.

The model is exact at the end of each `refresh`: rows written are found by xmin, rows that vanished by a digest per catalog.
`read_catalog` is the reference; `Observer.check` compares with it.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Any

import psycopg

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.read import read_catalog, read_objects
from unmigrate.catalog.touched import Touched, identities, read_touched

DEPENDENTS = """
with named (catalog, oid) as (
  select * from unnest(%(catalogs)s::text[], %(oids)s::oid[])
), target as (
  select catalog::regclass::oid cid, oid from named
  union select 'pg_type'::regclass, t.oid from named join pg_type t on t.typrelid = named.oid where catalog = 'pg_class'
  union select 'pg_type'::regclass, t.typarray from named join pg_type t on t.oid = named.oid where catalog = 'pg_type'
  union select 'pg_type'::regclass, t.typarray from named join pg_type t on t.typrelid = named.oid where catalog = 'pg_class'
)
select distinct d.classid::regclass::text, d.objid::int8, d.objsubid from pg_depend d join target on d.refclassid = cid and d.refobjid = target.oid
"""


@dataclass(frozen=True, slots=True)
class Delta:
    """What happened between two states of one database, by identity. `keys`: objects created, dropped or touched."""

    before: Catalog
    after: Catalog
    keys: frozenset[Key]

    @property
    def created(self) -> list[Object]:
        return [self.after.objects[k] for k in self.keys if k in self.after.objects and k not in self.before.objects]

    @property
    def dropped(self) -> list[Object]:
        return [self.before.objects[k] for k in self.keys if k in self.before.objects and k not in self.after.objects]

    @property
    def altered(self) -> list[tuple[Object, Object]]:
        """(before, after) of the objects that are still there and really differ."""
        pairs = [(self.before.objects[k], self.after.objects[k]) for k in self.keys if k in self.before.objects and k in self.after.objects]
        return [(old, new) for old, new in pairs if old.changes(new)]


class Observer:
    """Follows one connection's database. Not for concurrent writers: a scratch database is ours alone."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.roles_changed = False
        self.reset()

    def reset(self) -> None:
        """Read everything anew."""
        self.catalog = read_catalog(self._connection)
        self._kind_of = {key: o.kind for key, o in self.catalog.objects.items()}
        touched = read_touched(self._connection)
        self._digest = dict(touched.digest)
        self._ids: dict[str, set[int]] = {tag: set(identities(self._connection, tag)) for tag in _TRACKED if touched.digest.get(tag, (0, 0))[0]}

    def save(self) -> tuple[Any, ...]:
        """The present state, to return to when the database is rolled back."""
        return self.catalog.copy(), dict(self._kind_of), dict(self._digest), {tag: set(ids) for tag, ids in self._ids.items()}

    def restore(self, state: tuple[Any, ...]) -> None:
        self.catalog, self._kind_of, self._digest, self._ids = state[0].copy(), dict(state[1]), dict(state[2]), {t: set(i) for t, i in state[3].items()}

    def refresh(self) -> Delta:
        """Read what the open transaction wrote, and return what changed since the last refresh."""
        before = self.catalog
        touched = read_touched(self._connection)
        gone = self._vanished(touched)
        wanted = self._wanted(touched)
        self.catalog = before.copy()
        for key in gone:
            self._forget(key)
        self._read(wanted)
        keys = {k for k in before.objects.keys() | self.catalog.objects.keys() if before.objects.get(k) is not self.catalog.objects.get(k)}
        if renamed := self._renamed(before, keys):
            keys |= self._propagate(renamed, before)
        self.roles_changed = touched.digest.get("role") != self._digest.get("role")
        self._digest = dict(touched.digest)
        return Delta(before, self.catalog, frozenset(keys))

    def _vanished(self, touched: Touched) -> set[Key]:
        gone: set[Key] = set()
        for tag in _TRACKED:
            ids = self._ids.setdefault(tag, set())
            fresh = touched.oids.get(tag, frozenset()) - ids
            count, digest = self._digest.get(tag, (0, 0))
            expected = (count + len(fresh), reduce(xor, fresh, digest or 0))
            reported = touched.digest.get(tag, (0, 0))
            ids |= fresh
            if expected != (reported[0], reported[1] or 0):
                actual = set(identities(self._connection, tag))
                gone |= {Key(_TRACKED[tag], oid) for oid in ids - actual}
                self._ids[tag] = actual
        return gone

    def _wanted(self, touched: Touched) -> dict[str, set[int]]:
        """{kind: oids} that must be read again."""
        wanted: dict[str, set[int]] = defaultdict(set)
        oids = touched.oids
        for tag in _TRACKED:
            wanted[tag] |= oids.get(tag, frozenset())
        wanted["column"] |= wanted["table"] | oids["default"] | oids["not null"] | oids["identity table"]
        wanted["table"] |= oids["inherits"]
        wanted["enum"] |= oids["label"]
        wanted["publication"] |= oids["publication table"]
        wanted["constraint"] |= oids["backed constraint"]
        wanted["setting"] |= oids["setting"]
        wanted["sequence"] |= oids["sequence entry"]
        wanted["index"] |= oids["index entry"]
        for kind in ("view", "materialized view"):
            wanted[kind] |= oids["view rule"]
        for kind in ("column", "view", "materialized view", "composite", "index"):
            wanted[kind] |= oids["attribute"]
        changed = {tag for tag in ("owned", "comment", "inherits", "publication table", "setting") if touched.digest.get(tag) != self._digest.get(tag)}
        for o in self.catalog:
            if o.key.oid in oids["comment"] or (o.facts.get("comment") is not None and "comment" in changed):
                wanted[o.kind].add(o.key.oid)
            elif o.kind in _BY_DIGEST and _BY_DIGEST[o.kind] in changed:
                wanted[o.kind].add(o.key.oid)
        return wanted

    def _read(self, wanted: dict[str, set[int]]) -> None:
        """Replace the wanted objects by what is there now; those that are not there any more go."""
        found = {o.key: o for o in read_objects(self._connection, wanted)}
        for key in list(self.catalog.objects):
            if key.oid in wanted.get(self._kind_of[key], ()) and key not in found:
                self._forget(key)
        for key, o in found.items():
            old = self.catalog.objects.get(key)
            if old != o:
                self.catalog.objects[key] = o
                self._kind_of[key] = o.kind

    def _forget(self, key: Key) -> None:
        self.catalog.objects.pop(key, None)
        if key.catalog == "pg_class" and not key.sub:  # its columns go with it
            for column in [k for k in self.catalog.objects if k.oid == key.oid and k.catalog == "pg_class"]:
                self.catalog.objects.pop(column)

    def _renamed(self, before: Catalog, keys: set[Key]) -> list[Object]:
        pairs = ((before.objects.get(k), self.catalog.objects.get(k)) for k in keys)
        return [new for old, new in pairs if old and new and old.name != new.name]

    def _propagate(self, renamed: list[Object], before: Catalog) -> set[Key]:
        """Derived text of what speaks of a renamed object is read again."""
        if any(o.kind == "schema" for o in renamed):
            fresh = read_catalog(self._connection)
            self.catalog = fresh
            self._kind_of = {key: o.kind for key, o in fresh.objects.items()}
            return {k for k in before.objects.keys() | fresh.objects.keys() if before.objects.get(k) != fresh.objects.get(k)}
        wanted: dict[str, set[int]] = defaultdict(set)
        parameters = {"catalogs": [o.key.catalog for o in renamed], "oids": [o.key.oid for o in renamed]}
        dependents = {(catalog, oid) for catalog, oid, _ in self._connection.execute(DEPENDENTS, parameters)}
        rewritten = [oid for catalog, oid in dependents if catalog == "pg_rewrite"]
        defaults = [oid for catalog, oid in dependents if catalog == "pg_attrdef"]
        for (oid,) in self._connection.execute("select ev_class::int8 from pg_rewrite where oid = any (%s)", [rewritten]):
            wanted["view"].add(oid)
            wanted["materialized view"].add(oid)
        for (oid,) in self._connection.execute("select adrelid::int8 from pg_attrdef where oid = any (%s)", [defaults]):
            wanted["column"].add(oid)
        tables = {o.key.oid for o in renamed if o.key.catalog == "pg_class"}
        wanted["column"] |= tables
        for key, kind in self._kind_of.items():
            if (key.catalog, key.oid) in dependents or (self.catalog.get(key) and getattr(self.catalog.objects[key].parent, "oid", 0) in tables):
                wanted[kind].add(key.oid)
        start = dict(self.catalog.objects)
        self._read(wanted)
        return {k for k, o in self.catalog.objects.items() if start.get(k) is not o}

    def notes(self, delta: Delta) -> tuple[str, ...]:
        """What went beyond the database and is not part of its catalog."""
        return ("roles were created or dropped: they are wider than the database and are not undone",) if self.roles_changed else ()

    def check(self) -> list[str]:
        """Names of objects where the model is not what a full read finds: must be empty."""
        actual = read_catalog(self._connection).objects
        mine = self.catalog.objects
        return sorted(
            f"{o.kind} {o.name}" for k in actual.keys() | mine.keys() if actual.get(k) != mine.get(k) for o in [actual.get(k) or mine[k]]
        )


_BY_DIGEST = {"sequence": "owned", "table": "inherits", "publication": "publication table", "setting": "setting"}
_TRACKED = {
    **{name: kind.catalog for name, kind in KINDS.items() if name not in ("column", "setting")},
}
