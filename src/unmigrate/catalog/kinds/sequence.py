"""Sequences, less those of identity columns, which belong to their column."""

from dataclasses import replace

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, owner_json, user_schema
from unmigrate.catalog.kinds.relation import rename
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants

OWNER = """from pg_depend o join pg_attribute a on a.attrelid = o.refobjid and a.attnum = o.refobjsubid
      join pg_class t on t.oid = o.refobjid join pg_namespace tn on tn.oid = t.relnamespace
      where o.classid = 'pg_class'::regclass and o.objid = c.oid and o.refclassid = 'pg_class'::regclass and o.deptype = 'a'"""

QUERY = f"""
select c.oid, 0, format('%I.%I', n.nspname, c.relname),
  (select 'pg_class' {OWNER}), (select o.refobjid {OWNER}), coalesce((select o.refobjsubid {OWNER}), 0),
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(c.relname),
    'type', format_type(s.seqtypid, null), 'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin, 'max', s.seqmax,
    'cache', s.seqcache, 'cycle', s.seqcycle, 'persistence', c.relpersistence,
    'owned_by', (select format('%I.%I.%I', tn.nspname, t.relname, a.attname) {OWNER}),
    'owner_role', {owner_json("c.relowner")}, 'acl', {acl_json("c.relacl", "s", "c.relowner")}, 'comment', {comment_json("pg_class", "c.oid")}),
  json_build_object('schema', c.relnamespace::text, 'grantees', {grantees_json("c.relacl", "c.relowner")}, 'owned_by', (select concat(o.refobjid, '.', o.refobjsubid) {OWNER}))
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_sequence s on s.seqrelid = c.oid
where c.relkind = 'S' and {user_schema()} and {not_member("pg_class", "c.oid")} and {{where}}
  and not exists (select from pg_depend i where i.classid = 'pg_class'::regclass and i.objid = c.oid and i.deptype = 'i')"""


def options(facts: dict[str, object]) -> str:
    cycle = "CYCLE" if facts["cycle"] else "NO CYCLE"
    return (
        f"AS {facts['type']} INCREMENT BY {facts['increment']} MINVALUE {facts['min']} MAXVALUE {facts['max']} "
        f"START WITH {facts['start']} CACHE {facts['cache']} {cycle}"
    )


def create(sequence: Object, catalog: Catalog) -> Statements:
    unlogged = "UNLOGGED " if sequence.facts["persistence"] == "u" else ""
    what = f"SEQUENCE {sequence.name}"
    statements = [f"CREATE {unlogged}{what} {options(sequence.facts)}", *grants(what, None, sequence)]
    if sequence.facts["comment"] is not None:
        statements.append(comment_sql(what, sequence.facts["comment"]))
    return statements


def owned_by(sequence: Object) -> str:
    return f"ALTER SEQUENCE {sequence.name} OWNED BY {sequence.facts['owned_by']}"


def drop(sequence: Object) -> Statements:
    return [f"DROP SEQUENCE {sequence.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if now.facts["owned_by"]:  # its table takes it along
        now = replace(now, facts={**now.facts, "schema": wanted.facts["schema"]})
    statements = rename("SEQUENCE", now, wanted)
    what = f"SEQUENCE {wanted.name}"
    if changed & {"type", "start", "increment", "min", "max", "cache", "cycle"}:
        statements.append(f"ALTER {what} {options(wanted.facts)}")
    if "persistence" in changed:
        statements.append(f"ALTER {what} SET {'UNLOGGED' if wanted.facts['persistence'] == 'u' else 'LOGGED'}")
    if "acl" in changed:
        statements += grants(what, now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    return statements


KIND = Kind("sequence", "pg_class", 5, QUERY, "c.oid", create, drop, alter, "relkind = 'S'")
