"""Indexes that do not stand behind a constraint."""

import re

from unmigrate.catalog.kinds.base import LEDGER_TABLE, Kind, Statements, not_member, user_schema
from unmigrate.catalog.kinds.relation import TABLESPACE, alter_partitions, partitions, rename, set_options
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql, loadable, rare

# Only what is no column has statistics of its own.
STATISTICS = """(select jsonb_agg(jsonb_build_array(a.attnum, a.attstattarget) order by a.attnum) from pg_attribute a
      where a.attrelid = c.oid and coalesce(a.attstattarget, -1) >= 0)"""

QUERY = f"""
select c.oid, 0, format('%I.%I', n.nspname, c.relname), 'pg_class', i.indrelid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(c.relname),
    'table', format('%I.%I', tn.nspname, t.relname), 'table_kind', t.relkind,
    'definition', pg_get_indexdef(c.oid), 'unique', i.indisunique, 'valid', i.indisvalid,
    'clustered', i.indisclustered, 'replica_identity', i.indisreplident, 'options', c.reloptions,
    'tablespace', {TABLESPACE.format(relation="c")},
    'statistics', {rare("i.indexprs is not null", STATISTICS)},
    'partitions', {partitions("c")}, 'comment', {comment_json("pg_class", "c.oid")}),
  json_build_object('columns', i.indkey::text, 'schema', c.relnamespace::text, 'table', i.indrelid::text, 'definition', md5(concat_ws('|', i.indrelid, i.indkey, i.indclass, i.indcollation,
    i.indoption, i.indexprs, i.indpred, i.indisunique, to_jsonb(i) ->> 'indnullsnotdistinct', i.indnkeyatts, c.relam, c.reloptions)))
from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_index i on i.indexrelid = c.oid
join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace
where c.relkind in ('i', 'I') and t.relname <> '{LEDGER_TABLE}' and {user_schema()} and {not_member("pg_class", "i.indrelid")}
  and not exists (select from pg_constraint k where k.conrelid = i.indrelid and k.conindid = c.oid and k.contype in ('p', 'u', 'x'))
  and not exists (select from pg_inherits h where h.inhrelid = c.oid) and {{where}}"""


def create(index: Object, catalog: Catalog) -> Statements:
    f = index.facts
    definition = loadable(f["definition"])
    if f["table_kind"] == "p" and f["valid"]:  # its partitions' indexes are made with it
        definition = definition.replace(" ON ONLY ", " ON ", 1)
    if f["tablespace"]:
        where = re.search(r" WHERE \(.*\)$", definition)
        cut = where.start() if where else len(definition)
        definition = f"{definition[:cut]} TABLESPACE {f['tablespace']}{definition[cut:]}"
    statements = [definition]
    if f["clustered"]:
        statements.append(f"ALTER TABLE {f['table']} CLUSTER ON {f['label']}")
    if f["replica_identity"]:
        statements.append(f"ALTER TABLE {f['table']} REPLICA IDENTITY USING INDEX {f['label']}")
    for number, target in f["statistics"] or []:
        statements.append(f"ALTER INDEX {index.name} ALTER COLUMN {number} SET STATISTICS {target}")
    if f["comment"] is not None:
        statements.append(comment_sql(f"INDEX {index.name}", f["comment"]))
    return statements


def drop(index: Object) -> Statements:
    return [f"DROP INDEX {index.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    f = wanted.facts
    if changed & {"table", "unique", "valid", "statistics"}:
        return None
    if "definition" in changed and changed & {"options"} == frozenset():
        return None
    statements = rename("INDEX", now, wanted) if now.facts["label"] != f["label"] else []
    if "options" in changed:
        statements += set_options(f"INDEX {wanted.name}", now.facts["options"], f["options"])
    if "tablespace" in changed:
        statements.append(f"ALTER INDEX {wanted.name} SET TABLESPACE {f['tablespace'] or 'pg_default'}")
    if "clustered" in changed:
        cluster = f"CLUSTER ON {f['label']}" if f["clustered"] else "SET WITHOUT CLUSTER"
        statements.append(f"ALTER TABLE {f['table']} {cluster}")
    if "replica_identity" in changed and f["replica_identity"]:
        statements.append(f"ALTER TABLE {f['table']} REPLICA IDENTITY USING INDEX {f['label']}")
    if "partitions" in changed:
        statements += alter_partitions(now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(f"INDEX {wanted.name}", f["comment"]))
    return statements


KIND = Kind("index", "pg_class", 11, QUERY, "c.oid", create, drop, alter, "relkind in ('i', 'I')")
