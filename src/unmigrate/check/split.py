"""A lossy migration as two: what can be added and filled now, and what is taken away later, when no version of the app uses it.

Decided by running: every piece is watched, what destroys is put off, and so is what cannot run without it. Proved like any migration:
both together lead to the catalog of the original, and the first loses nothing and lets the previous app work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.observer import Delta
from unmigrate.check.examine import examiner
from unmigrate.check.pieces import Piece, joined, pieces
from unmigrate.config.lint import Lint
from unmigrate.errors import RefusedError
from unmigrate.inverse.losses import structure, written
from unmigrate.inverse.replay import ReplayError
from unmigrate.lint.model import Subject
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.beginning import replayed
from unmigrate.prove.dump import dump, first_difference, statements
from unmigrate.prove.history import History
from unmigrate.prove.schema import differences, out_of_order
from unmigrate.prove.workspace import Workspace
from unmigrate.sql import script
from unmigrate.sql.writes import writes

ROUNDS = 6  # tries to let the previous app work by putting more off
GOES = frozenset(
    {"table", "column", "enum", "domain", "composite", "view", "materialized view", "routine", "sequence", "schema", "extension"}
)
BY_HAND = "write the two migrations by hand: add and fill now, drop in a later one"


@dataclass(frozen=True, slots=True)
class Seen:
    """A piece and what it did. waits: it destroys, or asks of every row what the previous app does not write; writes: tables whose rows it
    changes, as they were called before."""

    piece: Piece
    delta: Delta
    waits: bool
    writes: frozenset[str]

    @property
    def touched(self) -> frozenset[str]:
        changed = [*self.delta.created, *self.delta.dropped, *(o for pair in self.delta.altered for o in pair)]
        above = [c.get(o.parent) for o in changed for c in (self.delta.before, self.delta.after)]
        return frozenset(o.name for o in (*changed, *above) if o is not None) | self.writes


@dataclass(frozen=True, slots=True)
class Steps:
    """now and later: statements without semicolons. new: tables and columns that `now` adds; gone: what `later` drops.

    required: of those, what every new row must go on giving a value, and the statement that ends that. again: data changes of `now`
    that may be wanted once more before `later`.
    """

    now: tuple[str, ...]
    later: tuple[str, ...]
    new: tuple[str, ...]
    gone: tuple[str, ...]
    required: tuple[tuple[str, str], ...]
    again: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """A proved split. first and second: what is known of each step. order: only the columns' order differs from the original's."""

    steps: Steps
    first: Subject
    second: Subject
    order: bool


def split(work: Workspace, kept: Sequence[Migration], migration: Migration) -> Split | None:
    """The split of a migration that comes after `kept`, proved; None where it loses nothing and no previous app minds.

    Raises RefusedError where there is none that holds, ReplayError where the migration or what is before it does not run.
    """
    text = script.without_control(migration.sql)
    if text is None:
        raise _refused(f"{migration.name} has transactions of its own: {script.why_not_one_transaction(migration.sql)}")
    parts = _parts(text)
    original, wanted = _original(work, kept, migration)
    if not _takes_away(original):
        return None
    history = replayed(work, kept)
    try:
        seen = _watched(history, parts, migration.name)
        put_off = _put_off(seen)
        for _ in range(ROUNDS):
            now, later = _divided(history, seen, put_off)
            if not now:
                raise _refused(f"{migration.name} only takes away or changes what is there: nothing could go before it", BARE)
            made = _made(seen, now, later, parts)
            found = _proved(work, kept, migration, made, wanted)
            if not isinstance(found, set):
                return found
            more = {p for name in found for p in _last(now, seen, name)}
            put_off |= more
    finally:
        history.connection.close()
    raise _refused(f"no order of the pieces of {migration.name} lets the previous app work")


BARE = "deploy it when no version of the app uses what it drops, with `unmigrate deploy`, which keeps it"


def _refused(message: str, remedy: str = BY_HAND) -> RefusedError:
    return RefusedError(f"no split: {message}", code="no-split", remedy=remedy)


def _parts(sql: str) -> tuple[Piece, ...]:
    try:
        return pieces(sql)
    except script.ScriptError as error:
        raise _refused(f"the migration does not parse: {error}") from error


def _takes_away(subject: Subject) -> bool:
    data = subject.data
    return bool(subject.losses or subject.app or (data is not None and data.losses))


def _original(work: Workspace, kept: Sequence[Migration], migration: Migration) -> tuple[Subject, str]:
    """What the migration is as a whole, and pg_dump's text (or, without a pg_dump, nothing) after it. Raises ReplayError."""
    looking = examiner(work, kept, Lint())
    try:
        subject = looking.examine(migration, migration.name)
        if subject.failure is not None:
            raise subject.failure
        return subject, dump(work, looking.stage.history.connection.info.dbname)
    finally:
        looking.close()


# ------------------------------------------------------------------------------------------------------------------------- deciding


def _watched(history: History, parts: Sequence[Piece], name: str) -> list[Seen]:
    """Every piece run in its order, in one transaction that is rolled back."""
    connection, observer = history.connection, history.observer
    saved = observer.save()
    observer.begin()
    found = []
    try:
        for piece in parts:
            connection.execute(piece.text)
            delta = observer.refresh()
            # what the migration itself made may be filled and dropped again
            changed = {w.object for w in written(name, piece.text, Delta.between(saved, observer.catalog))}
            changed |= {w.object for w in structure(name, delta) if w.kind == "values"}
            taken = any(o.kind in GOES and o.key in saved.objects for o in delta.dropped)
            waits = taken or bool(changed) or piece.required or _asks(delta, saved)
            found.append(Seen(piece, delta, waits, frozenset(changed)))
    except psycopg.Error as error:
        raise _refused(f"run piece by piece it fails: {error.diag.message_primary}") from error
    finally:
        connection.execute("ROLLBACK")
        observer.restore(saved)
    return found


def _asks(delta: Delta, start: Catalog) -> bool:
    """Whether a column that the migration itself added becomes NOT NULL."""
    pairs = [(old, new) for old, new in delta.altered if new.kind == "column" and new.key not in start.objects]
    return any(new.facts["notnull"] and not old.facts["notnull"] and new.facts["default"] is None for old, new in pairs)


def _put_off(seen: Sequence[Seen]) -> set[Piece]:
    """What destroys or asks too much; keys, indexes and triggers that go with it; what meets rows that are changed later."""
    later = {s.piece for s in seen if s.waits}
    going = [o for s in seen for o in s.delta.dropped if o.kind in ("table", "column")]
    changing: set[str] = set()
    for each in seen:
        if each.delta.dropped and all(_belongs(o, going) for o in each.delta.dropped):
            later.add(each.piece)
        if each.touched & changing or any(_within(t, c) for t in each.touched for c in changing):
            later.add(each.piece)
        if each.piece in later:
            changing |= each.writes
    return later


def _belongs(o: Object, going: Sequence[Object]) -> bool:
    """Whether a part falls with a table or a column that goes, or refers to it."""
    if o.kind in ("table", "column"):
        return True
    tables = {g.key.oid: g.name for g in going if g.kind == "table"}
    if o.parent is not None and o.parent.oid in tables:
        return True
    definition = str(o.facts.get("definition", ""))
    if o.facts.get("references") in tables.values():
        return True
    columns = [g for g in going if g.kind == "column" and o.parent is not None and g.key.oid == o.parent.oid]
    return any(c.facts["label"] in definition for c in columns)


def _within(name: str, other: str) -> bool:
    return name.startswith(f"{other}.") or name == other


def _divided(history: History, seen: Sequence[Seen], put_off: set[Piece]) -> tuple[list[Piece], list[Piece]]:
    """(now, later): what fails without what is put off is put off too."""
    connection = history.connection
    now: list[Piece] = []
    connection.execute("BEGIN")
    try:
        for piece in (s.piece for s in seen if s.piece not in put_off):
            connection.execute("SAVEPOINT unmigrate_piece")
            try:
                connection.execute(piece.text)
                now.append(piece)
            except psycopg.Error:
                connection.execute("ROLLBACK TO SAVEPOINT unmigrate_piece")
    finally:
        connection.execute("ROLLBACK")
    return now, [s.piece for s in seen if s.piece not in now]


def _made(seen: Sequence[Seen], now: Sequence[Piece], later: Sequence[Piece], parts: Sequence[Piece]) -> Steps:
    first = [s for s in seen if s.piece in now]
    last = [s for s in seen if s.piece in later]
    new = [o.name for s in first for o in s.delta.created if o.kind in ("table", "column")]
    tables = {o.name for s in first for o in s.delta.created if o.kind == "table"}
    new = [n for n in new if n in tables or not any(n.startswith(f"{t}.") for t in tables)]
    gone = [o for s in last for o in s.delta.dropped if o.kind in ("table", "column")]
    whole = {o.key.oid for o in gone if o.kind == "table"}
    gone = [o for o in gone if o.kind == "table" or o.key.oid not in whole]
    again = [s.piece.text for s in first if writes(s.piece.text).tables]
    told = tuple(dict.fromkeys(o.name for o in gone))
    return Steps(tuple(joined(now, parts)), tuple(joined(later, parts)), tuple(new), told, _still_required(last, gone), tuple(again))


def _still_required(last: Sequence[Seen], gone: Sequence[Object]) -> tuple[tuple[str, str], ...]:
    """Columns that go and cannot be left out of a row until then."""
    constraints = [o for s in last[:1] for o in s.delta.before.of_kind("constraint").values()]
    keyed = {each for o in constraints if o.facts["contype"] == "p" for each in _key(o)}
    return tuple(
        (o.name, f"ALTER TABLE {o.facts['table']} ALTER COLUMN {o.facts['label']} DROP NOT NULL")
        for o in gone
        if o.kind == "column"
        and o.facts["notnull"]
        and o.facts["default"] is None
        and not o.facts["identity"]
        and not o.facts["generated"]
        and (o.key.oid, o.facts["label"]) not in keyed
    )


def _key(constraint: Object) -> list[tuple[int, str]]:
    owner = constraint.parent.oid if constraint.parent else 0
    inside = constraint.facts["definition"].partition("(")[2].partition(")")[0]
    return [(owner, name.strip()) for name in inside.split(",")]


def _last(now: Sequence[Piece], seen: Sequence[Seen], name: str) -> list[Piece]:
    """The last of the pieces that have to do with what the previous app misses."""
    return [s.piece for s in seen if s.piece in now and any(_within(name, t) or _within(t, name) for t in s.touched)][-1:] or [now[-1]]


# ------------------------------------------------------------------------------------------------------------------------- proving


def _proved(work: Workspace, kept: Sequence[Migration], migration: Migration, made: Steps, wanted: str) -> "Split | set[str]":
    """The split with its proof; or what the previous app misses after the first step. Raises RefusedError where it does not hold."""
    now, later = (_migration(migration, word, sql) for word, sql in (("expand", made.now), ("contract", made.later)))
    looking = examiner(work, kept, Lint())
    try:
        first = looking.examine(now, now.name)
        _holds(first, "first")
        if first.app:
            return {problem.object for problem in first.app}
        second = looking.examine(later, later.name)
        if second.failure is not None:
            raise _refused(f"the second step fails: {second.failure}")
        order = _compare(work, kept, migration, looking.stage.history, wanted)
    finally:
        looking.close()
    return Split(made, first, second, order)


def _migration(of: Migration, word: str, sql: Sequence[str]) -> Migration:
    return Migration(f"{of.name}_{word}", Path(f"{of.name}_{word}"), ";\n".join(sql) + ";\n", "")


def _holds(first: Subject, word: str) -> None:
    if first.failure is not None:
        raise _refused(f"the {word} step fails: {first.failure}")
    if first.proof is None or first.proof.refused:
        reason = first.proof.outcome.reason if first.proof else "it was not proved"
        raise _refused(f"the {word} step has no proved way back: {reason}")
    if first.data is None or first.data.losses:
        lost = ", ".join(first.data.lost) if first.data else "not asked"
        raise _refused(f"the {word} step would lose data: {lost}")


def _compare(work: Workspace, kept: Sequence[Migration], migration: Migration, history: History, wanted: str) -> bool:
    """Whether only the order of columns differs from the original. Raises RefusedError where anything else does."""
    found = history.observer.catalog
    text = dump(work, history.connection.info.dbname)
    other = replayed(work, kept)
    try:
        other.skip(migration)
        original = other.observer.catalog
    except ReplayError as error:
        raise _refused(str(error)) from error
    finally:
        other.connection.close()
    real = [d for d in differences(original, found, one_database=False) if not d.derived_only]
    if real:
        raise _refused(f"both steps together do not lead where the migration leads: {real[0]}")
    order = bool(out_of_order(original, found, original.of_kind("table").keys()))
    if wanted and statements(wanted, not order) != statements(text, not order) and statements(wanted, False) != statements(text, False):
        raise _refused(f"both steps together do not lead where the migration leads: {first_difference(wanted, text)}")
    return order
