"""A plan is data: what will be run, what it loses, what blocks it, which locks it takes, and what else could be done.

It round-trips through JSON, has a content hash as its id, and names the state it starts from and the state it leads to, so that
it can be reviewed, attached to a pull request, and refused when the database has moved on.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from unmigrate.inverse.model import SERVER, Check, Loss

__all__ = ["Blocker", "Check", "Lock", "Loss", "Option", "Phase", "Plan", "PlanFormatError", "Step", "Verdict", "WayOut", "from_json"]

PLAN_VERSION = 1
VALUES_OF = "values of "  # before a column's name: the object of a step that stops where the column has no value yet

Phase = Literal["prepare", "switch", "finish"]
Kind = Literal["rollback", "deploy", "redo"]


@dataclass(frozen=True, slots=True)
class Step:
    """One statement of the way back.

    undoes: the migration's statement it undoes (empty where it serves several). object: "table public.\"User\"".
    transactional: False for what PostgreSQL refuses inside a transaction (concurrent index builds).
    """

    phase: Phase
    migration: str
    sql: str
    object: str
    undoes: str = ""
    transactional: bool = True


@dataclass(frozen=True, slots=True)
class WayOut:
    """What a person decided about rows that block; run under the locks before they are asked for again, or before a step.

    object: of the checks that it answers. keep: a SELECT of rows that go, to be copied to the vault first, or "". table: of these rows.
    before: the SQL of that step, or "".
    """

    object: str
    sql: str
    keep: str = ""
    table: str = ""
    before: str = ""


@dataclass(frozen=True, slots=True)
class Blocker:
    """A check that found rows on the target."""

    migration: str
    object: str
    reason: str
    rows: int
    samples: tuple[str, ...]
    ways_out: tuple[str, ...]

    @property
    def of_rows(self) -> bool:
        return self.object != SERVER


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock the switch takes. work: what is done under it; "rewrite" and "scan" take time with the table's size.

    bytes and seconds: of the table on the target, and the predicted hold; None without a target.
    """

    table: str
    mode: str
    work: Literal["metadata", "scan", "rewrite"]
    bytes: int | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """A way to go, side by side with the others.

    of: the snapshot, for ways with one. possible: whether it can be gone as things stand. rows_lost: {object: rows}, None of an object
    where they were not counted, None at all where it is not known which. blocked: rows that block, -1 where they were not counted.
    seconds: that nobody can write, and basis: whence that is known; disk: bytes it takes besides; both None where not known.
    """

    name: Literal["reverse-vault", "reverse", "reverse-refill", "restore", "roll-forward"]
    recommended: bool
    loses: str
    downtime: str
    needs: str
    reason: str
    of: str = ""
    possible: bool = True
    rows_lost: dict[str, int | None] | None = None
    blocked: int = 0
    seconds: float | None = None
    basis: str = ""
    disk: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the proof showed for one migration. schema: exact, equivalent, column-order, refused. data: lossless, lossy, unknown."""

    migration: str
    schema: str
    reason: str
    data: str
    lost: tuple[str, ...]
    not_covered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The way back over one or more migrations, newest first; or, for one migration, its guarded way up or its redo.

    before/after: fingerprints {"table public.\"User\"": sha256 of its facts} of every object involved: as the target must be now,
    and as it must be afterwards ("" where it must not exist).
    server_major: the major version the proof ran on. failed: the migration is half-applied (P3009), not applied. kept: tables and columns
    that it takes away, and saves in the vault by itself.
    """

    migrations: tuple[str, ...]
    checksums: dict[str, str]
    schema: str
    server_major: int
    steps: tuple[Step, ...]
    losses: tuple[Loss, ...]
    checks: tuple[Check, ...]
    locks: tuple[Lock, ...]
    verdicts: tuple[Verdict, ...]
    before: dict[str, str]
    after: dict[str, str]
    blockers: tuple[Blocker, ...] = ()
    ways_out: tuple[WayOut, ...] = ()
    options: tuple[Option, ...] = ()
    failed: bool = False
    kind: Kind = "rollback"
    guard: str = ""
    writes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    version: int = PLAN_VERSION

    @property
    def id(self) -> str:
        """Content hash (12 hex digits) of all but what was measured on a target: the same plan has the same id wherever it was made."""
        unmeasured = replace(
            self,
            options=(),
            blockers=(),  # counted anew from `checks` wherever the plan is shown or run
            losses=tuple(replace(loss, rows=None) for loss in self.losses),
            locks=tuple(replace(lock, bytes=None, seconds=None) for lock in self.locks),
        )
        content = asdict(unmeasured)
        # Plans that were stored before there was one of these keep their ids.
        if not self.kept:
            del content["kept"]
        for check in content["checks"]:
            if not check["later"]:
                del check["later"]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def proved(self) -> bool:
        """Whether every migration's way back was shown to work on scratch."""
        return bool(self.verdicts) and all(v.schema != "refused" for v in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, **asdict(self)}


_PARTS: dict[str, type[Any]] = {
    "steps": Step, "losses": Loss, "checks": Check, "locks": Lock, "verdicts": Verdict, "blockers": Blocker, "options": Option,
    "ways_out": WayOut,
}  # fmt: skip


class PlanFormatError(ValueError):
    """The JSON is not a plan of this version, or was edited: its content does not match its id."""


def from_json(value: dict[str, Any]) -> Plan:
    """The plan behind `Plan.to_json`. Raises PlanFormatError."""
    if value.get("version") != PLAN_VERSION:
        raise PlanFormatError(f"plan version {value.get('version')!r}; this unmigrate reads version {PLAN_VERSION}")
    fields = {k: v for k, v in value.items() if k != "id"}
    try:
        for name, part in _PARTS.items():
            fields[name] = tuple(part(**_tuples(entry)) for entry in fields.get(name, ()))
        for name in ("migrations", "notes", "kept"):
            fields[name] = tuple(fields.get(name, ()))
        if fields.get("writes") is not None:
            fields["writes"] = tuple(fields["writes"])
        plan = Plan(**fields)
    except TypeError as error:
        raise PlanFormatError(f"not a plan: {error}") from error
    if value.get("id") not in (None, plan.id):
        raise PlanFormatError("the plan's content does not match its id: it was edited after it was made")
    return plan


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
