"""Our own rules, one file each, in the order in which they are shown."""

from unmigrate.lint.model import Rule
from unmigrate.lint.rules import (
    begin_without_commit,
    breaks_previous_app,
    does_not_replay,
    history,
    inverse_blocks_longer,
    inverse_can_fail,
    lossy_inverse,
    new_enum_value_used,
    no_way_back,
    not_resumable,
    outside_transaction,
    too_large,
    write_without_where,
)

RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        does_not_replay.RULE, no_way_back.RULE, lossy_inverse.RULE, inverse_can_fail.RULE, inverse_blocks_longer.RULE,
        breaks_previous_app.RULE, not_resumable.RULE, write_without_where.RULE, begin_without_commit.RULE, outside_transaction.RULE,
        new_enum_value_used.RULE, too_large.RULE, history.EDITED, history.REMOVED, history.ORDER, history.COMMENT,
    )
}  # fmt: skip
