"""Event triggers."""

from unmigrate.catalog.kinds.base import Kind, Statements, owner_json, replace_only
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql, literal

QUERY = f"""
select e.oid, 0, quote_ident(e.evtname), null, null::oid, 0,
  json_build_object('label', quote_ident(e.evtname), 'event', e.evtevent, 'tags', e.evttags, 'function', e.evtfoid::regproc::text, 'enabled', e.evtenabled,
    'owner_role', {owner_json("e.evtowner")}, 'comment', {comment_json("pg_event_trigger", "e.oid")}),
  json_build_object('function', e.evtfoid::oid::text)
from pg_event_trigger e where e.evtname !~ '^unmigrate' and {{where}}"""


def create(trigger: Object, catalog: Catalog) -> Statements:
    f = trigger.facts
    tags = f" WHEN TAG IN ({', '.join(literal(tag) for tag in f['tags'])})" if f["tags"] else ""
    statements = [f"CREATE EVENT TRIGGER {trigger.name} ON {f['event']}{tags} EXECUTE FUNCTION {f['function']}()"]
    if f["enabled"] != "O":
        word = {"D": "DISABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}[f["enabled"]]
        statements.append(f"ALTER EVENT TRIGGER {trigger.name} {word}")
    if f["comment"] is not None:
        statements.append(comment_sql(f"EVENT TRIGGER {trigger.name}", f["comment"]))
    return statements


def drop(trigger: Object) -> Statements:
    return [f"DROP EVENT TRIGGER {trigger.name}"]


KIND = Kind("event trigger", "pg_event_trigger", 19, QUERY, "e.oid", create, drop, replace_only)
