"""Who depends on what, asked of the database in its present state, one level at a time."""

from collections.abc import Callable, Iterable
from typing import Any

import psycopg

from unmigrate.catalog.model import Key
from unmigrate.sql import prepared

Dependents = Callable[[Iterable[Key]], list[tuple[Key, Key]]]
"""keys -> (dependent, what it depends on); sub-objects (columns) are told apart, an index that a constraint made is that constraint."""

QUERY = """
with named (catalog, oid, sub) as (
  select * from unnest($1, $2, $3)
), target (cid, oid, sub, named_catalog, named_oid, named_sub) as (
  select catalog::regclass::oid, oid, sub, catalog, oid, sub from named
  union all select 'pg_type'::regclass, c.reltype, 0, catalog, named.oid, 0 from named join pg_class c on c.oid = named.oid
    where catalog = 'pg_class' and sub = 0 and c.reltype <> 0
  union all select 'pg_type'::regclass, t.typarray, 0, catalog, named.oid, 0 from named join pg_class c on c.oid = named.oid
    join pg_type t on t.oid = c.reltype where catalog = 'pg_class' and sub = 0 and t.typarray <> 0
  union all select 'pg_type'::regclass, t.typarray, 0, catalog, named.oid, 0 from named join pg_type t on t.oid = named.oid
    where catalog = 'pg_type' and t.typarray <> 0
  union all select 'pg_class'::regclass, k.conindid, 0, catalog, named.oid, 0 from named join pg_constraint k on k.oid = named.oid
    where catalog = 'pg_constraint' and k.conindid <> 0 and k.contype <> 'f'
)
select distinct
  case d.classid when 'pg_rewrite'::regclass then case when r.rulename = '_RETURN' then 'pg_class' else 'pg_rewrite' end
    when 'pg_attrdef'::regclass then 'pg_class' else coalesce(i.refclassid, d.classid)::regclass::text end,
  (case when r.rulename = '_RETURN' then r.ev_class when x.oid is not null then x.adrelid else coalesce(i.refobjid, d.objid) end)::int8,
  (case when x.oid is not null then x.adnum else d.objsubid end)::int,
  named_catalog, named_oid::int8, named_sub
from target cross join lateral (
  select * from pg_depend where refclassid = cid and refobjid = target.oid and (target.sub = 0 or refobjsubid = target.sub)
    and deptype in ('n', 'a') offset 0
) d
left join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
left join pg_attrdef x on d.classid = 'pg_attrdef'::regclass and x.oid = d.objid
left join pg_depend i on d.classid = 'pg_class'::regclass and i.classid = d.classid and i.objid = d.objid and i.objsubid = 0
  and i.refclassid = 'pg_constraint'::regclass and i.deptype = 'i'"""


def dependents_on(connection: psycopg.Connection[Any]) -> Dependents:
    """Ask this connection's database."""

    def ask(keys: Iterable[Key]) -> list[tuple[Key, Key]]:
        listed = list(keys)
        if not listed:
            return []
        arguments = ", ".join(prepared.array(values) for values in zip(*listed, strict=True))
        (rows,) = prepared.run(connection, [prepared.Call(QUERY, "text[], oid[], int[]", arguments)])
        return [(Key(c, o, s), Key(rc, ro, rs)) for c, o, s, rc, ro, rs in rows if (c, o, s) != (rc, ro, rs)]

    return ask


def castable_on(connection: psycopg.Connection[Any]) -> Callable[[str], bool]:
    """Whether an expression compiles, asked inside the open transaction."""

    def ask(expression: str) -> bool:
        try:
            with connection.transaction():
                connection.execute(f"select {expression} limit 0")
        except psycopg.Error:
            return False
        return True

    return ask
