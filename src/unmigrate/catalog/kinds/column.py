"""Columns of tables: type, collation, default, identity, generated, storage, statistics, comment, grants."""

from unmigrate.catalog.kinds.base import LEDGER_TABLE, CannotInvert, Kind, Statements, not_member, user_schema
from unmigrate.catalog.kinds.sequence_options import identity_options
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grant_sql, literal

QUERY = f"""
select a.attrelid, a.attnum, format('%I.%I.%I', n.nspname, c.relname, a.attname), 'pg_class', a.attrelid, 0,
  jsonb_build_object('table', format('%I.%I', n.nspname, c.relname), 'label', quote_ident(a.attname),
    'type', format_type(a.atttypid, a.atttypmod), 'notnull', a.attnotnull, 'local', a.attislocal,
    'collation', case when a.attcollation <> t.typcollation then (select format('%I.%I', cn.nspname, co.collname)
      from pg_collation co join pg_namespace cn on cn.oid = co.collnamespace where co.oid = a.attcollation) end,
    'default', pg_get_expr(x.adbin, x.adrelid), 'identity', a.attidentity, 'generated', a.attgenerated,
    'sequence', case when a.attidentity <> '' then (select jsonb_build_object('start', s.seqstart, 'increment', s.seqincrement,
        'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle, 'label', quote_ident(sc.relname))
      from pg_depend i join pg_sequence s on s.seqrelid = i.objid join pg_class sc on sc.oid = i.objid
      where i.classid = 'pg_class'::regclass and i.refclassid = 'pg_class'::regclass and i.refobjid = a.attrelid
      and i.refobjsubid = a.attnum and i.deptype = 'i') end,
    'storage', case when a.attstorage <> t.typstorage then a.attstorage end, 'compression', a.attcompression,
    'statistics', nullif(a.attstattarget, -1), 'options', a.attoptions,
    'acl', {acl_json("a.attacl", "c", "c.relowner")}, 'comment', {comment_json("pg_class", "a.attrelid", "a.attnum")},
    'not_null_name', {{not_null_name}}),
  jsonb_build_object('type', concat(a.atttypid, ':', a.atttypmod), 'default', md5(x.adbin::text), 'table', a.attrelid::text)
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid left join pg_attrdef x on x.adrelid = a.attrelid and x.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p') and c.relname <> '{LEDGER_TABLE}'
  and {user_schema()} and {not_member("pg_class", "c.oid")} and {{where}}"""

# Since PostgreSQL 18 a NOT NULL has a name, which pg_dump shows where it is not the default one.
NOT_NULL_NAME = """(select quote_ident(k.conname) from pg_constraint k where k.conrelid = a.attrelid and k.contype = 'n'
      and k.conkey = array[a.attnum] and k.conname <> left(c.relname || '_' || a.attname || '_not_null', 63))"""


def definition(column: Object) -> str:
    """The column as CREATE TABLE and ADD COLUMN want it."""
    f = column.facts
    parts = [f["label"], f["type"]]
    if f["compression"]:
        parts.append(f"COMPRESSION {_compression(f['compression'])}")
    if f["collation"]:
        parts.append(f"COLLATE {f['collation']}")
    if f["generated"]:
        parts.append(f"GENERATED ALWAYS AS ({f['default']}) {'VIRTUAL' if f['generated'] == 'v' else 'STORED'}")
    elif f["identity"]:
        parts.append(_identity(f))
    elif f["default"] is not None:
        parts.append(f"DEFAULT {f['default']}")
    if f["notnull"]:
        parts.append(f"CONSTRAINT {f['not_null_name']} NOT NULL" if f["not_null_name"] else "NOT NULL")
    return " ".join(parts)


def _compression(method: str) -> str:
    return {"p": "pglz", "l": "lz4"}.get(method, "default")


def _identity(facts: dict[str, object]) -> str:
    word = "ALWAYS" if facts["identity"] == "a" else "BY DEFAULT"
    return f"GENERATED {word} AS IDENTITY ({identity_options(facts['sequence'])})"


def attributes(column: Object) -> Statements:
    """What ADD COLUMN cannot say: storage, statistics, options, grants, comment."""
    f = column.facts
    what = f"ALTER TABLE {f['table']} ALTER COLUMN {f['label']}"
    statements = []
    if f["storage"]:
        statements.append(f"{what} SET STORAGE {_storage(f['storage'])}")
    if f["statistics"] is not None:
        statements.append(f"{what} SET STATISTICS {f['statistics']}")
    if f["options"]:
        statements.append(f"{what} SET ({', '.join(f['options'])})")
    statements += column_grants(column, None, f["acl"])
    if f["comment"] is not None:
        statements.append(comment_sql(f"COLUMN {column.name}", f["comment"]))
    return statements


def _storage(letter: str) -> str:
    return {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}[letter]


def column_grants(column: Object, now: dict[str, list[list[str]]] | None, wanted: dict[str, list[list[str]]] | None) -> Statements:
    label, table = column.facts["label"], column.facts["table"]
    plain = grant_sql(table, now, wanted)
    return [statement.replace(f" ON {table} ", f" ({label}) ON {table} ", 1) for statement in plain]


def create(column: Object, catalog: Catalog) -> Statements:
    return [f"ALTER TABLE {column.facts['table']} ADD COLUMN {definition(column)}", *attributes(column)]


def drop(column: Object) -> Statements:
    return [f"ALTER TABLE {column.facts['table']} DROP COLUMN {column.facts['label']}"]


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    table, label = wanted.facts["table"], wanted.facts["label"]
    what = f"ALTER TABLE {table} ALTER COLUMN {label}"
    statements = []
    if now.facts["label"] != label:
        statements.append(f"ALTER TABLE {table} RENAME COLUMN {now.facts['label']} TO {label}")
    if "generated" in changed or ("default" in changed and wanted.facts["generated"]):
        statements += _generated(now, wanted, what)
    if changed & {"type", "collation"}:
        statements += _retype(now, wanted, what)
    elif "default" in changed and not now.facts["generated"]:
        statements.append(_default(wanted, what))
    if changed & {"identity", "sequence"}:
        statements += _set_identity(now, wanted, what)
    if "notnull" in changed:
        statements += _not_null(wanted, what)
    statements += _storage_changes(now, wanted, changed, what)
    if "acl" in changed:
        statements += column_grants(wanted, now.facts["acl"], wanted.facts["acl"])
    if "comment" in changed:
        statements.append(comment_sql(f"COLUMN {wanted.name}", wanted.facts["comment"]))
    return statements


def _generated(now: Object, wanted: Object, what: str) -> Statements:
    if wanted.facts["generated"]:
        raise CannotInvert(f"column {wanted.name} cannot become a generated column again without being rewritten")
    return [f"{what} DROP EXPRESSION"]


def _default(wanted: Object, what: str) -> str:
    default = wanted.facts["default"]
    return f"{what} DROP DEFAULT" if default is None else f"{what} SET DEFAULT {default}"


def _not_null(wanted: Object, what: str) -> Statements:
    f = wanted.facts
    if not f["notnull"]:
        return [f"{what} DROP NOT NULL"]
    statements = [f"{what} SET NOT NULL"]
    if f["not_null_name"]:  # named since PostgreSQL 18; the statement must run on older servers too
        rename = (
            f"SELECT format('ALTER TABLE %s RENAME CONSTRAINT %I TO %s', k.conrelid::regclass, k.conname, {literal(f['not_null_name'])}) "
            f"FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum] "
            f"WHERE k.contype = 'n' AND k.conrelid = {literal(f['table'])}::regclass AND quote_ident(a.attname) = {literal(f['label'])}"
        )
        condition = "current_setting('server_version_num')::int >= 180000"
        statements.append(f"DO $unmigrate$ BEGIN IF {condition} THEN EXECUTE ({rename}); END IF; END $unmigrate$")
    return statements


def _retype(now: Object, wanted: Object, what: str) -> Statements:
    """The type goes back; a default in the way is taken off first and put back as it was."""
    f = wanted.facts
    statements = [f"{what} DROP DEFAULT"] if now.facts["default"] is not None and not now.facts["generated"] else []
    collate = f" COLLATE {f['collation']}" if f["collation"] else ""
    using = "" if f["generated"] else f" USING {conversion(now, wanted)}"
    statements.append(f"{what} TYPE {f['type']}{collate}{using}")
    if f["default"] is not None and not f["generated"]:
        statements.append(f"{what} SET DEFAULT {f['default']}")
    return statements


def conversion(now: Object, wanted: Object) -> str:
    """How a value of the present type becomes one of the wanted type: a cast, by way of text where enums are involved."""
    label, type_ = wanted.facts["label"], wanted.facts["type"]
    if now.facts["type"].endswith("[]") and not type_.endswith("[]"):
        return f"{label}[1]::text::{type_}"
    if type_.endswith("[]") and not now.facts["type"].endswith("[]"):
        return f"CASE WHEN {label} IS NULL THEN NULL ELSE ARRAY[{label}::text]::{type_} END"
    if type_ == "boolean" or now.facts["type"] == "boolean" or "." in type_ or "." in now.facts["type"]:
        suffix = "[]" if type_.endswith("[]") else ""
        return f"{label}::text{suffix}::{type_}"
    return f"{label}::{type_}"


def _set_identity(now: Object, wanted: Object, what: str) -> Statements:
    if not wanted.facts["identity"]:
        return [f"{what} DROP IDENTITY"]
    if not now.facts["identity"]:
        return [f"{what} ADD {_identity(wanted.facts)}"]
    word = "ALWAYS" if wanted.facts["identity"] == "a" else "BY DEFAULT"
    statements = [f"{what} SET GENERATED {word}"] if now.facts["identity"] != wanted.facts["identity"] else []
    if now.facts["sequence"] != wanted.facts["sequence"]:
        raise CannotInvert(f"the sequence behind identity column {wanted.name} was changed")
    return statements


def _storage_changes(now: Object, wanted: Object, changed: frozenset[str], what: str) -> Statements:
    f, statements = wanted.facts, []
    if "storage" in changed and not changed & {"type"}:
        statements.append(f"{what} SET STORAGE {_storage(f['storage']) if f['storage'] else 'DEFAULT'}")
    if "compression" in changed:
        statements.append(f"{what} SET COMPRESSION {_compression(f['compression'])}")
    if "statistics" in changed:
        statements.append(f"{what} SET STATISTICS {-1 if f['statistics'] is None else f['statistics']}")
    if "options" in changed:
        old = [option.split("=")[0] for option in now.facts["options"] or []]
        statements += [f"{what} RESET ({', '.join(old)})"] if old else []
        statements += [f"{what} SET ({', '.join(f['options'])})"] if f["options"] else []
    return statements


KIND = Kind("column", "pg_class", 8, QUERY, "a.attrelid", create, drop, alter)
