"""Keeps a catalog in step with a database while migrations run: reads only what the open transaction touched.

The model is exact at the end of each `refresh`. `read_catalog` is the reference; `Observer.check` compares with it.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog import prepared
from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.read import read_catalog, read_objects
from unmigrate.catalog.touched import Counts, Touched, catalog_oids, read_counts, read_touched

DEPENDENTS = """
with named (catalog, oid) as (
  select * from unnest($1, $2)
), target as (
  select catalog::regclass::oid cid, oid from named
  union select 'pg_type'::regclass, t.oid from named join pg_type t on t.typrelid = named.oid where catalog = 'pg_class'
  union select 'pg_type'::regclass, t.typarray from named join pg_type t on t.oid = named.oid where catalog = 'pg_type'
  union select 'pg_type'::regclass, t.typarray from named join pg_type t on t.typrelid = named.oid where catalog = 'pg_class'
)
select distinct
  case when r.oid is not null and r.rulename = '_RETURN' or x.oid is not null then 'pg_class'
    when y.oid is not null then 'pg_publication' else d.classid::regclass::text end,
  (case when r.rulename = '_RETURN' then r.ev_class when x.oid is not null then x.adrelid when y.oid is not null then y.prpubid
    else d.objid end)::int8
from pg_depend d join target on d.refclassid = cid and d.refobjid = target.oid
left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_attrdef x on d.classid = 'pg_attrdef'::regclass and x.oid = d.objid
left join pg_publication_rel y on d.classid = 'pg_publication_rel'::regclass and y.oid = d.objid
"""


@dataclass(frozen=True, slots=True)
class Delta:
    """What happened between two states of one database, by identity. `keys`: objects created, dropped or touched.

    Lists are in the keys' order, the same in every process: plans are made from them, and have a content hash.
    """

    before: Catalog
    after: Catalog
    keys: frozenset[Key]

    @classmethod
    def between(cls, before: Catalog, after: Catalog) -> "Delta":
        """The delta of two whole readings of one database."""
        old, new = before.objects, after.objects
        return cls(before, after, frozenset(k for k in old.keys() | new.keys() if old.get(k) != new.get(k)))

    @property
    def created(self) -> list[Object]:
        return [self.after.objects[k] for k in sorted(self.keys) if k in self.after.objects and k not in self.before.objects]

    @property
    def dropped(self) -> list[Object]:
        return [self.before.objects[k] for k in sorted(self.keys) if k in self.before.objects and k not in self.after.objects]

    @property
    def altered(self) -> list[tuple[Object, Object]]:
        """(before, after) of the objects that are still there and really differ."""
        pairs = [
            (self.before.objects[k], self.after.objects[k])
            for k in sorted(self.keys)
            if k in self.before.objects and k in self.after.objects
        ]
        return [(old, new) for old, new in pairs if old.changes(new)]


class Observer:
    """Follows one connection's database. Not for concurrent writers: a scratch database is ours alone."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._oids = catalog_oids(connection)
        self._since = Counts({}, {})
        self._beyond: tuple[str, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Read everything anew."""
        self._take(read_catalog(self._connection))

    def _take(self, catalog: Catalog) -> None:
        """Follow this catalog from now on; the two sets may know keys that are gone."""
        self.catalog = catalog
        self._untraced = frozenset(k for k, o in catalog.objects.items() if o.kind in _UNTRACED)
        self._columns: dict[int, frozenset[Key]] = {}
        for key, o in catalog.objects.items():
            if o.kind == "column":
                self._columns[key.oid] = self._columns.get(key.oid, frozenset()) | {key}

    def begin(self) -> None:
        """Open a transaction that `refresh` can observe."""
        self._connection.execute("BEGIN")
        self._since = read_counts(self._connection, self._oids)

    def save(self) -> Catalog:
        """The present state, to return to when the database is rolled back."""
        return self.catalog

    def restore(self, state: Catalog) -> None:
        self.catalog = state

    def refresh(self) -> Delta:
        """Read what the open transaction wrote, and return what changed since the last refresh."""
        before = self.catalog
        touched = read_touched(self._connection, self._oids, self._since)
        self._beyond = touched.beyond
        self.catalog = before.copy()
        changed: set[Key] = set()
        for key in self._vanished(touched):
            changed |= self._forget(key)
        changed |= self._read(self._wanted(touched))
        if renamed := self._renamed(before, changed):
            changed |= self._propagate(renamed, before)
        return Delta(before, self.catalog, frozenset(changed))

    def _vanished(self, touched: Touched) -> list[Key]:
        """Objects of the catalogs that lost rows and are not there any more."""
        if not touched.remaining:
            return []
        return [
            key
            for key, o in self.catalog.objects.items()
            if not key.sub and (left := touched.remaining.get(o.kind)) is not None and key.oid not in left
        ]

    def _wanted(self, touched: Touched) -> dict[str, set[int]]:
        """{kind: oids} that must be read again."""
        wanted: dict[str, set[int]] = defaultdict(set)
        for tag, oids in touched.oids.items():
            for kind in _READ_BY.get(tag, (tag,)):
                wanted[kind] |= oids
        again = {kind for catalog in touched.lossy for kind in _READ_ALL.get(catalog, ())}
        comments = touched.oids.get("comment", frozenset())
        uncommented = "pg_description" in touched.lossy
        wanted.pop("comment", None)
        for key in self._untraced:
            wanted["sequence" if key.catalog == "pg_class" else "extension dependency"].add(key.oid)
        if again or comments or uncommented:
            for key, o in self.catalog.objects.items():
                if (
                    o.kind in again
                    or key.oid in comments
                    or (uncommented and _may_be_commented(o))
                    or ("partitioned" in again and o.facts.get("partitions"))
                ):
                    wanted[o.kind].add(key.oid)
        return wanted

    def _read(self, wanted: dict[str, set[int]]) -> set[Key]:
        """Replace the wanted objects by what is there now; those that are not there any more go. Returns what changed."""
        if not any(wanted.values()):
            return set()
        found = {o.key: o for o in read_objects(self._connection, wanted)}
        changed: set[Key] = set()
        for key in self._stale(wanted, found.keys()):
            changed |= self._forget(key)
        for key, o in found.items():
            if self.catalog.objects.get(key) != o:
                self.catalog.objects[key] = o
                changed.add(key)
                if o.kind == "column":
                    self._columns[key.oid] = self._columns.get(key.oid, frozenset()) | {key}
                elif o.kind in _UNTRACED:
                    self._untraced |= {key}
        return changed

    def _stale(self, wanted: dict[str, set[int]], found: Collection[Key]) -> list[Key]:
        """What was to be read again and is not there any more."""
        mine = self.catalog.objects
        keys = {Key(KINDS[kind].catalog, oid) for kind, oids in wanted.items() if kind != "column" for oid in oids}
        columns = [k for oid in wanted.get("column", ()) for k in self._columns.get(oid, ())]
        return [k for k in (*keys, *columns) if k not in found and (o := mine.get(k)) is not None and k.oid in wanted.get(o.kind, ())]

    def _forget(self, key: Key) -> set[Key]:
        gone = {key} if self.catalog.objects.pop(key, None) else set()
        if key.catalog == "pg_class" and not key.sub:  # its columns go with it
            for column in self._columns.get(key.oid, ()):
                if self.catalog.objects.pop(column, None):
                    gone.add(column)
        return gone

    def _renamed(self, before: Catalog, keys: set[Key]) -> list[Object]:
        pairs = ((before.objects.get(k), self.catalog.objects.get(k)) for k in keys)
        return [new for old, new in pairs if old and new and (old.name != new.name or _parts(old) != _parts(new))]

    def _propagate(self, renamed: list[Object], before: Catalog) -> set[Key]:
        """Derived text of what speaks of a renamed object is read again."""
        if any(o.kind == "schema" for o in renamed):
            self._take(read_catalog(self._connection))
            mine = self.catalog.objects
            return {k for k in before.objects.keys() | mine.keys() if before.objects.get(k) != mine.get(k)}
        wanted: dict[str, set[int]] = defaultdict(set)
        arguments = f"{prepared.array(o.key.catalog for o in renamed)}, {prepared.array(o.key.oid for o in renamed)}"
        (rows,) = prepared.run(self._connection, [prepared.Call(DEPENDENTS, "text[], oid[]", arguments)])
        dependents = {(catalog, oid) for catalog, oid in rows}
        tables = {o.key.oid for o in renamed if o.key.catalog == "pg_class"}
        wanted["column"] |= tables
        for key, o in self.catalog.objects.items():
            if (key.catalog, key.oid) in dependents or (o.parent is not None and o.parent.oid in tables):
                wanted[o.kind].add(key.oid)
        return self._read(wanted)

    def notes(self, delta: Delta) -> tuple[str, ...]:
        """What went beyond the database and is not part of its catalog."""
        return self._beyond

    def check(self) -> list[str]:
        """Names of objects where the model is not what a full read finds: must be empty."""
        actual = read_catalog(self._connection).objects
        mine = self.catalog.objects
        return sorted(
            f"{o.kind} {o.name}" for k in actual.keys() | mine.keys() if actual.get(k) != mine.get(k) for o in [actual.get(k) or mine[k]]
        )


def _may_be_commented(o: Object) -> bool:
    more = ("comment", "remark", "index_comment", "partitions", "sequence", "not_null_more")
    return o.kind in ("composite", "view", "materialized view") or any(o.facts.get(fact) for fact in more)


def _parts(o: Object) -> list[Any] | None:
    """Names of parts that are no objects of their own: labels, columns of views, attributes."""
    if o.kind == "enum":
        labels: list[Any] | None = o.facts["labels"]
        return labels
    named = o.facts.get("attributes") or o.facts.get("columns")
    return [part[0] for part in named] if named else None


# Always read again: a sequence's owner, and what goes with an extension, stand in pg_depend alone.
_UNTRACED = ("sequence", "extension dependency")
# Which kinds are read again when a catalog row of this tag was written; a tag that is a kind's name reads that kind.
_READ_BY = {
    "table": ("table", "column"),
    "attribute": ("column", "view", "materialized view", "composite", "index", "other relation"),
    "default": ("column", "view"),
    "not null": ("column",),
    "identity table": ("column",),
    "inherits": ("table",),
    "label": ("enum",),
    "view rule": ("view", "materialized view"),
    "index entry": ("index",),
    "backed constraint": ("constraint",),
    "partitioned index": ("index",),
    "sequence entry": ("sequence",),
    "publication table": ("publication",),
}
# Rows lost there leave no other trace: these kinds are read again whole.
_READ_ALL = {
    "pg_inherits": ("table", "partitioned"),
    "pg_ts_config_map": ("pg_ts_config",),
    "pg_amop": ("pg_opfamily",),
    "pg_amproc": ("pg_opfamily",),
    "pg_user_mapping": ("pg_foreign_server",),
    "pg_publication_rel": ("publication",),
    "pg_publication_namespace": ("publication",),
    "pg_db_role_setting": ("setting",),
}
