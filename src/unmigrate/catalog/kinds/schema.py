"""Schemas."""

from unmigrate.catalog.kinds.base import IGNORED_SCHEMAS, Kind, Statements, not_member, owner_json
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants

QUERY = f"""
select n.oid, 0, quote_ident(n.nspname), null, null::oid, 0,
  json_build_object('label', quote_ident(n.nspname), 'owner_role', {owner_json("n.nspowner")}, 'acl', {acl_json("n.nspacl", "n", "n.nspowner")}, 'comment', {comment_json("pg_namespace", "n.oid")}),
  json_build_object('grantees', {grantees_json("n.nspacl", "n.nspowner")})
from pg_namespace n
where n.nspname !~ '{IGNORED_SCHEMAS}' and {not_member("pg_namespace", "n.oid")} and {{where}}"""


def create(schema: Object, catalog: Catalog) -> Statements:
    what = f"SCHEMA {schema.name}"
    statements = [f"CREATE {what}", *grants(what, None, schema)]
    if schema.facts["comment"] is not None:
        statements.append(comment_sql(what, schema.facts["comment"]))
    return statements


def drop(schema: Object) -> Statements:
    return [f"DROP SCHEMA {schema.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    statements = []
    if now.name != wanted.name:
        statements.append(f"ALTER SCHEMA {now.name} RENAME TO {wanted.name}")
    what = f"SCHEMA {wanted.name}"
    if "acl" in changed:
        statements += grants(what, now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    return statements


KIND = Kind("schema", "pg_namespace", 0, QUERY, "n.oid", create, drop, alter)
