"""Rewrite rules, less the one that makes a view a view."""

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, user_schema
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql

QUERY = f"""
select r.oid, 0, format('%I.%I.%I', n.nspname, c.relname, r.rulename), 'pg_class', r.ev_class, 0,
  json_build_object('table', format('%I.%I', n.nspname, c.relname), 'label', quote_ident(r.rulename),
    'definition', rtrim(pg_get_ruledef(r.oid), ';'), 'enabled', r.ev_enabled, 'comment', {comment_json("pg_rewrite", "r.oid")}),
  json_build_object('table', r.ev_class::text, 'definition', md5(concat_ws('|', r.ev_type, r.is_instead, r.ev_qual, r.ev_action)))
from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
where r.rulename <> '_RETURN' and {user_schema()} and {not_member("pg_class", "c.oid")} and {{where}}"""


def create(rule: Object, catalog: Catalog) -> Statements:
    f = rule.facts
    statements = [f["definition"]]
    if f["enabled"] != "O":
        word = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[f["enabled"]]
        statements.append(f"ALTER TABLE {f['table']} {word} RULE {f['label']}")
    if f["comment"] is not None:
        statements.append(comment_sql(f"RULE {f['label']} ON {f['table']}", f["comment"]))
    return statements


def drop(rule: Object) -> Statements:
    return [f"DROP RULE {rule.facts['label']} ON {rule.facts['table']}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    f = wanted.facts
    if changed & {"definition", "enabled", "table"}:
        return None
    statements = []
    if now.facts["label"] != f["label"]:
        statements.append(f"ALTER RULE {now.facts['label']} ON {f['table']} RENAME TO {f['label']}")
    if "comment" in changed:
        statements.append(comment_sql(f"RULE {f['label']} ON {f['table']}", f["comment"]))
    return statements


KIND = Kind("rule", "pg_rewrite", 15, QUERY, "r.oid", create, drop, alter)
