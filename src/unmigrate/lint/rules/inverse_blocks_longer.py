"""inverse-blocks-longer: the way up is instantaneous, the way back reads or rewrites a table under a lock."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject
from unmigrate.lint.rules.place import place_of

_WORK = ("metadata", "scan", "rewrite")
_HARMLESS = ("ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE")  # writers go on
_DOES = {"scan": "reads it whole", "rewrite": "rewrites it"}


def _find(subject: Subject) -> Iterator[Hit]:
    if subject.proof is None:
        return
    then = {new.name: old.name for old, new in subject.proof.delta.altered if new.kind == "table"}
    up = {lock.table: lock.work for lock in subject.up if lock.mode not in _HARMLESS}
    for lock in subject.down:
        before = up.get(then.get(lock.table, lock.table), "metadata")
        if lock.mode in _HARMLESS or _WORK.index(lock.work) <= _WORK.index(before):
            continue
        blocked = "writes" if lock.mode in ("SHARE", "SHARE ROW EXCLUSIVE") else "reads and writes"
        does = "only changes the catalog" if before == "metadata" else _DOES[before]
        message = f"the way back blocks {blocked} of {lock.table} while it {_DOES[lock.work]}; the way up {does}"
        yield Hit(message, place_of(subject, lock.table))


RULE = Rule(
    "inverse-blocks-longer", "warning", "The way back blocks longer than the way up",
    "Dropping an index, a foreign key or a NOT NULL takes a moment. Bringing it back reads the whole table while writers wait, and a "
    "type change back may rewrite it. Whoever rolls back expects it to be as quick as the deploy was.",
    'DROP INDEX "Order_customerId_idx";',
    '-- nothing uses the index any more; it stays until a rollback can no longer need it',
    "keep it apart from what may have to be undone quickly; for indexes: rollback --concurrently",
    _find,
)  # fmt: skip
