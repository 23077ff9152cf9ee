"""A whole history, judged: one entry per migration, with its way back as plain SQL for psql."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, TypeVar

import psycopg

from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove import later
from unmigrate.prove.beside import BesideHistory
from unmigrate.prove.cache import AuditCache
from unmigrate.prove.entry import Entry, entry
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.later import Later
from unmigrate.prove.rows import DataProof, RowsHistory
from unmigrate.prove.told import hear
from unmigrate.prove.witness import DumpWitness
from unmigrate.prove.workspace import Workspace

Proofs = Iterator[tuple[SchemaProof, DataProof | None]]
T = TypeVar("T")


def audit(
    work: Workspace,
    migrations: Sequence[Migration],
    *,
    rows: bool,
    cache: AuditCache | None = None,
    witness: DumpWitness | None = None,
    beside: bool = False,
    jobs: int | None = None,
) -> Iterator[Entry]:
    """Prove every migration, in order. With rows, the data half follows the schema half on a database of its own.

    A long history is proved by several processes: the schema half in another one than the rows, or without rows, each its part. jobs:
    how many at most; None: as the machine has processors. With a cache, what an earlier run proved of the same beginning is taken
    from there. A witness must see the whole history: no cache then. beside: reports also hold each statement with what undoes it.
    """
    known = cache.load() if cache else []
    entries = [Entry(**entry) for entry in known]
    yield from entries
    rest = migrations[len(entries) :]
    if not rest:
        return
    data = RowsHistory(cache.database("rows", len(entries)) if cache else work.fresh()) if rows else None
    alone = bool(entries) or beside or (witness is not None and not rows)
    here, *others = [len(rest)] if alone else _shares(rest, later.processes(rest, jobs), rows=rows)
    ends = list(accumulate(others, initial=here))
    there = [Later(work, rest[:a], rest[a:b], entries=not rows) for a, b in pairwise(ends)]  # they start while we get ready
    own = (BesideHistory if beside else History)(cache.database("schema", len(entries)) if cache else work.fresh()) if here else None
    schema = _Schema(work, own, rest[:here], there)
    try:
        for one in _entries(schema, data, witness):
            entries.append(one)
            if isinstance(own, BesideHistory):
                one.report["statements"] = own.beside[one.name]
            yield one
        if schema.stopped:
            yield from _unreached(schema.stopped, migrations[len(entries) :])
        elif cache:
            cache.store(
                [{"name": e.name, "report": e.report, "down": e.down} for e in entries],
                schema.connection(),
                data.connection if data else None,
            )
    finally:
        schema.close()


def _shares(migrations: Sequence[Migration], processes: int, *, rows: bool) -> list[int]:
    """How many each process proves the schema of, ours first; with rows, another process all of them."""
    if rows and processes > 1:
        return [0, len(migrations)]
    return later.shares(len(migrations), processes)


class _Schema:
    """The schema half: the first migrations are proved by `history`, the rest by other processes; here too, should one end early.

    history: None where another process has all to prove; then it gives proofs, else entries. stopped: the migration where the half
    stopped, and why.
    """

    def __init__(self, work: Workspace, history: History | None, first: Sequence[Migration], there: Sequence[Later]) -> None:
        self._work, self._history, self._first, self._there = work, history, first, there
        self._applied = 0  # migrations, in the database of `history`
        self._closed = False
        self.stopped: tuple[str, ReplayError] | None = None

    def proofs(self) -> Iterator[SchemaProof]:
        """Of those that are proved here, or of all where another process gives proofs."""
        if self._history:
            yield from self._own(self._history, self._first)
            return
        (all_,) = self._there
        yield from self._told(all_, hear(all_.messages(), all_.rest), lambda proof: proof)

    def entries(self) -> Iterator[Entry]:
        """Of those for which other processes give entries, after `proofs`."""
        for part in self._there if self._first else ():
            if not self.stopped:
                yield from self._told(part, part.messages(), entry)

    def _told(self, part: Later, messages: Iterator[T], make: Callable[[SchemaProof], T]) -> Iterator[T]:
        """What another process says of its part; where that ended early, what we find by ourselves of the rest."""
        count = 0
        for message in messages:
            count += 1
            yield message
        self.stopped = part.stopped
        if part.finished or self._closed:
            return
        history = self._history = self._history or History(self._work.fresh())
        migrations = [*part.beginning, *part.rest]
        reached = len(part.beginning) + count
        for migration in migrations[self._applied : reached]:
            history.skip(migration)
        self._applied = reached
        yield from map(make, self._own(history, migrations[reached:]))

    def _own(self, history: History, migrations: Sequence[Migration]) -> Iterator[SchemaProof]:
        yield from history.prove_all(migrations)
        self._applied += len(migrations)
        self.stopped = history.stopped

    def connection(self) -> psycopg.Connection[Any]:
        """To the database in which the whole history was applied."""
        if self._there and self._there[-1].finished:
            return self._there[-1].connection()
        assert self._history is not None
        return self._history.connection

    def close(self) -> None:
        self._closed = True
        for part in self._there:
            part.close()


def _entries(schema: _Schema, data: RowsHistory | None, witness: DumpWitness | None) -> Iterator[Entry]:
    for proof, shown in _proofs(schema, data):
        yield entry(*(witness.look(proof) if witness else (proof, False)), shown)
    yield from schema.entries()


def _proofs(schema: _Schema, data: RowsHistory | None) -> Proofs:
    """The two halves overlap: while one waits for its server process, the other works."""
    if data is None:
        yield from ((proof, None) for proof in schema.proofs())
        return
    waiting: queue.Queue[SchemaProof | BaseException | None] = queue.Queue(maxsize=64)

    def produce() -> None:
        try:
            for proof in schema.proofs():
                waiting.put(proof)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=produce, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item, data.prove(item)


def _unreached(stopped: tuple[str, ReplayError], rest: Sequence[Migration]) -> Iterator[Entry]:
    name, reason = stopped
    for migration in rest:
        why = f"does not replay on an empty database: {reason}" if migration.name == name else f"not reached: {name} does not replay"
        unknown: dict[str, Any] = {"verdict": "unknown", "lost": []}
        schema = {"verdict": "refused", "reason": why, "source": None, "mode": None, "dumped": False}
        schema |= {"remedy": reason.remedy} if migration.name == name else {}
        data = {"plain": unknown, "guarded": unknown}
        report = {"name": migration.name, "schema": schema, "data": data, "hand_written": None, "notes": [], "not_covered": ["everything"]}
        yield Entry(migration.name, report, None)
