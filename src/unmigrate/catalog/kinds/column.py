"""Columns of tables: type, collation, default, identity, generated, storage, statistics, comment, grants."""

import re
from typing import Any

from unmigrate.catalog.kinds.base import LEDGER_TABLE, Kind, Statements, not_member, user_schema
from unmigrate.catalog.kinds.sequence_options import identity_options
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_json, comment_sql, grant_sql, grantees_json, grants, literal, rare

SEQUENCE_OID = """case when a.attidentity <> '' then (select i.objid::int8 from pg_depend i where i.classid = 'pg_class'::regclass
      and i.refclassid = 'pg_class'::regclass and i.refobjid = a.attrelid and i.refobjsubid = a.attnum and i.deptype = 'i') end"""

SEQUENCE = f"""(select jsonb_build_object('start', s.seqstart, 'increment', s.seqincrement,
        'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, 'cycle', s.seqcycle, 'schema', quote_ident(sn.nspname), 'label', quote_ident(sc.relname),
        'persistence', sc.relpersistence, 'acl', {acl_json("sc.relacl", "s", "sc.relowner")}, 'comment', {comment_json("pg_class", "sc.oid")})
      from pg_depend i join pg_sequence s on s.seqrelid = i.objid join pg_class sc on sc.oid = i.objid join pg_namespace sn on sn.oid = sc.relnamespace
      where i.classid = 'pg_class'::regclass and i.refclassid = 'pg_class'::regclass and i.refobjid = a.attrelid
      and i.refobjsubid = a.attnum and i.deptype = 'i')"""

COLLATION = """(select format('%I.%I', cn.nspname, co.collname) from pg_collation co join pg_namespace cn on cn.oid = co.collnamespace
      where co.oid = a.attcollation)"""

_LENGTH = re.compile(r"(?<=varying)\(\d+\)")
_MODIFIER = re.compile(r"\([\d,-]+\)")
_NUMBER = re.compile(r"(smallint|integer|bigint|numeric|real|double precision)(\(|$)")

QUERY = f"""
select a.attrelid, a.attnum, format('%I.%I.%I', n.nspname, c.relname, a.attname), 'pg_class', a.attrelid, 0,
  json_build_object('table', format('%I.%I', n.nspname, c.relname), 'label', quote_ident(a.attname),
    'type', format_type(a.atttypid, a.atttypmod), 'notnull', a.attnotnull, 'local', a.attislocal, 'inherited', a.attinhcount > 0,
    'collation', {rare("a.attcollation <> t.typcollation", COLLATION)},
    'default', pg_get_expr(x.adbin, x.adrelid), 'identity', a.attidentity, 'generated', a.attgenerated,
    'sequence', {rare("a.attidentity <> ''", SEQUENCE)},
    'storage', case when a.attstorage <> t.typstorage then a.attstorage end, 'compression', a.attcompression,
    'statistics', nullif(a.attstattarget, -1), 'options', a.attoptions,
    'acl', {acl_json("a.attacl", "c", "c.relowner")}, 'comment', {comment_json("pg_class", "a.attrelid", "a.attnum")},
    'not_null_name', {{not_null_name}}, 'not_null_more', {{not_null_more}}),
  json_build_object('grantees', {grantees_json("a.attacl", "c.relowner")}, 'type', concat(a.atttypid, ':', a.atttypmod), 'default', md5(x.adbin::text), 'table', a.attrelid::text,
    'own_storage', t.typstorage, 'sequence_oid', {rare(None, SEQUENCE_OID)})
from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
join pg_type t on t.oid = a.atttypid left join pg_attrdef x on x.adrelid = a.attrelid and x.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p') and c.relname <> '{LEDGER_TABLE}'
  and {user_schema()} and {not_member("pg_class", "c.oid")} and {{where}}"""

# Since PostgreSQL 18 a NOT NULL has a name, which pg_dump shows where it is not the default one.
NOT_NULL_NAME = """(select quote_ident(k.conname) from pg_constraint k where k.conrelid = a.attrelid and k.contype = 'n'
      and k.conkey = array[a.attnum] and k.conname <> left(c.relname || '_' || a.attname || '_not_null', 63))"""

# What else may be said of it: not validated, not inherited, a comment.
NOT_NULL_MORE = """(select case when not k.convalidated or k.connoinherit or d.description is not null
      then jsonb_build_array(k.convalidated, k.connoinherit, d.description, quote_ident(k.conname)) end
      from pg_constraint k left join pg_description d on d.classoid = 'pg_constraint'::regclass and d.objoid = k.oid
      where k.conrelid = a.attrelid and k.contype = 'n' and k.conkey = array[a.attnum])"""


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
    if f["notnull"] and not f["not_null_more"]:
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
    if f["not_null_more"]:
        statements += _not_null_more(column)
    if f["identity"]:
        statements += _sequence_attributes(None, f["sequence"])
    statements += column_grants(None, column)
    if f["comment"] is not None:
        statements.append(comment_sql(f"COLUMN {column.name}", f["comment"]))
    return statements


def _storage(letter: str) -> str:
    return {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}[letter]


def column_grants(now: Object | None, column: Object) -> Statements:
    label, table = column.facts["label"], column.facts["table"]
    plain = grants(table, now, column)
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
    if wanted.facts["generated"] and "type" in changed and _kind_of(now) != _kind_of(wanted):
        return None  # it takes no USING
    if wanted.facts["generated"] and changed & {"generated", "default"}:
        if now.facts["generated"] != wanted.facts["generated"] or changed & {"type", "collation"}:
            return None  # only a new column can be generated
        statements.append(f"{what} SET EXPRESSION AS ({wanted.facts['default']})")  # since PostgreSQL 17, as is what it undoes
    elif "generated" in changed:
        statements.append(f"{what} DROP EXPRESSION")
    if "identity" in changed and not wanted.facts["identity"]:
        statements.append(f"{what} DROP IDENTITY")  # a default has no place beside it
    if changed & {"type", "collation"}:
        statements += _retype(now, wanted, what)
    elif "default" in changed and not wanted.facts["generated"] and not (wanted.facts["default"] is None and now.facts["generated"]):
        statements.append(_default(wanted, what))
    if changed & {"identity", "sequence"}:
        statements += _set_identity(now, wanted, what)
    if changed & {"notnull", "not_null_name", "not_null_more"}:
        statements += _not_null(now, wanted, what)
    statements += _storage_changes(now, wanted, changed, what)
    if "acl" in changed:
        statements += column_grants(now, wanted)
    if "comment" in changed:
        statements.append(comment_sql(f"COLUMN {wanted.name}", wanted.facts["comment"]))
    return statements


def _default(wanted: Object, what: str) -> str:
    default = wanted.facts["default"]
    return f"{what} DROP DEFAULT" if default is None else f"{what} SET DEFAULT {default}"


def _not_null(now: Object, wanted: Object, what: str) -> Statements:
    f = wanted.facts
    if not f["notnull"]:
        return [f"{what} DROP NOT NULL"]
    if f["not_null_more"] != now.facts["not_null_more"]:
        statements = [f"{what} DROP NOT NULL"] if now.facts["notnull"] else []
        if f["not_null_more"]:
            return statements + _not_null_more(wanted)
        statements.append(f"{what} SET NOT NULL")
    else:
        statements = [] if now.facts["notnull"] else [f"{what} SET NOT NULL"]
    if f["not_null_name"] or now.facts["not_null_name"]:  # a constraint since PostgreSQL 18; older servers find none
        default = "(SELECT quote_ident(left(relname || '_' || a.attname || '_not_null', 63)) FROM pg_class WHERE oid = k.conrelid)"
        name = literal(f["not_null_name"]) if f["not_null_name"] else default
        renames = (
            f"SELECT format('ALTER TABLE %s RENAME CONSTRAINT %I TO %s', k.conrelid::regclass, k.conname, {name}) "
            f"FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = k.conrelid AND k.conkey = ARRAY[a.attnum] "
            f"WHERE k.contype = 'n' AND k.conrelid = {literal(f['table'])}::regclass AND quote_ident(a.attname) = {literal(f['label'])} "
            f"AND quote_ident(k.conname) <> {name}"
        )
        statements.append(f"DO $unmigrate$ DECLARE s text; BEGIN FOR s IN {renames} LOOP EXECUTE s; END LOOP; END $unmigrate$")
    return statements


def _not_null_more(column: Object) -> Statements:
    """A NOT NULL that is not validated, not inherited or commented, which PostgreSQL knows since 18."""
    f = column.facts
    valid, noinherit, comment, name = f["not_null_more"]
    options = (" NO INHERIT" if noinherit else "") + ("" if valid else " NOT VALID")
    statements = [f"ALTER TABLE {f['table']} ADD CONSTRAINT {name} NOT NULL {f['label']}{options}"]
    return statements + ([comment_sql(f"CONSTRAINT {name} ON {f['table']}", comment)] if comment is not None else [])


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


def _kind_of(column: Object) -> str:
    """The type without its length or precision."""
    return _MODIFIER.sub("", column.facts["type"])


def conversion(now: Object, wanted: Object) -> str:
    """How a value of the present type becomes one of the wanted type: a cast, by way of text where enums are involved.

    Without the length of varchar(n): the assignment that follows refuses what is too long, a cast would cut it off.
    """
    label, type_ = wanted.facts["label"], _LENGTH.sub("", wanted.facts["type"])
    if now.facts["type"].endswith("[]") and not type_.endswith("[]"):
        return f"{label}[1]::text::{type_}"
    if type_.endswith("[]") and not now.facts["type"].endswith("[]"):
        return f"CASE WHEN {label} IS NULL THEN NULL ELSE ARRAY[{label}::text]::{type_} END"
    if now.facts["type"] == "boolean" and _NUMBER.match(type_):
        return f"{label}::integer::{type_}"
    if type_ == "boolean" and _NUMBER.match(now.facts["type"]):
        return f"{label} <> 0"
    if type_ == "boolean" or now.facts["type"] == "boolean" or "." in type_ or "." in now.facts["type"]:
        suffix = "[]" if type_.endswith("[]") else ""
        return f"{label}::text{suffix}::{type_}"
    return f"{label}::{type_}"


def _set_identity(now: Object, wanted: Object, what: str) -> Statements:
    if not wanted.facts["identity"]:
        return []
    if not now.facts["identity"]:
        return [f"{what} ADD {_identity(wanted.facts)}", *_sequence_attributes(None, wanted.facts["sequence"])]
    word = "ALWAYS" if wanted.facts["identity"] == "a" else "BY DEFAULT"
    statements = [f"{what} SET GENERATED {word}"] if now.facts["identity"] != wanted.facts["identity"] else []
    old, new = now.facts["sequence"], wanted.facts["sequence"]
    if any(old[name] != new[name] for name in ("start", "increment", "min", "max", "cache", "cycle")):
        cycle = "SET CYCLE" if new["cycle"] else "SET NO CYCLE"
        options = f"SET START WITH {new['start']} SET INCREMENT BY {new['increment']} SET MINVALUE {new['min']} SET MAXVALUE {new['max']}"
        statements.append(f"{what} {options} SET CACHE {new['cache']} {cycle}")
    return statements + _sequence_attributes(old, new)


def _sequence_attributes(now: dict[str, Any] | None, wanted: dict[str, Any]) -> Statements:
    """Name, grants, comment of the sequence behind an identity column; now: None when it was just made."""
    name = f"{wanted['schema']}.{wanted['label']}"
    now = now or {"label": wanted["label"], "acl": None, "comment": None, "persistence": wanted["persistence"]}
    statements = (
        [f"ALTER SEQUENCE {wanted['schema']}.{now['label']} RENAME TO {wanted['label']}"] if now["label"] != wanted["label"] else []
    )
    if now["persistence"] != wanted["persistence"]:
        statements.append(f"ALTER SEQUENCE {name} SET {'UNLOGGED' if wanted['persistence'] == 'u' else 'LOGGED'}")
    statements += grant_sql(f"SEQUENCE {name}", now["acl"], wanted["acl"])
    return statements + ([comment_sql(f"SEQUENCE {name}", wanted["comment"])] if now["comment"] != wanted["comment"] else [])


def _storage_changes(now: Object, wanted: Object, changed: frozenset[str], what: str) -> Statements:
    f, statements = wanted.facts, []
    if "storage" in changed and not changed & {"type"}:
        statements.append(f"{what} SET STORAGE {_storage(f['storage'] or wanted.raw['own_storage'])}")
    if "compression" in changed:
        statements.append(f"{what} SET COMPRESSION {_compression(f['compression'])}")
    if "statistics" in changed:
        statements.append(f"{what} SET STATISTICS {-1 if f['statistics'] is None else f['statistics']}")
    if "options" in changed:
        old = [option.split("=")[0] for option in now.facts["options"] or []]
        statements += [f"{what} RESET ({', '.join(old)})"] if old else []
        statements += [f"{what} SET ({', '.join(f['options'])})"] if f["options"] else []
    return statements


KIND = Kind("column", "pg_class", 8, QUERY, "a.attrelid", create, drop, alter, "relkind in ('r', 'p')")
