"""Which catalog rows the open transaction wrote, and from which catalogs rows vanished.

PostgreSQL counts the rows a transaction inserts, updates and deletes, catalogs included: only the catalogs that were written are
looked at. Rows written by the open transaction have age(xmin) <= 0, its subtransactions included. Rows that vanished leave no trace
but the count: the identities that remain tell which. What other transactions committed since a mark is found by age too, in all catalogs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import psycopg

from unmigrate.catalog.kinds.other import CATALOGS as OTHER_CATALOGS
from unmigrate.errors import EnvironmentProblem
from unmigrate.sql import prepared

FIRST_USER_OID = 16384
# Catalogs of what is wider than the schema of one database: seen, told, not undone.
BEYOND = {
    "pg_authid": "roles were created, altered or dropped: they are wider than the database and are not undone",
    "pg_auth_members": "memberships of roles were granted or revoked: they are wider than the database and are not undone",
    "pg_shdescription": "a comment on a database, role or tablespace was changed and is not undone",
    "pg_largeobject_metadata": "large objects were created or dropped: they are data of no table and are not undone",
    "pg_subscription": "a subscription was created, changed or dropped: it reaches another server and is not undone",
    "pg_seclabel": "security labels were changed and are not undone",
    "pg_shseclabel": "security labels were changed and are not undone",
    "pg_database": "the database's own properties or grants were changed and are not undone",
    "pg_tablespace": "tablespaces were created, altered or dropped: they are wider than the database and are not undone",
    "pg_parameter_acl": "grants on configuration parameters were changed: they are wider than the database and are not undone",
    "pg_replication_origin": "replication origins were created or dropped: they are wider than the database and are not undone",
}
# The cheapest condition first: the planner leaves them in this order.
_USER = f"oid >= {FIRST_USER_OID}"
_MINE = "age(xmin) <= $1"
_RELATION = (
    "case relkind when 'r' then 'table' when 'p' then 'table' when 'i' then 'index' when 'I' then 'index' when 'S' then 'sequence' "
    "when 'v' then 'view' when 'm' then 'materialized view' when 'c' then 'composite' when 'f' then 'other relation' end"
)
# Of an attribute or a default: the column, or the relation that tells of its columns itself.
_COLUMN_OF = (
    "(select case when relkind in ('r', 'p') then 'column' when relkind in ('S', 't') then null "
    f"else {_RELATION} end from pg_class c where c.oid = {{relation}})"
)


def _rows(tag: str, catalog: str, condition: str = "true", report: str = "oid") -> str:
    """Rows of a catalog that the transaction wrote; report: the column that holds the oid to read again."""
    return f"select '{tag}', {report}::int8, 0, ctid::text from {catalog} where {condition} and {_MINE}"


def _or_system(tag: str, catalog: str, report: str = "oid", own: str = "true") -> str:
    """The same, in one pass over the catalog. tag: SQL. Of what is PostgreSQL's own, which nobody follows, "system": a grant on pg_class, say.

    own: which of those rows are so.
    """
    told = f"case when {report} < {FIRST_USER_OID} and {own} then 'system' else {tag} end"
    return f"select {told}, {report}::int8, 0, ctid::text from {catalog} where {_MINE}"


def _told_by_relation(oids: str) -> str:
    """Rows of these relations also speak of a constraint (with the index behind it), a partitioned index, an identity column."""
    return f"""
select 'backed constraint', k.oid::int8, k.conindid::int8, null
from ({oids} union select inhparent from pg_inherits where inhrelid in ({oids}) offset 0) b (oid)
cross join lateral (select indrelid from pg_index where indexrelid = b.oid offset 0) i
cross join lateral (select oid, conindid from pg_constraint where conrelid = i.indrelid and conindid = b.oid and contype in ('p', 'u', 'x')
  offset 0) k
union all select 'index', inhparent::int8, 0, null from pg_inherits where inhrelid in ({oids})
union all select 'column', d.refobjid::int8, d.refobjsubid, null from pg_depend d where d.classid = 'pg_class'::regclass
  and d.objid in ({oids}) and d.refclassid = 'pg_class'::regclass and d.deptype = 'i'"""


_CLASS = f"""
with w as materialized (select oid, relkind, ctid::text from pg_class where {_MINE}),
  t as materialized (select * from w where {_USER} and relkind in ('r', 'p', 'i', 'I', 'S', 'v', 'm', 'c', 'f'))
select {_RELATION}, oid::int8, 0, ctid from t
union all select 'system', oid::int8, 0, ctid from w where oid < {FIRST_USER_OID}
union all {_told_by_relation("select oid from t where relkind in ('i', 'I', 'S')")}"""

_ATTRIBUTE = f"""
select {_COLUMN_OF.format(relation="attrelid")}, attrelid::int8, attnum::int4, ctid::text from pg_attribute
where attrelid >= {FIRST_USER_OID} and attnum > 0 and {_MINE}"""

_ATTRDEF = f"select {_COLUMN_OF.format(relation='adrelid')}, adrelid::int8, adnum::int4, ctid::text from pg_attrdef where {_MINE}"

_CONSTRAINT = f"""
with t as materialized (select *, ctid::text at from pg_constraint where {_USER} and {_MINE})
select 'constraint', oid::int8, 0, at from t where contype <> 'n'
union all select 'column', conrelid::int8, conkey[1]::int4, at from t where contype = 'n' and conrelid <> 0
union all select 'behind', conindid::int8, 0, null from t where contype in ('p', 'u', 'x')"""

_INDEX = f"""
select case when k.oid is null then 'index' else 'constraint' end, coalesce(k.oid, indexrelid)::int8, 0, at
from (select indexrelid, indrelid, ctid::text at from pg_index where {_MINE} offset 0) i left join lateral (
  select oid from pg_constraint where conrelid = i.indrelid and conindid = i.indexrelid and contype in ('p', 'u', 'x') offset 0) k on true"""

_SEQUENCE = f"""
with t as materialized (select seqrelid oid, ctid::text at from pg_sequence where {_MINE})
select 'sequence', oid::int8, 0, at from t
union all select 'column', d.refobjid::int8, d.refobjsubid, null from pg_depend d where d.classid = 'pg_class'::regclass
  and d.objid in (select oid from t) and d.refclassid = 'pg_class'::regclass and d.deptype = 'i'"""

_TYPE = f"""
with w as materialized (select oid, typtype, typrelid, typelem, ctid::text at from pg_type where {_MINE})
select case typtype when 'e' then 'enum' when 'd' then 'domain' when 'c' then 'composite' else 'other type' end,
  (case when typtype = 'c' then typrelid else oid end)::int8, 0, at
from w where {_USER} and typelem = 0 and (typtype <> 'c' or exists (select from pg_class c where c.oid = typrelid and c.relkind = 'c'))
union all select 'system', oid::int8, 0, at from w where oid < {FIRST_USER_OID}"""

_TRIGGER = f"""
with t as materialized (select oid, tgrelid, tgname, tgisinternal, tgparentid, tgconstraint, ctid::text at from pg_trigger where {_MINE})
select 'trigger', oid::int8, 0, at from t where not tgisinternal
union all select 'trigger', g.oid::int8, 0, null from t cross join lateral pg_partition_ancestors(t.tgrelid) a
  join pg_trigger g on g.tgrelid = a.relid and g.tgname = t.tgname and g.tgparentid = 0 where t.tgparentid <> 0
union all select 'constraint', tgconstraint::int8, 0, null from t where tgisinternal and tgconstraint <> 0"""

_REWRITE = f"""
select case when rulename = '_RETURN' then (select {_RELATION} from pg_class c where c.oid = ev_class) else 'rule' end,
  (case when rulename = '_RETURN' then ev_class else oid end)::int8, 0, ctid::text
from pg_rewrite where {_USER} and {_MINE}"""

_DESCRIPTION = f"""
with t as materialized (select objoid, classoid, objsubid, ctid::text at from pg_description where {_MINE}),
  r as materialized (select objoid oid from t where classoid = 'pg_class'::regclass)
select 'comment', objoid::int8, objsubid, at from t
union all {_told_by_relation("select oid from r")}
union all select 'column', k.conrelid::int8, k.conkey[1]::int4, null from t join pg_constraint k on k.oid = t.objoid
  where t.classoid = 'pg_constraint'::regclass and k.contype = 'n' and k.conrelid <> 0
union all select 'composite', y.typrelid::int8, 0, null from t join pg_type y on y.oid = t.objoid
  where t.classoid = 'pg_type'::regclass and y.typtype = 'c'"""

_INHERITS = f"""
with t as materialized (select inhrelid oid, ctid::text at from pg_inherits where {_MINE})
select 'table', oid::int8, 0, at from t union all {_told_by_relation("select oid from t")}"""

_DATABASE_SETTINGS = "setdatabase = (select oid from pg_database where datname = current_database())"

# One SELECT of (tag, oid, sub, ctid) for each catalog. A tag is a kind, or tells more than that: see observer.
# ctid: where this version of the row stands; null for what is read again whenever the catalog was written.
_SOURCES: dict[str, str] = {
    "pg_class": _CLASS,
    "pg_attribute": _ATTRIBUTE,
    "pg_attrdef": _ATTRDEF,
    "pg_constraint": _CONSTRAINT,
    "pg_index": _INDEX,
    "pg_sequence": _SEQUENCE,
    "pg_type": _TYPE,
    "pg_enum": _rows("enum", "pg_enum", report="enumtypid"),
    "pg_proc": _or_system("case prokind when 'a' then 'aggregate' else 'routine' end", "pg_proc"),
    "pg_trigger": _TRIGGER,
    "pg_policy": _rows("policy", "pg_policy"),
    "pg_rewrite": _REWRITE,
    "pg_namespace": _or_system("'schema'", "pg_namespace", own="nspname <> 'public'"),
    "pg_extension": _rows("extension", "pg_extension", _USER),
    "pg_statistic_ext": _rows("statistics", "pg_statistic_ext"),
    "pg_publication": _rows("publication", "pg_publication"),
    "pg_publication_rel": _rows("publication", "pg_publication_rel", report="prpubid"),
    "pg_publication_namespace": _rows("publication", "pg_publication_namespace", report="pnpubid"),
    "pg_event_trigger": _rows("event trigger", "pg_event_trigger"),
    "pg_default_acl": _rows("default privileges", "pg_default_acl"),
    "pg_inherits": _INHERITS,
    "pg_description": _DESCRIPTION,
    "pg_db_role_setting": _rows("setting", "pg_db_role_setting", _DATABASE_SETTINGS, "setrole"),
    **{catalog: _or_system(f"'{catalog}'", catalog) for catalog in OTHER_CATALOGS},
    "pg_depend": f"""select case deptype when 'x' then 'extension dependency' else 'member of ' || classid::regclass end, objid::int8, 0, ctid::text
      from pg_depend where refclassid = 'pg_extension'::regclass and deptype in ('x', 'e') and {_MINE}""",
    "pg_ts_config_map": _rows("pg_ts_config", "pg_ts_config_map", report="mapcfg"),
    "pg_aggregate": _rows("aggregate", "pg_aggregate", report="aggfnoid::oid"),
    **{
        catalog: _or_system("'pg_opfamily'", catalog, family)
        for catalog, family in (("pg_amop", "amopfamily"), ("pg_amproc", "amprocfamily"))
    },
    "pg_foreign_table": _rows("other relation", "pg_foreign_table", report="ftrelid"),
    "pg_user_mapping": "select 'pg_foreign_server', oid::int8, 0, null from pg_foreign_server where $1 is not null",
}

# Catalogs whose rows are objects of ours: where rows were lost, those that remain are listed.
# Deletions elsewhere are seen in other ways: with their table, their type, or by an update of the row they belong to.
_IDENTITIES: dict[str, str] = {
    catalog: f"select string_agg(oid::text, ',') from {catalog} where {condition}"
    for catalog, condition in {
        "pg_class": f"{_USER} and relkind <> 't'",
        "pg_constraint": _USER,
        "pg_type": _USER,
        "pg_proc": _USER,
        "pg_trigger": "not tgisinternal",
        "pg_rewrite": _USER,
        "pg_namespace": f"({_USER} or nspname = 'public')",
        "pg_extension": _USER,
        **dict.fromkeys(("pg_policy", "pg_statistic_ext", "pg_publication", "pg_event_trigger", "pg_default_acl"), "true"),
        **dict.fromkeys(OTHER_CATALOGS, _USER),
    }.items()
}


class Count(NamedTuple):
    """Rows of one catalog that this backend has written and deleted so far."""

    written: int
    deleted: int


Counts = Mapping[str, Count]  # by catalog; those with nothing to count are left out
_NONE = Count(0, 0)


class Version(NamedTuple):
    """One version of a catalog's row, as the selects tell of it."""

    tag: str
    oid: int
    sub: int
    ctid: str | None


@dataclass(frozen=True, slots=True)
class Touched:
    """rows: (oid, sub) of what was written, by tag. remaining: identities still there, of catalogs that lost rows. lossy: such catalogs.

    beyond: what went beyond the schema, in words. versions: of the rows. Until the transaction ends none can stand where another stood.
    """

    rows: dict[str, set[tuple[int, int]]]
    remaining: dict[str, frozenset[int]]
    lossy: frozenset[str]
    beyond: tuple[str, ...]
    versions: frozenset[Version]


@lru_cache(maxsize=1)
def watched_catalogs() -> tuple[str, ...]:
    """Catalogs whose writes are seen."""
    return (*_SOURCES, *BEYOND)


def counting(connection: psycopg.Connection[Any]) -> prepared.Call:
    """What reads the counters on this server. Earlier transactions may be among them: compare with those at its beginning."""
    return _counting(connection, ("pg_stat_get_xact_tuples_{}(o)",))


def counting_all(connection: psycopg.Connection[Any]) -> prepared.Call | None:
    """The same for all that was ever written here, also by others, whether reported yet or not: for what this session commits itself.

    None before 15: there a report is sent, and arrives some time later.
    """
    ever = ("pg_stat_get_xact_tuples_{}(o)", "pg_stat_get_tuples_{}(o)")
    return _counting(connection, ever) if connection.info.server_version >= 150000 else None


def _counting(connection: psycopg.Connection[Any], counters: Collection[str]) -> prepared.Call:
    rows = connection.execute("select n, to_regclass('pg_catalog.' || n)::oid::int8 from unnest(%s::text[]) n", [list(watched_catalogs())])
    listed = ", ".join(f"('{name}', {oid}::oid)" for name, oid in rows if oid)  # not every server has them all
    written, deleted = (
        " + ".join(counter.format(verb) for counter in counters for verb in verbs) for verbs in (("inserted", "updated"), ("deleted",))
    )
    return prepared.Call(f"""select * from (select n, {written} w, {deleted} d from (values {listed}) c (n, o) offset 0) x
      where w > 0 or d > 0 union all select '', 0, 0 where not current_setting('track_counts')::bool""")


def counts(rows: list[Any]) -> Counts:
    """The result of the `counting` call. Raises EnvironmentProblem where nothing is counted: everything would look untouched."""
    if any(not name for name, _, _ in rows):
        message = "track_counts was switched off: what a migration does cannot be seen"
        raise EnvironmentProblem(message, code="track-counts", remedy="take SET track_counts out of the migrations")
    return {name: Count(written, deleted) for name, written, deleted in rows}


def _changed(since: Counts, now: Counts) -> tuple[set[str], frozenset[str]]:
    """The catalogs written between two counts, and those that lost rows."""
    pairs = {name: (since.get(name, _NONE), now.get(name, _NONE)) for name in since.keys() | now.keys()}
    written = {name for name, (old, new) in pairs.items() if old.written != new.written}
    return written, frozenset(name for name, (old, new) in pairs.items() if old.deleted != new.deleted)


def read_touched(connection: psycopg.Connection[Any], since: Counts, now: Counts, seen: frozenset[Version] = frozenset()) -> Touched:
    """What the open transaction wrote between two counts: at least that, at most all it ever wrote to the same catalogs but for `seen`."""
    written, lossy = _changed(since, now)
    return _touched(connection, written, lossy, 0, _beyond(written | lossy), seen)


def _beyond(touched: Collection[str]) -> tuple[str, ...]:
    return tuple(note for name, note in BEYOND.items() if name in touched)


def mark(connection: psycopg.Connection[Any]) -> str:
    """A transaction id that is older than all to come, for `read_committed`."""
    (row,) = connection.execute("select (txid_current() % 4294967296)::text").fetchall()
    return str(row[0])


def horizon(connection: psycopg.Connection[Any]) -> str:
    """A mark below which every transaction has ended: a reading that follows has seen all of theirs, `read_committed` all later ones."""
    (row,) = connection.execute("select ((pg_snapshot_xmin(pg_current_snapshot())::text::numeric - 1) % 4294967296)::text").fetchall()
    return str(row[0])


def read_committed(connection: psycopg.Connection[Any], since: str, counted: tuple[Counts, Counts] | None = None) -> Touched:
    """What was committed since a mark. Needs an open transaction.

    counted: all counters at the mark and now, where this session alone wrote; else any catalog may have been written, and lost rows.
    """
    present = "array(select n from unnest(%s::text[]) n where to_regclass('pg_catalog.' || n) is not null)"
    itself = "exists (select from pg_database where datname = current_database() and age(xmin) < age(%s::xid))"
    asked = f"select age(%s::xid) - 1, {present}, {itself}"
    ((age, names, database),) = connection.execute(asked, [since, list(_SOURCES), since]).fetchall()
    if not counted:
        return _touched(connection, names, frozenset(names), age, ())
    written, lossy = _changed(*counted)
    beyond = (written | lossy) - {"pg_database"}  # others make databases meanwhile
    return _touched(connection, written, lossy, age, _beyond(beyond | {"pg_database"} if database else beyond))


def _touched(
    connection: psycopg.Connection[Any],
    written: Collection[str],
    lossy: frozenset[str],
    age: int,
    beyond: tuple[str, ...],
    seen: frozenset[Version] = frozenset(),
) -> Touched:
    selects = [prepared.Call(sql, "int", str(age)) for name, sql in _SOURCES.items() if name in written]
    lists = {name: prepared.Call(sql) for name, sql in _IDENTITIES.items() if name in lossy}
    versions: frozenset[Version] = frozenset()
    rows: dict[str, set[tuple[int, int]]] = {}
    remaining: dict[str, frozenset[int]] = {}
    if selects or lists:
        results = prepared.run(connection, [*selects, *lists.values()])
        found = {Version(*row) for result in results[: len(selects)] for row in result} - seen
        for tag, oid, sub, _ in found:
            rows.setdefault(tag, set()).add((oid, sub))
        versions = frozenset(version for version in found if version.ctid)
        for name, ((oids,),) in zip(lists, results[len(selects) :], strict=True):
            remaining[name] = frozenset(map(int, oids.split(","))) if oids else frozenset()
    return Touched(rows, remaining, lossy, beyond, versions)
