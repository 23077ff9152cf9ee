"""Which catalog rows the open transaction wrote, and from which catalogs rows vanished.

PostgreSQL counts the rows a transaction inserts, updates and deletes, catalogs included: only the catalogs that were written are
looked at. Rows written by the open transaction have age(xmin) <= 0, its subtransactions included. Rows that vanished leave no trace
but the count: the identities that remain tell which.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import psycopg

from unmigrate.catalog import prepared
from unmigrate.catalog.kinds.other import CATALOGS as OTHER_CATALOGS

FIRST_USER_OID = 16384
# Catalogs of what is wider than the schema of one database: seen, told, not undone.
BEYOND = {
    "pg_authid": "roles were created, altered or dropped: they are wider than the database and are not undone",
    "pg_auth_members": "memberships of roles were granted or revoked: they are wider than the database and are not undone",
    "pg_shdescription": "a comment on a database, role or tablespace was changed and is not undone",
    "pg_largeobject_metadata": "large objects were created or dropped: they are data of no table and are not undone",
    "pg_subscription": "a subscription was created, changed or dropped: it reaches another server and is not undone",
    "pg_seclabel": "security labels were changed and are not undone",
}
_MINE = "age(xmin) <= 0"


@dataclass(frozen=True, slots=True)
class _Source:
    """tag: what is reported. select: SQL for the touched oids. identities: SQL for all identities, "" where nobody asks."""

    tag: str
    select: str
    identities: str = ""


def _rows(tag: str, catalog: str, condition: str = "true", report: str = "oid", *, tracked: bool = True, alias: str = "") -> _Source:
    where = f"from {catalog} where {condition}"
    identities = f"select oid::int8 {where}" if tracked else ""
    return _Source(tag, f"select distinct {report}::int8 {where} and {_MINE.replace('xmin', alias + 'xmin')}", identities)


def _class(tag: str, kinds: str) -> _Source:
    return _rows(tag, "pg_class", f"oid >= {FIRST_USER_OID} and relkind in ({kinds})")


_USER = f"oid >= {FIRST_USER_OID}"
_BACKED = (
    "select k.oid::int8 from pg_index i join pg_constraint k on k.conindid = i.indexrelid "
    "where k.contype in ('p', 'u', 'x') and age(i.xmin) <= 0"
)
_IDENTITY = (
    "select d.refobjid::int8 from pg_sequence s join pg_depend d on d.objid = s.seqrelid and d.classid = 'pg_class'::regclass "
    "and d.deptype = 'i' where age(s.xmin) <= 0"
)
_DOMINATED = """select distinct g.oid::int8 from pg_trigger k cross join lateral pg_partition_ancestors(k.tgrelid) a
  join pg_trigger g on g.tgrelid = a.relid and g.tgname = k.tgname and g.tgparentid = 0 where k.tgparentid <> 0 and age(k.xmin) <= 0"""
_DISARMED = "select distinct tgconstraint::int8 from pg_trigger where tgisinternal and tgconstraint <> 0 and age(xmin) <= 0"
_MAPPINGS = "select oid::int8 from pg_foreign_server"

_WITH_EXTENSION = """select distinct objid::int8 from pg_depend where refclassid = 'pg_extension'::regclass
  and refobjid >= 16384 and deptype = 'x' and age(xmin) <= 0"""


def _told_by_relation(oids: str) -> tuple[_Source, ...]:
    """Rows of these relations also speak of a constraint (the index behind it), an identity column, a partitioned index."""
    named = f"with t as ({oids})"
    indexes = f"{named}, u as (select oid from t union select inhparent from pg_inherits where inhrelid in (select oid from t))"
    behind = "select k.oid::int8 from pg_constraint k where k.contype in ('p', 'u', 'x') and k.conindid in (select oid from u)"
    columns = "select d.refobjid::int8 from pg_depend d join t on d.objid = t.oid and d.classid = 'pg_class'::regclass and d.deptype = 'i'"
    return (
        _Source("backed constraint", f"{indexes} {behind}"),
        _Source("partitioned index", f"{named} select distinct inhparent::int8 from pg_inherits where inhrelid in (select oid from t)"),
        _Source("identity table", f"{named} {columns}"),
    )


_DATABASE_SETTINGS = "setdatabase = (select oid from pg_database where datname = current_database())"

_SOURCES: dict[str, tuple[_Source, ...]] = {
    "pg_class": (
        _class("table", "'r', 'p'"), _class("index", "'i', 'I'"), _class("sequence", "'S'"), _class("view", "'v'"),
        _class("materialized view", "'m'"), _class("composite", "'c'"), _class("other relation", "'f'"),
        *_told_by_relation(f"select oid from pg_class where relkind in ('i', 'I', 'S') and {_USER} and {_MINE}"),
    ),
    "pg_attribute": (_rows("attribute", "pg_attribute", f"attrelid >= {FIRST_USER_OID}", "attrelid", tracked=False),),
    "pg_attrdef": (_rows("default", "pg_attrdef", report="adrelid", tracked=False),),
    "pg_constraint": (
        _rows("constraint", "pg_constraint", f"{_USER} and contype <> 'n'"),
        _rows("not null", "pg_constraint", f"{_USER} and contype = 'n'", "conrelid", tracked=False),
        _rows("index", "pg_constraint", f"{_USER} and contype in ('p', 'u', 'x')", "conindid", tracked=False),
    ),
    "pg_index": (_rows("index entry", "pg_index", report="indexrelid", tracked=False), _Source("backed constraint", _BACKED)),
    "pg_sequence": (_rows("sequence entry", "pg_sequence", report="seqrelid", tracked=False), _Source("identity table", _IDENTITY)),
    "pg_type": (
        _rows("enum", "pg_type", f"{_USER} and typtype = 'e'"), _rows("domain", "pg_type", f"{_USER} and typtype = 'd'"),
        _rows("composite", "pg_type", f"{_USER} and typtype = 'c'", "typrelid", tracked=False),
        _rows("other type", "pg_type", f"{_USER} and typtype in ('r', 'b', 'p') and typelem = 0"),
    ),
    "pg_enum": (_rows("label", "pg_enum", report="enumtypid", tracked=False),),
    "pg_proc": (_rows("routine", "pg_proc", f"{_USER} and prokind <> 'a'"), _rows("aggregate", "pg_proc", f"{_USER} and prokind = 'a'")),
    "pg_trigger": (
        _rows("trigger", "pg_trigger", "not tgisinternal"), _Source("trigger", _DOMINATED), _Source("constraint", _DISARMED),
    ),
    "pg_policy": (_rows("policy", "pg_policy"),),
    "pg_rewrite": (
        _rows("rule", "pg_rewrite", f"{_USER} and rulename <> '_RETURN'"),
        _rows("view rule", "pg_rewrite", f"{_USER} and rulename = '_RETURN'", "ev_class", tracked=False),
    ),
    "pg_namespace": (_rows("schema", "pg_namespace", f"({_USER} or nspname = 'public')"),),
    "pg_extension": (_rows("extension", "pg_extension", _USER),),
    "pg_statistic_ext": (_rows("statistics", "pg_statistic_ext"),),
    "pg_publication": (_rows("publication", "pg_publication"),),
    "pg_publication_rel": (_rows("publication table", "pg_publication_rel", report="prpubid", tracked=False),),
    "pg_publication_namespace": (_rows("publication table", "pg_publication_namespace", report="pnpubid", tracked=False),),
    "pg_event_trigger": (_rows("event trigger", "pg_event_trigger"),),
    "pg_default_acl": (_rows("default privileges", "pg_default_acl"),),
    "pg_inherits": (
        _rows("inherits", "pg_inherits", report="inhrelid", tracked=False),
        *_told_by_relation(f"select inhrelid oid from pg_inherits where {_MINE}"),
    ),
    "pg_description": (
        _rows("comment", "pg_description", report="objoid", tracked=False),
        *_told_by_relation(f"select objoid oid from pg_description where classoid = 'pg_class'::regclass and {_MINE}"),
        _rows("not null", "pg_description d join pg_constraint k on k.oid = d.objoid", "d.classoid = 'pg_constraint'::regclass "
              "and k.contype = 'n'", "k.conrelid", tracked=False, alias="d."),
        _rows("composite", "pg_description d join pg_type t on t.oid = d.objoid", "d.classoid = 'pg_type'::regclass "
              "and t.typtype = 'c'", "t.typrelid", tracked=False, alias="d."),
    ),
    "pg_db_role_setting": (_rows("setting", "pg_db_role_setting", _DATABASE_SETTINGS, "setrole", tracked=False),),
    **{catalog: (_rows(catalog, catalog, _USER),) for catalog in OTHER_CATALOGS},
    "pg_depend": (_Source("extension dependency", _WITH_EXTENSION),),
    "pg_ts_config_map": (_rows("pg_ts_config", "pg_ts_config_map", report="mapcfg", tracked=False),),
    "pg_aggregate": (_rows("aggregate", "pg_aggregate", report="aggfnoid::oid", tracked=False),),
    "pg_amop": (_rows("pg_opfamily", "pg_amop", report="amopfamily", tracked=False),),
    "pg_amproc": (_rows("pg_opfamily", "pg_amproc", report="amprocfamily", tracked=False),),
    "pg_foreign_table": (_rows("other relation", "pg_foreign_table", report="ftrelid", tracked=False),),
    "pg_user_mapping": (_Source("pg_foreign_server", _MAPPINGS),),
}  # fmt: skip

# Deletions here are seen otherwise: with their table, their type, or by an update of the row they belong to.
_COUNTS = (
    "select c.name, pg_stat_get_xact_tuples_inserted(u.oid) + pg_stat_get_xact_tuples_updated(u.oid), pg_stat_get_xact_tuples_deleted(u.oid) "
    "from unnest($1) with ordinality u(oid, o) join unnest(array[{names}]) with ordinality c(name, o) using (o)"
)


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows written and deleted per catalog, as this backend has counted so far."""

    written: dict[str, int]
    deleted: dict[str, int]


@dataclass(frozen=True, slots=True)
class Touched:
    """oids: what was written, by tag. remaining: identities still there, for tags whose catalog lost rows. lossy: such catalogs.

    beyond: what went beyond the schema, in words.
    """

    oids: dict[str, frozenset[int]]
    remaining: dict[str, frozenset[int]]
    lossy: frozenset[str]
    beyond: tuple[str, ...]


@lru_cache(maxsize=1)
def watched_catalogs() -> tuple[str, ...]:
    """Catalogs whose writes are seen."""
    return (*_SOURCES, *BEYOND)


@lru_cache(maxsize=1)
def _counts_query() -> str:
    return _COUNTS.replace("{names}", ", ".join(f"'{name}'" for name in watched_catalogs()))


def catalog_oids(connection: psycopg.Connection[Any]) -> list[int]:
    """Oids of the catalogs that are counted, once per connection; 0 for one this server does not have."""
    rows = connection.execute(
        "select coalesce(to_regclass('pg_catalog.' || n)::oid, 0)::int8 from unnest(%s::text[]) with ordinality u(n, o) order by o",
        [list(watched_catalogs())],
    )
    return [row[0] for row in rows]


def read_counts(connection: psycopg.Connection[Any], oids: list[int]) -> Counts:
    """Counters of the open transaction. Earlier transactions may be among them: compare with those at its beginning."""
    (rows,) = prepared.run(connection, [prepared.Call(_counts_query(), "oid[]", prepared.array(oids))])
    return Counts({name: written for name, written, _ in rows}, {name: deleted for name, _, deleted in rows})


def read_touched(connection: psycopg.Connection[Any], oids: list[int], since: Counts) -> Touched:
    """What the open transaction wrote since `since`, which must be from within it."""
    now = read_counts(connection, oids)
    written = [c for c in _SOURCES if now.written[c] != since.written[c]]
    lossy = [c for c in _SOURCES if now.deleted[c] != since.deleted[c]]
    touched: dict[str, frozenset[int]] = {}
    remaining: dict[str, frozenset[int]] = {}
    selects = [s for c in written for s in _SOURCES[c]]
    lists = [s for c in lossy for s in _SOURCES[c] if s.identities]
    if selects or lists:
        results = prepared.run(connection, [prepared.Call(sql) for sql in (*(s.select for s in selects), *(s.identities for s in lists))])
        for source, rows in zip(selects, results, strict=False):
            touched[source.tag] = touched.get(source.tag, frozenset()) | {row[0] for row in rows}
        for source, rows in zip(lists, results[len(selects) :], strict=True):
            remaining[source.tag] = frozenset(row[0] for row in rows)
    beyond = tuple(note for c, note in BEYOND.items() if now.written[c] != since.written[c] or now.deleted[c] != since.deleted[c])
    return Touched(touched, remaining, frozenset(lossy), beyond)
