"""Extensions, as a whole: their members come and go with them."""

from unmigrate.catalog.kinds.base import CannotInvert, Kind, Statements
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import comment_sql

QUERY = """
select e.oid, 0, quote_ident(e.extname), null, null::oid, 0,
  json_build_object('schema', quote_ident(n.nspname), 'version', e.extversion, 'remark', obj_description(e.oid, 'pg_extension')),
  json_build_object('schema', e.extnamespace::text)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname <> 'plpgsql' and {where}"""


def create(extension: Object, catalog: Catalog) -> Statements:
    return [f"CREATE EXTENSION IF NOT EXISTS {extension.name} WITH SCHEMA {extension.facts['schema']}"]


def drop(extension: Object) -> Statements:
    return [f"DROP EXTENSION {extension.name}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if "version" in changed:
        raise CannotInvert(f"extension {now.name} was updated; PostgreSQL has no way to downgrade it")
    statements = [f"ALTER EXTENSION {now.name} SET SCHEMA {wanted.facts['schema']}"] if "schema" in changed else []
    if "remark" in changed:
        statements.append(comment_sql(f"EXTENSION {wanted.name}", wanted.facts["remark"]))
    return statements


KIND = Kind("extension", "pg_extension", 1, QUERY, "e.oid", create, drop, alter)
