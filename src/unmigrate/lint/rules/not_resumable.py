"""not-resumable: interrupted half-way, the file cannot be run again."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject


def _find(subject: Subject) -> Iterator[Hit]:
    if cut := subject.second_run:
        when = f"after statement {cut.done}" if cut.done else "in its first statement"
        message = f"interrupted {when}, it cannot be run again: {cut.says}"
        yield Hit(message, cut.at)


RULE = Rule(
    "not-resumable", "warning", "Interrupted half-way, the migration cannot be run again",
    "No transaction holds this file together: it commits in the middle, or has statements that PostgreSQL refuses inside a "
    "transaction. When it stops between them, the ledger says failed (P3009), part of it is there, and running it again stops at what "
    "is there already. This was tried on scratch: stopped after each commit, and run again.",
    'CREATE TABLE "A" ("id" INTEGER PRIMARY KEY);\nCOMMIT;\nCREATE TABLE "B" ("id" INTEGER PRIMARY KEY);',
    'CREATE TABLE IF NOT EXISTS "A" ("id" INTEGER PRIMARY KEY);\nCOMMIT;\nCREATE TABLE IF NOT EXISTS "B" ("id" INTEGER PRIMARY KEY);',
    "let it run in one transaction, or give CONCURRENTLY a migration of its own, or write IF NOT EXISTS and IF EXISTS",
    _find,
)  # fmt: skip
