"""Functions and procedures. Aggregates are among the others: they can be dropped, not re-created."""

from unmigrate.catalog.kinds.base import Kind, Statements, not_internal, not_member, owner_json, user_schema, uses_json
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants

QUERY = f"""
select p.oid, 0, format('%I.%I(%s)', n.nspname, p.proname, oidvectortypes(p.proargtypes)), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(p.proname), 'prokind', p.prokind,
    'arguments', oidvectortypes(p.proargtypes), 'definition', pg_get_functiondef(p.oid),
    'signature', concat(pg_get_function_arguments(p.oid), ' ', pg_get_function_result(p.oid)),
    'owner_role', {owner_json("p.proowner")}, 'acl', {acl_json("p.proacl", "f", "p.proowner")}, 'comment', {comment_json("pg_proc", "p.oid")}),
  json_build_object('schema', p.pronamespace::text, 'uses', {uses_json("pg_proc", "p.oid")}, 'grantees', {grantees_json("p.proacl", "p.proowner")}, 'definition', md5(concat_ws('|', p.prosrc, p.probin, p.prosqlbody, p.proargtypes, p.proallargtypes, p.prorettype,
    p.proargnames, p.proargmodes, p.proargdefaults, p.provolatile, p.proparallel, p.prosecdef, p.proleakproof, p.proisstrict,
    p.procost, p.prorows, p.proconfig, p.prosupport, p.prolang, p.proretset)),
    'arguments', p.proargtypes::text, 'signature', md5(concat_ws('|', p.proargtypes, p.proallargtypes, p.prorettype, p.proargnames,
      p.proargmodes, p.proargdefaults, p.proretset)))
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where p.prokind in ('f', 'p', 'w') and {user_schema()} and {not_member("pg_proc", "p.oid")}
  and {not_internal("pg_proc", "p.oid")} and {{where}}"""


def what(routine: Object) -> str:
    word = "PROCEDURE" if routine.facts["prokind"] == "p" else "FUNCTION"
    return f"{word} {routine.name}"


def create(routine: Object, catalog: Catalog) -> Statements:
    statements = [routine.facts["definition"].rstrip(), *grants(what(routine), None, routine)]
    if routine.facts["comment"] is not None:
        statements.append(comment_sql(what(routine), routine.facts["comment"]))
    return statements


def drop(routine: Object) -> Statements:
    return [f"DROP {what(routine)}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    f = wanted.facts
    if "signature" in changed or "prokind" in changed:
        return None
    statements = []
    word, arguments = what(now).split(" ", 1)[0], f"({now.facts['arguments']})"
    if now.facts["schema"] != f["schema"]:
        statements.append(f"ALTER {what(now)} SET SCHEMA {f['schema']}")
    if now.facts["label"] != f["label"]:
        statements.append(f"ALTER {word} {f['schema']}.{now.facts['label']}{arguments} RENAME TO {f['label']}")
    if "definition" in changed:
        statements.append(f["definition"].rstrip())
    if "acl" in changed:
        statements += grants(what(wanted), now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what(wanted), f["comment"]))
    return statements


KIND = Kind("routine", "pg_proc", 6, QUERY, "p.oid", create, drop, alter, "prokind in ('f', 'p', 'w')")
