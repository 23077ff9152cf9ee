"""Views and materialized views."""

from typing import Any

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, owner_json, user_schema, uses_json
from unmigrate.catalog.kinds.relation import rename, with_options
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grant_sql, grantees_json, grants, loadable

STORAGE = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}
COMPRESSION = {"": "default", "p": "pglz", "l": "lz4"}
SETTINGS = "jsonb_build_array(case when a.attstorage <> t.typstorage then a.attstorage end, nullif(a.attstattarget, -1), a.attcompression, t.typstorage)"


RULE = "(select r.oid from pg_rewrite r where r.ev_class = c.oid and r.rulename = '_RETURN')"


def query(relkind: str) -> str:
    return f"""
select c.oid, 0, format('%I.%I', n.nspname, c.relname), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(c.relname),
    'definition', rtrim(pg_get_viewdef(c.oid), ';'), 'options', c.reloptions, 'populated', c.relispopulated,
    'columns', (select jsonb_agg(jsonb_build_array(quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
        {comment_json("pg_class", "a.attrelid", "a.attnum")}, pg_get_expr(x.adbin, x.adrelid), {acl_json("a.attacl", "c", "c.relowner")},
        {SETTINGS}) order by a.attnum)
      from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_attrdef x on x.adrelid = a.attrelid and x.adnum = a.attnum
      where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
    'owner_role', {owner_json("c.relowner")}, 'acl', {acl_json("c.relacl", "r", "c.relowner")}, 'comment', {comment_json("pg_class", "c.oid")}),
  json_build_object('schema', c.relnamespace::text, 'uses', {uses_json("pg_rewrite", RULE)}, 'grantees', {grantees_json("c.relacl", "c.relowner")}, 'definition', (select md5(r.ev_action::text) from pg_rewrite r where r.ev_class = c.oid and r.rulename = '_RETURN'))
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = '{relkind}' and {user_schema()} and {not_member("pg_class", "c.oid")} and {{where}}"""


def _create(view: Object, word: str) -> Statements:
    f = view.facts
    data = "" if f["populated"] or word == "VIEW" else " WITH NO DATA"
    names = ", ".join(c[0] for c in f["columns"] or [])
    what = f"{word} {view.name}"
    statements = [f"CREATE {what} ({names}){with_options(f['options'])} AS\n{loadable(f['definition'])}{data}"]
    return statements + attributes(view, what)


def attributes(view: Object, what: str) -> Statements:
    f = view.facts
    statements = grants(f"TABLE {view.name}", None, view)
    if f["comment"] is not None:
        statements.append(comment_sql(what, f["comment"]))
    for column in f["columns"] or []:
        statements += _column(view.name, what.split(f" {view.name}")[0], [*column[:2], None, None, None, [None, None, "", None]], column)
    return statements


def _column(view: str, word: str, now: list[Any], wanted: list[Any]) -> Statements:
    name, _, comment, default, acl, (storage, statistics, compression, own) = wanted
    what = f"ALTER {word} {view} ALTER COLUMN {name}"
    statements = [comment_sql(f"COLUMN {view}.{name}", comment)] if comment != now[2] else []
    if default != now[3]:
        statements.append(f"{what} DROP DEFAULT" if default is None else f"{what} SET DEFAULT {default}")
    statements += [s.replace(f" ON {view} ", f" ({name}) ON {view} ", 1) for s in grant_sql(view, now[4], acl)]
    if storage != now[5][0]:
        statements.append(f"{what} SET STORAGE {STORAGE[storage or own]}")
    if statistics != now[5][1]:
        statements.append(f"{what} SET STATISTICS {-1 if statistics is None else statistics}")
    if compression != now[5][2]:
        statements.append(f"{what} SET COMPRESSION {COMPRESSION[compression]}")
    return statements


def create_view(view: Object, catalog: Catalog) -> Statements:
    return _create(view, "VIEW")


def create_matview(view: Object, catalog: Catalog) -> Statements:
    return _create(view, "MATERIALIZED VIEW")


def drop_view(view: Object) -> Statements:
    return [f"DROP VIEW {view.name}"]


def drop_matview(view: Object) -> Statements:
    return [f"DROP MATERIALIZED VIEW {view.name}"]


def _shape(columns: list[list[Any]] | None) -> list[list[Any]]:
    return [c[:2] for c in columns or []]


def alter_view(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if "options" in changed or _shape(now.facts["columns"]) != _shape(wanted.facts["columns"]):
        return None
    statements = rename("VIEW", now, wanted)
    if "definition" in changed:
        options = with_options(wanted.facts["options"])
        statements.append(f"CREATE OR REPLACE VIEW {wanted.name}{options} AS\n{loadable(wanted.facts['definition'])}")
    return statements + _attribute_changes(now, wanted, changed, f"VIEW {wanted.name}")


def alter_matview(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if changed & {"definition", "options", "populated"} or _shape(now.facts["columns"]) != _shape(wanted.facts["columns"]):
        return None
    statements = rename("MATERIALIZED VIEW", now, wanted)
    return statements + _attribute_changes(now, wanted, changed, f"MATERIALIZED VIEW {wanted.name}")


def _attribute_changes(now: Object, wanted: Object, changed: frozenset[str], what: str) -> Statements:
    statements = []
    if "acl" in changed:
        statements += grants(f"TABLE {wanted.name}", now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    if "columns" in changed:
        for before, after in zip(now.facts["columns"], wanted.facts["columns"], strict=True):
            statements += _column(wanted.name, what.split(f" {wanted.name}")[0], before, after)
    return statements


VIEW = Kind("view", "pg_class", 14, query("v"), "c.oid", create_view, drop_view, alter_view, "relkind = 'v'")
MATVIEW = Kind("materialized view", "pg_class", 14, query("m"), "c.oid", create_matview, drop_matview, alter_matview, "relkind = 'm'")
