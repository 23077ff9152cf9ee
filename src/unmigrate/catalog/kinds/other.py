"""Everything else that has an identity: can be dropped by its address, never re-created or altered. Closed world.

Casts, operators and their classes, aggregates, collations, conversions, text search objects, languages, foreign data: a
migration that creates them can be undone, one that drops or changes them is refused with the reason.
"""

from unmigrate.catalog.kinds.base import CannotInvert, Kind, Statements, not_internal, not_member
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import acl_json, comment_sql, grant_sql

CATALOGS = (
    "pg_cast", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion", "pg_language", "pg_transform",
    "pg_am", "pg_foreign_data_wrapper", "pg_foreign_server", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template",
)  # fmt: skip


# What belongs to an object and stands in another catalog.
PARTS = {
    "pg_ts_config": "(select jsonb_agg(to_jsonb(m) order by m.maptokentype, m.mapseqno) from pg_ts_config_map m where m.mapcfg = o.oid)",
    "pg_opfamily": "(select jsonb_agg(to_jsonb(m) - 'oid' order by m.amoplefttype, m.amoprighttype, m.amopstrategy) from pg_amop m "
    "where m.amopfamily = o.oid), (select jsonb_agg(to_jsonb(m) - 'oid' order by m.amproclefttype, m.amprocrighttype, m.amprocnum) "
    "from pg_amproc m where m.amprocfamily = o.oid)",
    "pg_proc": "(select to_jsonb(m) from pg_aggregate m where m.aggfnoid = o.oid)",
    "pg_foreign_server": "(select jsonb_agg(m.usename order by m.usename) from pg_user_mappings m where m.srvid = o.oid)",
    "pg_class": "(select m.ftoptions from pg_foreign_table m where m.ftrelid = o.oid), "
    "(select jsonb_agg(to_jsonb(a) - 'attrelid' order by a.attnum) from pg_attribute a where a.attrelid = o.oid)",
}


def _oids(catalog: str) -> str:
    """Columns whose values mean something in one database alone."""
    oids = "'oid'::regtype, 'oidvector'::regtype, 'oid[]'::regtype"
    return f"array(select attname::text from pg_attribute where attrelid = '{catalog}'::regclass and atttypid in ({oids}))"


# The same, as far as it tells an object from one of its name in another database.
PORTABLE_PARTS = {
    "pg_ts_config": "(select jsonb_agg(jsonb_build_array(m.maptokentype, m.mapseqno, m.mapdict::regdictionary) "
    "order by m.maptokentype, m.mapseqno) from pg_ts_config_map m where m.mapcfg = o.oid)",
    "pg_proc": f"(select to_jsonb(m) - {_oids('pg_aggregate')} from pg_aggregate m where m.aggfnoid = o.oid)",
    "pg_class": "(select m.ftoptions from pg_foreign_table m where m.ftrelid = o.oid)",
}


def _query(catalog: str, alias: str = "o", condition: str = "true") -> str:
    acl = acl_json("o.proacl", "f", "o.proowner") if catalog == "pg_proc" else "null::jsonb"
    row = f"to_jsonb({alias}) - 'oid' - 'proacl' - 'proowner'"
    return f"""
select {alias}.oid, 0, x.type || ' ' || x.identity, null, null::oid, 0,
  json_build_object('type', x.type, 'identity', x.identity, 'acl', {acl},
    'content', md5(concat({row}, {PARTS.get(catalog, "null")})), 'portable',
    md5(concat({row} - 'collversion' - {_oids(catalog)}, {PORTABLE_PARTS.get(catalog, "null")})),
    'comment', obj_description({alias}.oid, '{catalog}')), jsonb_build_object('identity', {alias}.oid::text)
from {catalog} {alias} cross join lateral pg_identify_object('{catalog}'::regclass, {alias}.oid, 0) x
where {alias}.oid >= 16384 and {condition} and {not_member(catalog, f"{alias}.oid")}
  and {not_internal(catalog, f"{alias}.oid")} and {{where}}"""


def create(other: Object, catalog: Catalog) -> Statements:
    raise CannotInvert(f"{other.name} was dropped; unmigrate cannot re-create {_a(other)}")


def drop(other: Object) -> Statements:
    return [f"DROP {_word(other)} {other.facts['identity'].replace(' on language ', ' language ')}"]


def _word(other: Object) -> str:
    return str(other.facts["type"]).upper().replace("-", " ")  # foreign-data wrapper


def _a(other: Object) -> str:
    kind = str(other.facts["type"])
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    if not changed:
        return []
    if changed == {"comment"}:
        return [comment_sql(f"{_word(wanted)} {wanted.facts['identity']}", wanted.facts["comment"])]
    if changed == {"acl"}:
        return grant_sql(f"FUNCTION {wanted.facts['identity']}", now.facts["acl"], wanted.facts["acl"])
    raise CannotInvert(f"{now.name} was changed; unmigrate cannot change {_a(now)} back")


def _kind(name: str, catalog: str, among: str = "true", condition: str = "true") -> Kind:
    return Kind(name, catalog, 10, _query(catalog, condition=f"{among} and {condition}"), "o.oid", create, drop, alter, among)


KINDS = (
    *(_kind(catalog, catalog) for catalog in CATALOGS),
    _kind("aggregate", "pg_proc", "prokind = 'a'", "o.pronamespace::regnamespace::text !~ '^(pg_|information_schema$|unmigrate)'"),
    _kind("other relation", "pg_class", "relkind = 'f'"),
    _kind(
        "other type",
        "pg_type",
        "typtype in ('r', 'b', 'p') and typelem = 0",
        "o.typnamespace::regnamespace::text !~ '^(pg_|unmigrate)'",
    ),
)
