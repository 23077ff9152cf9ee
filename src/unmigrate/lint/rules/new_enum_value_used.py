"""new-enum-value-used: a value is added to an enum and used in the same file."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import statements
from unmigrate.sql.script import COMMIT

UNSAFE_NEW_ENUM_VALUE = "55P04"


def _find(subject: Subject) -> Iterator[Hit]:
    for effect in subject.effects:
        if effect.sqlstate == UNSAFE_NEW_ENUM_VALUE:
            if _committed_before(subject, effect.statement.start):
                return
            message = "it uses an enum value that the same file adds, which PostgreSQL refuses inside one transaction (55P04)"
            yield Hit(message, effect.statement.start)
            return


def _committed_before(subject: Subject, place: int) -> bool:
    """Whether the file itself commits between the last value it adds and this place."""
    before = [s for s in statements(subject) if s.start < place]
    added = max((number for number, s in enumerate(before) if s.node == "AlterEnumStmt"), default=-1)
    return any(s.control == COMMIT for s in before[added + 1 :])


RULE = Rule(
    "new-enum-value-used", "error", "A new enum value is used in the file that adds it",
    "PostgreSQL lets nobody use a new enum value before the transaction that added it has committed. Prisma sends the file as one "
    "transaction, so the deploy fails (with engines that split the file it may pass, and then leaves it half applied when something "
    "else fails).",
    'ALTER TYPE "Role" ADD VALUE \'OWNER\';\nUPDATE "User" SET "role" = \'OWNER\' WHERE "admin";',
    "ALTER TYPE \"Role\" ADD VALUE 'OWNER';\n-- and in the next migration: UPDATE \"User\" SET \"role\" = 'OWNER' WHERE \"admin\"",
    "add the value in a migration of its own",
    _find,
)  # fmt: skip
