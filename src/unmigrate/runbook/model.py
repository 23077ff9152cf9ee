"""A run as data: what is to be done (Spec), what was done (Record), how a session ended (Result); and how a step stands by the records."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from unmigrate.errors import FailedError

Json = dict[str, Any]


class UnmetError(FailedError):
    """A step that failed for what it found, which is evidence all the same."""

    def __init__(self, message: str, *, code: str, remedy: str, found: Json) -> None:
        super().__init__(message, code=code, remedy=remedy)
        self.found = found


Way = Literal["reverse", "restore"]
Phase = Literal["approve", "prepare", "apply", "undo"]
Direction = Literal["forward", "back"]
State = Literal["stopped", "refused", "done", "aborted"]
Standing = Literal["untouched", "prepared", "begun", "applied", "undone"]


@dataclass(frozen=True, slots=True)
class Spec:
    """What a run was asked to do; without secrets, JSON round-trip. Fixed when it begins.

    migrations: newest first; display: the database's URL without password; plans: of the reverse way, as plan JSON, in their order;
    snapshot: of the restore way, as its provider names it; refill: of the reverse way, what is brought back: {at, name: of the snapshot;
    objects; destroyed: those among them that a rollback leaves empty; texts: of the migrations, or why they are not at hand; notes: what
    the snapshot cannot know}; tag: the app version to go back to; flags: where the project is.
    """

    run: str
    project: str
    way: Way
    migrations: tuple[str, ...]
    display: str
    schema: str
    steps: tuple[str, ...]
    plans: tuple[Json, ...] = ()
    snapshot: Json | None = None
    tag: str | None = None
    approve: tuple[str, ...] = ()
    maintenance: bool = False
    accept_loss: bool = False
    lock_timeout_ms: int = 200
    max_lock_seconds: float = 5.0
    flags: Json = field(default_factory=dict)
    actor: str = ""
    began: str = ""
    refill: Json | None = None

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Spec":
        lists = {name: tuple(value[name]) for name in ("migrations", "steps", "plans", "approve")}
        return cls(**{**value, **lists})


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that a step did, or tried. at: ISO time, UTC; seconds: how long it took; data: what it found or left (evidence);
    error: {code, message, remedy, exit_status} when not ok."""

    step: str
    phase: Phase
    ok: bool
    at: str
    seconds: float
    data: Json = field(default_factory=dict)
    error: Json | None = None
    shown: tuple[str, ...] = ()
    tries: int = 1

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Record":
        return cls(**{**value, "shown": tuple(value["shown"])})


@dataclass(frozen=True, slots=True)
class Result:
    """How a session of a run ended. at: the step it stopped at; reason: "failed" or "approval"."""

    state: State
    records: tuple[Record, ...]
    at: str = ""
    reason: str = ""

    @property
    def error(self) -> Json | None:
        """Of the failure that it stopped for."""
        if self.reason != "failed":
            return None
        return next((r.error for r in reversed(self.records) if r.error is not None), None)

    def to_json(self) -> Json:
        return {"state": self.state, "at": self.at, "reason": self.reason, "records": [r.to_json() for r in self.records]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Result":
        return cls(value["state"], tuple(Record.from_json(r) for r in value["records"]), value["at"], value["reason"])


def standing(name: str, tale: Sequence[Record]) -> Standing:
    """How a step stands: prepared means that it may have begun, begun that it failed."""
    result: Standing = "untouched"
    for record in tale:
        if record.step != name:
            continue
        if record.phase == "prepare":
            result = "prepared" if record.ok else result
        elif record.phase == "apply":
            result = "applied" if record.ok else "begun"
        elif record.ok:
            result = "undone"
    return result


def prepared(name: str, tale: Sequence[Record]) -> Json:
    """What the step learned before it began, last time."""
    return next((r.data for r in reversed(tale) if r.step == name and r.phase == "prepare" and r.ok), {})


def evidence(name: str, tale: Sequence[Record]) -> Json:
    """What the step left when it was applied, last time."""
    return next((r.data for r in reversed(tale) if r.step == name and r.phase == "apply" and r.ok), {})
