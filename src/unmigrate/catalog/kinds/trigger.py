"""Triggers on tables and views, with their enabled state."""

from unmigrate.catalog.kinds.base import LEDGER_TABLE, Kind, Statements, not_member, user_schema
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql

QUERY = f"""
select g.oid, 0, format('%I.%I.%I', n.nspname, c.relname, g.tgname), 'pg_class', g.tgrelid, 0,
  jsonb_build_object('table', format('%I.%I', n.nspname, c.relname), 'label', quote_ident(g.tgname),
    'definition', pg_get_triggerdef(g.oid), 'enabled', g.tgenabled, 'comment', {comment_json('pg_trigger', 'g.oid')}),
  jsonb_build_object('table', g.tgrelid::text, 'definition', md5(concat_ws('|', g.tgfoid, g.tgtype, g.tgattr, g.tgargs, g.tgqual,
    g.tgconstrrelid, g.tgdeferrable, g.tginitdeferred, g.tgoldtable, g.tgnewtable)))
from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not g.tgisinternal and g.tgparentid = 0 and c.relname <> '{LEDGER_TABLE}' and {user_schema()}
  and {not_member('pg_class', 'c.oid')} and {{where}}"""


def create(trigger: Object, catalog: Catalog) -> Statements:
    statements = [trigger.facts["definition"]]
    if trigger.facts["enabled"] != "O":
        statements.append(_enable(trigger))
    if trigger.facts["comment"] is not None:
        statements.append(_comment(trigger))
    return statements


def _enable(trigger: Object) -> str:
    f = trigger.facts
    word = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[f["enabled"]]
    return f"ALTER TABLE {f['table']} {word} TRIGGER {f['label']}"


def _comment(trigger: Object) -> str:
    return comment_sql(f"TRIGGER {trigger.facts['label']} ON {trigger.facts['table']}", trigger.facts["comment"])


def drop(trigger: Object) -> Statements:
    return [f"DROP TRIGGER {trigger.facts['label']} ON {trigger.facts['table']}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    f = wanted.facts
    if changed & {"definition", "table"}:
        return None
    statements = []
    if now.facts["label"] != f["label"]:
        statements.append(f"ALTER TRIGGER {now.facts['label']} ON {f['table']} RENAME TO {f['label']}")
    if "enabled" in changed:
        statements.append(_enable(wanted))
    if "comment" in changed:
        statements.append(_comment(wanted))
    return statements


KIND = Kind("trigger", "pg_trigger", 16, QUERY, "g.oid", create, drop, alter)
