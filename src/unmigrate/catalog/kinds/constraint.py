"""Constraints of tables and domains: primary key, unique, check, foreign key, exclusion. NOT NULL belongs to its column."""

from unmigrate.catalog.kinds.base import LEDGER_TABLE, CannotInvert, Kind, Statements, not_member, user_schema
from unmigrate.catalog.kinds.relation import TABLESPACE, alter_partitions, partitions, set_options
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql, loadable

# Triggers behind a foreign key that were switched off, which only a superuser can do.
DISARMED = """case when k.contype = 'f' then (select string_agg(distinct g.tgenabled::text, '') from pg_trigger g
      where g.tgconstraint = k.oid and g.tgisinternal and g.tgenabled <> 'O') end"""

QUERY = f"""
select k.oid, 0, format('%s.%I', q.owner, k.conname), q.owner_catalog, q.owner_oid, 0,
  json_build_object('owner', q.owner, 'of', q.of_what, 'label', quote_ident(k.conname), 'contype', k.contype,
    'definition', pg_get_constraintdef(k.oid), 'clustered', coalesce(i.indisclustered, false),
    'replica_identity', coalesce(i.indisreplident, false), 'local', k.conislocal, 'noinherit', k.connoinherit,
    'index', case when ic.oid is not null then format('%I.%I', xn.nspname, ic.relname) end, 'options', ic.reloptions, 'index_comment', {comment_json("pg_class", "ic.oid")},
    'disarmed', {DISARMED}, 'partitions', {partitions("ic")},
    'tablespace', {TABLESPACE.format(relation="ic")},
    'references', case when k.confrelid <> 0 then k.confrelid::regclass::text end,
    'comment', {comment_json("pg_constraint", "k.oid")}),
  json_build_object('definition', md5(concat_ws('|', k.conkey, k.confkey, k.confrelid, k.conbin, k.conpfeqop, k.confupdtype,
    k.confdeltype, k.confmatchtype, k.condeferrable, k.condeferred, k.convalidated, k.conexclop, i.indkey, i.indclass,
    i.indcollation, i.indoption, i.indpred, i.indexprs, to_jsonb(i) ->> 'indnullsnotdistinct',
    to_jsonb(k) ->> 'conenforced', to_jsonb(k) ->> 'confdelsetcols', to_jsonb(k) ->> 'conperiod')),
    'columns', concat_ws('|', k.conkey::text, k.confkey::text),
    'index', ic.oid::text, 'owner', q.owner_oid::text, 'references', k.confrelid::text)
from pg_constraint k
join lateral (
  select format('%I.%I', n.nspname, c.relname) owner, 'pg_class' owner_catalog, c.oid owner_oid, 'TABLE' of_what
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.oid = k.conrelid and c.relname <> '{LEDGER_TABLE}' and {user_schema()} and {not_member("pg_class", "c.oid")}
  union all
  select format('%I.%I', n.nspname, t.typname), 'pg_type', t.oid, 'DOMAIN'
  from pg_type t join pg_namespace n on n.oid = t.typnamespace
  where t.oid = k.contypid and {user_schema()} and {not_member("pg_type", "t.oid")}
) q on true
left join pg_class ic on ic.oid = k.conindid and k.contype in ('p', 'u', 'x')
left join pg_namespace xn on xn.oid = ic.relnamespace
left join pg_index i on i.indexrelid = ic.oid
where k.contype in ('p', 'u', 'x', 'c', 'f') and k.conparentid = 0 and (k.conislocal or k.coninhcount = 0) and {{where}}"""


def create(constraint: Object, catalog: Catalog) -> Statements:
    f = constraint.facts
    tablespace = f" USING INDEX TABLESPACE {f['tablespace']}" if f["tablespace"] else ""
    statements = [f"ALTER {f['of']} {f['owner']} ADD CONSTRAINT {f['label']} {loadable(f['definition'])}{tablespace}"]
    statements += set_options(f"INDEX {f['index']}", None, f["options"])
    if f["index_comment"] is not None:
        statements.append(comment_sql(f"INDEX {f['index']}", f["index_comment"]))
    if f["clustered"]:
        statements.append(f"ALTER TABLE {f['owner']} CLUSTER ON {f['label']}")
    if f["replica_identity"]:
        statements.append(f"ALTER TABLE {f['owner']} REPLICA IDENTITY USING INDEX {f['label']}")
    if f["comment"] is not None:
        statements.append(_comment(constraint))
    return statements


def _comment(constraint: Object) -> str:
    f = constraint.facts
    domain = "DOMAIN " if f["of"] == "DOMAIN" else ""
    return comment_sql(f"CONSTRAINT {f['label']} ON {domain}{f['owner']}", f["comment"])


def drop(constraint: Object) -> Statements:
    f = constraint.facts
    return [f"ALTER {f['of']} {f['owner']} DROP CONSTRAINT {f['label']}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    f = wanted.facts
    if "definition" in changed:
        return _only_validity(now, wanted)
    if changed & {"contype", "references", "noinherit", "tablespace", "owner"}:
        return None
    if "disarmed" in changed:
        raise CannotInvert(f"triggers behind foreign key {now.name} were switched on or off, which only a superuser can undo")
    statements = []
    if now.facts["label"] != f["label"]:
        statements.append(f"ALTER {f['of']} {f['owner']} RENAME CONSTRAINT {now.facts['label']} TO {f['label']}")
    if "clustered" in changed:
        cluster = f"CLUSTER ON {f['label']}" if f["clustered"] else "SET WITHOUT CLUSTER"
        statements.append(f"ALTER TABLE {f['owner']} {cluster}")
    if "replica_identity" in changed and f["replica_identity"]:
        statements.append(f"ALTER TABLE {f['owner']} REPLICA IDENTITY USING INDEX {f['label']}")
    if "options" in changed:
        statements += set_options(f"INDEX {f['index']}", now.facts["options"], f["options"])
    if "partitions" in changed:
        statements += alter_partitions(now, wanted)
    if "index_comment" in changed:
        statements.append(comment_sql(f"INDEX {f['index']}", f["index_comment"]))
    if "comment" in changed:
        statements.append(_comment(wanted))
    return statements


def _only_validity(now: Object, wanted: Object) -> Statements | None:
    """Validation is the one change that needs no new constraint, and only in this direction."""
    f = wanted.facts
    if now.facts["definition"] == f["definition"] + " NOT VALID" and now.facts["label"] == f["label"]:
        return [f"ALTER {f['of']} {f['owner']} VALIDATE CONSTRAINT {f['label']}"]
    return None


KIND = Kind("constraint", "pg_constraint", 12, QUERY, "k.oid", create, drop, alter)
