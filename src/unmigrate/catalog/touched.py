"""Which catalog rows the open transaction wrote, and a digest of which rows there are: one cheap round trip.

Rows written by the open transaction have age(xmin) <= 0, its subtransactions included. Rows that vanished leave no trace;
they show in the digest (count and XOR of the oids) of their catalog.
"""

from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.kinds.other import CATALOGS as OTHER_CATALOGS

FIRST_USER_OID = 16384

# tag: (FROM and WHERE, identity as bigint, what is reported as touched)
_SOURCES: dict[str, tuple[str, str, str]] = {
    "constraint": (f"pg_constraint where oid >= {FIRST_USER_OID} and contype <> 'n'", "oid::int8", "oid"),
    "not null": (f"pg_constraint where oid >= {FIRST_USER_OID} and contype = 'n'", "oid::int8", "conrelid"),
    "enum": (f"pg_type where oid >= {FIRST_USER_OID} and typtype = 'e'", "oid::int8", "oid"),
    "domain": (f"pg_type where oid >= {FIRST_USER_OID} and typtype = 'd'", "oid::int8", "oid"),
    "other type": (f"pg_type where oid >= {FIRST_USER_OID} and typtype in ('r', 'b', 'p') and typelem = 0", "oid::int8", "oid"),
    "label": ("pg_enum", "oid::int8", "enumtypid"),
    "routine": (f"pg_proc where oid >= {FIRST_USER_OID} and prokind <> 'a'", "oid::int8", "oid"),
    "aggregate": (f"pg_proc where oid >= {FIRST_USER_OID} and prokind = 'a'", "oid::int8", "oid"),
    "trigger": ("pg_trigger where not tgisinternal", "oid::int8", "oid"),
    "policy": ("pg_policy", "oid::int8", "oid"),
    "rule": (f"pg_rewrite where oid >= {FIRST_USER_OID} and rulename <> '_RETURN'", "oid::int8", "oid"),
    "view rule": (f"pg_rewrite where oid >= {FIRST_USER_OID} and rulename = '_RETURN'", "oid::int8", "ev_class"),
    "schema": (f"pg_namespace where oid >= {FIRST_USER_OID} or nspname = 'public'", "oid::int8", "oid"),
    "extension": (f"pg_extension where oid >= {FIRST_USER_OID}", "oid::int8", "oid"),
    "statistics": ("pg_statistic_ext", "oid::int8", "oid"),
    "publication": ("pg_publication", "oid::int8", "oid"),
    "publication table": ("pg_publication_rel", "oid::int8", "prpubid"),
    "event trigger": ("pg_event_trigger", "oid::int8", "oid"),
    "default privileges": ("pg_default_acl", "oid::int8", "oid"),
    "default": ("pg_attrdef", "oid::int8", "adrelid"),
    "inherits": ("pg_inherits", "inhrelid::int8 * 4294967296 + inhparent::int8", "inhrelid"),
    "role": ("pg_roles r", "r.oid::int8", "null::oid"),
    **{catalog: (f"{catalog} where oid >= {FIRST_USER_OID}", "oid::int8", "oid") for catalog in OTHER_CATALOGS},
}

_RELKIND_TAGS = {"r": "table", "i": "index", "S": "sequence", "v": "view", "m": "materialized view", "c": "composite", "f": "other relation"}


def _select(tag: str, source: str, identity: str, touched: str) -> str:
    mark = "age(xmin) <= 0" if tag != "role" else "false"
    return (
        f"select '{tag}', count(*), coalesce(bit_xor({identity}), 0), "
        f"array_agg(distinct {touched}::int8) filter (where {mark}) from {source}"
    )


QUERY = "\nunion all ".join(
    [
        "select case relkind when 'p' then 'r' when 'I' then 'i' else relkind end::text, count(*), bit_xor(oid::int8),"
        f" array_agg(oid::int8) filter (where age(xmin) <= 0) from pg_class where oid >= {FIRST_USER_OID} and relkind <> 't' group by 1",
        f"select 'attribute', 0, 0, array_agg(distinct attrelid::int8) from pg_attribute where attrelid >= {FIRST_USER_OID} and age(xmin) <= 0",
        f"select 'index entry', 0, 0, array_agg(indexrelid::int8) from pg_index where indexrelid >= {FIRST_USER_OID} and age(xmin) <= 0",
        "select 'sequence entry', 0, 0, array_agg(seqrelid::int8) from pg_sequence where age(xmin) <= 0",
        f"select 'owned', count(*), coalesce(bit_xor(d.objid::int8 * 4294967296 + d.refobjid::int8 * 2048 + d.refobjsubid), 0), null"
        " from pg_sequence s join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = s.seqrelid"
        " where d.deptype = 'a' and d.refclassid = 'pg_class'::regclass",
        "select 'comment', count(*), coalesce(bit_xor(hashtextextended(concat_ws('.', classoid, objoid, objsubid), 0)), 0),"
        " array_agg(distinct objoid::int8) filter (where age(xmin) <= 0)"
        f" from pg_description where objoid >= {FIRST_USER_OID} or classoid = 'pg_namespace'::regclass",
        "select 'backed constraint', 0, 0, array_agg(k.oid::int8) from pg_constraint k join pg_index i on i.indexrelid = k.conindid"
        " where k.contype in ('p', 'u', 'x') and age(i.xmin) <= 0",
        "select 'identity table', 0, 0, array_agg(d.refobjid::int8) from pg_sequence s join pg_depend d on d.objid = s.seqrelid"
        " and d.classid = 'pg_class'::regclass and d.deptype = 'i' where age(s.xmin) <= 0",
        "select 'setting', count(*), coalesce(bit_xor(setrole::int8), 0), array_agg(setrole::int8) filter (where age(xmin) <= 0)"
        " from pg_db_role_setting where setdatabase = (select oid from pg_database where datname = current_database())",
        *(_select(tag, *source) for tag, source in _SOURCES.items()),
    ]
)

@dataclass(frozen=True, slots=True)
class Touched:
    """Per tag: number of rows, XOR of their identities, and the oids written by the open transaction."""

    digest: dict[str, tuple[int, int]]
    oids: dict[str, frozenset[int]]


def read_touched(connection: psycopg.Connection[Any]) -> Touched:
    digest, oids = {}, {}
    for tag, count, xor, touched in connection.execute(QUERY, prepare=True):
        name = _RELKIND_TAGS.get(tag, tag)
        digest[name] = (count, xor)
        oids[name] = frozenset(touched or ())
    return Touched(digest, oids)


def identities(connection: psycopg.Connection[Any], tag: str) -> frozenset[int]:
    """All identities behind the digest of one tag."""
    for letter, name in _RELKIND_TAGS.items():
        if name == tag:
            kinds = {"r": "'r', 'p'", "i": "'i', 'I'"}.get(letter, f"'{letter}'")
            sql = f"select oid::int8 from pg_class where oid >= {FIRST_USER_OID} and relkind in ({kinds})"
            return frozenset(row[0] for row in connection.execute(sql))
    source, identity, _ = _SOURCES[tag]
    return frozenset(row[0] for row in connection.execute(f"select {identity} from {source}"))
