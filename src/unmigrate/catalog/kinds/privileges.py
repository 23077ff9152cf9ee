"""Default privileges (ALTER DEFAULT PRIVILEGES)."""

from unmigrate.catalog.kinds.base import Kind, Statements
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, grant_sql

OBJECTS = {"r": "TABLES", "S": "SEQUENCES", "f": "FUNCTIONS", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
# defaclacl of a schema-wide entry is on top of the built-in default; without a schema it replaces it.
LETTER = "(case when a.defaclobjtype = 'S' then 's' else a.defaclobjtype end)::\"char\""
DEFAULT = f"case when a.defaclnamespace = 0 then a.defaclacl else acldefault({LETTER}, a.defaclrole) || a.defaclacl end"

QUERY = f"""
select a.oid, 0, concat_ws(' ', case when a.defaclrole = current_user::regrole then '' else quote_ident(pg_get_userbyid(a.defaclrole)) end,
    quote_ident(n.nspname), a.defaclobjtype), null, null::oid, 0,
  json_build_object('role', case when a.defaclrole <> current_user::regrole then quote_ident(pg_get_userbyid(a.defaclrole)) end,
    'schema', quote_ident(n.nspname), 'objects', a.defaclobjtype,
    'acl', {acl_json(f"({DEFAULT})", LETTER, "a.defaclrole")}),
  '{{}}'::jsonb
from pg_default_acl a left join pg_namespace n on n.oid = a.defaclnamespace where {{where}}"""


def _statements(now: dict[str, object] | None, wanted: dict[str, object] | None, of: Object) -> Statements:
    f = of.facts
    head = "ALTER DEFAULT PRIVILEGES"
    head += f" FOR ROLE {f['role']}" if f["role"] else ""
    head += f" IN SCHEMA {f['schema']}" if f["schema"] else ""
    return [f"{head} {statement}" for statement in grant_sql(OBJECTS[f["objects"]], now, wanted)]


def create(privileges: Object, catalog: Catalog) -> Statements:
    return _statements(None, privileges.facts["acl"], privileges)


def drop(privileges: Object) -> Statements:
    return _statements(privileges.facts["acl"], None, privileges)


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    return _statements(now.facts["acl"], wanted.facts["acl"], wanted)


KIND = Kind("default privileges", "pg_default_acl", 20, QUERY, "a.oid", create, drop, alter)
