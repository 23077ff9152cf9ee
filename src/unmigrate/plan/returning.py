"""What a way from the vault brings back, in words. Pure."""

import re

from unmigrate.plan.model import Plan

_RESTORED = re.compile(r"^(?:UPDATE|INSERT INTO|DELETE FROM) (\S+(?: \S+)*?) (?:t |\().*\bunmigrate_[0-9a-f]+\.restored_\d+ r\b", re.DOTALL)
_PARKED = re.compile(r'^column (.+)\.(")?_unmigrate_[0-9a-f]+_old_(.+)$')
_KINDS = ("table ", "column ")


def returns(plan: Plan) -> tuple[str, ...]:
    """Tables and columns that come back with what they held, and tables whose rows the migration had changed; () for any other plan."""
    if not plan.guard:
        return ()
    lost = {loss.object for loss in plan.losses}
    back = [name for name, digest in plan.after.items() if digest and not plan.before.get(name) and name.startswith(_KINDS)]
    tables = {name.removeprefix("table ") for name in back if name.startswith("table ")}
    found = []
    for name in sorted(back):
        kind, _, label = name.partition(" ")
        own = "unmigrate_" not in label
        if own and label not in lost and not (kind == "column" and any(label.startswith(f"{table}.") for table in tables)):
            found.append(name)
    parked = (_PARKED.match(name) for name, digest in plan.before.items() if digest and not plan.after.get(name))
    values = {f"{match[1]}.{match[2] or ''}{match[3]}" for match in parked if match}
    found += [f"values of {name}" for name in sorted(values) if f"column {name}" not in found]
    rows = {match[1] for step in plan.steps if (match := _RESTORED.match(step.sql))}
    return (*found, *(f"rows of {table}, where nobody changed them since" for table in sorted(rows)))
