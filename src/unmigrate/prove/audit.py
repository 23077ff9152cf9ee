"""A whole history, judged: one entry per migration, with its way back as plain SQL for psql."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.rows import DataProof, RowsHistory

Connect = Callable[[], psycopg.Connection[Any]]
"""Opens a fresh scratch database at the history's beginning (setup done)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration of an audit. data is None where rows were not asked for or the migration did not replay."""

    name: str
    proof: SchemaProof | None
    data: DataProof | None
    stopped: str = ""

    def to_json(self) -> dict[str, Any]:
        """As the --json file of `unmigrate audit` shows it (docs/json.md)."""
        if self.proof is None:
            unknown = {"verdict": "unknown", "lost": []}
            schema = {"verdict": "refused", "reason": self.stopped, "source": None}
            return {"name": self.name, "schema": schema, "data": {"plain": unknown, "guarded": unknown}, "notes": [], "not_covered": []}
        outcome, data = self.proof.outcome, self.data
        plain: dict[str, Any] = {"verdict": "unknown", "lost": []}
        if data is not None:
            plain = {"verdict": data.verdict, "lost": list(data.lost), "reasons": {x.object: x.reason for x in data.losses}}
            plain |= {"blocked": data.blocked} if data.blocked else {}
        guarded = {"verdict": "unknown", "lost": plain["lost"]}
        return {
            "name": self.name,
            "schema": {"verdict": outcome.verdict, "reason": outcome.reason, "source": self.proof.source, "mode": self.proof.mode},
            "data": {"plain": plain, "guarded": guarded},
            "hand_written": self.proof.handwritten and {"verdict": self.proof.handwritten.verdict, "reason": self.proof.handwritten.reason},
            "notes": list(self.proof.notes),
            "not_covered": list(data.not_covered) if data else ["rows"],
        }


def audit(migrations: Sequence[Migration], connect: Connect, *, rows: bool) -> Iterator[Entry]:
    """Prove every migration, in order. With rows, the data half follows the schema half on a database of its own."""
    history = History(connect())
    done: Iterator[Entry]
    if not rows:
        done = (Entry(p.migration.name, p, None) for p in history.prove_all(migrations))
    else:
        done = _with_rows(history, migrations, connect)
    count = 0
    for entry in done:
        count += 1
        yield entry
    if history.stopped:
        name, reason = history.stopped
        yield Entry(name, None, None, f"does not replay on an empty database: {reason}")
        for migration in migrations[count + 1 :]:
            yield Entry(migration.name, None, None, f"not reached: {name} does not replay")


def _with_rows(history: History, migrations: Sequence[Migration], connect: Connect) -> Iterator[Entry]:
    """The two halves overlap: while one waits for its server process, the other works."""
    proofs: queue.Queue[SchemaProof | BaseException | None] = queue.Queue(maxsize=64)

    def produce() -> None:
        try:
            for proof in history.prove_all(migrations):
                proofs.put(proof)
            proofs.put(None)
        except BaseException as error:
            proofs.put(error)

    data = RowsHistory(connect())
    threading.Thread(target=produce, daemon=True).start()
    while (item := proofs.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield Entry(item.migration.name, item, data.prove(item))


def down_sql(proof: SchemaProof) -> str:
    """The way back as a script for psql: one transaction, with the proof's verdict on top."""
    head = [
        f"-- Undoes {proof.migration.name}",
        f"-- Proved by unmigrate: schema {proof.outcome.verdict}" + (f" ({proof.outcome.reason})" if proof.outcome.reason else ""),
    ]
    head = [line.replace("\n", " ") for line in head]
    if proof.source == "hand-written":
        return "\n".join([*head, proof.statements[0], ""])
    body = [f"{sql.rstrip().rstrip(';')};" for sql in proof.statements]
    return "\n".join([*head, "BEGIN;", "SET LOCAL check_function_bodies = off;", *body, "COMMIT;", ""])
