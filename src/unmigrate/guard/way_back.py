"""The way back of a guarded migration, and the way forward again, found and tried on scratch where the guarded way up stands committed."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.catalog.parked import is_parked, own_name, plain, without_parked
from unmigrate.catalog.sqltext import UNCHECKED_BODIES
from unmigrate.guard import again, filling, images, online, retaken
from unmigrate.guard.keys import refusals
from unmigrate.guard.names import Names
from unmigrate.guard.observed import Watched
from unmigrate.guard.parking import TYPES, let_go, parkable, parked
from unmigrate.guard.program import Program, Segment
from unmigrate.guard.retyping import retype
from unmigrate.inverse.checks import checks
from unmigrate.inverse.dependents import castable_on, dependents_on
from unmigrate.inverse.invert import invert
from unmigrate.inverse.model import InverseStep
from unmigrate.plan.model import Lock
from unmigrate.prove.attempt import settles
from unmigrate.prove.schema import differences, out_of_order
from unmigrate.sql import script
from unmigrate.sql.script import ScriptError

_ROWS_FIRST = ("table", "column", "enum", "domain", "composite", "sequence", "schema", "extension")


@dataclass(frozen=True, slots=True)
class Way:
    """Statements that were tried. before/after: the catalogs around them; verdict and reason as in prove; destroys: what they lose.

    prepare, finish: (object, SQL) of steps before and after the switch. unknown: columns whose newer rows nobody can work out. locks: of
    the switch. kept: tables and columns that it takes away, and saves in images.
    """

    statements: tuple[str, ...]
    before: Catalog
    after: Catalog
    verdict: str
    reason: str = ""
    destroys: tuple[str, ...] = ()
    prepare: tuple[tuple[str, str], ...] = ()
    unknown: tuple[filling.Filling, ...] = ()
    finish: tuple[tuple[str, str], ...] = ()
    locks: tuple[Lock, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """With the steps before and after the switch."""
        return (*(sql for _, sql in self.prepare), *self.statements, *(sql for _, sql in self.finish))


@dataclass(slots=True)
class _Walk:
    """Runs statements in the open transaction, parking what they would take away.

    after: (object, SQL) of steps after it. builds: looks for indexes that could stand before it; built: those that do, by the number of
    the statement that creates them. types: those that go aside, whether or not something here is of them.
    """

    connection: psycopg.Connection[Any]
    observer: Observer
    names: Names
    after: list[tuple[str, str]]
    types: frozenset[Key] = frozenset()
    builds: online.Builds | None = None
    built: dict[int, online.Built] = field(default_factory=dict)
    number: int = 0
    done: list[str] = field(default_factory=list)
    destroyed: list[str] = field(default_factory=list)
    locks: tuple[Lock, ...] = ()

    def run(self, statements: Iterable[str], *, keep: bool = True) -> None:
        for sql in statements:
            self.number += 1
            self._one(sql, keep)

    def buildable(self) -> dict[int, online.Built]:
        """Indexes that could stand beforehand and are there at the end; not of tables that are rewritten, all their indexes with them."""
        rewritten = {lock.table for lock in self.locks if lock.work == "rewrite"}
        found, end = self.builds.found if self.builds else {}, self.observer.catalog
        return {n: built for n, built in found.items() if built.key in end.objects and built.table not in rewritten}

    def _one(self, sql: str, keep: bool) -> None:
        if (built := self.built.get(self.number)) is not None:
            self._execute([built.rename])
            return
        statement = _parsed(sql)
        if statement and (moved := let_go(statement, self.observer.catalog, self.names, self.types)):
            self._execute(moved)
        before = self.observer.save()
        self.connection.execute("SAVEPOINT unmigrate_step")
        self.connection.execute(sql)
        delta = self.observer.refresh()
        if self.builds is not None:
            self.builds.see(self.number, sql, delta)
        tables, columns = parkable(statement, delta, _worth) if statement else ([], [])
        if statement is None or not (tables or columns):
            self.done.append(sql)
            return
        instead = parked(statement, delta, self.names, _worth) if keep else None
        if instead is None:
            self.destroyed += [o.name for o in (*tables, *columns)]
            self.done.append(sql)
            return
        self.connection.execute("ROLLBACK TO SAVEPOINT unmigrate_step")
        self.observer.restore(before)
        self._execute(instead)

    def _execute(self, statements: list[str]) -> None:
        for one in statements:
            self.connection.execute(one)
        self.observer.refresh()
        self.done += statements


def _worth(o: Object) -> bool:
    return not is_parked(o)


def _parsed(sql: str) -> Any:
    if not sql.lstrip().startswith(("ALTER", "DROP")):
        return None
    try:
        return script.split(sql)[0]
    except ScriptError:
        return None


def back(connection: psycopg.Connection[Any], observer: Observer, names: Names, program: Program, start: Catalog) -> Way:
    """Go back in a new transaction, which stays open. Raises psycopg.Error where a statement fails."""
    before = observer.catalog
    undo = [sql for segment in reversed(program.segments) for sql in _undo(segment, {*before.objects, *start.objects})]
    if any(segment.images for segment in program.segments):
        undo = [*again.remember(names.images), *undo]
    undo += [f"DELETE FROM {c.away}" for c in program.carried]
    walk, fillings = _walked(connection, observer, names, program, before, start, undo)
    verdict, reason = compared(start, observer.catalog)
    if verdict == "equivalent" and not _settled(connection, observer, start):
        verdict = "refused"
    return Way(
        tuple(walk.done),
        before,
        observer.catalog,
        verdict,
        reason,
        tuple(walk.destroyed),
        _prepare(fillings, walk),
        _unknown(fillings),
        tuple(walk.after),
        walk.locks,
    )


def _fillings(
    connection: psycopg.Connection[Any], program: Program, now: Catalog, wanted: Catalog, names: Names, statements: list[str]
) -> list[filling.Filling]:
    """How columns that are parked now, and living in `wanted`, get values for rows written since."""
    required = online.returning(statements)
    known = dict(filling.sources(program.conversions, now))
    imaged = {image.table_after for s in program.segments for image in s.images}
    living = {(o.facts["table"], plain(o.facts["label"])): o for o in wanted if o.kind == "column" and not is_parked(o)}
    found: list[filling.Filling] = []
    for key, parked_ in sorted(now.objects.items()):
        if parked_.kind != "column" or not is_parked(parked_) or parked_.parent is None or is_parked(now.objects[parked_.parent]):
            continue
        was = wanted.get(key)
        if was is None or is_parked(was):  # a converted column: the parked one is another than the one that was there
            was = living.get((parked_.facts["table"], own_name(parked_)))
        if was is None:
            continue
        notnull = (was.facts["table"], was.facts["label"]) in required and parked_.facts["table"] not in imaged
        from_ = known.get(key, filling.Source("", (was.facts["default"] or "") if notnull else "", ""))
        if notnull or from_.source:
            table, label, number = parked_.facts["table"], parked_.facts["label"], len(found) + 1
            value = from_.value if from_.source else filling.default_now(from_.value, parked_.facts["type"])
            value = filling.qualified(connection, table, value) if value else ""
            found.append(
                filling.Filling(
                    number, names.images, table, label, was.name, from_.source, value, from_.forward, notnull, from_.missing_only,
                    parked_.facts["notnull"], refusals(now, parked_), filling.bitwise(_compared(now, parked_, from_)),
                    tuple(_later(program, key, now)), from_.tried,
                )
            )  # fmt: skip
    return found


def _later(program: Program, parked_: Key, now: Catalog) -> Iterator[filling.Later]:
    """What the migration wrote, after converting the column that is parked, to the one that it made of it."""
    converted: Key | None = None
    for segment in program.segments:
        for image in segment.images if converted else ():
            there = {n: o for n, c in image.numbered if (o := now.get(Key("pg_class", image.oid, c.number))) is not None}
            at = next((n for n, o in there.items() if o.key == converted), 0)
            if not at or not image.key or any(k + 1 not in there for k in image.key):
                continue
            texts = {n: c.text_after for n, c in image.numbered}
            key = tuple((k + 1, f"t.{there[k + 1].facts['label']}{'::text' if texts[k + 1] else ''}") for k in image.key)
            yield filling.Later(image.name, key, at, there[at].facts["type"] if texts[at] else "")
        for conversion in segment.conversions:
            converted = conversion.now.key if conversion.parked.key == parked_ else converted


def _compared(now: Catalog, parked_: Object, source: filling.Source) -> Object:
    """The column whose values tell whether the parked one is up to date."""
    if not source.forward:
        return parked_
    return next(c for c in now.columns(parked_.parent or parked_.key) if c.facts["label"] == source.source)


def _undo(segment: Segment, lasting: Collection[Key]) -> list[str]:
    """Compare, and go back. lasting: what is there before or after the migration; what else images hold comes back without its values."""
    taken = [
        replace(i, columns=tuple(replace(c, passing=Key("pg_class", i.oid, c.number) not in lasting) for c in i.columns))
        for i in segment.images
    ]
    compared_ = [sql for image in taken for sql in images.compare(image)]
    return [*compared_, *_around(segment.inverse, images.restore(taken) if taken else [])]


def _around(steps: Iterable[InverseStep], rows: list[str]) -> list[str]:
    """Schema, rows, and then what checks rows: NOT NULL of columns that come back empty, constraints, indexes."""
    steps = list(steps)
    if not rows:
        return [s.sql for s in steps]
    late = [s.sql for s in steps if s.kind not in _ROWS_FIRST]
    early, not_null = [], []
    for step in steps:
        if step.kind not in _ROWS_FIRST:
            continue
        if " ADD COLUMN " in step.sql and step.sql.endswith(" NOT NULL") and not re.search(" DEFAULT | GENERATED ", step.sql):
            table = step.sql.removeprefix("ALTER TABLE ").partition(" ADD COLUMN ")[0]
            label = step.name.removeprefix(f"{table}.")
            not_null.append(f"ALTER TABLE {table} ALTER COLUMN {label} SET NOT NULL")
            early.append(step.sql.removesuffix(" NOT NULL"))
        elif step.sql.endswith(" SET NOT NULL"):
            not_null.append(step.sql)
        else:
            early.append(step.sql)
    drops = [sql for sql in late if _takes(sql)]
    return [*drops, *early, *rows, *not_null, *(sql for sql in late if not _takes(sql))]


def _takes(sql: str) -> bool:
    return sql.startswith("DROP ") or " DROP CONSTRAINT " in sql


def _walked(
    connection: psycopg.Connection[Any], observer: Observer, names: Names, program: Program, now: Catalog, wanted: Catalog,
    statements: list[str], *, keep: bool = True,
) -> tuple[_Walk, list[filling.Filling]]:  # fmt: skip
    """Prepare, and walk the statements between what takes the preparations away again; once more where indexes can be prepared."""
    fillings = _fillings(connection, program, now, wanted, names, statements)
    asked = {check.object for check in checks("", Delta.between(wanted, now))}
    filled, imaged = {f.wanted for f in fillings if f.value}, {image.oid for segment in program.segments for image in segment.images}
    statements, after = online.deferred(statements, online.Between(now, wanted, names.images, asked, filled, imaged))
    types = _made(now, wanted) if keep else frozenset[Key]()
    walk = _Walk(connection, observer, names, after, types, online.Builds(now, names.images))
    connection.execute(UNCHECKED_BODIES)
    connection.execute("SAVEPOINT unmigrate_walk")
    _go(walk, fillings, statements, keep=keep)
    if candidates := walk.buildable():
        connection.execute("ROLLBACK TO SAVEPOINT unmigrate_walk")
        observer.restore(now)
        built = {number: one for number, one in candidates.items() if _stands(connection, one.create)}
        walk = _Walk(connection, observer, names, after, types, built=built)
        _go(walk, fillings, statements, keep=keep)
    for _, sql in walk.after:
        connection.execute(sql)
    observer.look_again()
    observer.refresh()
    return walk, fillings


def _made(now: Catalog, wanted: Catalog) -> frozenset[Key]:
    """Types that are to go, of which later migrations may have parked something.

    In a schema that goes, too, nothing can stay; one that makes room for another of its name could not be told from that.
    """
    gone = [o for o in now if o.key not in wanted.objects and not is_parked(o)]
    schemas = {o.facts["label"] for o in gone if o.kind == "schema"}
    names = {o.name for o in wanted if o.kind in TYPES}
    return frozenset(o.key for o in gone if o.kind in TYPES and o.facts["schema"] not in schemas and o.name not in names)


def _stands(connection: psycopg.Connection[Any], create: str) -> bool:
    """Whether what it needs (an operator class, a function) is there before the switch."""
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(create)
    except psycopg.Error:
        return False
    return True


def _go(walk: _Walk, fillings: list[filling.Filling], statements: Iterable[str], *, keep: bool) -> None:
    watched = Watched(walk.connection)
    for _, sql in _prepare(fillings, walk):
        walk.connection.execute(sql)
    walk.observer.refresh()
    watched.restart()
    walk.run((sql for f in fillings for sql in filling.first(f)), keep=keep)
    walk.run(statements, keep=keep)
    walk.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    walk.locks = watched.locks()


def _prepare(fillings: list[filling.Filling], walk: _Walk) -> tuple[tuple[str, str], ...]:
    """Indexes last: what is filled before they stand need not be entered into them row by row."""
    filled = (step for f in fillings for step in filling.prepare(f))
    return (*filled, *((f"index {b.name}", b.create) for b in walk.built.values()))


def _unknown(fillings: list[filling.Filling]) -> tuple[filling.Filling, ...]:
    return tuple(f for f in fillings if f.unknown)


def forward(connection: psycopg.Connection[Any], observer: Observer, names: Names, program: Program, wanted: Catalog) -> Way:
    """From the way back's end to where the guarded migration stood. Raises psycopg.Error, CannotInvert."""
    before = observer.catalog
    anew = [image for segment in program.segments if segment.structural for image in segment.images]
    held = retaken.held(anew, before, wanted)
    steps = invert(Delta.between(wanted, before), dependents_on(connection), castable_on(connection))
    own = _own_conversions(connection, program, steps, before, wanted)
    rows = [sql for s in program.segments if not s.structural for sql in again.rows_again(s.images, wanted, before)]
    statements = [*retaken.first(anew, before, wanted), *_around(own, rows), *retaken.last(anew, program.followed, before, wanted)]
    walk, fillings = _walked(connection, observer, names, program, before, wanted, statements, keep=False)
    found = [d for d in differences(wanted, observer.catalog) if not d.derived_only]
    verdict = "refused" if found else "exact"
    return Way(
        tuple(walk.done),
        before,
        observer.catalog,
        verdict,
        str(found[0]) if found else "",
        tuple(name for name in walk.destroyed if name not in held),
        _prepare(fillings, walk),
        _unknown(fillings),
        tuple(walk.after),
        walk.locks,
        tuple(sorted(held)),
    )


def _own_conversions(
    connection: psycopg.Connection[Any], program: Program, steps: Iterable[InverseStep], now: Catalog, wanted: Catalog
) -> list[InverseStep]:
    """The steps, where columns with images change their type by the migration's own expressions. Raises CannotInvert, psycopg.Error."""
    known = {key: by for segment in program.segments for key, by in segment.retyped.items()}
    imaged = {Key("pg_class", i.oid, c.number) for s in program.segments if s.structural for i in s.images for c in i.columns if c.after}
    changed = {
        key for key in imaged if key in now.objects and key in wanted.objects and "type" in wanted.objects[key].changes(now.objects[key])
    }
    if unknown := sorted(changed - known.keys()):
        raise CannotInvert(f"nobody knows how {now.objects[unknown[0]].name} is converted")
    result = []
    for step in steps:
        key = next((k for k in step.keys if k in changed), None)
        if key is not None and " TYPE " in step.sql:
            step = replace(step, sql=retype(connection, step.sql, known[key], wanted.objects[key]))
        result.append(step)
    return result


def _settled(connection: psycopg.Connection[Any], observer: Observer, start: Catalog) -> bool:
    """Whether texts that read differently become one when loaded again."""
    saved = observer.save()
    connection.execute("SAVEPOINT unmigrate_settle")
    try:
        return settles(connection, observer, differences(without_parked(start), without_parked(saved)))
    finally:
        connection.execute("ROLLBACK TO SAVEPOINT unmigrate_settle")
        observer.restore(saved)


def compared(wanted: Catalog, found: Catalog, *, one_database: bool = True) -> tuple[str, str]:
    """(verdict, reason) of two catalogs by name, parked things left out. In one database, what survived must bear its own name."""
    old, new = without_parked(wanted), without_parked(found)
    differing = differences(old, new, one_database=one_database)
    if real := [d for d in differing if not d.derived_only]:
        return "refused", str(real[0])
    if order := out_of_order(old, new, old.objects.keys()):
        return "column-order", f"{', '.join(order)} stand in another order"
    return ("equivalent", str(differing[0])) if differing else ("exact", "")
