"""Rows on the way forward again: the images that the way up took, read from the other side.

A row that is as the rollback left it becomes what the migration had made of it. Rows written since the rollback are known to no
image: where there are any, in a table that the migration's statements read or wrote, the way is blocked, as nobody knows what they
would have become.
"""

from collections.abc import Iterable
from dataclasses import replace

from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key
from unmigrate.catalog.parked import is_parked
from unmigrate.catalog.sqltext import literal
from unmigrate.guard import images
from unmigrate.guard.images import Column, Image
from unmigrate.guard.keys import foreign_keys
from unmigrate.guard.reused import reconcile

_OFFSET = 1000  # between the numbers of images and of what they look like from the other side
_HERE = (
    "(select system_identifier from pg_control_system())::text || '/' || (select oid from pg_database where datname = current_database())"
)


def moment() -> str:
    """A SELECT that tells which transactions have ended by now, so that rows written later can be told from older ones."""
    oldest = "((pg_snapshot_xmin(pg_current_snapshot())::text::numeric - 1) % 4294967296)::text::xid AS before"
    return f"SELECT {oldest}, pg_current_xact_id()::xid AS own, {_HERE} AS place"


def remember(schema: str) -> list[str]:
    """What the way back begins with."""
    return [f"DROP TABLE IF EXISTS {schema}.since", f"CREATE TABLE {schema}.since AS {moment()}"]


def written_since(mark: str, name: str = "") -> str:
    """Of a row t: it was, or may have been, written after the moment kept in this table, of that name there. In a database restored
    elsewhere nobody can tell: every row."""
    younger = "(s.place <> here.place OR (age(t.xmin) <= age(s.before) AND t.xmin::text <> s.own::text))"
    named = f" AND s.name = {literal(name)}" if name else ""
    return f"EXISTS (SELECT FROM {mark} s, (SELECT {_HERE} AS place OFFSET 0) here WHERE {younger}{named})"


def rows_again(taken: Iterable[Image], wanted: Catalog, now: Catalog) -> list[str]:
    """Statements for the images of one segment, for when tables and columns are as in `wanted`. now: the rolled back state.

    Raises CannotInvert where the migration itself changed the type of what an image holds.
    """
    mirrors = [(image, mirror) for image in taken if (mirror := _mirror(image, wanted, now)) is not None]
    if not mirrors:
        return []
    statements = reconcile(mirrors)
    statements += [sql for image, mirror in mirrors for sql in (*_swap(image, mirror), *images.compare(mirror))]
    return [*statements, *images.restore(mirror for _, mirror in mirrors)]


def _mirror(image: Image, wanted: Catalog, now: Catalog) -> Image | None:
    """The image as it looks from the other side; None for a table that is gone again by then."""
    key = Key("pg_class", image.oid)
    table = wanted.get(key)
    if table is None or is_parked(table) or image.table_after is None:
        return None
    keys = list(foreign_keys(wanted))
    there = [o for o in now if o.kind == "trigger" and o.parent == key and wanted.get(o.key) is not None and o.facts["enabled"] != "D"]
    return replace(
        image, number=image.number + _OFFSET, table=table.name, table_after=table.name,
        columns=tuple(_column(image, column, wanted) for column in image.columns),
        foreign=tuple(k for k in keys if k.child == table.name), referring=tuple(k for k in keys if k.parent == table.name),
        triggers=tuple((o.facts["label"], o.facts["enabled"]) for o in there), passing=(),
    )  # fmt: skip


def _column(image: Image, column: Column, wanted: Catalog) -> Column:
    if column.after is None:
        return replace(column, before=None)
    now = wanted.get(Key("pg_class", image.oid, column.number))
    if now is None or now.facts["type"] != column.type_before or column.text_before != column.text_after:
        raise CannotInvert(f"the migration changes the type of {image.table}.{column.before}, which it also writes to")
    return replace(column, before=now.facts["label"], after=now.facts["label"])


def _swap(image: Image, mirror: Image) -> list[str]:
    """Its rows: what was there before the statement changes places with what it left."""
    cells = [f"o{i} AS w{i}, w{i} AS o{i}" for i, c in mirror.numbered if c.before]
    return [
        f"DROP TABLE IF EXISTS {mirror.name}",
        f"CREATE TABLE {mirror.name} AS SELECT translate(op::text, 'ID', 'DI')::\"char\" AS op, {', '.join(cells)} FROM {image.name}",
    ]
