"""Composite types (CREATE TYPE ... AS), keyed by their pg_class row."""

from typing import Any

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, owner_json, user_schema
from unmigrate.catalog.kinds.relation import rename
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants

COLLATE = """case when a.attcollation <> y.typcollation then (select format(' COLLATE %I.%I', cn.nspname, co.collname)
        from pg_collation co join pg_namespace cn on cn.oid = co.collnamespace where co.oid = a.attcollation) end"""

QUERY = f"""
select c.oid, 0, format('%I.%I', n.nspname, c.relname), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(c.relname),
    'attributes', (select jsonb_agg(jsonb_build_array(quote_ident(a.attname), concat(format_type(a.atttypid, a.atttypmod), {COLLATE}),
        {comment_json("pg_class", "c.oid", "a.attnum")}) order by a.attnum)
      from pg_attribute a join pg_type y on y.oid = a.atttypid where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    'owner_role', {owner_json("t.typowner")}, 'acl', {acl_json("t.typacl", "T", "t.typowner")}, 'comment', {comment_json("pg_type", "t.oid")}),
  json_build_object('schema', c.relnamespace::text, 'grantees', {grantees_json("t.typacl", "t.typowner")}, 'attributes', (select jsonb_agg(jsonb_build_array(a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation, {comment_json("pg_class", "c.oid", "a.attnum")}) order by a.attnum)
      from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped))
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_type t on t.oid = c.reltype
where c.relkind = 'c' and {user_schema()} and {not_member("pg_type", "t.oid")} and {{where}}"""


def create(composite: Object, catalog: Catalog) -> Statements:
    attributes = ", ".join(f"{name} {type_}" for name, type_, _ in composite.facts["attributes"] or [])
    what = f"TYPE {composite.name}"
    statements = [f"CREATE {what} AS ({attributes})", *grants(what, None, composite)]
    if composite.facts["comment"] is not None:
        statements.append(comment_sql(what, composite.facts["comment"]))
    commented = [(name, comment) for name, _, comment in composite.facts["attributes"] or [] if comment is not None]
    return statements + [comment_sql(f"COLUMN {composite.name}.{name}", comment) for name, comment in commented]


def drop(composite: Object) -> Statements:
    return [f"DROP TYPE {composite.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    statements = rename("TYPE", now, wanted)
    what = f"TYPE {wanted.name}"
    if "attributes" in changed:
        statements += _attributes(what, now, wanted)
    if "acl" in changed:
        statements += grants(what, now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    return statements


def _attributes(what: str, now: Object, wanted: Object) -> Statements:
    before = {number: tuple(attribute) for (number, *_), attribute in _numbered(wanted)}
    after = {number: tuple(attribute) for (number, *_), attribute in _numbered(now)}
    statements = [f"ALTER {what} DROP ATTRIBUTE {after[n][0]}" for n in after if n not in before]
    for number, (name, type_, comment) in before.items():
        if number not in after:
            statements.append(f"ALTER {what} ADD ATTRIBUTE {name} {type_}")
            statements += [comment_sql(f"COLUMN {wanted.name}.{name}", comment)] if comment is not None else []
            continue
        if after[number][0] != name:
            statements.append(f"ALTER {what} RENAME ATTRIBUTE {after[number][0]} TO {name}")
        if after[number][1] != type_:
            statements.append(f"ALTER {what} ALTER ATTRIBUTE {name} TYPE {type_}")
        if after[number][2] != comment:
            statements.append(comment_sql(f"COLUMN {wanted.name}.{name}", comment))
    return statements


def _numbered(composite: Object) -> list[tuple[list[Any], list[Any]]]:
    return list(zip(composite.raw["attributes"] or [], composite.facts["attributes"] or [], strict=True))


KIND = Kind("composite", "pg_class", 3, QUERY, "c.oid", create, drop, alter, "relkind = 'c'")
