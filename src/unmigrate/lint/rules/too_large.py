"""too-large: a migration that does more than one thing at a time."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.size import size


def _find(subject: Subject) -> Iterator[Hit]:
    limits, found = subject.limits, size(subject)
    if subject.proof is not None and not subject.proof.delta.before.of_kind("table"):
        return  # the first migration makes everything, and there are no rows to lose
    if limits.max_statements and found.statements > limits.max_statements:
        yield Hit(f"it has {found.statements} statements; the limit is {limits.max_statements}")
    if limits.max_tables and len(found.tables) > limits.max_tables:
        yield Hit(f"it touches {len(found.tables)} tables that were there before; the limit is {limits.max_tables}")
    if limits.max_phases and len(found.phases) > limits.max_phases:
        yield Hit(f"it mixes {', '.join(found.phases)}; the limit is {limits.max_phases} of expand, data and contract")


RULE = Rule(
    "too-large", "warning", "The migration is large or does several things",
    "What is deployed together is rolled back together. A migration that adds, moves rows and drops at once has no half that could "
    "stay. The limits are max_statements, max_tables (tables that were there before) and max_phases (expand, data, contract) in "
    "[lint].",
    'ALTER TABLE "User" ADD COLUMN "fullName" TEXT;\nUPDATE "User" SET "fullName" = "nickname" WHERE "fullName" IS NULL;\n'
    'ALTER TABLE "User" DROP COLUMN "nickname";',
    'ALTER TABLE "User" ADD COLUMN "fullName" TEXT;\n-- rows move in the next migration, and the old column goes in one after that',
    "split it, or raise the limit in unmigrate.toml",
    _find,
)  # fmt: skip
