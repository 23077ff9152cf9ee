"""Rows on the target that would make a guarded way fail, as questions: the inverse's own, and those that only a guard has."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unmigrate.catalog.model import Catalog
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.parked import is_parked
from unmigrate.guard import namesakes
from unmigrate.guard.again import written_since
from unmigrate.guard.filling import Filling, stale
from unmigrate.guard.images import Image
from unmigrate.guard.program import Program
from unmigrate.guard.way_back import Way
from unmigrate.inverse.checks import checks, misfits, removed_labels, sample
from unmigrate.park import vault
from unmigrate.plan.model import Check, Kind

_ASIDE = re.compile(r"_unmigrate_[0-9a-f]+_(?:old|new)_")


@dataclass(frozen=True, slots=True)
class Questions:
    """Of one guarded migration. guard: its id; program: its way up; start: the catalog before it."""

    migration: str
    guard: str
    program: Program
    start: Catalog

    def of(self, way: Way, kind: Kind) -> tuple[Check, ...]:
        """Rows that would make the way fail. Those of tables with images are not asked: they change back first."""
        delta = Delta.between(way.after, way.before)
        imaged = {i.table for s in self.program.segments if kind != "redo" or not s.structural for i in s.images}
        filled = {what.removeprefix("column ") for what, _ in way.prepare if what.startswith("column ")}
        converted = {c.name for conversion in self.program.conversions for c in (conversion.parked, conversion.now)}
        converted |= {o.name for s in self.program.segments for key in s.retyped if (o := way.before.get(key))}
        referring = {o.name for o in way.after if o.kind == "constraint" and o.facts["contype"] == "f" and o.facts["references"] in imaged}
        # A type that the way back made anew does not tell which labels are the same ones under another name.
        done = delta if kind == "redo" else Delta.between(self.start, way.before)
        asked = [c for c in checks(self.migration, delta) if not c.enum]
        found = []
        for check in (*asked, *removed_labels(self.migration, done)):
            about = check.object
            if about in filled | converted | referring or any(about.startswith(f"{table}.") for table in imaged):
                continue
            told = replace(check, object=_own(about), reason=_own(check.reason), ways_out=tuple(map(_own, check.ways_out)))
            found.append(replace(told, later=_asked_later(told, way)))
        found += [_stale_rows(self.migration, f) for f in way.unknown]
        if kind == "redo":
            return (*found, *self._newer(way.before), *self._namesakes(way.before, way.after, "undone"))
        back = (*self._misfits(way.before), *self._astray(), *self._valueless(way.statements))
        return (*found, *back, *self._namesakes(way.before, self.start, "deployed"))

    def _namesakes(self, now: Catalog, then: Catalog, mark: str) -> Iterator[Check]:
        """Rows written to what bears the name of something that returns, since the moment of this mark."""
        same = namesakes.namesakes(now, then, self.program.conversions)
        yield from namesakes.checks(self.migration, self._schema, mark, same)

    @property
    def _schema(self) -> str:
        return vault.guard_schemas(self.guard)[0]

    def _misfits(self, now: Catalog) -> Iterator[Check]:
        """Values written since that have no place in a column which stands beside its new type, as a cast would have met them.

        Under the locks the trigger that fills the old column has seen each of them: the table is not read there.
        """
        for c in self.program.conversions:
            new, old = now.get(c.now.key), now.get(c.parked.key)
            if c.lossless and new and old and is_parked(old) and (check := misfits(self.migration, new, old, now)):
                yield replace(check, later=True)

    def _valueless(self, statements: Sequence[str]) -> Iterator[Check]:
        """Rows written since, of a table whose column comes back from an image, empty for them, and NOT NULL."""
        images = [i for s in self.program.segments for i in s.images if i.table_after is not None and i.key]
        for image, column in ((i, c) for i in images for c in i.columns if c.before and c.after is None):
            step = f"ALTER TABLE {image.table} ALTER COLUMN {column.before} SET NOT NULL"
            if step in statements:
                yield _without_value(self.migration, image, str(column.before), step)

    def _astray(self) -> Iterator[Check]:
        """What nobody could follow while it was parked."""
        keys = "keys of rows were changed since, and nobody knows which old values are whose"
        rows = "what is parked went along with rows that a later migration deleted, and did not return with them"
        listed = [(f.tables[0], f.lost, keys, "these rows then stay as they are") for f in self.program.followed]
        listed += [(c.label, c.left, rows, "it then stays away") for c in self.program.carried]
        for table, lost, reason, then in listed:
            count, some = f"select count(*) from {lost}", f"select why from {lost} limit 5"
            yield Check(self.migration, table, reason, count, some, (f"DELETE FROM {lost}: {then}",))

    def _newer(self, now: Catalog) -> Iterator[Check]:
        """Rows written since the way back, of which nobody knows what the migration would have made. now: after the way back."""
        for key in sorted({key for s in self.program.segments if s.images for key in s.reads or ()}):
            table = now.get(key)
            if table is None or is_parked(table):
                continue
            where = f"from {table.name} t where {written_since(f'{self._schema}.since')}"
            reason = "rows were written since the rollback, and nobody knows what the migration would have made of them"
            ways = ("unmigrate deploy applies the migration anew, from its folder",)
            yield Check(self.migration, table.name, reason, f"select count(*) {where}", sample(where), ways)


def _asked_later(check: Check, way: Way) -> bool:
    """Whether a step after the switch validates what is asked for."""
    null = bool(check.columns) and check.where == f"{check.columns[0]} IS NULL"
    return (f"column {check.object}" if null else f"constraint {check.object}") in {what for what, _ in way.finish}


def _own(text: str) -> str:
    """With the names that parked columns will have again: those are what a person knows."""
    return _ASIDE.sub("", text)


def _stale_rows(migration: str, f: Filling) -> Check:
    """Rows written or edited since, whose old value nobody can work out: never silently the stale one."""
    where = f"from {f.table} t where {stale(f)}"
    reason = f"rows were written or edited since, and nobody knows which value follows from {f.source}"
    ways = (f"--fill '{f.wanted} = <SQL>'",)
    still = f"{f.column} IS NULL" if f.notnull else ""
    count, some = f"select count(*) {where}", sample(where, (f.column,))
    return Check(migration, f.wanted, reason, count, some, ways, f.table, (f.column,), stale(f), still=still)


def _without_value(migration: str, image: Image, label: str, step: str) -> Check:
    same = " AND ".join(f"i.w{k + 1} = {image.columns[k].new('t')}" for k in image.key)
    where = f"from {image.table_after} t where not exists (select from {image.name} i where {same})"
    reason = "rows were written since, and it becomes NOT NULL again without a default"
    count, name = f"select count(*) {where}", f"{image.table}.{label}"
    ways = (f"--fill '{name} = <SQL>'",)
    return Check(migration, name, reason, count, sample(where), ways, image.table, (label,), f"{label} IS NULL", still="", before=step)
