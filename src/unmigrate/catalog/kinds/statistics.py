"""Extended statistics objects."""

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, owner_json, replace_only, user_schema
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql

QUERY = f"""
select s.oid, 0, format('%I.%I', n.nspname, s.stxname), 'pg_class', s.stxrelid, 0,
  json_build_object('definition', pg_get_statisticsobjdef(s.oid), 'target', nullif(s.stxstattarget, -1),
    'owner_role', {owner_json("s.stxowner")}, 'comment', {comment_json("pg_statistic_ext", "s.oid")}),
  json_build_object('definition', md5(concat_ws('|', s.stxnamespace, s.stxrelid, s.stxkeys, s.stxkind, s.stxexprs, s.stxname)))
from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
where {user_schema()} and {not_member("pg_statistic_ext", "s.oid")} and {{where}}"""


def create(statistics: Object, catalog: Catalog) -> Statements:
    f = statistics.facts
    statements = [f["definition"]]
    if f["target"] is not None:
        statements.append(f"ALTER STATISTICS {statistics.name} SET STATISTICS {f['target']}")
    if f["comment"] is not None:
        statements.append(comment_sql(f"STATISTICS {statistics.name}", f["comment"]))
    return statements


def drop(statistics: Object) -> Statements:
    return [f"DROP STATISTICS {statistics.name}"]


KIND = Kind("statistics", "pg_statistic_ext", 13, QUERY, "s.oid", create, drop, replace_only)
