"""What an image of a table keeps: which columns, by which key, and which foreign keys and triggers it has to do with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.model import Catalog, Object
from unmigrate.config.park import Park
from unmigrate.guard.images import Column, Image
from unmigrate.guard.keeping import forgets
from unmigrate.guard.keys import ForeignKey, deferrable_keys, foreign_keys, row_key
from unmigrate.guard.names import Names
from unmigrate.guard.stake import AtStake

_OWN_TYPES = """
select a.attnum::int, t.typnamespace <> 'pg_catalog'::regnamespace or t.typname ~ '^_?reg' from pg_attribute a
join pg_type t on t.oid = a.atttypid where a.attrelid = %s and a.attnum > 0 and not a.attisdropped"""


def recordable(table: Object, catalog: Catalog) -> bool:
    """Whether triggers see every change of its rows: not where they belong to partitions or children."""
    f = table.facts
    has_children = any(o.kind == "table" and table.name in (o.facts["parents"] or []) for o in catalog)
    return not (f["parents"] or f["partition_key"] or has_children)


@dataclass(frozen=True, slots=True)
class Imaging:
    """start: before the migration; the connection must be to the database as it is before the statement that images are taken for."""

    connection: psycopg.Connection[Any]
    start: Catalog
    names: Names
    park: Park

    def image(self, number: int, table: Object, before: Catalog, after: Catalog, at: AtStake) -> Image | None:
        """The image with this number; None where nothing tells its rows apart. at: the columns to be kept, besides the key's."""
        later = after.get(table.key)
        listed = list(self._columns(table, before, after, at))
        stable = frozenset(str(c.before) for c in listed if c.text_before == c.text_after or later is None)
        key = row_key(table, before, stable)
        if not key and later is not None:
            return None
        listed = [c for c in listed if at.columns is None or c.before in at.columns or c.before in key]
        position = {c.before: i for i, c in enumerate(listed)}
        keys = list(foreign_keys(before))
        triggers = [(o.facts["label"], o.facts["enabled"]) for o in before if o.kind == "trigger" and o.parent == table.key]
        return Image(
            number, self.names.images, table.name, later.name if later else None, tuple(listed), tuple(position[c] for c in key),
            tuple(k for k in keys if k.child == table.name), tuple(k for k in keys if k.parent == table.name),
            tuple((name, enabled) for name, enabled in triggers if enabled != "D"), table.key.oid,
            deferrable_keys(table, before, frozenset(position)),
            tuple(k for k in keys if k.parent == table.name and self._passes(k, before)),
        )  # fmt: skip

    def _passes(self, fk: ForeignKey, catalog: Catalog) -> bool:
        """Whether the migration added what refers by this key, and the way back takes it away."""
        child = catalog.named("table", fk.child)
        if child is None or not recordable(child, catalog):
            return False
        columns = [c for c in catalog.columns(child.key) if c.facts["label"] in fk.columns]
        return child.key not in self.start.objects or any(c.key not in self.start.objects for c in columns)

    def _columns(self, table: Object, before: Catalog, after: Catalog, at: AtStake) -> Iterator[Column]:
        """Those whose values are kept."""
        own = dict(self.connection.execute(_OWN_TYPES, [table.key.oid]).fetchall())
        for column in before.columns(table.key):
            if column.facts["generated"] or forgets(self.park, column):
                continue
            now = after.get(column.key)
            same = now is not None and now.facts["type"] == column.facts["type"]
            text, fixed = own[column.key.sub], column.facts["identity"] == "a"
            retyped = now is not None and _type_oid(now) != _type_oid(column)
            yield Column(
                column.facts["label"], now.facts["label"] if now else None, column.facts["type"], text, text or not same, fixed,
                column.key.sub, retyped, column.facts["label"] in at.rewritten,
            )  # fmt: skip


def _type_oid(column: Object) -> str:
    """Without what is only its length or precision."""
    return str(column.raw["type"]).partition(":")[0]
