"""Enum types. Labels that were added can only go by a type swap: see inverse.retype."""

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, owner_json, user_schema
from unmigrate.catalog.kinds.relation import rename
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants, literal

QUERY = f"""
select t.oid, 0, format('%I.%I', n.nspname, t.typname), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(t.typname),
    'labels', (select jsonb_agg(e.enumlabel order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid),
    'owner_role', {owner_json("t.typowner")}, 'acl', {acl_json("t.typacl", "T", "t.typowner")}, 'comment', {comment_json("pg_type", "t.oid")}),
  json_build_object('schema', t.typnamespace::text, 'grantees', {grantees_json("t.typacl", "t.typowner")}, 'labels',
    (select jsonb_agg(jsonb_build_array(e.oid, e.enumlabel) order by e.enumsortorder) from pg_enum e where e.enumtypid = t.oid))
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'e' and {user_schema()} and {not_member("pg_type", "t.oid")} and {{where}}"""


def create(enum: Object, catalog: Catalog) -> Statements:
    return [create_as(enum, enum.name), *attributes(enum)]


def create_as(enum: Object, name: str) -> str:
    return f"CREATE TYPE {name} AS ENUM ({', '.join(literal(label) for label in enum.facts['labels'] or [])})"


def attributes(enum: Object) -> Statements:
    what = f"TYPE {enum.name}"
    comment = enum.facts["comment"]
    return grants(what, None, enum) + ([comment_sql(what, comment)] if comment is not None else [])


def drop(enum: Object) -> Statements:
    return [f"DROP TYPE {enum.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    statements = rename("TYPE", now, wanted)
    what = f"TYPE {wanted.name}"
    if "labels" in changed:
        if not same_labels(now, wanted):
            return None
        statements += rename_labels(now, wanted)
    if "acl" in changed:
        statements += grants(what, now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    return statements


def same_labels(now: Object, wanted: Object) -> bool:
    """Whether they have the same labels in the same order, whatever these are called."""
    return [oid for oid, _ in now.raw["labels"] or []] == [oid for oid, _ in wanted.raw["labels"] or []]


def rename_labels(now: Object, wanted: Object) -> Statements:
    """Labels that both have get the names of `wanted`; whichever bears one of these names steps aside first, and stays there if it is to go."""
    labels = dict(now.raw["labels"] or [])
    renamed = {oid: label for oid, label in wanted.raw["labels"] or [] if labels.get(oid, label) != label}
    aside = {oid: _aside(label) for oid, label in labels.items() if label in renamed.values()}
    statements = []
    for oid, name in (*aside.items(), *renamed.items()):
        statements.append(f"ALTER TYPE {wanted.name} RENAME VALUE {literal(labels[oid])} TO {literal(name)}")
        labels[oid] = name
    return statements


def _aside(label: str) -> str:
    return f"{label.encode()[:50].decode(errors='ignore')}__unmigrate"  # 63 bytes is what there is room for


KIND = Kind("enum", "pg_type", 2, QUERY, "t.oid", create, drop, alter, "typtype = 'e'")
