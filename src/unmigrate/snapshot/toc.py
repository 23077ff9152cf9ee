"""The table of contents of a dump, as `pg_restore --list` prints it, and lists for its --use-list."""

import re
from collections.abc import Iterable
from typing import NamedTuple

_LINE = re.compile(r"^(\d+); \d+ (\d+) (.*)$", re.MULTILINE)
# In pg_restore's own order rights, then event triggers and materialized views come after foreign keys; comments may be of any of these.
_LATE = (
    "FK CONSTRAINT ", "ACL ", "DEFAULT ACL ", "EVENT TRIGGER ", "MATERIALIZED VIEW DATA ", "STATISTICS DATA ", "COMMENT ",
    "SECURITY LABEL ",
)  # fmt: skip
FIRST, SECOND = "all but what is SECOND", f"what `pg_restore --list` names {', '.join(word.strip() for word in _LATE)}"


class Entry(NamedTuple):
    """One thing that a dump holds. oid: of the thing in the database that was dumped; text: kind, schema, name and owner."""

    number: int
    oid: int
    text: str


def entries(listed: str) -> list[Entry]:
    """listed: what `pg_restore --list` says."""
    return [Entry(int(number), int(oid), text) for number, oid, text in _LINE.findall(listed)]


def use_list(numbers: Iterable[int]) -> str:
    """The text of a file for --use-list."""
    return "".join(f"{number};\n" for number in numbers)


def passes(listed: str) -> tuple[str, ...]:
    """Lists for --use-list, to be restored one after the other; one "", for everything at once, where nothing can deadlock.

    `pg_restore --jobs` makes a foreign key on a partitioned table, which reads the indexes of all partitions, while it attaches indexes of
    these partitions, which locks them the other way round: one of the two can end in a deadlock (tests/snapshot/test_passes.py shows it).
    """
    found = entries(listed)
    if not all(any(entry.text.startswith(kind) for entry in found) for kind in ("INDEX ATTACH ", "FK CONSTRAINT ")):
        return ("",)
    return tuple(use_list(e.number for e in found if e.text.startswith(_LATE) is late) for late in (False, True))
