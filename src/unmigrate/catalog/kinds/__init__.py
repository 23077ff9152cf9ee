"""All object kinds, by name and in the order in which things are created."""

from unmigrate.catalog.kinds import (
    column,
    composite,
    constraint,
    dependency,
    domain,
    enum,
    event_trigger,
    extension,
    index,
    other,
    policy,
    privileges,
    publication,
    routine,
    rule,
    schema,
    sequence,
    setting,
    statistics,
    table,
    trigger,
    view,
)
from unmigrate.catalog.kinds.base import Kind

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        schema.KIND, extension.KIND, enum.KIND, composite.KIND, domain.KIND, sequence.KIND, routine.KIND, table.KIND,
        column.KIND, *other.KINDS, index.KIND, constraint.KIND, statistics.KIND, view.VIEW, view.MATVIEW, rule.KIND,
        trigger.KIND, policy.KIND, publication.KIND, event_trigger.KIND, privileges.KIND, setting.KIND,
        dependency.KIND,
    )
}  # fmt: skip
