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
_ROLES = "pg_authid"
_MINE = "age(xmin) <= 0"


@dataclass(frozen=True, slots=True)
class _Source:
    """tag: what is reported. select: SQL for the touched oids. identities: SQL for all identities, "" where nobody asks."""

    tag: str
    select: str
    identities: str = ""


def _rows(tag: str, catalog: str, condition: str = "true", report: str = "oid", *, tracked: bool = True) -> _Source:
    where = f"from {catalog} where {condition}"
    identities = f"select oid::int8 {where}" if tracked else ""
    return _Source(tag, f"select distinct {report}::int8 {where} and {_MINE}", identities)


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
_DATABASE_SETTINGS = "setdatabase = (select oid from pg_database where datname = current_database())"

_SOURCES: dict[str, tuple[_Source, ...]] = {
    "pg_class": (
        _class("table", "'r', 'p'"), _class("index", "'i', 'I'"), _class("sequence", "'S'"), _class("view", "'v'"),
        _class("materialized view", "'m'"), _class("composite", "'c'"), _class("other relation", "'f'"),
    ),
    "pg_attribute": (_rows("attribute", "pg_attribute", f"attrelid >= {FIRST_USER_OID}", "attrelid", tracked=False),),
    "pg_attrdef": (_rows("default", "pg_attrdef", report="adrelid", tracked=False),),
    "pg_constraint": (
        _rows("constraint", "pg_constraint", f"{_USER} and contype <> 'n'"),
        _rows("not null", "pg_constraint", f"{_USER} and contype = 'n'", "conrelid", tracked=False),
    ),
    "pg_index": (_rows("index entry", "pg_index", report="indexrelid", tracked=False), _Source("backed constraint", _BACKED)),
    "pg_sequence": (_rows("sequence entry", "pg_sequence", report="seqrelid", tracked=False), _Source("identity table", _IDENTITY)),
    "pg_type": (
        _rows("enum", "pg_type", f"{_USER} and typtype = 'e'"), _rows("domain", "pg_type", f"{_USER} and typtype = 'd'"),
        _rows("other type", "pg_type", f"{_USER} and typtype in ('r', 'b', 'p') and typelem = 0"),
    ),
    "pg_enum": (_rows("label", "pg_enum", report="enumtypid", tracked=False),),
    "pg_proc": (_rows("routine", "pg_proc", f"{_USER} and prokind <> 'a'"), _rows("aggregate", "pg_proc", f"{_USER} and prokind = 'a'")),
    "pg_trigger": (_rows("trigger", "pg_trigger", "not tgisinternal"),),
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
    "pg_inherits": (_rows("inherits", "pg_inherits", report="inhrelid", tracked=False),),
    "pg_description": (_rows("comment", "pg_description", report="objoid", tracked=False),),
    "pg_db_role_setting": (_rows("setting", "pg_db_role_setting", _DATABASE_SETTINGS, "setrole", tracked=False),),
    **{catalog: (_rows(catalog, catalog, _USER),) for catalog in OTHER_CATALOGS},
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
    """oids: what was written, by tag. remaining: identities still there, for tags whose catalog lost rows. lossy: such catalogs."""

    oids: dict[str, frozenset[int]]
    remaining: dict[str, frozenset[int]]
    lossy: frozenset[str]
    roles_changed: bool


@lru_cache(maxsize=1)
def _names() -> tuple[str, ...]:
    return (*_SOURCES, _ROLES)


@lru_cache(maxsize=1)
def _counts_query() -> str:
    return _COUNTS.replace("{names}", ", ".join(f"'{name}'" for name in _names()))


def catalog_oids(connection: psycopg.Connection[Any]) -> list[int]:
    """Oids of the catalogs that are counted, once per connection; 0 for one this server does not have."""
    rows = connection.execute(
        "select coalesce(to_regclass('pg_catalog.' || n)::oid, 0)::int8 from unnest(%s::text[]) with ordinality u(n, o) order by o",
        [list(_names())],
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
    roles = now.written[_ROLES] != since.written[_ROLES] or now.deleted[_ROLES] != since.deleted[_ROLES]
    return Touched(touched, remaining, frozenset(lossy), roles)
