"""Publications of logical replication."""

from unmigrate.catalog.kinds.base import Kind, Statements, owner_json, replace_only
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql

QUERY = f"""
select p.oid, 0, quote_ident(p.pubname), null, null::oid, 0,
  json_build_object('label', quote_ident(p.pubname), 'all_tables', p.puballtables, 'via_root', p.pubviaroot,
    'publish', concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
      case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end),
    'tables', (select jsonb_agg(t order by t) from (select concat(r.prrelid::regclass,
        (select ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')' from pg_attribute a
          where a.attrelid = r.prrelid and a.attnum = any (r.prattrs)), ' WHERE (' || pg_get_expr(r.prqual, r.prrelid) || ')') t
      from pg_publication_rel r where r.prpubid = p.oid) q),
    'schemas', (select jsonb_agg(quote_ident(n.nspname) order by n.nspname) from pg_publication_namespace s
      join pg_namespace n on n.oid = s.pnnspid where s.pnpubid = p.oid),
    'generated', nullif(to_jsonb(p) ->> 'pubgencols', 'n'),
    'owner_role', {owner_json("p.pubowner")}, 'comment', {comment_json("pg_publication", "p.oid")}),
  json_build_object('tables', (select md5(string_agg(concat_ws('|', r.prrelid, r.prattrs, r.prqual), ',' order by r.prrelid))
      from pg_publication_rel r where r.prpubid = p.oid))
from pg_publication p where {{where}}"""


def create(publication: Object, catalog: Catalog) -> Statements:
    f = publication.facts
    parts = [f"TABLE {', '.join(f['tables'])}"] if f["tables"] else []
    parts += [f"TABLES IN SCHEMA {', '.join(f['schemas'])}"] if f["schemas"] else []
    target = " FOR ALL TABLES" if f["all_tables"] else (f" FOR {', '.join(parts)}" if parts else "")
    root = ", publish_via_partition_root = true" if f["via_root"] else ""
    root += ", publish_generated_columns = stored" if f["generated"] == "s" else ""
    statements = [f"CREATE PUBLICATION {publication.name}{target} WITH (publish = '{f['publish']}'{root})"]
    if f["comment"] is not None:
        statements.append(comment_sql(f"PUBLICATION {publication.name}", f["comment"]))
    return statements


def drop(publication: Object) -> Statements:
    return [f"DROP PUBLICATION {publication.name}"]


KIND = Kind("publication", "pg_publication", 18, QUERY, "p.oid", create, drop, replace_only)
