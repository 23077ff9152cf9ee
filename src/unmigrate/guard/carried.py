"""What is parked in rows that a later migration of ours deletes, and brings back when it is rolled back.

Its images know nothing of columns that an earlier migration has parked. So that one's own triggers, which fire in our deploys and ways back
alone, take parked values aside when a row goes, by its key, and give them back when the row returns. Rows of a parked table that go with
the parent they refer to, and parked references that become NULL, cannot return by themselves: they are noted in `left_<n>`, which stops
the way back with a reason.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.catalog.sqltext import ident, literal
from unmigrate.guard.keys import row_key
from unmigrate.guard.names import Names
from unmigrate.guard.reused import OPERATING

_OURS = f"current_setting({literal(OPERATING)}, true) = 'on'"
# Values are kept as text, which means the same in every session.
_PINNED = (
    "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO' SET intervalstyle = 'postgres' "
    "SET timezone = 'UTC' SET extra_float_digits = 1"
)


@dataclass(frozen=True, slots=True)
class Carried:
    """One table with parked columns, or a parked one that refers to the living. All names are SQL.

    columns, references: parked ones, and those of them that a foreign key may set NULL; both empty for a parked table. label: what it is
    called when it is back.
    """

    number: int
    schema: str
    table: str
    label: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    references: tuple[str, ...]
    trigger: str

    @property
    def function(self) -> str:
        return f"{self.schema}.carry_{self.number}"

    @property
    def away(self) -> str:
        return f"{self.schema}.away_{self.number}"

    @property
    def left(self) -> str:
        return f"{self.schema}.left_{self.number}"


def carried(end: Catalog, names: Names) -> tuple[Carried, ...]:
    """What this guarded migration has parked in tables, and parked tables whose rows may go. end: the catalog after it."""
    found: list[Carried] = []
    prefix = f"_unmigrate_{names.id}_"
    for table in sorted((o for o in end if o.kind == "table"), key=lambda o: o.key):
        number, mine = len(found) + 1, end.columns(table.key)
        trigger = names.aside(f"row_{number}", table.name)
        if is_parked(table):
            if plain(table.facts["schema"]) == names.schema and _refers(table, end):
                label = table.facts["label"]
                found.append(Carried(number, names.images, table.name, label, (), (), (), trigger))
            continue
        columns = tuple(c.facts["label"] for c in mine if plain(c.facts["label"]).startswith(prefix) and not c.facts["generated"])
        key = row_key(table, end, frozenset(c.facts["label"] for c in mine if not is_parked(c)))
        if columns and key:
            references = tuple(c for c in columns if any(c in d for d in _definitions(table, end)))
            found.append(Carried(number, names.images, table.name, table.name, key, columns, references, trigger))
    return tuple(found)


def _definitions(table: Object, catalog: Catalog) -> list[str]:
    """Its foreign keys, the columns that refer."""
    mine = (o.facts["definition"] for o in catalog if o.kind == "constraint" and o.parent == table.key and o.facts["contype"] == "f")
    return [re.split(r" REFERENCES ", d)[0] for d in mine]


def _refers(table: Object, catalog: Catalog) -> bool:
    return bool(_definitions(table, catalog))


def carry(c: Carried) -> list[str]:
    """Statements for the end of the migration."""
    return [
        f"CREATE TABLE {c.left} (why text)",
        f"CREATE TABLE {c.away} (key text[], held text[])",
        f"CREATE INDEX ON {c.away} (key)",
        f"CREATE FUNCTION {c.function}() RETURNS trigger {_PINNED} AS $unmigrate$ {_body(c)} $unmigrate$",
        f"REVOKE ALL ON FUNCTION {c.function}() FROM PUBLIC",
        *(sql for made in _triggers(c) for sql in made),
    ]


def _triggers(c: Carried) -> Iterator[tuple[str, str]]:
    bare = plain(c.trigger)
    events = [("gone", "AFTER DELETE", "ROW", _OURS)]
    if c.columns:
        events += [("back", "BEFORE INSERT", "ROW", _OURS), ("emptied", "BEFORE TRUNCATE", "STATEMENT", _OURS)]
    for number, column in enumerate(c.references, 1):
        nulled = f"{_OURS} AND OLD.{column} IS NOT NULL AND NEW.{column} IS NULL"
        events.append((f"nulled_{number}", "AFTER UPDATE", "ROW", nulled))
    for what, event, each, when in events:
        name = ident(f"{bare}_{what}")
        yield (
            f"CREATE TRIGGER {name} {event} ON {c.table} FOR EACH {each} WHEN ({when}) EXECUTE FUNCTION {c.function}()",
            f"ALTER TABLE {c.table} ENABLE ALWAYS TRIGGER {name}",
        )


def _body(c: Carried) -> str:
    told = literal(f"of {c.label}".replace("%", "%%"))
    if not c.columns:
        return f"""BEGIN
  INSERT INTO {c.left} VALUES (left('a row ' || {told} || ': ' || OLD::text, 200));
  RETURN NULL;
END"""
    key = {record: f"ARRAY[{', '.join(f'{record}.{name}::text' for name in c.key)}]" for record in ("OLD", "NEW", "t")}
    held = {record: f"ARRAY[{', '.join(f'{record}.{name}::text' for name in c.columns)}]" for record in ("OLD", "t")}
    some = {record: " OR ".join(f"{record}.{name} IS NOT NULL" for name in c.columns) for record in ("OLD", "t")}
    given = " ".join(f"NEW.{name} := kept[{number}];" for number, name in enumerate(c.columns, 1))
    return f"""DECLARE kept text[];
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    DELETE FROM {c.away} a USING {c.table} t WHERE a.key = {key["t"]};
    INSERT INTO {c.away} SELECT {key["t"]}, {held["t"]} FROM {c.table} t WHERE {some["t"]};
  ELSIF TG_OP = 'DELETE' THEN
    DELETE FROM {c.away} a WHERE a.key = {key["OLD"]};
    IF {some["OLD"]} THEN
      INSERT INTO {c.away} VALUES ({key["OLD"]}, {held["OLD"]});
    END IF;
  ELSIF TG_OP = 'INSERT' THEN
    DELETE FROM {c.away} a WHERE a.key = {key["NEW"]} RETURNING a.held INTO kept;
    IF FOUND THEN
      {given}
    END IF;
    RETURN NEW;
  ELSE
    INSERT INTO {c.left} VALUES (left('a value ' || {told} || ': ' || OLD::text, 200));
  END IF;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  INSERT INTO {c.left} SELECT SQLERRM WHERE NOT EXISTS (SELECT FROM {c.left});
  RETURN CASE WHEN TG_OP = 'INSERT' THEN NEW END;
END"""
