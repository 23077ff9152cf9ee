"""lossy-inverse: what the migration destroys, a rollback cannot bring back."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import place_of_loss

_REASON = {"column": "dropped", "table": "dropped", "values": "changed"}


def _find(subject: Subject) -> Iterator[Hit]:
    for loss in subject.losses:
        yield Hit(f"the way back does not restore {loss.object}: {loss.reason}", place_of_loss(subject, loss))
    known = {loss.object for loss in subject.losses}
    for loss in subject.data.losses if subject.data else ():
        if loss.object not in known:
            yield Hit(f"the way back does not restore {loss.object}: {loss.reason}", place_of_loss(subject, loss))


RULE = Rule(
    "lossy-inverse", "error", "The way back loses data",
    "A rollback can re-create a column or a table, but not what was in it. Values that an UPDATE, a DELETE or a type change replaced "
    "are gone as well. What is lost was read from what the migration did on scratch, not guessed from its text.",
    'ALTER TABLE "User" DROP COLUMN "nickname";',
    '-- this release stops using the column and lets new rows do without it:\nALTER TABLE "User" ALTER COLUMN "nickname" DROP NOT NULL;\n'
    "-- a later migration drops it, when no rollback can need it any more",
    "deploy with `unmigrate deploy`, which keeps what is dropped or changed; or split it: add and fill now, drop in a later migration",
    _find,
)  # fmt: skip
