"""begin-without-commit: Prisma reports success and everything after BEGIN is lost."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import statements
from unmigrate.sql.script import BEGIN, COMMIT, OTHER, ROLLBACK


def _find(subject: Subject) -> Iterator[Hit]:
    opened: int | None = None
    for statement in statements(subject):
        if statement.control == BEGIN and opened is None:
            opened = statement.start
        elif statement.control in (COMMIT, ROLLBACK):
            opened = None
        elif statement.control == OTHER and "chain" in statement.text.lower():
            opened = statement.start
    if opened is not None:
        yield Hit("this transaction is never committed: Prisma reports success, and all that follows is lost", opened)


RULE = Rule(
    "begin-without-commit", "error", "BEGIN without COMMIT",
    "The file ends inside its own transaction. The connection closes, PostgreSQL rolls it back, and `prisma migrate deploy` reports "
    "success: nothing of it is in the database, and the ledger's row looks failed.",
    'BEGIN;\nALTER TABLE "User" ADD COLUMN "a" TEXT;',
    'ALTER TABLE "User" ADD COLUMN "a" TEXT;',
    "leave BEGIN out, or write the COMMIT",
    _find,
)  # fmt: skip
