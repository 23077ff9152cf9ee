"""What an audit says of one migration: its part of the report, and its way back as a script for psql."""

from dataclasses import dataclass
from typing import Any

from unmigrate.catalog.sqltext import UNCHECKED_BODIES
from unmigrate.inverse import unseen
from unmigrate.prove.history import SchemaProof
from unmigrate.prove.rows import DataProof


@dataclass(frozen=True, slots=True)
class Entry:
    """One migration of an audit: its part of the report (docs/json.md), and its way back, None where refused."""

    name: str
    report: dict[str, Any]
    down: str | None


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
        "not_covered": list(data.not_covered) if data else ["rows", *unseen.told(proof.migration.sql, proof.delta)],
    }
    return Entry(proof.migration.name, report, None if proof.refused else down_sql(proof))


def down_sql(proof: SchemaProof) -> str:
    """The way back as a script for psql: one transaction, with the proof's verdict on top."""
    head = [
        f"-- Undoes {proof.migration.name}",
        f"-- Proved by unmigrate: schema {proof.outcome.verdict}" + (f" ({proof.outcome.reason})" if proof.outcome.reason else ""),
    ]
    head = [line.replace("\n", " ") for line in head]
    body = [f"{sql.rstrip().rstrip(';')};" for sql in proof.statements]
    return "\n".join([*head, "BEGIN;", f"{UNCHECKED_BODIES};", *body, "COMMIT;", ""])
