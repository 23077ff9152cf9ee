"""A whole history, judged: one entry per migration, with its way back as plain SQL for psql."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.cache import AuditCache
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.later import Later, cut
from unmigrate.prove.rows import DataProof, RowsHistory
from unmigrate.prove.witness import DumpWitness
from unmigrate.prove.workspace import Workspace

Proofs = Iterator[tuple[SchemaProof, DataProof | None]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration of an audit: its part of the report (docs/json.md), and its way back, None where refused."""

    name: str
    report: dict[str, Any]
    down: str | None


def audit(
    work: Workspace, migrations: Sequence[Migration], *, rows: bool, cache: AuditCache | None = None, witness: DumpWitness | None = None
) -> Iterator[Entry]:
    """Prove every migration, in order. With rows, the data half follows the schema half on a database of its own.

    A long history's schema half is proved by two processes, each on a database of its own; with rows, the two halves share the work.
    With a cache, what an earlier run proved of the same beginning is taken from there. A witness must see the whole history: no cache then.
    """
    known = cache.load() if cache else []
    entries = [Entry(**entry) for entry in known]
    yield from entries
    rest = migrations[len(entries) :]
    if not rest:
        return
    history = History(cache.database("schema", len(entries)) if cache else work.fresh())
    data = RowsHistory(cache.database("rows", len(entries)) if cache else work.fresh()) if rows else None
    here = cut(rest) if not (rows or entries or witness) else len(rest)
    later = Later(work, rest[:here], rest[here:]) if here < len(rest) else None
    try:
        for proof, shown in _proofs(history, data, rest[:here]):
            entries.append(entry(*(witness.look(proof) if witness else (proof, False)), shown))
            yield entries[-1]
        if later and not history.stopped:
            for one in _rest(later, history, rest[here:]):
                entries.append(one)
                yield one
        if stopped := history.stopped or (later and later.stopped):
            yield from _unreached(stopped, migrations[len(entries) :])
        elif cache:
            schema = later.connection() if later and later.finished else history.connection
            cache.store([{"name": e.name, "report": e.report, "down": e.down} for e in entries], schema, data.connection if data else None)
    finally:
        if later:
            later.close()


def _rest(later: Later, history: History, migrations: Sequence[Migration]) -> Iterator[Entry]:
    """What the other process proves; where it ends early, we go on from there."""
    count = 0
    for one in later.entries():
        count += 1
        yield one
    if not later.finished:
        for migration in migrations[:count]:
            history.skip(migration)
        yield from (entry(proof) for proof in history.prove_all(migrations[count:]))


def _proofs(history: History, data: RowsHistory | None, migrations: Sequence[Migration]) -> Proofs:
    """The two halves overlap: while one waits for its server process, the other works."""
    if data is None:
        yield from ((proof, None) for proof in history.prove_all(migrations))
        return
    waiting: queue.Queue[SchemaProof | BaseException | None] = queue.Queue(maxsize=64)

    def produce() -> None:
        try:
            for proof in history.prove_all(migrations):
                waiting.put(proof)
            waiting.put(None)
        except BaseException as error:
            waiting.put(error)

    threading.Thread(target=produce, daemon=True).start()
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item, data.prove(item)


def entry(proof: SchemaProof, dumped: bool = False, data: DataProof | None = None) -> Entry:
    """What the audit says of one migration."""
    outcome = proof.outcome
    plain: dict[str, Any] = {"verdict": "unknown", "lost": []}
    if data is not None:
        plain = {"verdict": data.verdict, "lost": list(data.lost), "reasons": {x.object: x.reason for x in data.losses}}
        plain |= {"blocked": data.blocked} if data.blocked else {}
    written = proof.handwritten
    report = {
        "name": proof.migration.name,
        "schema": {"verdict": outcome.verdict, "reason": outcome.reason, "source": proof.source, "mode": proof.mode, "dumped": dumped},
        "data": {"plain": plain, "guarded": {"verdict": "unknown", "lost": plain["lost"]}},
        "hand_written": {"verdict": written.verdict, "reason": written.reason} if written else None,
        "notes": list(proof.notes),
        "not_covered": list(data.not_covered) if data else ["rows"],
    }
    return Entry(proof.migration.name, report, None if proof.refused else down_sql(proof))


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


def down_sql(proof: SchemaProof) -> str:
    """The way back as a script for psql: one transaction, with the proof's verdict on top."""
    head = [
        f"-- Undoes {proof.migration.name}",
        f"-- Proved by unmigrate: schema {proof.outcome.verdict}" + (f" ({proof.outcome.reason})" if proof.outcome.reason else ""),
    ]
    head = [line.replace("\n", " ") for line in head]
    body = [f"{sql.rstrip().rstrip(';')};" for sql in proof.statements]
    return "\n".join([*head, "BEGIN;", "SET LOCAL check_function_bodies = off;", *body, "COMMIT;", ""])
