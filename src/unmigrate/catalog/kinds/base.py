"""What every object kind must say of itself, and SQL fragments they share."""

from collections.abc import Callable
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Object

LEDGER_TABLE = "_prisma_migrations"
IGNORED_SCHEMAS = "^(pg_|information_schema$|unmigrate)"

Statements = list[str]


class CannotInvert(Exception):
    """A change of the catalog for which no statement exists; the reason is for a person."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object: how it is read, created, dropped, altered.

    name: PostgreSQL's own word. catalog: where its identity lives. rank: order of creation among kinds.
    query: SELECT of (oid, sub, name, parent catalog, parent oid, parent sub, facts json, raw json), with the hole {where}.
    oid: the expression of `query` that restricting it by oid filters on.
    among: a condition on rows of `catalog` that all such objects meet; their oids are not PostgreSQL's own, except that of schema public.
    create(object, catalog it stood in): statements that make it. drop(object): statements that remove it.
    alter(now, wanted, changed facts): statements that turn one state into the other, or None: replace it (drop, create).
    """

    name: str
    catalog: str
    rank: int
    query: str
    oid: str
    create: Callable[[Object, Catalog], Statements]
    drop: Callable[[Object], Statements]
    alter: Callable[[Object, Object, frozenset[str]], Statements | None]
    among: str = "true"


# Schemas of the vault that this session wants to see as well, because objects are parked there: set by `show_parked`.
PARKED = "unmigrate.parked"


def user_schema(alias: str = "n") -> str:
    shown = f"{alias}.nspname::text = any (string_to_array(current_setting('{PARKED}', true), ','))"
    return f"({alias}.nspname !~ '{IGNORED_SCHEMAS}' or {shown})"


def not_member(catalog: str, oid: str) -> str:
    """Not a member of an extension: those come and go with it."""
    return f"not exists (select from pg_depend d where d.classid = '{catalog}'::regclass and d.objid = {oid} and d.deptype = 'e')"


def not_internal(catalog: str, oid: str) -> str:
    """Not made along with something else, such as the constructors of a range type."""
    return f"not exists (select from pg_depend d where d.classid = '{catalog}'::regclass and d.objid = {oid} and d.deptype = 'i')"


def uses_json(catalog: str, oid: str) -> str:
    """SQL for what an object's text speaks of, as [catalog, oid, sub-id]; a row type, or an array of it, as its relation."""
    return f"""(select jsonb_agg(distinct jsonb_build_array(
        case when coalesce(e.typrelid, t.typrelid, 0) <> 0 then 'pg_class' else d.refclassid::regclass::text end,
        coalesce(nullif(coalesce(e.typrelid, t.typrelid), 0), e.oid, d.refobjid)::int8, d.refobjsubid))
      from pg_depend d left join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
      left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
      where d.classid = '{catalog}'::regclass and d.objid = {oid} and d.deptype = 'n')"""


def owner_json(owner: str) -> str:
    """SQL for the owner, NULL where it is the database's, so that two servers compare."""
    return (
        f"case when {owner} <> (select datdba from pg_database where datname = current_database()) "
        f"then quote_ident(pg_get_userbyid({owner})) end"
    )


def replace_only(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    return None
