"""A whole history, judged: one entry per migration, with its way back as plain SQL for psql."""

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

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

    A long history is proved by two processes: the schema half in another one than the rows, or without rows, its later part. jobs: 1
    forbids that; None: where the machine has the processors. With a cache, what an earlier run proved of the same beginning is taken
    from there. A witness must see the whole history: no cache then. beside: reports also hold each statement with what undoes it.
    """
    known = cache.load() if cache else []
    entries = [Entry(**entry) for entry in known]
    yield from entries
    rest = migrations[len(entries) :]
    if not rest:
        return
    data = RowsHistory(cache.database("rows", len(entries)) if cache else work.fresh()) if rows else None
    here = len(rest)
    if later.worth_it(rest, jobs) and not entries and not beside and (rows or not witness):
        here = 0 if rows else later.cut(rest)
    there = Later(work, rest[:here], rest[here:], entries=bool(here)) if here < len(rest) else None  # it starts while we get ready
    own = (BesideHistory if beside else History)(cache.database("schema", len(entries)) if cache else work.fresh()) if here else None
    schema = _Schema(work, own, rest[:here], rest[here:], there)
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


class _Schema:
    """The schema half: the first migrations are proved by `history`, the rest by another process; here too, should that end early.

    history: None where the other process has all to prove; then it gives proofs, else entries. stopped: the migration where the half
    stopped, and why.
    """

    def __init__(
        self, work: Workspace, history: History | None, first: Sequence[Migration], rest: Sequence[Migration], later: Later | None
    ) -> None:
        self._work, self._history, self._first, self._rest, self._later = work, history, first, rest, later
        self._alone = not rest or history is None  # whether `proofs` gives them all
        self._closed = False
        self.stopped: tuple[str, ReplayError] | None = None

    def proofs(self) -> Iterator[SchemaProof]:
        """Of those that are proved here, or of all where the other process gives proofs."""
        if self._history:
            yield from self._own(self._history, self._first)
            return
        assert self._later is not None
        count = 0
        for proof in hear(self._later.messages(), self._rest):
            count += 1
            yield proof
        self.stopped = self._later.stopped
        if not self._later.finished and not self._closed:
            yield from self._go_on(History(self._work.fresh()), count)

    def entries(self) -> Iterator[Entry]:
        """Of those that the other process proves where it gives entries, after `proofs`."""
        if self._alone or self.stopped:
            return
        assert self._later is not None and self._history is not None
        count = 0
        for one in self._later.messages():
            count += 1
            yield one
        self.stopped = self._later.stopped
        if not self._later.finished:
            yield from map(entry, self._go_on(self._history, count))

    def connection(self) -> psycopg.Connection[Any]:
        """To the database in which the whole history was applied."""
        if self._later and self._later.finished:
            return self._later.connection()
        assert self._history is not None
        return self._history.connection

    def close(self) -> None:
        self._closed = True
        if self._later:
            self._later.close()

    def _own(self, history: History, migrations: Sequence[Migration]) -> Iterator[SchemaProof]:
        yield from history.prove_all(migrations)
        self.stopped = history.stopped

    def _go_on(self, history: History, count: int) -> Iterator[SchemaProof]:
        """The other process ended after so many of its migrations."""
        self._history = history
        for migration in self._rest[:count]:
            history.skip(migration)
        yield from self._own(history, self._rest[count:])


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
