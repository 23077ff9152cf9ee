"""What connections that are open across a switch must be told. Pure."""

from collections.abc import Iterable

from unmigrate.catalog.model import Catalog

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
