"""does-not-replay: the file fails on an empty database with the history before it."""

import re
from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject

# of scratch, which says nothing of the migration
_LACKS = re.compile(r"^extension .* is not available$|^could not open extension control file|has no installation script nor update path")


def _find(subject: Subject) -> Iterator[Hit]:
    failure = subject.failure
    if failure is not None and _LACKS.search(str(failure)):
        yield Hit(f"it cannot be tried here: {failure}; --scratch URL takes a server that has it")
    elif failure is not None:
        yield Hit(f"it fails on scratch, after all migrations before it: {failure}")


RULE = Rule(
    "does-not-replay", "error", "The migration does not replay",
    "Applied to an empty database after all migrations before it, the file fails. `prisma migrate dev`, a new environment and every "
    "proof need it to work there.",
    'DROP INDEX "made_by_hand_in_production";',
    'DROP INDEX IF EXISTS "made_by_hand_in_production";',
    "correct the file, or give what the history expects to find with --setup FILE",
    _find,
)  # fmt: skip
