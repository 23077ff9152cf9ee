"""does-not-replay: the file fails on an empty database with the history before it."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject


def _find(subject: Subject) -> Iterator[Hit]:
    if subject.failure is not None:
        yield Hit(f"it fails on scratch, after all migrations before it: {subject.failure}")


RULE = Rule(
    "does-not-replay", "error", "The migration does not replay",
    "Applied to an empty database after all migrations before it, the file fails. `prisma migrate dev`, a new environment and every "
    "proof need it to work there.",
    'DROP INDEX "made_by_hand_in_production";',
    'DROP INDEX IF EXISTS "made_by_hand_in_production";',
    "correct the file, or give what the history expects to find with --setup FILE",
    _find,
)  # fmt: skip
