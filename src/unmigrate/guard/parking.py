"""Parking: what one statement would destroy is moved out of its way, and an empty decoy of the same name is put in its place.

The statement itself then runs as it was written, and drops the decoy. What falls with the thing by CASCADE is known from having run
the statement on scratch, and is dropped by name beforehand, as the parked thing would hold on to it. Nothing parked may bind or fill
a row of the living: see each function. Whether all of this leads to the same catalog is not argued here; it is proved, each time.
"""

import re
from collections.abc import Callable, Collection, Iterable

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.catalog.sqltext import comment_sql, ident
from unmigrate.guard.alone import column_alone, table_alone
from unmigrate.guard.names import Names
from unmigrate.guard.statement import alteration, dropped_types
from unmigrate.sql.script import Statement

Worth = Callable[[Object], bool]
"""Whether an object holds something that must be kept."""

# A default that goes on filling the parked column for new rows: it depends on nothing that could go, and cannot fail.
_HARMLESS = re.compile(
    r"^('(?:[^']|'')*'|-?[\d.]+|true|false|NULL|now\(\)|CURRENT_TIMESTAMP(\(\d\))?|gen_random_uuid\(\))(::[\w \"().\[\],]+)?$"
)
_SIMPLE_INDEX = re.compile(r" USING \w+ \((?:[^()]|\"[^\"]+\")*\)$")
_ONE_COLUMN_KEY = re.compile(r"^FOREIGN KEY \(((?:\"[^\"]+\"|[^,()])+)\) (REFERENCES .*?\([^)]*\))(.*)$")
_REFERRED = re.compile(r" REFERENCES .*?\(([^)]*)\)")
_KEEPS = re.compile(r"ON DELETE (CASCADE|SET NULL)")
TYPES = {"enum": "TYPE", "composite": "TYPE", "domain": "DOMAIN"}


def parkable(statement: Statement, delta: Delta, worth: Worth) -> tuple[list[Object], list[Object]]:
    """(tables, columns) that this statement destroys and that are worth keeping, as they were before it."""
    tables = [o for o in delta.dropped if o.kind == "table" and worth(o)]
    gone = {o.key for o in delta.dropped if o.kind == "table"}
    columns = [o for o in delta.dropped if o.kind == "column" and o.parent not in gone and not o.facts["generated"] and worth(o)]
    return sorted(tables, key=lambda o: o.key), sorted(columns, key=lambda o: o.key)


def let_go(statement: Statement, catalog: Catalog, names: Names, kept: Collection[Key] = ()) -> list[str]:
    """What lets a statement go through although something parked holds on to what it drops.

    A type that something parked is of is renamed aside, and a decoy stands in; a foreign key of a parked column is given up.
    kept: types of which something may be that is not there on scratch: what a later migration has parked.
    """
    statements = []
    if statement.node in ("DropStmt", "AlterTableStmt"):
        for o in catalog:
            mentioned = (
                o.kind == "constraint" and o.facts["contype"] == "f" and is_parked(o) and _mentions(statement, o.facts["references"])
            )
            if mentioned and (_drops_table(statement) or _drops_key(statement, o, catalog)):
                statements.append(f"ALTER TABLE {o.facts['owner']} DROP CONSTRAINT {o.facts['label']}")
    for parts in dropped_types(statement):
        for o in catalog:
            named = o.kind in TYPES and plain(o.facts["label"]) == parts[-1] and (len(parts) == 1 or plain(o.facts["schema"]) == parts[-2])
            if named and (o.key in kept or _used(o, catalog)):
                statements += _park_type(o, names)
    return statements


def _mentions(statement: Statement, table: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(plain(table.rpartition('.')[2]))}(?!\w)", statement.text) is not None


def _drops_table(statement: Statement) -> bool:
    return statement.node == "DropStmt" and re.match(r"\s*DROP\s+TABLE\b", statement.text, re.IGNORECASE) is not None


def _drops_key(statement: Statement, fk: Object, catalog: Catalog) -> bool:
    """Whether an ALTER TABLE may take away the key that this foreign key refers to."""
    altered, match = alteration(statement), _REFERRED.search(fk.facts["definition"])
    if altered is None or match is None:
        return False
    mine = (o for o in catalog if o.kind == "constraint" and o.facts["owner"] == fk.facts["references"])
    keys = {plain(o.facts["label"]) for o in mine if o.facts["contype"] in ("p", "u")}
    return bool(altered.drops & keys or altered.drops_columns & {plain(c.strip()) for c in match[1].split(",")})


def _used(type_: Object, catalog: Catalog) -> bool:
    """Whether something parked is of this type."""
    tables = {o.key for o in catalog if o.kind == "table" and is_parked(o)}
    mine = (type_.name, f"{type_.name}[]")
    return any(o.kind == "column" and o.facts["type"] in mine and (is_parked(o) or o.parent in tables) for o in catalog)


def parked(statement: Statement, delta: Delta, names: Names, worth: Worth) -> list[str] | None:
    """Statements to run instead, the given one among them; None where this cannot be done, and rows must be copied."""
    tables, columns = parkable(statement, delta, worth)
    types = [o for o in delta.dropped if o.kind in TYPES and _typed(o, columns)]
    if not (tables or columns or types):
        return [statement.text]
    if not _allowed(statement, tables, columns, delta):
        return None
    staying = {o.key for o in delta.dropped if _named(statement, o)}
    moves: list[str] = []
    after: list[str] = []
    for table in tables:
        moves += _park_table(table, delta, names, staying)
    for column in columns:
        moves += _park_column(column, delta, names, staying)
        after += _unbind(column, delta, names)
    for type_ in types:
        moves += _park_type(type_, names)
        staying.add(type_.key)
    victims = _victims(delta, staying, {o.key for o in (*tables, *columns, *types)})
    decoys = [f"CREATE TABLE {t.name} ()" for t in tables]
    if statement.node == "AlterTableStmt":
        decoys += [f"ALTER TABLE {c.facts['table']} ADD COLUMN {c.facts['label']} int" for c in columns]
    alone = [table_alone(t, f"{names.schema}.{t.facts['label']}") for t in tables]
    alone += [column_alone(c, names.aside(c.facts["label"], c.facts["table"])) for c in columns]
    return [*victims, *moves, *decoys, statement.text, *after, *alone]


def _named(statement: Statement, o: Object) -> bool:
    """Whether the statement itself drops this constraint or column by name."""
    altered = alteration(statement)
    if altered is None or o.kind not in ("constraint", "column"):
        return False
    return plain(o.facts["label"]) in (altered.drops if o.kind == "constraint" else altered.drops_columns)


def _allowed(statement: Statement, tables: list[Object], columns: list[Object], delta: Delta) -> bool:
    if statement.node not in ("AlterTableStmt", "DropStmt"):
        return False
    if any(t.facts["parents"] or t.facts["partition_key"] or t.facts["of_type"] or _has_children(t, delta) for t in tables):
        return False
    owners = [delta.before.objects[c.parent] for c in columns if c.parent]
    shared = any(t.facts["parents"] or t.facts["partition_key"] or _has_children(t, delta) for t in owners)
    if shared or any(c.facts["inherited"] for c in columns):
        return False
    if statement.node == "DropStmt":
        return True
    altered = alteration(statement)
    return altered is not None and not altered.reads & {plain(c.facts["label"]) for c in columns}


def _has_children(table: Object, delta: Delta) -> bool:
    return any(o.kind == "table" and table.name in (o.facts["parents"] or []) for o in delta.before)


def _typed(type_: Object, columns: Iterable[Object]) -> bool:
    return any(c.facts["type"] in (type_.name, f"{type_.name}[]") for c in columns)


def _victims(delta: Delta, staying: set[Key], moved: set[Key]) -> list[str]:
    """Drops of what the statement takes along, dependents first; what goes with a decoy or stays is left out."""
    whole = {key for key in moved if not key.sub}
    gone = [o for o in delta.dropped if o.key not in staying | moved and not (o.parent and Key(o.parent.catalog, o.parent.oid) in whole)]
    falling = {o.key for o in gone}
    ordered = sorted((o for o in gone if o.parent not in falling), key=lambda o: (-KINDS[o.kind].rank, -o.key.oid))
    return [sql for o in ordered if o.kind in _TAKEN for sql in KINDS[o.kind].drop(o)]


# Kinds that a CASCADE, or the loss of a column, takes along.
_TAKEN = frozenset(
    {"view", "materialized view", "rule", "policy", "trigger", "routine", "index", "constraint", "statistics", "column"}
)  # fmt: skip


def _park_table(table: Object, delta: Delta, names: Names, staying: set[Key]) -> list[str]:
    """Moved to the vault with all its parts.

    Its foreign keys to the living must not forbid deletes there, but a deleted parent takes its parked children along, so that they
    cannot come back as orphans, or as somebody else's.
    """
    statements = []
    moved = {o.name for o in delta.dropped if o.kind == "table"}
    for fk in delta.dropped:
        if fk.kind != "constraint" or fk.parent != table.key or fk.facts["contype"] != "f" or fk.facts["references"] in moved:
            continue
        if not _KEEPS.search(fk.facts["definition"]) or "ON UPDATE CASCADE" not in fk.facts["definition"]:
            statements += _cascading(fk, names, "CASCADE")
    return [*statements, f"ALTER TABLE {table.name} SET SCHEMA {names.schema}"]


def _cascading(fk: Object, names: Names, action: str) -> list[str]:
    """A foreign key in the place of another one, that follows the parent instead of holding it."""
    match = re.match(r"^(FOREIGN KEY \(.*?\) REFERENCES .*?\([^)]*\))", fk.facts["definition"])
    table, label = fk.facts["owner"], names.aside(fk.facts["label"], fk.facts["owner"])
    if match is None:
        return [f"ALTER TABLE {table} DROP CONSTRAINT {fk.facts['label']}"]
    return [
        f"ALTER TABLE {table} DROP CONSTRAINT {fk.facts['label']}",
        f"ALTER TABLE {table} ADD CONSTRAINT {label} {match[1]} ON UPDATE CASCADE ON DELETE {action} NOT VALID",
    ]


def _park_column(column: Object, delta: Delta, names: Names, staying: set[Key]) -> list[str]:
    """Renamed aside, with the indexes that cannot refuse a row, renamed too."""
    f = column.facts
    aside = names.aside(f["label"], f["table"])
    statements = []
    for part in _parts(column, delta):
        if part.key not in staying and (kept := _keep_part(part, column, names)):
            staying.add(part.key)
            statements += kept
    if names.not_null_is_named and f["notnull"]:
        bare = f"{plain(f['table'].rpartition('.')[2])}_{plain(f['label'])}_not_null"
        named = f["not_null_name"] or ident(bare.encode()[:63].decode(errors="ignore"))
        statements.append(f"ALTER TABLE {f['table']} RENAME CONSTRAINT {named} TO {names.aside(bare, f['table'])}")
    statements.append(f"ALTER TABLE {f['table']} RENAME COLUMN {f['label']} TO {aside}")
    return [*statements, comment_sql(f"COLUMN {f['table']}.{aside}", f"parked by unmigrate {names.id}: was {f['label']}")]


def _unbind(column: Object, delta: Delta, names: Names) -> list[str]:
    """What makes a parked column accept every new row: NOT NULL goes, unless a harmless default goes on filling it."""
    f = column.facts
    parts = _parts(column, delta)
    binding = any(p.facts.get("contype") in ("f", "u", "p") or p.facts.get("unique") for p in parts)
    default = f["default"] or ""
    own = any(p.kind == "sequence" for p in parts)  # another's sequence may be dropped next
    filled = (default.startswith("nextval(") and own) or (bool(_HARMLESS.match(default)) and not binding)
    what = f"ALTER TABLE {f['table']} ALTER COLUMN {names.aside(f['label'], f['table'])}"
    statements = []
    if f["notnull"] and not (filled or f["identity"]):
        statements.append(f"{what} DROP NOT NULL")
    if default and not filled:
        statements.append(f"{what} DROP DEFAULT")
    return statements


def _parts(column: Object, delta: Delta) -> list[Object]:
    """Indexes, constraints and sequences that go with the column, foreign keys first."""
    found = [o for o in delta.dropped if o.kind in ("index", "constraint", "sequence") and _about(o, column)]
    return sorted(found, key=lambda o: (o.facts.get("contype") != "f", o.key))


def _about(part: Object, column: Object) -> bool:
    """Whether a part of the table falls with the column: a sequence by its owner, others by the text of their definition."""
    if part.kind == "sequence":
        return bool(part.parent == column.key)
    owner = part.facts.get("owner") or part.facts.get("table")
    return bool(owner == column.facts["table"])


def _keep_part(part: Object, column: Object, names: Names) -> list[str]:
    """Statements that let an index, constraint or sequence stay with the parked column; none where it must go."""
    f = part.facts
    if part.kind == "sequence":
        return [f"ALTER SEQUENCE {part.name} RENAME TO {names.aside(f['label'], f['schema'])}"]
    if f["clustered"] or f["replica_identity"] or "NULLS NOT DISTINCT" in f["definition"]:
        return []
    if part.kind == "index":
        simple = _SIMPLE_INDEX.search(f["definition"]) and f["valid"]
        return [f"ALTER INDEX {part.name} RENAME TO {names.aside(f['label'], f['schema'])}"] if simple else []
    if f["contype"] == "u":
        return [f"ALTER TABLE {f['owner']} RENAME CONSTRAINT {f['label']} TO {names.aside(f['label'], f['owner'])}"]
    if f["contype"] == "f" and (match := _ONE_COLUMN_KEY.match(f["definition"])) and match[1].strip() == column.facts["label"]:
        return _cascading(part, names, "SET NULL")
    return []


def _park_type(type_: Object, names: Names) -> list[str]:
    word = TYPES[type_.kind]
    decoy = {"enum": "AS ENUM ()", "composite": "AS ()", "domain": "AS int"}[type_.kind]
    label = names.aside(type_.facts["label"], type_.facts["schema"])
    return [f"ALTER {word} {type_.name} RENAME TO {label}", f"CREATE {word} {type_.name} {decoy}"]
