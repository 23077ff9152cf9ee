"""Questions to ask of the target first: rows that would make the way back fail. Their text speaks the names of now."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import bare, literal
from unmigrate.inverse.fits import misfit, plain
from unmigrate.inverse.model import Check
from unmigrate.sql.unique import Unique, unique

_FOREIGN_KEY = re.compile(r"FOREIGN KEY \((.+?)\) REFERENCES (.+?)\((.+?)\)")
_CHECK = re.compile(r"^CHECK \((.+)\)(?: NO INHERIT)?$", re.DOTALL)


def checks(migration: str, delta: Delta) -> tuple[Check, ...]:
    """Checks for undoing one migration, on tables that are there both before and after it."""
    return (
        *_returning_columns(migration, delta),
        *_altered_columns(migration, delta),
        *removed_labels(migration, delta),
        *_returning_constraints(migration, delta),
        *_domains(migration, delta),
        *_counters(migration, delta),
    )


def sample(source: str, columns: Sequence[str] = ()) -> str:
    """Some rows of `source` ("from … t where …"): their keys and these columns, as the rest of a row is not ours to show."""
    told = f"quote_ident(a.attname) = any (array[{', '.join(map(literal, columns))}]::text[])"
    key = "exists (select from pg_index i where i.indrelid = a.attrelid and i.indisprimary and a.attnum = any (i.indkey))"
    return (
        "select left(coalesce((select string_agg(concat(quote_ident(a.attname), ' = ', coalesce(to_jsonb(t) ->> a.attname, 'NULL')), ', ' "
        "order by a.attnum) from pg_attribute a where a.attrelid = (select typrelid from pg_type where oid = pg_typeof(t)) "
        f"and a.attnum > 0 and not a.attisdropped and ({told} or {key})), 'a row without a key'), 120) {source} limit 5"
    )


def _check(
    migration: str, name: str, reason: str, table: str, condition: str, ways: tuple[str, ...], columns: tuple[str, ...] = ()
) -> Check:  # fmt: skip
    source = f"from {table} t where {condition}"
    return Check(migration, name, reason, f"select count(*) {source}", sample(source, columns), ways, table, columns, condition)


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
        if "type" in changed and (condition := fitting(delta, old, new)):
            yield _misfit(migration, new, old, condition)


def _misfit(migration: str, new: Object, old: Object, condition: str) -> Check:
    null = () if old.facts["notnull"] else (_flag("set-null", new.name),)
    ways = (_flag("fill", new.name, " = <SQL>"), *null, _flag("delete", new.name))
    return _check(migration, new.name, f"values do not fit {old.facts['type']}", new.facts["table"], condition, ways, (new.facts["label"],))


def misfits(migration: str, new: Object, old: Object, now: Catalog) -> Check | None:
    """Of a column whose old one stands beside it, in the same catalog: values that have no place in that."""
    labels = _labels(now)
    mine, theirs = (labels.get(o.facts["type"].removesuffix("[]")) for o in (new, old))
    if mine is not None and theirs is not None:
        gone = [label for label in mine if label not in theirs]
        return _using(migration, new, new.facts["type"].removesuffix("[]"), gone) if gone else None
    condition = misfit(new.facts["label"], plain(new.facts["type"], now), plain(old.facts["type"], now), labels, labels)
    return _misfit(migration, new, old, condition) if condition else None


def _labels(catalog: Catalog) -> dict[str, list[str]]:
    return {o.name: o.facts["labels"] or [] for o in catalog.of_kind("enum").values()}


def fitting(delta: Delta, old: Object, new: Object) -> str | None:
    """What finds values of a column whose type goes back that have no place in it: see `fits.misfit`."""
    wanted = old.facts["type"]
    if wanted.rpartition(".")[2].removesuffix("[]") == "citext":
        wanted = plain(wanted, delta.before)
    return misfit(new.facts["label"], plain(new.facts["type"], delta.after), wanted, _labels(delta.before), _labels(delta.after))


def removed_labels(migration: str, delta: Delta) -> Iterable[Check]:
    """Rows with labels that go."""
    enums = [(old, new) for old, new in delta.altered if new.kind == "enum"]
    dropped = [o for o in delta.dropped if o.kind == "enum"]
    enums += [(o, n) for o in dropped for n in delta.created if n.kind == "enum" and n.name == o.name]
    for old, new in enums:
        kept = {oid for oid, _ in old.raw["labels"] or []}
        names = old.facts["labels"] or [] if old.key != new.key else []  # in the same type, a label that bears an old name is another
        gone = [label for oid, label in new.raw["labels"] or [] if oid not in kept and label not in names]
        if not gone:
            continue
        for column in delta.after.of_kind("column").values():
            stays = column.key in delta.before.objects  # a new one goes before its type does
            if stays and column.facts["type"] in (new.name, f"{new.name}[]"):
                yield _using(migration, column, new.name, gone)


def _using(migration: str, column: Object, enum: str, gone: Sequence[str]) -> Check:
    """Rows with these labels, which are to go."""
    label, listed, array = column.facts["label"], ", ".join(map(literal, gone)), column.facts["type"].endswith("[]")
    condition = f"{label}::text[] && ARRAY[{listed}]" if array else f"{label}::text IN ({listed})"
    reason = f"rows use labels that {enum} did not have: {', '.join(gone)}"
    ways = (*(_flag("map", f"{enum}.{one}", " = <an older label>") for one in gone), _flag("delete", column.name))
    return replace(_check(migration, column.name, reason, column.facts["table"], condition, ways, (label,)), enum=enum, array=array)


def _returning_constraints(migration: str, delta: Delta) -> Iterable[Check]:
    for o in delta.dropped:
        if asked(delta, o) and (check := _asked_of(migration, delta, o)):
            yield check


def asked(delta: Delta, o: Object) -> bool:
    """Whether a constraint or index that the migration dropped holds rows to something again, that nothing else holds them to."""
    table = delta.after.get(o.parent)
    if o.kind not in ("constraint", "index") or table is None or table.kind != "table":
        return False
    if o.kind == "index" and not o.facts["unique"]:
        return False
    same = any(n.kind == o.kind and n.name == o.name and n.facts == o.facts for n in delta.created)
    return not same and not _met_by_returning(delta, o) and not _held(delta, o, _names_now(delta, o.parent))


def _met_by_returning(delta: Delta, o: Object) -> bool:
    """Whether a column of it returns with NULLs, or with another value in each row, which are no duplicates and point to nothing."""
    returning, definition = _returning(delta, o.parent), o.facts["definition"]
    if key := unique(definition):
        back = [returning[label] for label in _labels_of(delta, o.parent, key.columns) if label in returning]
        return any(_each_another(c) or (c.facts["default"] is None and not key.nulls) for c in back)
    match = _FOREIGN_KEY.search(definition) if o.facts.get("contype") == "f" else None
    return match is not None and any((c := returning.get(a.strip())) and c.facts["default"] is None for a in match[1].split(","))


def _asked_of(migration: str, delta: Delta, o: Object) -> Check | None:
    """The question that an `asked` one wants answered; None where it cannot be put in SQL of now."""
    table, definition = delta.after.objects[o.parent], o.facts["definition"]  # type: ignore[index]
    if key := unique(definition):
        expressions = " ".join((*(() if key.columns else key.keys), key.where))
        return None if _of_other_types(delta, o.parent, expressions) else _unique(migration, o, table, delta, key)
    if o.facts.get("contype") == "f" and (match := _FOREIGN_KEY.search(definition)):
        return _orphans(migration, o, table, delta, match)
    if (match := _CHECK.match(definition)) and not _of_other_types(delta, o.parent, match[1]):
        ways = ("change the rows that break it", _flag("delete", o.name))
        condition = f"NOT ({speaking_of_now(match[1], _words_now(delta, o.parent))})"
        return _check(migration, o.name, f"check {o.facts['label']} returns", table.name, condition, ways)
    return None


def _held(delta: Delta, o: Object, names: Mapping[str, str]) -> bool:
    """Whether something that the migration left or made holds the rows to the same, under another name or with other actions."""
    retyped = _retyped(delta, o.parent)
    for other in (*delta.after.of_kind("constraint").values(), *delta.after.of_kind("index").values()):
        if other.parent != o.parent or "NOT VALID" in other.facts["definition"] or "NOT ENFORCED" in other.facts["definition"]:
            continue
        mine, theirs = unique(o.facts["definition"]), unique(other.facts["definition"])
        if mine and theirs and (theirs.nulls or not mine.nulls) and _as_narrow(delta, o, mine, theirs, retyped):
            return True
        old, new = _FOREIGN_KEY.search(o.facts["definition"]), _FOREIGN_KEY.search(other.facts["definition"])
        if old and new and _as_strict(delta, old, new, names, (o, other)):
            return True
    return False


def _retyped(delta: Delta, table: Key | None) -> set[str]:
    """Columns of a table, by the names of before, whose values are not compared as they were."""
    columns = [(old, new) for old, new in delta.altered if new.kind == "column" and new.parent == table]
    return {old.facts["label"] for old, new in columns if new.changes(old) & {"type", "collation"}}


def _as_narrow(delta: Delta, o: Object, mine: Unique, theirs: Unique, retyped: set[str]) -> bool:
    """Whether rows that are unique by `theirs` are so by `mine`."""
    names = _names_now(delta, o.parent)
    if theirs.plain and mine.columns:
        columns = _labels_of(delta, o.parent, mine.columns)
        return not set(columns) & retyped and {bare(names.get(c, "")) for c in columns} >= set(theirs.columns)
    if retyped or _returning(delta, o.parent):
        return False
    words = _words_now(delta, o.parent)
    keys, where = tuple(speaking_of_now(k, words) for k in mine.keys), speaking_of_now(mine.where, words)
    return keys == theirs.keys and theirs.where in ("", where)


def _as_strict(delta: Delta, old: re.Match[str], new: re.Match[str], names: Mapping[str, str], both: tuple[Object, Object]) -> bool:
    """Whether rows that a foreign key of now holds cannot break the one of before: the same columns, and others that are never NULL."""
    child, raw = both[0].parent, both[0].raw["references"]
    if raw != both[1].raw["references"]:
        return False
    parent = Key("pg_class", int(raw))
    theirs, retyped = _names_now(delta, parent), _retyped(delta, child)
    pairs = [(a.strip(), b.strip()) for a, b in zip(old[1].split(","), old[3].split(","), strict=True)]
    now = {(names.get(a), theirs.get(b)) for a, b in pairs}
    there = set(zip((c.strip() for c in new[1].split(",")), (c.strip() for c in new[3].split(",")), strict=True))
    others = {a for a, _ in there - now}
    filled = {c.facts["label"] for c in (delta.after.columns(child) if child else ()) if c.facts["notnull"]}
    alike = all(_types_of(delta, child, a) == _types_of(delta, parent, b) for a, b in pairs if a in retyped)
    return alike and now <= there and others <= filled


def _types_of(delta: Delta, table: Key | None, label: str) -> tuple[str, str] | None:
    """A column's type before and after: what refers to each other and changes alike goes on referring to each other."""
    column = next((c for c in (delta.before.columns(table) if table else ()) if c.facts["label"] == label), None)
    now = delta.after.get(column.key) if column else None
    return (column.facts["type"], now.facts["type"]) if column and now else None


def _names_now(delta: Delta, table: Key | None) -> dict[str, str]:
    """What the columns of before are called now; only those still there."""
    if table is None:
        return {}
    return {
        c.facts["label"]: delta.after.objects[c.key].facts["label"] for c in delta.before.columns(table) if c.key in delta.after.objects
    }


def _unique(migration: str, o: Object, table: Object, delta: Delta, key: Unique) -> Check:
    """Duplicates; a column that returns has one value in all rows."""
    words, returning = _words_now(delta, o.parent), _returning(delta, o.parent)
    labels = _labels_of(delta, o.parent, key.columns)
    parts = [words.get(c, c) for c in labels if c not in returning] or [speaking_of_now(k, words) for k in key.keys if not key.columns]
    shown = ", ".join(parts)
    where = speaking_of_now(key.where, words)
    present = [] if key.nulls else [f"{part} IS NOT NULL" for part in parts]
    condition = " AND ".join([*present, *([f"({where})"] if where else [])]) or "true"
    groups = f"from {table.name} where {condition}{f' group by {shown}' if shown else ''} having count(*) > 1"
    reason = f"{o.facts['label']} makes ({', '.join(labels) or shown}) unique again{f' where {where}' if where else ''}"
    ways = ("delete or change the duplicates",)
    twice = f"select left(concat_ws(', ', {shown or 'null'}), 120) {groups} limit 5"
    return Check(migration, o.name, reason, f"select count(*) from (select 1 {groups}) d", twice, ways)


def _returning(delta: Delta, table: Key | None) -> dict[str, Object]:
    """Columns that return to a table that is there, by label."""
    columns = delta.before.columns(table) if table else []
    return {c.facts["label"]: c for c in columns if c.key not in delta.after.objects}


def _each_another(column: Object) -> bool:
    """Whether each row gets a value of its own when the column returns."""
    return bool(column.facts["identity"] or re.search(r"nextval|random|uuid|clock_timestamp", column.facts["default"] or ""))


def _words_now(delta: Delta, table: Key | None) -> dict[str, str]:
    """What stands for a column of before: its name now, or the value it returns with; only where that is not its old name."""
    renamed = {old: new for old, new in _names_now(delta, table).items() if old != new}
    return renamed | {label: _value_back(c) for label, c in _returning(delta, table).items()}


def _of_other_types(delta: Delta, table: Key | None, expression: str) -> bool:
    """Whether it speaks of columns whose type is another now, or one that need not be there."""
    said = set(_WORD.findall(expression))
    return bool(said & (_retyped(delta, table) | {label for label, c in _returning(delta, table).items() if "." in c.facts["type"]}))


def _value_back(column: Object) -> str:
    return f"({column.facts['default'] or 'NULL'})::{column.facts['type']}"


_WORD = re.compile(r"""'(?:[^']|'')*'|(?:::|\.|\bAS )?(?:"(?:[^"]|"")*"|\b[^\W\d]\w*\b)(?!\()""")


def speaking_of_now(text: str, words: Mapping[str, str]) -> str:
    """An expression of before with other words for columns; names of types and functions are none."""
    return _WORD.sub(lambda m: words.get(m[0], m[0]), text)


def _domains(migration: str, delta: Delta) -> Iterable[Check]:
    """Columns of a domain that is stricter again: NOT NULL, or a check of its own."""
    for old, new in delta.altered:
        if new.kind == "domain" and "notnull" in new.changes(old) and old.facts["notnull"]:
            yield from _of_domain(migration, delta, new, f"domain {old.name} becomes NOT NULL again", "VALUE IS NULL")
    for o in delta.dropped:
        domain = delta.after.get(o.parent) if o.kind == "constraint" else None
        if domain is not None and domain.kind == "domain" and (match := _CHECK.match(o.facts["definition"])):
            reason = f"check {o.facts['label']} of domain {domain.name} returns"
            yield from _of_domain(migration, delta, domain, reason, f"NOT ({match[1]})")


def _of_domain(migration: str, delta: Delta, domain: Object, reason: str, condition: str) -> Iterable[Check]:
    for column in delta.after.of_kind("column").values():
        if column.facts["type"] == domain.name and column.parent in delta.before.objects:
            label = column.facts["label"]
            where = speaking_of_now(condition, {"VALUE": label})
            ways = (_flag("fill", column.name, " = <SQL>"), _flag("delete", column.name))
            yield _check(migration, column.name, reason, column.facts["table"], where, ways, (label,))


def _counters(migration: str, delta: Delta) -> Iterable[Check]:
    """Sequences that have counted further than they may again."""
    for old, new in delta.altered:
        then, now = (o.facts if o.kind == "sequence" else o.facts.get("sequence") for o in (old, new))
        if not then or not now or (then["max"] >= now["max"] and then["min"] <= now["min"]):
            continue
        name = new.name if new.kind == "sequence" else f"{now['schema']}.{now['label']}"
        condition = f"last_value NOT BETWEEN {then['min']} AND {then['max']}"
        ways = (f"SELECT setval({literal(name)}, {then['max']}), if no row has that number",)
        yield _check(migration, name, f"sequence {name} goes up to {then['max']} again", name, condition, ways)


def _labels_of(delta: Delta, table: Key | None, columns: Iterable[str]) -> list[str]:
    """Bare names as the catalog before labels them."""
    labels = {bare(c.facts["label"]): c.facts["label"] for c in (delta.before.columns(table) if table else ())}
    return [labels.get(name, "") for name in columns]


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
