"""Which rows of the source would stop the way up: the questions that a way back would ask, turned round. Counts only; no row is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from unmigrate.catalog.observer import Delta
from unmigrate.inverse.checks import checks
from unmigrate.prove.history import SchemaProof
from unmigrate.rehearse.source import LetGo, Source, said
from unmigrate.sql.writes import writes

_WORDS = (
    (" returns as NOT NULL", " is added as NOT NULL"),
    ("becomes NOT NULL again", "becomes NOT NULL"),
    (" unique again", " unique"),
    (" did not have: ", " has no more: "),
    (" returns, and ", " comes, and "),
    (" returns empty", " is new and empty"),
    (" returns", " comes"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on real rows. rows: how many would stop it, None where it could not be counted (`why`).

    settles: the migration changes rows of this table itself, so that it may settle them first.
    """

    migration: str
    object: str
    reason: str
    rows: int | None
    why: str = ""
    settles: bool = False


def ask(source: Source, proofs: Sequence[SchemaProof]) -> list[Asked]:
    """Count on the source what would stop these migrations on their way up; questions without rows are left out."""
    found: list[Asked] = []
    for number, proof in enumerate(proofs):
        name, delta = proof.migration.name, proof.delta
        text = writes(proof.migration.sql)
        changed = {w.table for w in text.tables} | {w.table for w, _ in text.conversions}
        for check in checks(name, Delta(delta.after, delta.before, delta.keys)):
            reason = _turned(check.reason)
            settles = bool(text.opaque) or any(f".{t}." in f"{check.object}.".replace('"', "") or f"{t} " in check.count for t in changed)
            try:
                ((count,),) = source.rows(check.count)
            except LetGo:
                found.append(Asked(name, check.object, reason, None, "the time to read was over", settles))
                continue
            except psycopg.Error as error:
                if number == 0:  # later ones ask of what the earlier ones make
                    found.append(Asked(name, check.object, reason, None, said(error), settles))
                continue
            if count:
                found.append(Asked(name, check.object, reason, int(count), "", settles))
    return found


def _turned(reason: str) -> str:
    for old, new in _WORDS:
        if old in reason:
            return reason.replace(old, new)
    return reason
