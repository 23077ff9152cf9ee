"""What of a dump is restored after the rest of it.

`pg_restore --jobs` makes a foreign key on a partitioned table, which reads the indexes of all partitions, while it attaches indexes of
these partitions, which locks them the other way round: one of the two can end in a deadlock (tests/snapshot/test_apart.py shows it).
"""

import re

_ENTRY = re.compile(r"^(\d+); \d+ \d+ (.*)$", re.MULTILINE)
# pg_restore's own order: rights, then event triggers and materialized views come after foreign keys; comments may be of any of them.
_LATE = (
    "FK CONSTRAINT ",
    "ACL ",
    "DEFAULT ACL ",
    "EVENT TRIGGER ",
    "MATERIALIZED VIEW DATA ",
    "STATISTICS DATA ",
    "COMMENT ",
    "SECURITY LABEL ",
)
FIRST, SECOND = "all but what is SECOND", f"what `pg_restore --list` names {', '.join(word.strip() for word in _LATE)}"


def listings(listed: str) -> tuple[str, ...]:
    """For --use-list, in their order; "": all of it, where nothing can deadlock. listed: what `pg_restore --list` says."""
    entries = {m[1]: m[2] for m in _ENTRY.finditer(listed)}
    if not all(any(text.startswith(kind) for text in entries.values()) for kind in ("INDEX ATTACH ", "FK CONSTRAINT ")):
        return ("",)
    return tuple("".join(f"{n};\n" for n, text in entries.items() if text.startswith(_LATE) is late) for late in (False, True))
