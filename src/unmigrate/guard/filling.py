"""Values for a parked column in rows that were written or edited while it was parked: worked out online, before the switch.

A trigger keeps it current from then on, one UPDATE brings the older rows up to date, and a validated CHECK lets NOT NULL return without
a scan. The switch takes trigger and CHECK away again. So no row keeps a value that went stale while it could not be seen.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.guard.statement import inlined


@dataclass(frozen=True, slots=True)
class Filling:
    """How a parked column gets its values. All names are SQL.

    table, column: as they are now (parked); wanted: the column's own name, "schema.table.column".
    source: the column that it is worked out from, "" where there is none; value: the expression, over `source`.
    forward: what the migration made of it, over `column`: a row is up to date where that is bit by bit what `source` holds; without
    it, where the column is bit by bit `value`.
    notnull: NOT NULL returns. missing_only: values that are there stay as they are, as nobody can say that they went stale.
    """

    number: int
    schema: str
    table: str
    column: str
    wanted: str
    source: str
    value: str
    forward: str
    notnull: bool
    missing_only: bool = False

    @property
    def unknown(self) -> bool:
        """Rows may be stale, and nobody knows how to work them out."""
        return bool(self.source) and not self.value

    @property
    def trigger(self) -> str:
        return f"_unmigrate_sync_{self.number}"

    @property
    def check(self) -> str:
        return f"_unmigrate_present_{self.number}"


def prepare(filling: Filling) -> Iterator[tuple[str, str]]:
    """(object, SQL) of the steps before the switch; each may be run again."""
    f = filling
    what = f"column {f.table}.{f.column}"
    if f.value:
        function = f"{f.schema}.sync_{f.number}"
        body = f"BEGIN {_changed(f)} NEW.{f.column} := {_of_new(f)}; END IF; RETURN NEW; END"
        pinned = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
        made = f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger {pinned} AS $unmigrate$ {body} $unmigrate$"
        yield f"routine {function}()", f"{made}; REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"
        trigger = f"CREATE TRIGGER {f.trigger} BEFORE INSERT OR UPDATE ON {f.table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        yield f"trigger {f.table}.{f.trigger}", f"DROP TRIGGER IF EXISTS {f.trigger} ON {f.table}; {trigger}"
        yield what, f"UPDATE {f.table} SET {f.column} = {f.value} WHERE {stale(f)}"
    if f.notnull:
        yield (
            f"constraint {f.table}.{f.check}",
            (
                f"ALTER TABLE {f.table} DROP CONSTRAINT IF EXISTS {f.check}, "
                f"ADD CONSTRAINT {f.check} CHECK ({f.column} IS NOT NULL) NOT VALID"
            ),
        )
        yield f"constraint {f.table}.{f.check}", f"ALTER TABLE {f.table} VALIDATE CONSTRAINT {f.check}"


def _changed(f: Filling) -> str:
    if not f.source or f.missing_only:
        return f"IF NEW.{f.column} IS NULL THEN"
    return f"IF TG_OP = 'INSERT' OR NOT (ROW(NEW.{f.source})::record *= ROW(OLD.{f.source})::record) THEN"


def _of_new(f: Filling) -> str:
    return inlined(f.value, plain(f.source), f"new.{plain(f.source)}") if f.source else f.value


def stale(f: Filling) -> str:
    """The rows whose parked value is not what belongs to the row."""
    if not f.source or f.missing_only:
        return f"{f.column} IS NULL AND ({f.value or 'NULL'}) IS NOT NULL" if f.missing_only else f"{f.column} IS NULL"
    if f.forward:
        return f"NOT (ROW({f.source})::record *= ROW({f.forward})::record)"
    return f"NOT (ROW({f.column})::record *= ROW({f.value})::record)"


def first(filling: Filling) -> list[str]:
    """What the switch begins with."""
    if not filling.value:
        return []
    return [f"DROP TRIGGER {filling.trigger} ON {filling.table}", f"DROP FUNCTION {filling.schema}.sync_{filling.number}()"]


def last(filling: Filling, table: str) -> list[str]:
    """What the switch ends with. table: as it is called by then."""
    return [f"ALTER TABLE {table} DROP CONSTRAINT {filling.check}"] if filling.notnull else []


_SET_NOT_NULL = re.compile(r"^ALTER TABLE (.+) ALTER COLUMN (.+) SET NOT NULL$")


def returning(statements: list[str]) -> set[tuple[str, str]]:
    """(table, column) that become NOT NULL in these statements."""
    return {(m[1], m[2]) for sql in statements if (m := _SET_NOT_NULL.match(sql))}


@dataclass(frozen=True, slots=True)
class Conversion:
    """A new column that a migration made from an old one. forward: over the old one; backward: over the new one, "" where nobody knows.

    now: the new column; parked: the old one, which the migration dropped, or kept beside the new type; stays: it did neither.
    """

    parked: Object
    now: Object
    forward: str
    backward: str
    stays: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a parked column come from; the fields are those of Filling."""

    source: str
    value: str
    forward: str
    missing_only: bool = False


def sources(conversions: Iterable[Conversion], now: Catalog) -> Iterator[tuple[Key, Source]]:
    """(parked column, source) for each conversion, whichever of its two columns is the parked one now."""
    for c in conversions:
        old, new = now.get(c.parked.key), now.get(c.now.key)
        if old is None or new is None or is_parked(old) == is_parked(new):
            continue
        here = {plain(c.parked.facts["label"]): plain(old.facts["label"]), plain(c.now.facts["label"]): plain(new.facts["label"])}
        forward = _renamed(c.forward, c.parked, here)
        if is_parked(old):
            backward = _renamed(c.backward, c.now, here) if c.backward else ""
            yield old.key, Source(new.facts["label"], backward, forward)
        else:
            yield new.key, Source(old.facts["label"], forward, "", missing_only=c.stays)


def _renamed(expression: str, column: Object, names: dict[str, str]) -> str:
    label = plain(column.facts["label"])
    return inlined(expression, label, names[label])
