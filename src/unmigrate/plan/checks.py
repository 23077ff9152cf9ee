"""Questions to ask of the target first: rows that would make the way back fail. Their text speaks the names of now."""

import re
from collections.abc import Iterable

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import literal
from unmigrate.plan.model import Check

_FOREIGN_KEY = re.compile(r"FOREIGN KEY \((.+?)\) REFERENCES (.+?)\((.+?)\)")
_COLUMNS = re.compile(r"^(?:PRIMARY KEY|UNIQUE) \(([^()]+)\)|^CREATE UNIQUE INDEX .* USING btree \(([^()]+)\)(?: WHERE \((.+)\))?$")
_CHECK = re.compile(r"^CHECK \((.+)\)(?: NO INHERIT)?$", re.DOTALL)


def checks(migration: str, delta: Delta) -> tuple[Check, ...]:
    """Checks for undoing one migration, on tables that are there both before and after it."""
    return (
        *_returning_columns(migration, delta),
        *_altered_columns(migration, delta),
        *_removed_labels(migration, delta),
        *_returning_constraints(migration, delta),
    )


def _sample(table: str, condition: str) -> str:
    return f"select left(t::text, 120) from {table} t where {condition} limit 5"


def _check(migration: str, name: str, reason: str, table: str, condition: str, ways: tuple[str, ...]) -> Check:
    return Check(migration, name, reason, f"select count(*) from {table} t where {condition}", _sample(table, condition), ways)


def _returning_columns(migration: str, delta: Delta) -> Iterable[Check]:
    for column in delta.dropped:
        f = column.facts
        table = delta.after.get(column.parent)
        if column.kind != "column" or table is None or not f["notnull"] or f["default"] is not None or f["identity"]:
            continue
        reason = f"column {f['label']} returns as NOT NULL without a default, and existing rows have no value for it"
        ways = (f"--fill '{column.name} = <SQL>'", "restore its values from a snapshot")
        yield _check(migration, column.name, reason, table.name, "true", ways)


def _altered_columns(migration: str, delta: Delta) -> Iterable[Check]:
    for old, new in delta.altered:
        if new.kind != "column":
            continue
        changed, table, label = new.changes(old), new.facts["table"], new.facts["label"]
        if "notnull" in changed and old.facts["notnull"]:
            ways = (f"UPDATE {table} SET {label} = <value> WHERE {label} IS NULL",)
            yield _check(migration, new.name, f"column {label} becomes NOT NULL again", table, f"{label} IS NULL", ways)
        if "type" in changed and (condition := _does_not_fit(label, new.facts["type"], old.facts["type"])):
            reason = f"values do not fit {old.facts['type']}"
            ways = (f"change these values, or export them before rolling back: {condition}",)
            yield _check(migration, new.name, reason, table, condition, ways)


def _does_not_fit(label: str, now: str, wanted: str) -> str:
    """Condition that finds values of type `now` that have no place in `wanted`; "" where all have, or it cannot be said."""
    ranges = {"smallint": 32767, "integer": 2147483647, "bigint": 9223372036854775807}
    if wanted in ranges and now in ("integer", "bigint", "numeric", "double precision", "real"):
        return f"{label} > {ranges[wanted]} OR {label} < {-ranges[wanted] - 1}"
    if wanted in ranges and now in ("text", "character varying"):
        return f"{label} !~ '^\\s*[-+]?[0-9]+\\s*$'"
    if match := re.match(r"character varying\((\d+)\)|character\((\d+)\)", wanted):
        return f"length({label}::text) > {match[1] or match[2]}"
    if wanted == "uuid" and now == "text":
        return f"{label} !~ '^[0-9a-fA-F-]{{32,36}}$'"
    if match := re.match(r"numeric\((\d+),(\d+)\)", wanted):
        return f"abs({label}) >= 1e{int(match[1]) - int(match[2])} OR {label} <> round({label}::numeric, {match[2]})"
    return ""


def _removed_labels(migration: str, delta: Delta) -> Iterable[Check]:
    enums = [(old, new) for old, new in delta.altered if new.kind == "enum"]
    enums += [(o, n) for n in delta.created for o in delta.dropped if n.kind == o.kind == "enum" and n.name == o.name]
    for old, new in enums:
        kept = {oid for oid, _ in old.raw["labels"] or []}
        gone = [label for oid, label in new.raw["labels"] or [] if oid not in kept and label not in (old.facts["labels"] or [])]
        if not gone:
            continue
        listed = ", ".join(literal(label) for label in gone)
        for column in delta.after:
            if (
                column.kind != "column"
                or column.facts["type"] not in (new.name, f"{new.name}[]")
                or column.parent not in delta.before.objects
            ):
                continue
            label, table = column.facts["label"], column.facts["table"]
            array = column.facts["type"].endswith("[]")
            condition = f"{label}::text[] && ARRAY[{listed}]" if array else f"{label}::text IN ({listed})"
            reason = f"rows use labels that {new.name} did not have: {', '.join(gone)}"
            ways = (f"UPDATE {table} SET {label} = <an older label> WHERE {condition}",)
            yield _check(migration, column.name, reason, table, condition, ways)


def _returning_constraints(migration: str, delta: Delta) -> Iterable[Check]:
    created = {(o.kind, o.name, str(o.facts)) for o in delta.created}
    for o in delta.dropped:
        table = delta.after.get(o.parent)
        if o.kind not in ("constraint", "index") or table is None or table.kind != "table" or (o.kind, o.name, str(o.facts)) in created:
            continue
        names = _names_now(delta, o.parent)
        definition = o.facts["definition"]
        if match := _COLUMNS.match(definition):
            if check := _unique(migration, o, table, names, match):
                yield check
        elif o.facts.get("contype") == "f" and (match := _FOREIGN_KEY.search(definition)):
            if check := _orphans(migration, o, table, delta, match):
                yield check
        elif (match := _CHECK.match(definition)) and all(old == new for old, new in names.items()):
            ways = ("change the rows that break it",)
            yield _check(migration, o.name, f"check {o.facts['label']} returns", table.name, f"NOT ({match[1]})", ways)


def _names_now(delta: Delta, table: Key | None) -> dict[str, str]:
    """What the columns of before are called now; only those still there."""
    if table is None:
        return {}
    return {
        c.facts["label"]: delta.after.objects[c.key].facts["label"] for c in delta.before.columns(table) if c.key in delta.after.objects
    }


def _unique(migration: str, o: Object, table: Object, names: dict[str, str], match: re.Match[str]) -> Check | None:
    columns = [names.get(c.strip()) for c in (match[1] or match[2]).split(",")]
    if match[3] or not all(columns):
        return None
    listed = ", ".join(str(c) for c in columns)
    present = " AND ".join(f"{c} IS NOT NULL" for c in columns)
    groups = f"from {table.name} where {present} group by {listed} having count(*) > 1"
    reason = f"{o.facts['label']} makes ({listed}) unique again"
    ways = ("delete or change the duplicates",)
    return Check(
        migration,
        o.name,
        reason,
        f"select count(*) from (select 1 {groups}) d",
        f"select left(concat_ws(', ', {listed}), 120) {groups} limit 5",
        ways,
    )


def _orphans(migration: str, o: Object, table: Object, delta: Delta, match: re.Match[str]) -> Check | None:
    other = next((t for t in delta.before if t.kind == "table" and t.name == match[2]), None)
    now = delta.after.get(other.key) if other else None
    if other is None or now is None:
        return None
    mine, theirs = _names_now(delta, o.parent), _names_now(delta, other.key)
    pairs = [(mine.get(a.strip()), theirs.get(b.strip())) for a, b in zip(match[1].split(","), match[3].split(","), strict=True)]
    if not all(a and b for a, b in pairs):
        return None
    present = " AND ".join(f"t.{a} IS NOT NULL" for a, _ in pairs)
    joined = " AND ".join(f"r.{b} = t.{a}" for a, b in pairs)
    condition = f"{present} AND NOT EXISTS (SELECT FROM {now.name} r WHERE {joined})"
    ways = ("delete these rows, or set the reference to NULL",)
    return _check(migration, o.name, f"foreign key {o.facts['label']} returns, and rows point to nothing", table.name, condition, ways)
