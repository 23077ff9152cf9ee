"""no-way-back: no way back could be proved."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject


def _find(subject: Subject) -> Iterator[Hit]:
    if subject.proof is not None and subject.proof.refused:
        yield Hit(f"no way back is proved: {subject.proof.outcome.reason}")


RULE = Rule(
    "no-way-back", "error", "No way back is proved",
    "On scratch, what undoes this migration did not lead back to the schema before it, or something it changes is not understood well "
    "enough to be undone. In an incident only a restored snapshot would remain.",
    'DROP TEXT SEARCH CONFIGURATION "plain";',
    "-- it stays, as nothing uses it any more; or migration.sql has a down.sql beside it, which is proved",
    "put a down.sql beside migration.sql, or take a snapshot before deploying",
    _find,
)  # fmt: skip
