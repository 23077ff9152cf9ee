"""inverse-can-fail: rows written after the migration can stop the way back."""

from collections.abc import Iterator

from unmigrate.inverse.unseen import stricter, unsure
from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import place_of

_MET = "rows written after the migration can stop the way back: "


def _find(subject: Subject) -> Iterator[Hit]:
    for check in subject.checks:
        yield Hit(f"rows can stop the way back of {check.object}: {check.reason}", place_of(subject, check.object))
    delta = subject.proof.delta if subject.proof is not None and not subject.proof.refused else None
    unseen = list(stricter(delta)) if delta else []
    for name, reason in unseen:
        yield Hit(f"rows can stop the way back of {name}: {reason}", place_of(subject, name))
    for name, reason in unsure(subject.migration.sql, delta) if delta else ():
        yield Hit(f"values of {name} {reason}", place_of(subject, name))
    if subject.checks or unseen or subject.data is None:
        return
    if subject.proof is not None and subject.proof.emptied:
        yield Hit(f"rows that the history itself writes stop the way back: {'; '.join(subject.proof.notes)}")
    met = [gap.removeprefix(_MET) for gap in subject.data.not_covered if gap.startswith(_MET)]
    for says in [*([subject.data.blocked] if subject.data.blocked else []), *met]:
        yield Hit(f"generated rows stopped the way back: {says}")


RULE = Rule(
    "inverse-can-fail", "warning", "Rows written since can stop the way back",
    "The old schema was stricter: it had a NOT NULL, a unique key, a foreign key, a narrower type or fewer enum values. Rows that the "
    "new version of the app writes need not fit into it, and then the rollback stops at the worst moment. `unmigrate plan` counts "
    "such rows on the target.",
    'ALTER TABLE "User" ALTER COLUMN "email" DROP NOT NULL;',
    'ALTER TABLE "User" ALTER COLUMN "email" SET DEFAULT \'\';  -- a value that the old schema accepts too',
    "make sure the new version writes no such rows until it stays, or decide now what becomes of them (unmigrate rollback --fill)",
    _find,
)  # fmt: skip
