"""What connections that are open across a switch must be told. Pure."""

from collections.abc import Iterable

from unmigrate.catalog.model import Catalog
from unmigrate.plan.model import Lock

_TYPES = ("enum", "domain", "composite")


def remarks(now: Catalog, then: Catalog, statements: Iterable[str]) -> tuple[str, ...]:
    """Types that are others by the same name afterwards: sessions that prepared statements with the one from before go on asking for it."""
    names = {o.name: o.key for o in now if o.kind in _TYPES}
    swapped = {o.name for o in then if o.kind in _TYPES and names.get(o.name, o.key) != o.key}
    swapped |= {name for sql in statements for name in names if sql.startswith(f"CREATE TYPE {name} ")}
    if not swapped:
        return ()
    told = f"{', '.join(sorted(swapped))} {'is another type' if len(swapped) == 1 else 'are other types'} afterwards"
    return (f"{told}: connections that prepared statements with it fail, and must connect again (restart pools)",)


def rewritten(locks: Iterable[Lock]) -> tuple[str, ...]:
    """Tables that snapshots from before find empty. The sessions that hold one are not all to be seen, so it is always told."""
    tables = [lock.table for lock in locks if lock.work == "rewrite"]
    if not tables:
        return ()
    told = f"{', '.join(tables)} {'is' if len(tables) == 1 else 'are'} rewritten"
    return (f"{told}: what a REPEATABLE READ transaction from before reads of it only afterwards is empty",)
