"""Rules about the history as a whole; `check.base` finds them."""

from collections.abc import Iterator

from unmigrate.lint.model import Hit, Rule, Subject


def _elsewhere(_: Subject) -> Iterator[Hit]:
    return iter(())


EDITED = Rule(
    "edited-migration", "error", "An old migration was edited",
    "Databases that have it applied keep what the old text did, new ones get the new text, and `prisma migrate dev` asks to reset. "
    "The way back would be planned from a text that was never run.",
    "-- a file of the base branch with another checksum",
    "-- the file as it was, and a new migration with the change",
    "restore the file (git checkout BASE -- FILE) and write a new migration",
    _elsewhere,
)  # fmt: skip
REMOVED = Rule(
    "removed-migration", "error", "An old migration was removed",
    "Databases that have it applied are then ahead of the folder, and new ones lack what it did.",
    "-- a folder of the base branch that is not there any more",
    "-- the folder as it was, and a new migration that undoes it",
    "restore the folder (git checkout BASE -- FOLDER)",
    _elsewhere,
)  # fmt: skip
ORDER = Rule(
    "out-of-order", "error", "A new migration sorts before older ones",
    "Prisma applies migrations in the order of their names. Where the base has been deployed, this one comes last; in a new database "
    "it comes earlier: the two need not end alike.",
    "-- 20240101_new beside 20240301_old, which the base branch has",
    "-- 20240302_new",
    "rename its folder so that it comes last",
    _elsewhere,
)  # fmt: skip
COMMENT = Rule(
    "allow-comment", "error", "A comment that allows nothing",
    "A finding is allowed by `-- unmigrate: allow <rule>: reason` in the migration. Without a reason, or with a name that is no rule, "
    "it still counts.",
    "-- unmigrate: allow lossy-inverse",
    "-- unmigrate: allow lossy-inverse: the column was never filled",
    "name the rule and give the reason",
    _elsewhere,
)  # fmt: skip
