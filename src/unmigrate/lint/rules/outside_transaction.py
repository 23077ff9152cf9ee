"""outside-transaction: statements beside the file's own BEGIN and COMMIT."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import statements
from unmigrate.sql.script import BEGIN, COMMIT, ROLLBACK


def _find(subject: Subject) -> Iterator[Hit]:
    listed = statements(subject)
    controls = [s for s in listed if s.control in (BEGIN, COMMIT, ROLLBACK)]
    if not controls:
        return
    outside, inside, open_ = [], 0, controls[0].control != BEGIN
    for statement in listed:
        if statement.control == BEGIN:
            open_ = True
        elif statement.control in (COMMIT, ROLLBACK):
            open_ = False
        elif not statement.control:
            inside += open_
            outside += [] if open_ else [statement]
    if outside and inside:
        count = len(outside)
        told = "1 statement stands" if count == 1 else f"{count} statements stand"
        message = f"{told} outside the file's own transaction: a failure leaves the migration half applied"
        yield Hit(message, outside[0].start)


RULE = Rule(
    "outside-transaction", "warning", "Statements outside the transaction",
    "The file has a BEGIN and a COMMIT of its own, and statements before or after them. Without BEGIN and COMMIT the file would be "
    "one transaction; with them it is several, and what fails later leaves the earlier part applied.",
    'BEGIN;\nALTER TABLE "A" ADD COLUMN "x" TEXT;\nCOMMIT;\nALTER TABLE "B" ADD COLUMN "y" TEXT;',
    'ALTER TABLE "A" ADD COLUMN "x" TEXT;\nALTER TABLE "B" ADD COLUMN "y" TEXT;',
    "leave BEGIN and COMMIT out, or put everything between them",
    _find,
)  # fmt: skip
