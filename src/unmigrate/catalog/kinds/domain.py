"""Domains; their checks are constraints with the domain as parent."""

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, owner_json, user_schema
from unmigrate.catalog.kinds.relation import rename
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants

QUERY = f"""
select t.oid, 0, format('%I.%I', n.nspname, t.typname), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(t.typname),
    'type', format_type(t.typbasetype, t.typtypmod), 'notnull', t.typnotnull, 'default', t.typdefault,
    'collation', (select format('%I.%I', cn.nspname, co.collname) from pg_collation co
      join pg_namespace cn on cn.oid = co.collnamespace join pg_type b on b.oid = t.typbasetype
      where co.oid = t.typcollation and t.typcollation <> b.typcollation),
    'owner_role', {owner_json("t.typowner")}, 'acl', {acl_json("t.typacl", "T", "t.typowner")}, 'comment', {comment_json("pg_type", "t.oid")}),
  json_build_object('schema', t.typnamespace::text, 'grantees', {grantees_json("t.typacl", "t.typowner")}, 'type', concat(t.typbasetype, ':', t.typtypmod), 'default', md5(t.typdefaultbin))
from pg_type t join pg_namespace n on n.oid = t.typnamespace
where t.typtype = 'd' and {user_schema()} and {not_member("pg_type", "t.oid")} and {{where}}"""


def create(domain: Object, catalog: Catalog) -> Statements:
    f = domain.facts
    parts = [f"CREATE DOMAIN {domain.name} AS {f['type']}"]
    if f["collation"]:
        parts.append(f"COLLATE {f['collation']}")
    if f["default"] is not None:
        parts.append(f"DEFAULT {f['default']}")
    if f["notnull"]:
        parts.append("NOT NULL")
    statements = [" ".join(parts), *grants(f"TYPE {domain.name}", None, domain)]
    if f["comment"] is not None:
        statements.append(comment_sql(f"DOMAIN {domain.name}", f["comment"]))
    return statements


def drop(domain: Object) -> Statements:
    return [f"DROP DOMAIN {domain.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if changed & {"type", "collation"}:
        return None
    statements = rename("TYPE", now, wanted)
    what = f"DOMAIN {wanted.name}"
    if "default" in changed:
        default = wanted.facts["default"]
        statements.append(f"ALTER {what} " + ("DROP DEFAULT" if default is None else f"SET DEFAULT {default}"))
    if "notnull" in changed:
        statements.append(f"ALTER {what} {'SET' if wanted.facts['notnull'] else 'DROP'} NOT NULL")
    if "acl" in changed:
        statements += grants(f"TYPE {wanted.name}", now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    return statements


KIND = Kind("domain", "pg_type", 4, QUERY, "t.oid", create, drop, alter, "typtype = 'd'")
