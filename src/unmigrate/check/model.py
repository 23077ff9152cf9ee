"""The result of a check, as plain data that every output is made from."""

from dataclasses import asdict, dataclass
from typing import Any

from unmigrate.lint.model import Finding, Subject
from unmigrate.lint.size import Size

REPORT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Pair:
    """A statement and what undoes it. line: where it begins, from 1; both "" sides mean that there is no such thing."""

    statement: str
    line: int
    inverse: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advice:
    """That a lossy migration can be two. command: that makes them; new: what it adds; flags: of unmigrate.toml, to stand before its use."""

    command: str
    new: tuple[str, ...]
    flags: tuple[str, ...]

    def __str__(self) -> str:
        if self.flags:
            gate = f"use of what is new belongs behind the flag {' or '.join(self.flags)}"
        else:
            gate = "where a feature flag stands before the use of what is new, [[flags]] in unmigrate.toml lets a rollback switch it off"
        return f"{self.command} makes two of it: add and fill now, drop later; {gate}"


@dataclass(frozen=True, slots=True)
class Examined:
    """One new migration: what is known, its size, statement beside inverse, and findings (ours and squawk's)."""

    subject: Subject
    size: Size
    pairs: tuple[Pair, ...]
    findings: tuple[Finding, ...]
    advice: Advice | None = None

    @property
    def name(self) -> str:
        return self.subject.migration.name

    @property
    def schema(self) -> str:
        """exact, equivalent, column-order or refused."""
        return self.subject.proof.outcome.verdict if self.subject.proof else "refused"

    @property
    def data(self) -> str:
        """lossless, lossy or unknown."""
        return self.subject.data.verdict if self.subject.data else "unknown"

    @property
    def not_covered(self) -> tuple[str, ...]:
        data = self.subject.data
        return (*(data.not_covered if data else ()), *self.subject.unjudged)

    def to_json(self) -> dict[str, Any]:
        s = self.subject
        return {
            "name": self.name,
            "file": s.file,
            "schema": {"verdict": self.schema, "reason": s.proof.outcome.reason if s.proof else str(s.failure or "")},
            "data": {"verdict": self.data, "lost": sorted(s.data.lost) if s.data else [], "blocked": s.data.blocked if s.data else ""},
            "losses": [asdict(loss) for loss in (s.data.losses if s.data else s.losses)],
            "can_block": [{"object": c.object, "reason": c.reason, "count": c.count, "ways_out": list(c.ways_out)} for c in s.checks],
            "up": [_lock(lock) for lock in s.up],
            "down": [_lock(lock) for lock in s.down],
            "size": self.size.to_json(),
            "previous_app": [asdict(problem) for problem in s.app],
            "split": asdict(self.advice) if self.advice else None,
            "statements": [asdict(pair) for pair in self.pairs],
            "notes": list(s.proof.notes) if s.proof else [],
            "not_covered": list(self.not_covered),
        }


@dataclass(frozen=True, slots=True)
class Report:
    """A whole check. base: for people; server: what it was proved on; findings: all, those of the history included."""

    base: str
    server: str
    server_version: int
    total: int
    examined: tuple[Examined, ...]
    history: tuple[Finding, ...]
    notes: tuple[str, ...]
    unexamined: tuple[str, ...]
    failed: bool

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.history, *(f for each in self.examined for f in each.findings))

    def to_json(self) -> dict[str, Any]:
        return {
            "version": REPORT_VERSION,
            "base": self.base,
            "server": {"label": self.server, "version": self.server_version},
            "history": {"migrations": self.total, "new": [e.name for e in self.examined], "unexamined": list(self.unexamined)},
            "migrations": [e.to_json() for e in self.examined],
            "findings": [asdict(f) for f in self.findings],
            "notes": list(self.notes),
            "failed": self.failed,
        }


def _lock(lock: Any) -> dict[str, str]:
    return {"table": lock.table, "mode": lock.mode, "work": lock.work}
