"""Keeps a catalog in step with a database while migrations run: reads only what the open transaction touched.

The model is exact at the end of each `refresh`. `read_catalog` is the reference; `Observer.check` compares with it.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Any, NamedTuple

import psycopg

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.read import read_catalog, read_objects
from unmigrate.catalog.touched import (
    Counts,
    Touched,
    Version,
    counting,
    counting_all,
    counts,
    horizon,
    mark,
    read_committed,
    read_touched,
)
from unmigrate.sql import prepared

DEPENDENTS = """
with named (catalog, oid) as (
  select * from unnest($1, $2)
), target as (
  select catalog::regclass::oid cid, oid from named
  union select 'pg_type'::regclass, reltype from named join pg_class c on c.oid = named.oid where catalog = 'pg_class' and reltype <> 0
  union select 'pg_type'::regclass, t.typarray from named join pg_type t on t.oid = named.oid where catalog = 'pg_type'
  union select 'pg_type'::regclass, t.typarray from named join pg_class c on c.oid = named.oid join pg_type t on t.oid = reltype
    where catalog = 'pg_class'
)
select distinct
  case when r.oid is not null and r.rulename = '_RETURN' or x.oid is not null then 'pg_class'
    when y.oid is not null then 'pg_publication' else d.classid::regclass::text end,
  (case when r.rulename = '_RETURN' then r.ev_class when x.oid is not null then x.adrelid when y.oid is not null then y.prpubid
    else d.objid end)::int8
from target cross join lateral (select * from pg_depend where refclassid = cid and refobjid = target.oid offset 0) d
left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_attrdef x on d.classid = 'pg_attrdef'::regclass and x.oid = d.objid
left join pg_publication_rel y on d.classid = 'pg_publication_rel'::regclass and y.oid = d.objid
"""


@dataclass(frozen=True)
class Delta:
    """What happened between two states of one database, by identity. `keys`: objects created, dropped or touched.
    `system`: what is PostgreSQL's own was changed too, which no catalog of ours holds.

    Lists are in the keys' order, the same in every process: plans are made from them, and have a content hash.
    """

    before: Catalog
    after: Catalog
    keys: frozenset[Key]
    system: bool = False

    @classmethod
    def between(cls, before: Catalog, after: Catalog) -> "Delta":
        """The delta of two whole readings of one database."""
        old, new = before.objects, after.objects
        return cls(before, after, frozenset(k for k in old.keys() | new.keys() if old.get(k) != new.get(k)))

    @cached_property
    def created(self) -> list[Object]:
        return [self.after.objects[k] for k in sorted(self.keys) if k in self.after.objects and k not in self.before.objects]

    @cached_property
    def dropped(self) -> list[Object]:
        return [self.before.objects[k] for k in sorted(self.keys) if k in self.before.objects and k not in self.after.objects]

    @cached_property
    def altered(self) -> list[tuple[Object, Object]]:
        """(before, after) of the objects that are still there and really differ."""
        pairs = [
            (self.before.objects[k], self.after.objects[k])
            for k in sorted(self.keys)
            if k in self.before.objects and k in self.after.objects
        ]
        return [(old, new) for old, new in pairs if old.changes(new)]


class Mark(NamedTuple):
    """A moment: a transaction id older than all to come, and how much had been written by then, where that is known."""

    xid: str
    counts: Counts | None


class Observer:
    """Follows one connection's database.

    Where others change the schema too, `join` makes it exact at one moment; what others commit after that is not promised to be seen.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._counting, self._counting_all = counting(connection), counting_all(connection)
        self._begun: Counts = {}
        self._since: Counts = {}
        self._seen: frozenset[Version] = frozenset()
        self._saved: tuple[Catalog, frozenset[Version]] | None = None
        self._beyond: dict[str, None] = {}
        self.reset()

    def reset(self) -> None:
        """Read everything anew."""
        self._horizon = horizon(self._connection)
        self.catalog = self._whole = read_catalog(self._connection)

    def begin(self) -> None:
        """Open a transaction that `refresh` can observe. What was noted of a file that committed by itself just before stays."""
        self._start(self._run("BEGIN"))

    def _start(self, begun: Counts) -> None:
        """A transaction began, with these counters: row versions seen in others mean nothing in it."""
        self._begun, self._saved = begun, None
        self.look_again()

    def join(self) -> Catalog:
        """In a transaction begun by somebody else: read what was committed since everything was read, and observe from here on."""
        self.catalog, self._beyond = self._whole, {}
        self._start(self._run(""))
        self._follow(read_committed(self._connection, self._horizon))
        return self.catalog

    def warm(self, kinds: Collection[str]) -> None:
        """Have the server plan now what reading such objects takes, so that it takes no time under locks."""
        first = {kind: [next((o.key.oid for o in self.catalog if o.kind == kind), 0)] for kind in kinds if kind in KINDS}
        read_objects(self._connection, first, [(0, 0), (0, 1)])
        read_objects(self._connection, {}, [(0, 1)])
        self._dependents([])

    def rehearse(self, objects: list[Object]) -> tuple[float, float]:
        """Seconds that `join` takes now, and that `refresh` would after changes to these objects. In an open transaction.

        A refresh looks through no more than `join`, and reads, twice at most, what it found and what speaks of that.
        """
        concerned = [*objects, *(owner for o in objects if (owner := self.catalog.get(o.parent)) is not None)]
        times = []
        for _ in range(4):
            began = time.monotonic()
            self.join()
            joined = time.monotonic()
            read_objects(self._connection, *self._speaking(concerned))
            times.append((joined - began, time.monotonic() - joined))
        joins, reads = zip(*times[1:], strict=True)  # at first its questions are planned
        return median(joins), median(joins) + 2 * median(reads)

    def _count_all(self) -> Counts | None:
        return counts(prepared.run(self._connection, [self._counting_all])[0]) if self._counting_all else None

    def _run(self, sql: str) -> Counts:
        """Run this and read the counters, in one round trip."""
        return counts(prepared.run(self._connection, [self._counting], enter=sql)[0])

    def save(self) -> Catalog:
        """The present state, to return to when the database is rolled back."""
        self._saved = self.catalog, self._seen
        return self.catalog

    def restore(self, state: Catalog) -> None:
        """Go on from this state: what the open transaction wrote is looked at again by the next `refresh`.

        Where it is the one saved last, only what was written since.
        """
        self.look_again()
        self.catalog = state
        if self._saved and self._saved[0] is state:
            self._seen = self._saved[1]

    def look_again(self) -> None:
        """The next `refresh` reads again whatever the open transaction wrote."""
        self._since, self._seen = self._begun, frozenset()

    def refresh(self, sql: str = "") -> Delta:
        """Run `sql` in the open transaction, read what was written there, and return what changed since the last refresh.

        Raises psycopg.Error of `sql`; the catalog is then as it was, and so must the database be made.
        """
        return self._written(self._run(sql))

    def begin_with(self, sql: str, *, leave: str) -> Delta:
        """`begin` and `refresh` in one round trip; leave: one statement of ours, to run last. Raises psycopg.Error: then roll back."""
        begun, now = prepared.run_between(self._connection, self._counting, sql, leave=leave)
        self._beyond = {}
        self._start(counts(begun))
        return self._written(counts(now))

    def _written(self, now: Counts) -> Delta:
        touched = read_touched(self._connection, self._since, now, self._seen)
        self._since = now
        self._seen |= touched.versions
        self._beyond |= dict.fromkeys(touched.beyond)
        return self._follow(touched)

    def mark(self) -> Mark:
        """Of the present, for `catch_up`; outside of transactions."""
        return Mark(mark(self._connection), self._count_all())

    def catch_up(self, since: Mark) -> Delta:
        """Read what was committed since a mark, all of it through this connection; outside of transactions."""
        now = self._count_all()
        self._connection.execute("BEGIN")
        counted = (since.counts, now) if since.counts is not None and now is not None else None
        touched = read_committed(self._connection, since.xid, counted)
        self._beyond = dict.fromkeys(touched.beyond)
        delta = self._follow(touched)
        self._connection.execute("COMMIT")
        return delta

    def _follow(self, touched: Touched) -> Delta:
        before = self.catalog
        self.catalog = before.copy()
        changed: set[Key] = set()
        for key in self._vanished(touched):
            changed |= self._forget(key)
        wanted, columns = self._wanted(touched)
        changed |= self._read(wanted, columns)
        if others := self._more_columns(before, changed) - columns:
            changed |= self._read({}, others)
        if renamed := self._renamed(before, changed):
            changed |= self._propagate(renamed, before)
        return Delta(before, self.catalog, frozenset(changed), "system" in touched.rows)

    def _vanished(self, touched: Touched) -> list[Key]:
        """Objects of the catalogs that lost rows and are not there any more."""
        return [
            key
            for catalog, left in touched.remaining.items()
            for kind in _KINDS_OF.get(catalog, ())
            for key in self.catalog.of_kind(kind)
            if not key.sub and key.oid not in left
        ]

    def _wanted(self, touched: Touched) -> tuple[dict[str, set[int]], set[tuple[int, int]]]:
        """What must be read again: {kind: oids}, and columns as (table, number)."""
        wanted: dict[str, set[int]] = defaultdict(set)
        rows = touched.rows
        for tag in rows.keys() & KINDS.keys() - {"column"}:
            wanted[tag] |= {oid for oid, _ in rows[tag]}
        columns = set(rows.get("column", ()))
        appeared = {oid for oid, _ in rows.get("table", ())} & {oid for oid, _ in columns}
        appeared = {oid for oid in appeared if Key("pg_class", oid) not in self.catalog.objects}
        columns = {(oid, sub) for oid, sub in columns if oid not in appeared} | {(oid, 0) for oid in appeared}
        backed = rows.get("backed constraint", set())
        wanted["constraint"] |= {oid for oid, _ in backed}
        # An index behind a constraint is no object of its own: read only where it was one before.
        behind = {oid for oid, _ in rows.get("behind", ())}
        wanted["index"] = {
            oid
            for oid in wanted["index"] | behind
            if oid not in behind | {i for _, i in backed} or Key("pg_class", oid) in self.catalog.objects
        }
        wanted["extension dependency"] |= {key.oid for key in self.catalog.of_kind("extension dependency")}
        # What an extension takes in is not followed any more.
        for name in _KINDS_OF:
            taken = [Key(name, oid) for oid, _ in rows.get(f"member of {name}", ()) if Key(name, oid) in self.catalog.objects]
            self._add(wanted, columns, [o for key in taken for o in (self.catalog.objects[key], *self.catalog.parts(key.oid))])
        for kind in {kind for catalog in touched.lossy for kind in _READ_ALL.get(catalog, ())}:
            wanted[kind] |= {key.oid for key in self.catalog.of_kind(kind)}
        if "pg_inherits" in touched.lossy:
            related = (o for kind in KINDS.keys() - {"column"} for o in self.catalog.of_kind(kind).values())
            self._add(wanted, columns, [o for o in related if o.facts.get("partitions") or o.facts.get("parents")])
        if comments := rows.get("comment"):
            oids = {oid for oid, _ in comments}
            self._add(wanted, columns, [o for o in self.catalog if o.key[1:] in comments or (not o.key.sub and o.key.oid in oids)])
        if "pg_description" in touched.lossy:
            self._add(wanted, columns, _may_be_commented(self.catalog))
        return wanted, columns

    def _add(self, wanted: dict[str, set[int]], columns: set[tuple[int, int]], chosen: Iterable[Object]) -> None:
        for o in chosen:
            if o.kind == "column":
                columns.add((o.key.oid, o.key.sub))
            else:
                wanted[o.kind].add(o.key.oid)

    def _more_columns(self, before: Catalog, changed: set[Key]) -> set[tuple[int, int]]:
        """Of tables that appeared, or got another owner: facts of all their columns may differ. (Other names are propagated.)"""
        tables = [o for key in changed if (o := self.catalog.objects.get(key)) is not None and o.kind == "table"]
        return {(o.key.oid, 0) for o in tables if (old := before.get(o.key)) is None or old.facts["owner_role"] != o.facts["owner_role"]}

    def _read(self, wanted: dict[str, set[int]], columns: set[tuple[int, int]]) -> set[Key]:
        """Replace what is wanted by what is there now; what is not there any more goes. Returns what changed.

        columns: (table, number), or (table, 0) for all of a table.
        """
        if not columns and not any(wanted.values()):
            return set()
        found = {o.key: o for o in read_objects(self._connection, wanted, columns)}
        changed: set[Key] = set()
        for key in self._stale(wanted, columns, found.keys()):
            changed |= self._forget(key)
        for key, o in found.items():
            if self.catalog.objects.get(key) != o:
                self.catalog.put(o)
                changed.add(key)
        return changed

    def _stale(self, wanted: dict[str, set[int]], columns: set[tuple[int, int]], found: Collection[Key]) -> list[Key]:
        """What was to be read again and is not there any more."""
        mine = self.catalog.objects
        keys = [Key(KINDS[kind].catalog, oid) for kind, oids in wanted.items() for oid in oids]
        stale = [k for k in keys if k not in found and (o := mine.get(k)) is not None and k.oid in wanted.get(o.kind, ())]
        for oid, number in columns:
            keys = [Key("pg_class", oid, number)] if number else [o.key for o in self.catalog.columns(Key("pg_class", oid))]
            stale += [k for k in keys if k not in found and k in mine]
        return stale

    def _forget(self, key: Key) -> set[Key]:
        gone = {key} if self.catalog.remove(key) else set()
        if key.catalog == "pg_class" and not key.sub:  # its columns go with it
            gone |= {o.key for o in self.catalog.columns(key) if self.catalog.remove(o.key)}
        return gone

    def _renamed(self, before: Catalog, keys: set[Key]) -> list[Object]:
        pairs = ((before.objects.get(k), self.catalog.objects.get(k)) for k in keys)
        return [new for old, new in pairs if old and new and (old.name != new.name or _parts(old) != _parts(new))]

    def _propagate(self, renamed: list[Object], before: Catalog) -> set[Key]:
        """Derived text of what speaks of a renamed object is read again."""
        if any(o.kind == "schema" for o in renamed):
            self.catalog = read_catalog(self._connection)
            mine = self.catalog.objects
            return {k for k in before.objects.keys() | mine.keys() if before.objects.get(k) != mine.get(k)}
        return self._read(*self._speaking(renamed))

    def _speaking(self, objects: list[Object]) -> tuple[dict[str, set[int]], set[tuple[int, int]]]:
        """What depends on these, or belongs to these tables: {kind: oids}, and columns as (table, 0)."""
        dependents = self._dependents(objects)
        tables = {o.key.oid for o in objects if o.key.catalog == "pg_class"}
        wanted: dict[str, set[int]] = defaultdict(set)
        columns = {(oid, 0) for oid in tables}
        for key, o in self.catalog.objects.items():
            if (key.catalog, key.oid) in dependents or (o.parent is not None and o.parent.oid in tables):
                if o.kind == "column":
                    columns.add((key.oid, 0))
                else:
                    wanted[o.kind].add(key.oid)
        return wanted, columns

    def _dependents(self, objects: list[Object]) -> set[tuple[str, int]]:
        """(catalog, oid) of what depends on them."""
        arguments = f"{prepared.array(o.key.catalog for o in objects)}, {prepared.array(o.key.oid for o in objects)}"
        (rows,) = prepared.run(self._connection, [prepared.Call(DEPENDENTS, "text[], oid[]", arguments)])
        return {(catalog, oid) for catalog, oid in rows}

    def notes(self, delta: Delta) -> tuple[str, ...]:
        """What went beyond the database and is not part of its catalog."""
        return tuple(self._beyond)

    def check(self) -> list[str]:
        """Names of objects where the model is not what a full read finds: must be empty."""
        actual = read_catalog(self._connection).objects
        mine = self.catalog.objects
        return sorted(
            f"{o.kind} {o.name}" for k in actual.keys() | mine.keys() if actual.get(k) != mine.get(k) for o in [actual.get(k) or mine[k]]
        )


def _may_be_commented(catalog: Catalog) -> list[Object]:
    """Asked of every object of a catalog: the loop is kept short."""
    found = [o for kind in _WITH_PARTS for o in catalog.of_kind(kind).values()]
    for o in catalog.objects.values():
        facts = o.facts
        for name in _SPEAKS.get(o.kind, _ANY_SPEAKS):
            if facts.get(name):
                found.append(o)
                break
    return found


def _parts(o: Object) -> list[Any] | None:
    """Names of parts that are no objects of their own: labels, columns of views, attributes."""
    if o.kind == "enum":
        labels: list[Any] | None = o.facts["labels"]
        return labels
    named = o.facts.get("attributes") or o.facts.get("columns")
    return [part[0] for part in named] if named else None


_WITH_PARTS = frozenset({"composite", "view", "materialized view"})  # comments on their columns are theirs
# Facts of a kind that may hold the comment of something that is no object of its own.
_ANY_SPEAKS = ("comment", "remark", "index_comment", "partitions", "sequence", "not_null_more")
_SPEAKS: dict[str, tuple[str, ...]] = {"table": ("comment",), "column": ("comment", "sequence", "not_null_more")}
# Rows lost there leave no other trace: these kinds are read again whole.
_READ_ALL = {
    "pg_ts_config_map": ("pg_ts_config",),
    "pg_amop": ("pg_opfamily",),
    "pg_amproc": ("pg_opfamily",),
    "pg_user_mapping": ("pg_foreign_server",),
    "pg_publication_rel": ("publication",),
    "pg_publication_namespace": ("publication",),
    "pg_db_role_setting": ("setting",),
}
_KINDS_OF: dict[str, list[str]] = defaultdict(list)
for _kind in KINDS.values():
    _KINDS_OF[_kind.catalog].append(_kind.name)
