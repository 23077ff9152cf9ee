"""What a plain rollback cannot bring back, told from what the migration did: never less than what may be lost."""

import re
from collections.abc import Iterable, Iterator, Mapping

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import bare
from unmigrate.inverse import unseen
from unmigrate.inverse.model import Loss
from unmigrate.inverse.retyped import base, coarser, cut, exact
from unmigrate.inverse.server import bodies
from unmigrate.inverse.zones import by_zone
from unmigrate.sql.writes import Write, Writes, identifiers, may_write, only_read, writes

_CHANGES_ROW = re.compile(r"\bBEFORE\b.*\bUPDATE\b")  # a trigger that may


def losses(migration: str, sql: str, delta: Delta) -> tuple[Loss, ...]:
    """Losses of undoing a plainly deployed migration. Rows that only judge a value by running are named all the same."""
    back = {delta.before.objects[key].name for key in by_zone(sql, delta)}
    converted = (loss for loss in written(migration, sql, delta) if loss.object not in back)
    found = [*structure(migration, delta), *converted, *unseen.lost(migration, sql, delta)]
    unique: dict[str, Loss] = {}
    for loss in found:
        unique.setdefault(loss.object, loss)
    return tuple(unique.values())


def added(deltas: Iterable[tuple[str, Delta]], end: Catalog) -> Iterator[Loss]:
    """What (migration, delta) added and the way back takes away, by the names it has at the end; what went again is no loss."""
    listed = list(deltas)
    tables = {o.key for _, delta in listed for o in delta.created if o.kind == "table"}
    for migration, delta in listed:
        for created in sorted(delta.created, key=lambda o: o.key):
            o = end.get(created.key)
            if o is None:
                continue
            if o.kind == "table":
                yield Loss(migration, o.name, "added table", "the migration added it; rows written since go to the vault")
            elif o.kind == "column" and o.parent not in tables and not o.facts["generated"]:
                yield Loss(migration, o.name, "added column", "the migration added it; values written since go to the vault")
        for old, new in delta.altered:
            if (o := end.get(new.key)) is not None and coarser(delta, old, new):
                reason = f"values written since are rounded to {old.facts['type']} again; as they are they go to the vault"
                yield Loss(migration, o.name, "added column", reason)


def structure(migration: str, delta: Delta) -> Iterator[Loss]:
    """What was lost with columns, tables and types."""
    gone = {o.key for o in delta.dropped if o.kind == "table"}
    for o in delta.dropped:
        if o.kind == "table":
            yield Loss(migration, o.name, "table", "the migration dropped the table")
        elif o.kind == "column" and o.parent not in gone and not o.facts["generated"]:
            yield Loss(migration, o.name, "column", "the migration dropped the column")
    retyped = {new.name for old, new in delta.altered if new.kind == "enum"}
    for old, new in delta.altered:
        if new.kind == "column" and new.changes(old) & {"type", "collation"} and not (exact(delta, old, new) or cut(delta, old, new)):
            reason = f"the migration changed its type from {old.facts['type']} to {new.facts['type']}"
            yield Loss(migration, old.name, "values", reason)
        elif new.kind == "column" and base(new.facts["type"]) in retyped and "type" in new.changes(old):
            yield Loss(migration, old.name, "values", "the migration replaced its enum type")


def written(migration: str, sql: str, delta: Delta) -> Iterator[Loss]:
    """Which tables of before have rows or values written by the text, what it calls, triggers and foreign keys included."""
    text = writes(sql)
    tables = delta.before.of_kind("table")
    changed = [(write, table) for write in text.tables for table in resolve(write, delta, tables)]
    for write, table in changed:
        yield from _one_write(migration, write, table, delta, tables, text.renamed)
    for table_name, column in (*text.conversions, *text.shortened):
        for table in resolve(table_name, delta, tables):
            named = [c for c in delta.before.columns(table.key) if bare(c.facts["label"]) == column]
            now = delta.after.get(named[0].key) if named else None
            if (table_name, column) in text.shortened and now is not None and exact(delta, named[0], now):
                continue
            yield Loss(migration, named[0].name if named else table.name, "values", "the migration converted its values by an expression")
    code = [*text.opaque, *bodies(text.calls, (delta.before, delta.after))]
    for body in code:
        for table in _mentioned(body, delta, tables):
            yield Loss(migration, table.name, "values", "code that the migration runs may write to it")
    for write, table in changed:
        if write.verb in ("delete", "truncate", "merge", "update"):
            yield from _carried_on(migration, write, table, delta, text)


def resolve(write: Write, delta: Delta, tables: Mapping[Key, Object]) -> list[Object]:
    """Tables (as they were called before) that the written name may mean; those the migration created itself are no loss."""
    found = []
    for key, before in tables.items():
        o = delta.after.get(key) or before
        names = {bare(x.facts["label"]) for x in (o, before)}
        schemas = {bare(x.facts["schema"]) for x in (o, before)}
        if write.table in names and (write.schema is None or write.schema in schemas):
            found.append(before)
    return found


def _one_write(
    migration: str, write: Write, table: Object, delta: Delta, tables: Mapping[Key, Object], renamed: Iterable[tuple[str, str, str]]
) -> Iterable[Loss]:
    triggers = [o for c in (delta.before, delta.after) for o in c.children(table.key) if o.kind == "trigger" and _fires(o, write)]
    added = {bare(o.facts["label"]) for o in delta.created if o.kind == "column" and o.parent == table.key}
    there = {bare(c.facts["label"]) for c in delta.before.columns(table.key)}
    added |= {old for owner, old, new in renamed if owner == write.table and new in added and old not in there}
    own_only = write.verb == "update" and write.columns is not None and write.columns <= added
    if not own_only or any(_CHANGES_ROW.search(t.facts["definition"].partition(" ON ")[0]) for t in triggers):
        verb = {"insert": "inserted rows", "delete": "deleted rows", "truncate": "emptied it"}.get(write.verb, "updated rows")
        yield Loss(migration, table.name, "values", f"the migration {verb}")
    for trigger in triggers:
        for body in bodies(identifiers(trigger.facts["definition"]), (delta.before, delta.after)):
            for other in _mentioned(body, delta, tables):
                yield Loss(migration, other.name, "values", f"trigger {trigger.facts['label']} may write to it")


def _fires(trigger: Object, write: Write) -> bool:
    """Whether it is one on this kind of write."""
    events = {"insert": ("INSERT", "UPDATE"), "merge": ("INSERT", "UPDATE", "DELETE")}.get(write.verb, (write.verb.upper(),))  # ON CONFLICT
    return any(f" {event} " in f"{trigger.facts['definition'].partition(' ON ')[0]} " for event in events)


def _carried_on(migration: str, write: Write, table: Object, delta: Delta, text: Writes) -> Iterator[Loss]:
    for child in _cascades(table, delta, write, text):
        yield Loss(migration, child.name, "values", f"a foreign key carries the change of {table.name} to it")


def _cascades(table: Object, delta: Delta, write: Write, text: Writes) -> list[Object]:
    """Tables that foreign keys change along, transitively: where rows go, or where their columns change."""
    tables = delta.before.of_kind("table")
    verbs = {"delete": ("delete",), "truncate": ("truncate",), "merge": ("delete", "update")}.get(write.verb, ("update",))
    pending: list[tuple[Key, str, frozenset[str] | None]] = [
        (table.key, verb, write.columns if write.verb == "update" else None) for verb in verbs
    ]
    seen = set(pending)
    while pending:
        parent, verb, columns = pending.pop()
        for catalog in (delta.before, delta.after):
            for fk in catalog.of_kind("constraint").values():
                child = fk.parent
                if fk.facts["contype"] != "f" or child is None or child not in tables or fk.raw["references"] != str(parent.oid):
                    continue
                if _not_there(fk, catalog is delta.before, write, text, delta):
                    continue
                event = _carried(fk, verb, columns)
                if event is not None and (child, *event) not in seen:
                    seen.add((child, *event))
                    pending.append((child, *event))
    return [tables[k] for k in sorted({key for key, _, _ in seen}) if k != table.key]


def _not_there(fk: Object, of_before: bool, write: Write, text: Writes, delta: Delta) -> bool:
    """Whether a foreign key was dropped before the write, or made after it."""
    if fk.key in (delta.after if of_before else delta.before).objects:
        return False
    names = {bare(t.facts["label"]) for c in (delta.before, delta.after) if (t := c.get(fk.parent)) is not None}
    known, label = text.dropped if of_before else text.added, bare(fk.facts["label"])
    places = [at for name in names if (at := known.get((name, label))) is not None]
    return any(at < write.at for at in places) if of_before else any(at > write.at for at in places)


def _carried(fk: Object, verb: str, columns: frozenset[str] | None) -> tuple[str, frozenset[str] | None] | None:
    """(what happens to rows that refer to one that is deleted, truncated or updated in these columns, in which columns of theirs)."""
    if verb == "truncate":
        return verb, None
    definition = fk.facts["definition"]
    if verb == "update" and columns is not None and not _referenced(fk) & columns:
        return None
    match = re.search(rf"ON {verb.upper()} (CASCADE|SET)", definition)
    if match is None:
        return None
    if verb == "delete" and match[1] == "CASCADE":
        return "delete", None
    own = re.search(r"FOREIGN KEY \(([^)]*)\)", definition)
    return "update", frozenset(bare(name.strip()) for name in own[1].split(",")) if own else None


def _referenced(fk: Object) -> frozenset[str]:
    """Columns of the other table that a foreign key points to."""
    match = re.search(r"REFERENCES .*?\(([^)]*)\)", fk.facts["definition"])
    return frozenset(bare(name.strip()) for name in match[1].split(",")) if match else frozenset()


def _mentioned(body: str, delta: Delta, tables: Mapping[Key, Object]) -> list[Object]:
    if not may_write(body):
        return []
    names = identifiers(body) - only_read(body)
    return [t for t in tables.values() if bare(t.facts["label"]) in names]
