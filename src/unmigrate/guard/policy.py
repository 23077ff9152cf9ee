"""What [policy] says of migrations made guarded. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from unmigrate.config.policy import Policy
from unmigrate.errors import RefusedError
from unmigrate.guard.build import Guarded


def strict(policy: Policy) -> Policy:
    """What --policy strict makes of it."""
    return replace(policy, lossy="refuse", unproved="refuse")


def refuse_by_policy(policy: Policy, guarded: Iterable[Guarded]) -> None:
    """Raise RefusedError for what the policy does not allow, naming the migration and the rule."""
    for one in guarded:
        for rule, reason in _broken(policy, one):
            message = f"policy refuses {one.migration.name}: {reason}"
            raise RefusedError(message, code="policy", remedy=f"change the migration (unmigrate split), or {rule} in [policy]")


def _broken(policy: Policy, one: Guarded) -> Iterator[tuple[str, str]]:
    if policy.unproved == "refuse":
        verdict = one.up.verdicts[0]
        if one.back is None:
            yield "unproved", f"it has no guarded way back: {one.why}"
        elif verdict.data == "unknown":
            yield "unproved", f"its way back was not shown on rows: {'; '.join(verdict.not_covered)}"
    if policy.lossy == "refuse" and one.losses:
        yield "lossy", f"it destroys {one.losses[0].object}: {one.losses[0].reason}"
