"""Finding, on scratch, the statements of a guarded migration: the migration's own, with what keeps things put between them.

Each statement is run and observed. One that would destroy what was there before runs again with the thing parked (`parking`), or,
where that is not possible, with its rows copied (`images`); one that changes rows runs with images of them taken.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.catalog.sqltext import comment_sql
from unmigrate.config.park import Park
from unmigrate.guard import images
from unmigrate.guard.carried import carried, carry
from unmigrate.guard.filling import Conversion
from unmigrate.guard.images import Image
from unmigrate.guard.imaging import Imaging, recordable
from unmigrate.guard.keeping import forgets
from unmigrate.guard.keys import parents_first, without_leaves
from unmigrate.guard.names import Names
from unmigrate.guard.observed import Watched
from unmigrate.guard.parking import let_go, parkable, parked
from unmigrate.guard.program import Program, Segment
from unmigrate.guard.retyping import Using, using
from unmigrate.guard.reused import follow, followed
from unmigrate.guard.stake import ALL, AtStake, Stake, at_stake
from unmigrate.guard.statement import alteration, assignments, casts, inlined, named, with_commands
from unmigrate.guard.types import bound
from unmigrate.inverse.dependents import castable_on, dependents_on
from unmigrate.inverse.invert import invert
from unmigrate.inverse.losses import resolve, structure, written
from unmigrate.inverse.model import InverseStep, Loss
from unmigrate.inverse.unseen import shifted, trimmed
from unmigrate.sql.script import Statement, split
from unmigrate.sql.writes import writes

_PURE = frozenset({"InsertStmt", "UpdateStmt", "DeleteStmt"})
_OPAQUE = frozenset({*_PURE, "TruncateStmt", "DoStmt", "SelectStmt", "CallStmt", "ExecuteStmt", "CopyStmt", "MergeStmt"})
_STRUCTURAL = frozenset({"AlterTableStmt", "DropStmt"})


class Recorder:
    """Builds a Program in the open transaction of `observer`, which must have begun one. fine: one segment per statement.

    rewriting: columns are kept beside their new type wherever that rewrites the table, not only where it loses something.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], observer: Observer, names: Names, migration: str, park: Park, *, fine: bool = False,
        rewriting: bool = False,
    ) -> None:  # fmt: skip
        self._connection, self._observer, self._names, self._migration, self._fine = connection, observer, names, migration, fine
        self._rewriting = rewriting
        self._park = park
        self._start = observer.catalog
        self._from = observer.catalog
        self._pending: list[str] = []
        self._images = 0
        self._imaging = Imaging(connection, observer.catalog, names, park)
        self._copied: dict[Key, Conversion | None] = {}
        self._inserted: set[Key] = set()
        self.program = Program()

    def record(self, statements: Iterable[Statement]) -> Program:
        """Run them all. Raises psycopg.Error where the guarded way fails, CannotInvert where there is no way back."""
        for statement in statements:
            if not statement.control:
                self._one(statement)
                if self._fine:
                    self._close()
        self._close()
        self._follow()
        self._keep_copied()
        return self.program

    def _keep_copied(self) -> None:
        end = self._observer.catalog
        self.program.copied = [
            replace(c, stays=not is_parked(end.objects[c.parked.key]))
            for c in self._copied.values() if c is not None and c.parked.key in end.objects and c.now.key in end.objects
        ]  # fmt: skip

    def whole(self, text: str) -> Program:
        """The migration as it stands, between copies of what it destroys or changes: as somebody else will run it. Raises as `record`."""
        statements = [s for s in split(text) if not s.control]
        start = self._observer.save()
        self._connection.execute("SAVEPOINT unmigrate_whole")
        retyped: dict[Key, Using | None] = {}
        for statement in statements:
            self._copies(statement)
            self._connection.execute(statement.text)
            converted = [now for was, now in self._observer.refresh().altered if now.kind == "column" and "type" in now.changes(was)]
            for key, by in using(self._connection, statement, converted).items():
                retyped[key] = None if key in retyped else by  # converted twice, there is no one expression
        after = self._observer.catalog
        stake = at_stake(self._migration, text, Delta.between(start, after), self._worth)
        reads = self._reads(statements, [t for key, at in stake.items() if at.columns is None and (t := after.get(key))])
        self._connection.execute("ROLLBACK TO SAVEPOINT unmigrate_whole")
        self._observer.restore(start)
        tables = [start.objects[key] for key in sorted(stake)]
        if parted := [t.name for t in tables if not self._recordable(t)]:
            raise CannotInvert(f"rows of partitions and of inherited tables are not followed: {', '.join(parted)}")
        self._with_images(text, tables, images.before, images.after, reads, stake, {key: by for key, by in retyped.items() if by})
        self._refuse_outdated()
        self._follow()
        self._keep_copied()
        return self.program

    def _refuse_outdated(self) -> None:
        """An old value is worth nothing where its copy, which the application edits, lives on: only what is parked follows that."""
        end = self._observer.catalog
        for c in self._copied.values():
            if c is not None and c.parked.key not in end.objects and c.now.key in end.objects:
                raise CannotInvert(f"{c.parked.name} goes after it was copied to {c.now.name}: what is edited there would not come back")

    def _reads(self, statements: Iterable[Statement], written_: list[Object]) -> frozenset[Key] | None:
        """What decided about the rows that the statements wrote; None where nobody can tell."""
        if not written_:
            return frozenset()
        read: set[Key] = set()
        for statement in statements:
            if statement.node in _OPAQUE and statement.node not in _PURE:
                return None
            if statement.node in _PURE:
                found = self._read(statement, written_)
                if found is None:
                    return None
                read |= found
        return frozenset(read)

    def _one(self, statement: Statement) -> None:
        changed = self._written(statement)
        self._copies(statement)
        if changed and statement.node in _PURE and all(self._recordable(t) for t in changed):
            self._with_images(statement.text, changed, images.arm, images.disarm, self._read(statement, changed))
            return
        if freed := let_go(statement, self._observer.catalog, self._names):
            self._run(freed)
        before = self._observer.save()
        altered = alteration(statement) if self._rewriting else None
        watched = Watched(self._connection) if altered and altered.conversions else None
        self._connection.execute("SAVEPOINT unmigrate_statement")
        self._connection.execute(statement.text)
        delta = self._observer.refresh()
        tables, columns = parkable(statement, delta, self._worth)
        converted = self._converted(statement, delta)
        retyped = using(self._connection, statement, [now for o in converted if (now := delta.after.get(o.key))])
        moved = self._moved(delta, watched) if watched and not (changed or tables or columns) else []
        if not (changed or tables or columns or converted or moved):
            self._pending.append(statement.text)
            return
        self._connection.execute("ROLLBACK TO SAVEPOINT unmigrate_statement")
        self._observer.restore(before)
        aside = self._park.mode == "auto"
        if aside and (converted or moved) and not (tables or columns) and self._retyped(statement, converted, moved):
            return
        if moved and not converted:
            self._run([statement.text])
            return
        if aside and not (changed or converted) and (instead := parked(statement, delta, self._names, self._worth)) is not None:
            self._run([*instead, *self._forgetting(tables)])
            return
        owners = [before.objects[c.parent] for c in (*converted, *columns) if c.parent]
        concerned = list({t.key: t for t in (*changed, *tables, *owners)}.values())
        reads = self._read(statement, concerned) if changed or statement.node not in _STRUCTURAL else frozenset()
        self._with_images(statement.text, concerned, images.before, images.after, reads, retyped=retyped)

    def _run(self, statements: Sequence[str]) -> None:
        for sql in statements:
            self._connection.execute(sql)
        self._observer.refresh()
        self._pending += statements

    def _close(self) -> None:
        """End the present segment of plain statements."""
        if self._pending:
            self.program.segments.append(Segment(tuple(self._pending), self._inverse()))
        self._pending, self._from = [], self._observer.catalog

    def _follow(self) -> None:
        """From now on images know when a key of theirs goes or changes, and parked columns when a row goes and returns."""
        self._observer.look_again()  # to be sure of the whole
        images = [image for segment in self.program.segments for image in segment.images]
        self.program.followed = followed(images, self._observer.catalog, self._names)
        self.program.carried = carried(self._observer.catalog, self._names)
        self.program.following = tuple(sql for one in self.program.followed for sql in follow(one))
        self._run(self.program.following)
        self._run([sql for each in self.program.carried for sql in carry(each)])
        self._close()

    def _inverse(self) -> tuple[InverseStep, ...]:
        """What leads back to the beginning of the segment; asked now, while its objects are there."""
        delta = Delta.between(self._from, self._observer.catalog)
        return tuple(invert(delta, dependents_on(self._connection), castable_on(self._connection)))

    # what is concerned

    def _worth(self, o: Object) -> bool:
        return o.key in self._start.objects and not is_parked(o) and not forgets(self._park, o)

    def _forgetting(self, tables: list[Object]) -> Iterator[str]:
        """Of tables that were moved to the vault: what must not be kept there."""
        for table in tables:
            for column in self._start.columns(table.key):
                if forgets(self._park, column):
                    yield f"ALTER TABLE {self._names.schema}.{table.facts['label']} DROP COLUMN {column.facts['label']} CASCADE"

    def _written(self, statement: Statement) -> list[Object]:
        """Tables of before the migration whose rows the statement may change, as they are now; type changes are told apart."""
        if statement.node == "AlterTableStmt":
            return []
        now = self._observer.catalog
        delta = Delta.between(self._start, now)
        found = {}
        for loss in written(self._migration, statement.text, delta):
            for o in self._start:
                if o.kind == "table" and (loss.object == o.name or loss.object.startswith(f"{o.name}.")) and o.key in now.objects:
                    found[o.key] = now.objects[o.key]
        tables = {o.key: o for o in self._start if o.kind == "table"}
        targets = [(write.verb, t.key) for write in writes(statement.text).tables for t in resolve(write, delta, tables)]
        # Whether a row is as it was inserted shows only where later changes of new columns are taken back too.
        found |= {key: now.objects[key] for _, key in targets if key in self._inserted and key in now.objects}
        self._inserted |= {key for verb, key in targets if verb == "insert"}
        self.program.writes |= found.keys() | {key for _, key in targets}
        return sorted(found.values(), key=lambda o: o.key)

    def _converted(self, statement: Statement, delta: Delta) -> list[Object]:
        """Columns, as before the statement, whose values a type change of it does not give back."""
        names = {loss.object for loss in structure(self._migration, delta) if loss.kind == "values"}
        names |= {old.name for old, _ in trimmed(delta)}
        if (zoned := shifted(delta)) and self._in_another_zone():
            names |= {o.name for o in zoned}
        if statement.node == "AlterTableStmt":
            names |= {loss.object for loss in written(self._migration, statement.text, delta)}
        return sorted((o for o in delta.before if o.kind == "column" and o.name in names and self._worth(o)), key=lambda o: o.key)

    def _in_another_zone(self) -> bool:
        """Whether the migration has set the time zone: the way back converts in the session's own."""
        row = self._connection.execute("SELECT setting <> reset_val FROM pg_settings WHERE name = 'TimeZone'").fetchone()
        return bool(row and row[0])

    def _recordable(self, table: Object) -> bool:
        return recordable(table, self._observer.catalog)

    # columns made from others

    def _copies(self, statement: Statement) -> None:
        """Remember which column of its own the migration fills from which one; a column filled twice is made from nobody knows what."""
        now = self._observer.catalog
        for one in assignments(statement):
            tables = [o for o in now if o.kind == "table" and plain(o.facts["label"]) == one.table]
            tables = [t for t in tables if not one.schema or plain(t.facts["schema"]) == one.schema]
            columns = {plain(c.facts["label"]): c for c in now.columns(tables[0].key)} if len(tables) == 1 else {}
            target, source = columns.get(one.target), columns.get(one.source)
            if target is None or source is None or target.key in self._start.objects or source.key not in self._start.objects:
                continue
            if target.key in self._copied or (one.not_null and target.facts["default"] is not None):
                self._copied[target.key] = None
                continue
            label, old = target.facts["label"], source.facts["type"]
            compiles = castable_on(self._connection)(f"{label}::{old} from (select null::{target.facts['type']} as {label}) q")
            backward = f"{label}::{old}" if one.cast and compiles else ""
            self._copied[target.key] = Conversion(source, target, f"({one.expression})::{target.facts['type']}", backward)

    # types

    def _moved(self, delta: Delta, watched: Watched) -> list[Object]:
        """Columns, as before the statement, with another type in a table that it has rewritten."""
        rewritten = {lock.table for lock in watched.locks() if lock.work == "rewrite"}
        pairs = (old for old, new in delta.altered if new.kind == "column" and "type" in new.changes(old))
        return sorted((o for o in pairs if o.facts["table"] in rewritten and self._worth(o)), key=lambda o: o.key)

    def _retyped(self, statement: Statement, lossy: list[Object], moved: list[Object]) -> bool:
        """Keep the old columns beside the new ones, filled by the same rewrite of the table; False where that cannot be."""
        altered, old = alteration(statement), sorted({o.key: o for o in (*lossy, *moved)}.values(), key=lambda o: o.key)
        if altered is None or not all(self._simple(o) and plain(o.facts["label"]) in altered.conversions for o in old):
            return False
        if any(plain(o.facts["label"]) not in altered.alone for o in old):
            return False  # what other columns hold by then would pass for an edit
        before = self._observer.catalog
        self._close()
        asides = {o.key: self._names.aside(o.facts["label"], o.facts["table"]) for o in old}
        statements = list(self._keeping(statement, old, asides))
        for sql in statements:
            self._connection.execute(sql)
        self._observer.refresh()
        after = self._observer.catalog
        columns = {plain(c.facts["label"]): c for c in after.columns(old[0].parent or old[0].key)}
        beside = {key: columns[plain(name)] for key, name in asides.items()}
        kept = ((o, self._conversion(after.objects[o.key], beside[o.key], altered.conversions[plain(o.facts["label"])])) for o in old)
        conversions = tuple(replace(conversion, lossless=o not in lossy) for o, conversion in kept)
        # To the inverter the parked column is the one that was there, and the converted one is new.
        seen = Catalog.of(replace(o, key=beside[o.key].key) if o.key in beside else o for o in before)
        inverse = tuple(invert(Delta.between(seen, after), dependents_on(self._connection), castable_on(self._connection)))
        self.program.segments.append(Segment(tuple(statements), inverse, (), conversions))
        self._from = after
        return True

    def _keeping(self, statement: Statement, old: list[Object], asides: dict[Key, str]) -> Iterator[str]:
        for o in old:
            yield f"ALTER TABLE {o.facts['table']} ADD COLUMN {asides[o.key]} {_type(o)}"
        yield with_commands(statement, ", ".join(f"ALTER COLUMN {asides[o.key]} TYPE {_type(o)} USING {o.facts['label']}" for o in old))
        for o in old:
            about = f"parked by unmigrate {self._names.id}: was {o.facts['label']}"
            yield comment_sql(f"COLUMN {o.facts['table']}.{asides[o.key]}", about)

    def _simple(self, column: Object) -> bool:
        f = column.facts
        table = self._observer.catalog.get(column.parent)
        owned = any(o.kind == "sequence" and o.parent == column.key for o in self._observer.catalog)
        return not (f["identity"] or f["generated"] or f["inherited"] or owned) and table is not None and self._recordable(table)

    def _conversion(self, now: Object, parked_: Object, using: str | None) -> Conversion:
        label, own, type_, old = now.facts["label"], parked_.facts["label"], now.facts["type"], parked_.facts["type"]
        forward = f"({inlined(using, plain(label), plain(own))})::{type_}" if using is not None else f"{own}::{type_}"
        ask = castable_on(self._connection)
        source = f"(select null::{type_} as {label}) q"
        backward = next((e for e in (f"{label}::{old}", f"{label}::text::{old}") if ask(f"{e} from {source}")), "")
        tried = bool(using) and not casts(using or label, plain(label))
        forward, backward = bound(self._connection, forward), bound(self._connection, backward) if backward else ""
        return Conversion(parked_, now, forward, backward, tried=tried)

    # images

    def _with_images(
        self, text: str, tables: list[Object], begin: Any, end: Any, reads: frozenset[Key] | None, stake: Stake | None = None,
        retyped: dict[Key, Using] | None = None,
    ) -> None:  # fmt: skip
        """Run the text with images of these tables; those without a key cannot be kept. stake: which of their columns, None for all."""
        self._close()
        before = self._observer.catalog
        self._connection.execute("SAVEPOINT unmigrate_statement")
        self._connection.execute(text)
        self._observer.refresh()
        after = self._observer.catalog
        self._connection.execute("ROLLBACK TO SAVEPOINT unmigrate_statement")
        self._observer.restore(before)
        only, imaged = stake or {}, without_leaves(tables, before)
        taken = [i for table in parents_first(imaged, before) if (i := self._image(table, before, after, only.get(table.key, ALL)))]
        statements = [sql for i in taken for sql in begin(i)] + [text] + [sql for i in taken for sql in end(i)]
        for sql in statements:
            self._connection.execute(sql)
        self._observer.refresh()
        self.program.segments.append(Segment(tuple(statements), self._inverse(), tuple(taken), reads=reads, retyped=retyped or {}))
        self._from = self._observer.catalog

    def _read(self, statement: Statement, tables: list[Object]) -> frozenset[Key] | None:
        """The tables that a statement reads, besides those it changes; None where views or functions may read others."""
        found = named(statement) if statement.node in _PURE or statement.node == "TruncateStmt" else None
        if found is None:
            return None
        now, read = self._observer.catalog, {t.key for t in tables}
        for o in now:
            if o.kind == "routine" and plain(o.facts["label"]) in found.functions:
                return None
            if plain(o.facts.get("label") or "") in found.relations and "schema" in o.facts:
                if o.kind in ("view", "materialized view"):
                    return None
                read |= {o.key} if o.kind == "table" else set()
        return frozenset(read)

    def _image(self, table: Object, before: Catalog, after: Catalog, at: AtStake) -> Image | None:
        taken = self._imaging.image(self._images + 1, table, before, after, at)
        if taken is None:
            self.program.unkept.append(Loss(self._migration, table.name, "values", "rows of a table without a key cannot be told apart"))
        else:
            self._images += 1
        return taken


def _type(column: Object) -> str:
    collation = f" COLLATE {column.facts['collation']}" if column.facts["collation"] else ""
    return f"{column.facts['type']}{collation}"
