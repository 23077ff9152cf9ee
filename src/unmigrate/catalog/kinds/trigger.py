"""Triggers on tables and views, with their enabled state."""

from unmigrate.catalog.kinds.base import LEDGER_TABLE, Kind, Statements, not_member, user_schema
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql

# Partitions where the trigger is not enabled as on its table.
PARTITIONS = """case when c.relkind = 'p' then (select jsonb_agg(jsonb_build_array(k.tgrelid::regclass::text, k.tgenabled) order by k.tgrelid::regclass::text)
      from pg_trigger k where k.tgparentid <> 0 and k.tgname = g.tgname and k.tgenabled <> g.tgenabled
      and g.tgrelid in (select relid from pg_partition_ancestors(k.tgrelid))) end"""

QUERY = f"""
select g.oid, 0, format('%I.%I.%I', n.nspname, c.relname, g.tgname), 'pg_class', g.tgrelid, 0,
  json_build_object('table', format('%I.%I', n.nspname, c.relname), 'label', quote_ident(g.tgname),
    'definition', pg_get_triggerdef(g.oid), 'enabled', g.tgenabled, 'partitions', {PARTITIONS}, 'comment', {comment_json("pg_trigger", "g.oid")}),
  json_build_object('table', g.tgrelid::text, 'definition', md5(concat_ws('|', g.tgfoid, g.tgtype, g.tgattr, g.tgargs, g.tgqual,
    g.tgconstrrelid, g.tgdeferrable, g.tginitdeferred, g.tgoldtable, g.tgnewtable)))
from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace
where not g.tgisinternal and g.tgparentid = 0 and c.relname <> '{LEDGER_TABLE}' and {user_schema()}
  and {not_member("pg_class", "c.oid")} and {{where}}"""


def create(trigger: Object, catalog: Catalog) -> Statements:
    statements = [trigger.facts["definition"]]
    if trigger.facts["enabled"] != "O":
        statements.append(_enable(trigger))
    statements += _on_partitions(None, trigger)
    if trigger.facts["comment"] is not None:
        statements.append(_comment(trigger))
    return statements


WORDS = {"O": "ENABLE", "D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}


def _enable(trigger: Object) -> str:
    f = trigger.facts
    return f"ALTER TABLE {f['table']} {WORDS[f['enabled']]} TRIGGER {f['label']}"


def _on_partitions(now: Object | None, wanted: Object) -> Statements:
    f = wanted.facts
    old, new = dict(now.facts["partitions"] or [] if now else []), dict(f["partitions"] or [])
    return [f"ALTER TABLE ONLY {table} {WORDS[new.get(table, f['enabled'])]} TRIGGER {f['label']}" for table in sorted(old | new)]


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
    if changed & {"enabled", "partitions"}:
        statements += _on_partitions(now, wanted)
    if "comment" in changed:
        statements.append(_comment(wanted))
    return statements


KIND = Kind("trigger", "pg_trigger", 16, QUERY, "g.oid", create, drop, alter)
