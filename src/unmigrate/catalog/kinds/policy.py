"""Row-level security policies."""

from unmigrate.catalog.kinds.base import Kind, Statements, not_member, user_schema
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_json, comment_sql

QUERY = f"""
select y.oid, 0, format('%I.%I.%I', n.nspname, c.relname, y.polname), 'pg_class', y.polrelid, 0,
  json_build_object('table', format('%I.%I', n.nspname, c.relname), 'label', quote_ident(y.polname), 'command', y.polcmd,
    'permissive', y.polpermissive, 'using', pg_get_expr(y.polqual, y.polrelid), 'check', pg_get_expr(y.polwithcheck, y.polrelid),
    'roles', (select jsonb_agg(case when r = 0 then 'PUBLIC' else quote_ident(pg_get_userbyid(r)) end order by r) from unnest(y.polroles) r),
    'comment', {comment_json("pg_policy", "y.oid")}),
  json_build_object('table', y.polrelid::text, 'using', md5(y.polqual::text), 'check', md5(y.polwithcheck::text))
from pg_policy y join pg_class c on c.oid = y.polrelid join pg_namespace n on n.oid = c.relnamespace
where {user_schema()} and {not_member("pg_class", "c.oid")} and {{where}}"""

COMMANDS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}


def create(policy: Object, catalog: Catalog) -> Statements:
    f = policy.facts
    parts = [f"CREATE POLICY {f['label']} ON {f['table']}"]
    if not f["permissive"]:
        parts.append("AS RESTRICTIVE")
    parts.append(f"FOR {COMMANDS[f['command']]} TO {', '.join(f['roles'])}")
    if f["using"] is not None:
        parts.append(f"USING ({f['using']})")
    if f["check"] is not None:
        parts.append(f"WITH CHECK ({f['check']})")
    statements = [" ".join(parts)]
    return statements + ([_comment(policy)] if f["comment"] is not None else [])


def _comment(policy: Object) -> str:
    return comment_sql(f"POLICY {policy.facts['label']} ON {policy.facts['table']}", policy.facts["comment"])


def drop(policy: Object) -> Statements:
    return [f"DROP POLICY {policy.facts['label']} ON {policy.facts['table']}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    f = wanted.facts
    if changed & {"command", "permissive", "using", "check", "roles", "table"}:
        return None
    statements = []
    if now.facts["label"] != f["label"]:
        statements.append(f"ALTER POLICY {now.facts['label']} ON {f['table']} RENAME TO {f['label']}")
    return statements + ([_comment(wanted)] if "comment" in changed else [])


KIND = Kind("policy", "pg_policy", 17, QUERY, "y.oid", create, drop, alter)
