"""breaks-previous-app: the version that is running now cannot work with the new schema."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import place_of

_ACTIONS = {"read": "cannot read", "insert": "cannot insert into", "update": "cannot update", "type": "may not understand"}


def _find(subject: Subject) -> Iterator[Hit]:
    for problem in subject.app:
        message = f"the previous version of the app {_ACTIONS[problem.action]} {problem.model}: {problem.says}"
        yield Hit(message, place_of(subject, problem.object))


RULE = Rule(
    "breaks-previous-app", "error", "The previous version of the app breaks on the new schema",
    "Between the migration and the last restart the previous version still runs, and after a rollback of the app alone it runs again. "
    "Its reads, inserts and updates, as Prisma's client would send them for the previous schema.prisma, were executed on scratch "
    "after the migration.",
    'ALTER TABLE "User" ADD COLUMN "tenantId" TEXT NOT NULL;',
    'ALTER TABLE "User" ADD COLUMN "tenantId" TEXT;  -- NOT NULL in a later migration, once every version writes it',
    "expand first in one migration, contract in a later one; or allow it where the app is stopped for the deploy",
    _find,
)  # fmt: skip
