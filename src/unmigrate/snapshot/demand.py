"""Whether a deploy may go on without a snapshot: what [policy] says, asked before anything is changed. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from unmigrate.config.policy import Policy
from unmigrate.errors import RefusedError
from unmigrate.snapshot.provider import Snapshot


@dataclass(frozen=True, slots=True)
class Demand:
    """needed: {migration: why it needs a snapshot}; hours: how old that may be; found: the one that does, None where none is needed."""

    needed: Mapping[str, str]
    hours: float | None
    found: Snapshot | None

    def to_json(self) -> dict[str, Any]:
        return {"needed": dict(self.needed), "hours": self.hours, "snapshot": self.found.to_json() if self.found else None}


def asks(policy: Policy, needed: Mapping[str, str]) -> bool:
    """Whether the provider has to be asked for its snapshots at all."""
    return policy.snapshot_hours is not None and bool(needed)


def require_snapshot(
    policy: Policy, needed: Mapping[str, str], snapshots: Sequence[Snapshot], *, now: datetime, last: datetime | None
) -> Demand:
    """The newest snapshot that is from after the last migration and young enough. Raises RefusedError where policy wants one and there
    is none.

    needed: {migration: why} of those whose guarded way back is not proved lossless. now: by the database's clock, as the snapshots'
    times; last: when the newest applied migration ended, None where there is none.
    """
    if policy.snapshot_hours is None or not needed:
        return Demand(needed, policy.snapshot_hours, None)
    young = [s for s in snapshots if now - s.created_at <= timedelta(hours=policy.snapshot_hours)]
    good = [s for s in young if last is None or s.created_at >= last]
    if good:
        return Demand(needed, policy.snapshot_hours, max(good, key=lambda s: s.created_at))
    newest = max(snapshots, key=lambda s: s.created_at, default=None)
    if newest is None:
        seen = "there is none"
    elif newest in young:
        seen = f"{newest.id} is from before the last migration"
    else:
        seen = f"the newest, {newest.id}, is {_age(now - newest.created_at)} old"
    name, why = next(iter(needed.items()))
    more = f" and {len(needed) - 1} more" if len(needed) > 1 else ""
    message = f"policy wants a snapshot younger than {policy.snapshot_hours:g} hours before {name}{more} ({why}): {seen}"
    raise RefusedError(message, code="no-restore-point", remedy="unmigrate snapshot create, then again; or snapshot_hours in [policy]")


def _age(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"
