"""What a way need not do under its locks: read whole tables. Indexes are built before the switch, under names of their own; NOT NULL,
checks and foreign keys return in it unvalidated, and are validated after it.

Unique indexes are still built in the switch: before it they would refuse what the application writes, and after it the release that
comes back would miss them (ON CONFLICT).
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.guard.statement import index_on

Steps = list[tuple[str, str]]
_SET_NOT_NULL = re.compile(r"^ALTER TABLE (.+) ALTER COLUMN (.+) SET NOT NULL$")
_NEEDS_NOT_NULL = re.compile(r"REPLICA IDENTITY USING INDEX|ADD GENERATED|PRIMARY KEY")


def returning(statements: Iterable[str]) -> set[tuple[str, str]]:
    """(table, column) that become NOT NULL in these statements."""
    return {(m[1], m[2]) for sql in statements if (m := _SET_NOT_NULL.match(sql))}


@dataclass(frozen=True, slots=True)
class Between:
    """What lies between two catalogs. schema: of the vault, for names. asked: objects about whose rows is asked before anything is touched;
    filled: columns, "schema.table.column", that get their values before the switch, after that; imaged: tables whose rows it writes.
    """

    now: Catalog
    wanted: Catalog
    schema: str
    asked: Collection[str] = ()
    filled: Collection[str] = ()
    imaged: Collection[int] = ()

    def stands(self, table: Key | None) -> bool:
        """Whether a table is there before and after, with the rows that were asked about, and is neither partitioned nor inherited."""
        o = self.wanted.get(table)
        if table is None or o is None or o.kind != "table" or table not in self.now.objects or table.oid in self.imaged:
            return False
        children = any(o.name in (child.facts["parents"] or ()) for child in self.wanted.of_kind("table").values())
        return not (o.facts["parents"] or o.facts["partition_key"] or children)


def deferred(statements: Iterable[str], between: Between) -> tuple[list[str], Steps]:
    """The statements without those that would read a table, and (object, SQL) of the steps after the switch that make up for it."""
    listed, after = list(statements), Steps()
    constraints = dict(_unvalidated(between))
    for number, sql in enumerate(listed):
        if (o := constraints.get(sql)) is not None and sql not in listed[number + 1 :]:
            listed[number] = f"{sql} NOT VALID"
            after.append((f"constraint {o.name}", f"ALTER TABLE {o.facts['owner']} VALIDATE CONSTRAINT {o.facts['label']}"))
        elif (match := _SET_NOT_NULL.match(sql)) and _waits(match, listed[number:], between):
            table, label, check = match[1], match[2], f"_{between.schema}_present_{number}"
            listed[number] = f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({label} IS NOT NULL) NOT VALID"
            after.append((f"constraint {table}.{check}", f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}"))
            set_ = f"ALTER TABLE {table} ALTER COLUMN {label} SET NOT NULL; ALTER TABLE {table} DROP CONSTRAINT {check}"
            after.append((f"column {table}.{label}", set_))
    return listed, after


def _unvalidated(between: Between) -> Iterator[tuple[str, Object]]:
    """Checks and foreign keys that return to tables with rows, by the statement that creates them.

    Not where the switch is the first to know that they hold: a failure after it cannot be rolled back.
    """
    for o in between.wanted.of_kind("constraint").values():
        reads = o.facts["contype"] in ("c", "f") and "NOT VALID" not in o.facts["definition"]
        if not reads or o.key in between.now.objects or o.name not in between.asked or not between.stands(o.parent):
            continue
        own = re.findall(r"\d+", str(o.raw["columns"]).partition("|")[0])
        columns = (between.wanted.get(Key(o.parent.catalog, o.parent.oid, int(n))) for n in own if o.parent)
        if int(o.raw["references"]) not in between.imaged and not any(c is None or c.name in between.filled for c in columns):
            yield KINDS["constraint"].create(o, between.wanted)[0], o


def _waits(match: re.Match[str], rest: list[str], between: Between) -> bool:
    """Whether NOT NULL may come after the switch: not in a column that new rows leave empty. rest: the statements from this one on."""
    column = between.wanted.named("column", f"{match[1]}.{match[2]}")
    if column is None or not column.facts["notnull"] or match[0] in rest[1:]:
        return False
    now = between.now.get(column.key)
    if column.name not in between.filled and (now is None or is_parked(now) or now.name not in between.asked):
        return False
    return between.stands(column.parent) and not any(_NEEDS_NOT_NULL.search(sql) and match[1] in sql for sql in rest)


@dataclass(frozen=True, slots=True)
class Built:
    """An index that is built before the switch. create: over the table as it is by then; rename: instead of its creation in the switch.

    key: as which it was created in the switch.
    """

    key: Key
    name: str
    table: str
    create: str
    rename: str


@dataclass(slots=True)
class Builds:
    """Which indexes a walk creates that could stand before it. now: the catalog it starts from; schema: of the vault, for names."""

    now: Catalog
    schema: str
    found: dict[int, Built] = field(default_factory=dict)

    def see(self, number: int, sql: str, delta: Delta) -> None:
        """This statement of the walk was run, and did this."""
        created = [o for o in delta.created if o.kind == "index"] if sql.startswith("CREATE INDEX ") else []
        if len(created) == 1 and (built := self._built(created[0], sql, delta.after)) is not None:
            self.found[number] = built

    def _built(self, index: Object, sql: str, then: Catalog) -> Built | None:
        table = self.now.get(index.parent)
        if table is None or table.facts["partition_key"] or index.facts["tablespace"] or not index.facts["valid"]:
            return None
        label = f"_{self.schema}_built_{len(self.found) + 1}"
        create = index_on(sql, label, table.facts, _same_columns(table.key, self.now, then))
        if create is None:
            return None
        rename = f"ALTER INDEX {index.facts['schema']}.{label} RENAME TO {index.facts['label']}"
        return Built(index.key, f"{table.facts['schema']}.{label}", table.name, create, rename)


def _same_columns(table: Key, now: Catalog, then: Catalog) -> Mapping[str, str]:
    """{name: name now} of the columns that are of the same type at both times; without quotes."""
    pairs = ((c, now.get(c.key)) for c in then.columns(table))
    return {plain(c.facts["label"]): plain(n.facts["label"]) for c, n in pairs if n is not None and n.raw["type"] == c.raw["type"]}
