"""Tables: ordinary, partitioned, partitions, unlogged, inherited. Their columns are objects of their own."""

from dataclasses import replace

from unmigrate.catalog.kinds import column as columns
from unmigrate.catalog.kinds.base import LEDGER_TABLE, CannotInvert, Kind, Statements, not_member, owner_json, user_schema
from unmigrate.catalog.kinds.relation import TABLESPACE, rename, set_options, with_options
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grantees_json, grants, rare

PARENTS = """(select jsonb_agg({what} order by i.inhseqno) from pg_inherits i join pg_class p on p.oid = i.inhparent
      join pg_namespace pn on pn.oid = p.relnamespace where i.inhrelid = c.oid)"""

OPTIONS = """(select jsonb_agg(o) from (select unnest(c.reloptions) o union all
      select 'toast.' || unnest(tc.reloptions) from pg_class tc where tc.oid = c.reltoastrelid) q)"""
WITH_OPTIONS = "num_nonnulls(c.reloptions, (select tc.reloptions from pg_class tc where tc.oid = c.reltoastrelid)) > 0"
WITH_PARENTS = "exists (select from pg_inherits i where i.inhrelid = c.oid)"
PARTITION_KEY = """(select md5(concat(k.partattrs, k.partstrat, k.partclass, k.partcollation, k.partexprs))
      from pg_partitioned_table k where k.partrelid = c.oid)"""
HEAP = 2  # pg_am.oid of the access method that tables have by default

QUERY = f"""
select c.oid, 0, format('%I.%I', n.nspname, c.relname), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'label', quote_ident(c.relname), 'relkind', c.relkind,
    'persistence', c.relpersistence, 'row_security', c.relrowsecurity, 'force_row_security', c.relforcerowsecurity,
    'replica_identity', c.relreplident, 'options', {rare(WITH_OPTIONS, OPTIONS)},
    'tablespace', {TABLESPACE.format(relation="c")},
    'access_method', {rare(f"c.relam not in (0, {HEAP})", "(select amname from pg_am where oid = c.relam)")},
    'of_type', case when c.reloftype <> 0 then format_type(c.reloftype, null) end,
    'partition_key', pg_get_partkeydef(c.oid), 'partition_bound', pg_get_expr(c.relpartbound, c.oid),
    'parents', {rare(WITH_PARENTS, PARENTS.format(what="format('%I.%I', pn.nspname, p.relname)"))},
    'owner_role', {owner_json("c.relowner")},
    'acl', {acl_json("c.relacl", "r", "c.relowner")}, 'comment', {comment_json("pg_class", "c.oid")}),
  json_build_object('schema', c.relnamespace::text, 'grantees', {grantees_json("c.relacl", "c.relowner")}, 'partition_key', {rare("c.relkind = 'p'", PARTITION_KEY)},
    'partition_bound', md5(c.relpartbound::text), 'of_type', c.reloftype::text, 'parents', {rare(None, PARENTS.format(what="i.inhparent"))})
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and c.relname <> '{LEDGER_TABLE}' and {user_schema()} and {not_member("pg_class", "c.oid")}
  and {{where}}"""


def create(table: Object, catalog: Catalog) -> Statements:
    f = table.facts
    if f["of_type"]:
        raise CannotInvert(f"typed table {table.name} cannot be re-created")
    own = [c for c in catalog.columns(table.key) if c.facts["local"]]
    unlogged = "UNLOGGED " if f["persistence"] == "u" else ""
    parts = [f"CREATE {unlogged}TABLE {table.name}"]
    if f["partition_bound"]:
        parts.append(f"PARTITION OF {f['parents'][0]} {f['partition_bound']}")
    else:
        parts.append("(" + ", ".join(columns.definition(c) for c in own) + ")")
        if f["parents"]:
            parts.append(f"INHERITS ({', '.join(f['parents'])})")
    if f["partition_key"]:
        parts.append(f"PARTITION BY {f['partition_key']}")
    if f["access_method"]:
        parts.append(f"USING {f['access_method']}")
    sql = " ".join(parts) + with_options(f["options"]) + (f" TABLESPACE {f['tablespace']}" if f["tablespace"] else "")
    statements = [sql, *_switches(table, {"row_security": False, "force_row_security": False, "replica_identity": "d"})]
    statements += grants(f"TABLE {table.name}", None, table)
    if f["comment"] is not None:
        statements.append(comment_sql(f"TABLE {table.name}", f["comment"]))
    for column in catalog.columns(table.key):
        statements += [] if column.facts["local"] else _overrides(column, table, catalog)
        statements += columns.attributes(column)
    return statements


def _overrides(column: Object, table: Object, catalog: Catalog) -> Statements:
    """Where an inherited column differs from the parents' columns that it was made from."""
    parents = [f"{parent}.{column.facts['label']}" for parent in table.facts["parents"] or []]
    inherited = next((o for o in catalog if o.kind == "column" and o.name in parents), None)
    if inherited is None or column.facts["generated"]:
        return []
    changed = frozenset(f for f in ("default", "notnull") if inherited.facts[f] != column.facts[f])
    bare = replace(inherited, name=column.name, facts={**column.facts, "default": None, "notnull": inherited.facts["notnull"]})
    return columns.alter(bare, column, changed) or []


def drop(table: Object) -> Statements:
    return [f"DROP TABLE {table.name}"]


def _switches(wanted: Object, now: dict[str, object]) -> Statements:
    f, statements = wanted.facts, []
    what = f"ALTER TABLE {wanted.name}"
    if f["row_security"] != now["row_security"]:
        statements.append(f"{what} {'ENABLE' if f['row_security'] else 'DISABLE'} ROW LEVEL SECURITY")
    if f["force_row_security"] != now["force_row_security"]:
        statements.append(f"{what} {'' if f['force_row_security'] else 'NO '}FORCE ROW LEVEL SECURITY")
    if f["replica_identity"] != now["replica_identity"] and f["replica_identity"] != "i":
        word = {"d": "DEFAULT", "n": "NOTHING", "f": "FULL"}[f["replica_identity"]]
        statements.append(f"{what} REPLICA IDENTITY {word}")
    return statements


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if blocked := changed & {"relkind", "partition_key", "access_method", "of_type"}:
        raise CannotInvert(f"table {now.name}: {', '.join(sorted(blocked))} cannot be changed back")
    statements = rename("TABLE", now, wanted)
    what = f"TABLE {wanted.name}"
    if changed & {"parents", "partition_bound"}:
        statements += _parents(now, wanted)
    if "persistence" in changed:
        statements.append(f"ALTER {what} SET {'UNLOGGED' if wanted.facts['persistence'] == 'u' else 'LOGGED'}")
    statements += _switches(wanted, now.facts)
    if "options" in changed:
        statements += set_options(what, now.facts["options"], wanted.facts["options"])
    if "tablespace" in changed:
        statements.append(f"ALTER {what} SET TABLESPACE {wanted.facts['tablespace'] or 'pg_default'}")
    if "acl" in changed:
        statements += grants(what, now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(what, wanted.facts["comment"]))
    return statements


def _parents(now: Object, wanted: Object) -> Statements:
    old, new = now.facts["parents"] or [], wanted.facts["parents"] or []
    statements = []
    if now.facts["partition_bound"]:
        statements.append(f"ALTER TABLE {old[0]} DETACH PARTITION {wanted.name}")
        old = []
    statements += [f"ALTER TABLE {wanted.name} NO INHERIT {parent}" for parent in old if parent not in new]
    if wanted.facts["partition_bound"]:
        return [*statements, f"ALTER TABLE {new[0]} ATTACH PARTITION {wanted.name} {wanted.facts['partition_bound']}"]
    return statements + [f"ALTER TABLE {wanted.name} INHERIT {parent}" for parent in new if parent not in old]


KIND = Kind("table", "pg_class", 7, QUERY, "c.oid", create, drop, alter, "relkind in ('r', 'p')")
