"""Questions to ask of the target first: rows that would make the way back fail. Their text speaks the names of now."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import literal
from unmigrate.plan.model import Check

_FOREIGN_KEY = re.compile(r"FOREIGN KEY \((.+?)\) REFERENCES (.+?)\((.+?)\)")
_COLUMNS = re.compile(r"^(?:PRIMARY KEY|UNIQUE) \(([^()]+)\)|^CREATE UNIQUE INDEX .* USING btree \(([^()]+)\)(?: WHERE \((.+)\))?$")
_TIMES = frozenset({"timestamp without time zone", "timestamp with time zone", "date"})
_NUMBERS = frozenset({"smallint", "integer", "bigint", "numeric", "double precision", "real"})
_TEXTS = frozenset({"text", "character varying", "character", "citext"})
_PLAIN = re.compile(r"\(\d+(,\d+)?\)")  # a type's size
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


def _check(
    migration: str, name: str, reason: str, table: str, condition: str, ways: tuple[str, ...], columns: tuple[str, ...] = ()
) -> Check:  # fmt: skip
    count = f"select count(*) from {table} t where {condition}"
    return Check(migration, name, reason, count, _sample(table, condition), ways, table, columns, condition)


def _flag(flag: str, name: str, value: str = "") -> str:
    return f"--{flag} '{name}{value}'"


def _returning_columns(migration: str, delta: Delta) -> Iterable[Check]:
    for column in delta.dropped:
        f = column.facts
        table = delta.after.get(column.parent)
        if column.kind != "column" or table is None or not f["notnull"] or f["default"] is not None or f["identity"]:
            continue
        reason = f"column {f['label']} returns as NOT NULL without a default, and existing rows have no value for it"
        ways = (f"--fill '{column.name} = <SQL>'", "the same with --refill SNAPSHOT, which then brings the old values back")
        yield _check(migration, column.name, reason, table.name, "true", ways)


def _altered_columns(migration: str, delta: Delta) -> Iterable[Check]:
    for old, new in delta.altered:
        if new.kind != "column":
            continue
        changed, table, label = new.changes(old), new.facts["table"], new.facts["label"]
        if "notnull" in changed and old.facts["notnull"]:
            ways = (_flag("fill", new.name, " = <SQL>"), _flag("delete", new.name))
            reason = f"column {label} becomes NOT NULL again"
            yield _check(migration, new.name, reason, table, f"{label} IS NULL", ways, (label,))
        if "type" in changed and (condition := _does_not_fit(label, new.facts["type"], old.facts["type"], _labels(delta))):
            reason = f"values do not fit {old.facts['type']}"
            null = () if old.facts["notnull"] else (_flag("set-null", new.name),)
            ways = (_flag("fill", new.name, " = <SQL>"), *null, _flag("delete", new.name))
            yield _check(migration, new.name, reason, table, condition, ways, (label,))


def _labels(delta: Delta) -> dict[str, list[str]]:
    """Labels of the enums that return, by name."""
    return {o.name: o.facts["labels"] or [] for o in delta.dropped if o.kind == "enum"}


def _does_not_fit(label: str, now: str, wanted: str, enums: Mapping[str, list[str]]) -> str:
    """Condition that finds values of type `now` that have no place in `wanted`; "" where all have, or it cannot be said.

    enums: labels of enums that return.
    """
    if wanted.removesuffix("[]") in enums:
        listed = f"ARRAY[{', '.join(map(literal, enums[wanted.removesuffix('[]')]))}]::text[]"
        return f"NOT {label}::text[] <@ {listed}" if wanted.endswith("[]") else f"{label}::text <> ALL ({listed})"
    before, after = _PLAIN.sub("", wanted), _PLAIN.sub("", now)
    if {before, after} <= _NUMBERS | _TIMES | {"boolean"} and (before in _TIMES) != (after in _TIMES):
        return f"{label} IS NOT NULL"  # neither is ever the other's text
    if before in _TIMES and after in _TEXTS:
        return f"{label} !~ '^\\s*[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}'"
    if before == "boolean" and after in _TEXTS:
        return f"lower(trim({label})) <> ALL ('{{t,true,y,yes,on,1,f,false,n,no,off,0}}')"
    ranges = {"smallint": 32767, "integer": 2147483647, "bigint": 9223372036854775807}
    if wanted in ranges and now in ("integer", "bigint", "numeric", "double precision", "real"):
        return f"{label} > {ranges[wanted]} OR {label} < {-ranges[wanted] - 1}"
    if wanted in ranges and now in ("text", "character varying"):
        return f"{label} !~ '^\\s*[-+]?[0-9]+\\s*$'"
    if wanted == "real" and now in ("double precision", "numeric"):
        listed = "('Infinity', '-Infinity', 'NaN')" if now == "double precision" else "('NaN')"
        return f"{label}::text NOT IN {listed} AND {label} <> 0 AND (abs({label}) > 3.4e38 OR abs({label}) < 1.2e-38)"
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
            ways = (*(_flag("map", f"{new.name}.{one}", " = <an older label>") for one in gone), _flag("delete", column.name))
            check = _check(migration, column.name, reason, table, condition, ways, (label,))
            yield replace(check, enum=new.name, array=array)


def _returning_constraints(migration: str, delta: Delta) -> Iterable[Check]:
    created = {(o.kind, o.name, str(o.facts)) for o in delta.created}
    for o in delta.dropped:
        table = delta.after.get(o.parent)
        if o.kind not in ("constraint", "index") or table is None or table.kind != "table" or (o.kind, o.name, str(o.facts)) in created:
            continue
        names = _names_now(delta, o.parent)
        definition = o.facts["definition"]
        if _held(delta, o, names):
            continue
        if match := _COLUMNS.match(definition):
            if check := _unique(migration, o, table, names, match):
                yield check
        elif o.facts.get("contype") == "f" and (match := _FOREIGN_KEY.search(definition)):
            if check := _orphans(migration, o, table, delta, match):
                yield check
        elif (match := _CHECK.match(definition)) and all(old == new for old, new in names.items()):
            ways = ("change the rows that break it", _flag("delete", o.name))
            yield _check(migration, o.name, f"check {o.facts['label']} returns", table.name, f"NOT ({match[1]})", ways)


def held(delta: Delta, o: Object) -> bool:
    """Whether what the migration dropped is still asked of the rows by something else."""
    return _held(delta, o, _names_now(delta, o.parent))


def _held(delta: Delta, o: Object, names: Mapping[str, str]) -> bool:
    """Whether something that the migration left or made holds the rows to the same, under another name or with other actions."""
    retyped = {old.facts["label"] for old, new in delta.altered if new.kind == "column" and new.changes(old) & {"type", "collation"}}
    for other in (*delta.after.of_kind("constraint").values(), *delta.after.of_kind("index").values()):
        if other.parent != o.parent or "NOT VALID" in other.facts["definition"] or "NOT ENFORCED" in other.facts["definition"]:
            continue
        mine, theirs = _COLUMNS.match(o.facts["definition"]), _COLUMNS.match(other.facts["definition"])
        if mine and theirs and not theirs[3] and not mine[3]:
            columns = {c.strip() for c in (mine[1] or mine[2]).split(",")}
            if not columns & retyped and {c.strip() for c in (theirs[1] or theirs[2]).split(",")} <= {names.get(c) for c in columns}:
                return True
        old, new = _FOREIGN_KEY.search(o.facts["definition"]), _FOREIGN_KEY.search(other.facts["definition"])
        if old and new and _same_reference(delta, old, new, names, retyped, (o, other)):
            return True
    return False


def _same_reference(
    delta: Delta, old: re.Match[str], new: re.Match[str], names: Mapping[str, str], retyped: set[str], both: tuple[Object, Object]
) -> bool:
    if both[0].raw["references"] != both[1].raw["references"]:
        return False
    theirs = _names_now(delta, Key("pg_class", int(both[0].raw["references"])))
    mine = [c.strip() for c in old[1].split(",")]
    pairs = [(names.get(a), theirs.get(b.strip())) for a, b in zip(mine, old[3].split(","), strict=True)]
    there = list(zip((c.strip() for c in new[1].split(",")), (c.strip() for c in new[3].split(",")), strict=True))
    return not set(mine) & retyped and sorted(map(str, pairs)) == sorted(map(str, there))


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
    if other is None:
        return None
    mine, theirs = _names_now(delta, o.parent), _names_now(delta, other.key)
    if now is None:  # it returns empty
        columns = [mine.get(a.strip()) for a in match[1].split(",")]
        if not all(columns):
            return None
        reason = f"foreign key {o.facts['label']} returns, and {other.name} returns empty"
        condition = " AND ".join(f"t.{c} IS NOT NULL" for c in columns)
        outs = (_flag("set-null", o.name), f"restore {other.name} from a snapshot")
        return _check(migration, o.name, reason, table.name, condition, outs, tuple(str(c) for c in columns))
    pairs = [(mine.get(a.strip()), theirs.get(b.strip())) for a, b in zip(match[1].split(","), match[3].split(","), strict=True)]
    if not all(a and b for a, b in pairs):
        return None
    present = " AND ".join(f"t.{a} IS NOT NULL" for a, _ in pairs)
    joined = " AND ".join(f"r.{b} = t.{a}" for a, b in pairs)
    condition = f"{present} AND NOT EXISTS (SELECT FROM {now.name} r WHERE {joined})"
    ways = (_flag("set-null", o.name), _flag("delete", o.name))
    reason = f"foreign key {o.facts['label']} returns, and rows point to nothing"
    return _check(migration, o.name, reason, table.name, condition, ways, tuple(str(a) for a, _ in pairs))
