"""Images taken once more on the way forward again, of what goes with the shape of tables and cannot stay aside in them.

The rows are copied before the first step and set beside what the last one has left; so what was written after the way back is in them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key
from unmigrate.guard import images
from unmigrate.guard.images import Column, Image
from unmigrate.guard.reused import Followed, indexed


def first(taken: Iterable[Image], now: Catalog, wanted: Catalog) -> Iterator[str]:
    """Statements to begin with. now: the catalog before the way forward; wanted: after it. Raises CannotInvert."""
    for image in taken:
        yield f"DROP TABLE IF EXISTS {image.name}"
        yield from images.before(_across(image, now, wanted))


def last(taken: Iterable[Image], followed: Iterable[Followed], now: Catalog, wanted: Catalog) -> Iterator[str]:
    """Statements to end with; the catalogs are those of `first`. Raises CannotInvert."""
    listed = {image.number: image for image in taken}
    for image in listed.values():
        across = _across(image, now, wanted)
        pairs = list(zip(image.numbered, across.numbered, strict=True))
        olds = [f"r.w{i} AS o{i}" for (i, c), (_, there) in pairs if c.before and not there.before]
        news = [f"r.o{i} AS w{i}" for (i, c), (_, there) in pairs if c.after and not there.after]
        yield from images.after(across, [*olds, *news])
    for f in followed:
        yield from (sql for image in f.images if image.number in listed for sql in indexed(image))


def held(taken: Iterable[Image], now: Catalog, wanted: Catalog) -> set[str]:
    """Tables and columns that these images save; the catalogs are those of `first`. Raises CannotInvert."""
    names: set[str] = set()
    for image in taken:
        names |= {f"{image.table}.{c.before}" for c in _across(image, now, wanted).columns if c.before}
        names |= {o.name for o in now if o.kind == "column" and o.facts["table"] == image.table and o.facts["generated"]}
        names |= set() if image.table_after else {image.table}
    return names


def _across(image: Image, now: Catalog, wanted: Catalog) -> Image:
    """The image over the whole way, not over its statement alone: without the old values of columns that are not there before, and the
    new ones of those that are not there afterwards. The statement left these as they were, so that the others tell them.

    Raises CannotInvert where neither is so.
    """
    table = next((o for o in now if o.kind == "table" and o.name == image.table), None)
    later = wanted.get(Key("pg_class", image.oid)) if image.table_after else None
    if table is None or (image.table_after and (later is None or later.name != image.table_after)):
        raise CannotInvert(f"{image.table} has another name at the beginning or the end of the migration")
    old = {c.facts["label"]: c.facts["type"] for c in now.columns(table.key)}
    new = {c.facts["label"]: c.key.sub for c in wanted.columns(later.key)} if later else {}
    columns = tuple(_column(image, c, old, new) for c in image.columns)
    if any(columns[k].before is None or (later and columns[k].after is None) for k in image.key):
        raise CannotInvert(f"the key of {image.table} comes or goes with the migration")
    return replace(image, columns=columns)


def _column(image: Image, c: Column, old: dict[str, str], new: dict[str, int]) -> Column:
    """old: types by name, new: numbers by name."""
    before = c.before if c.before and old.get(c.before) == c.type_before else None
    after = c.after if c.after and new.get(c.after) == c.number else None
    left = c.before and c.after and c.text_before == c.text_after and not c.retyped
    if (before, after) != (c.before, c.after) and not (left and (before or after)):
        raise CannotInvert(f"{image.table}.{c.before} comes or goes within the migration")
    return replace(c, before=before, after=after)
