"""What goes with an extension on purpose (ALTER ... DEPENDS ON EXTENSION), by the object that goes."""

from unmigrate.catalog.kinds.base import Kind, Statements
from unmigrate.catalog.model import Catalog, Object

QUERY = """
select d.objid, 0, x.type || ' ' || x.identity, d.classid::regclass::text, d.objid, 0,
  json_build_object('what', upper(x.type) || ' ' || x.identity, 'extensions', d.extensions),
  json_build_object('what', d.objid::text)
from (select d.classid, d.objid, jsonb_agg(quote_ident(e.extname) order by e.extname) extensions from pg_depend d
  join pg_extension e on e.oid = d.refobjid where d.refclassid = 'pg_extension'::regclass and d.refobjid >= 16384 and d.deptype = 'x'
  group by 1, 2) d cross join lateral pg_identify_object(d.classid, d.objid, 0) x where {where}"""


def create(dependency: Object, catalog: Catalog) -> Statements:
    return _statements(dependency, [], dependency.facts["extensions"])


def drop(dependency: Object) -> Statements:
    return _statements(dependency, dependency.facts["extensions"], [])


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    return _statements(wanted, now.facts["extensions"], wanted.facts["extensions"])


def _statements(of: Object, now: list[str], wanted: list[str]) -> Statements:
    what = of.facts["what"]
    gone = [f"ALTER {what} NO DEPENDS ON EXTENSION {name}" for name in now if name not in wanted]
    return gone + [f"ALTER {what} DEPENDS ON EXTENSION {name}" for name in wanted if name not in now]


KIND = Kind("extension dependency", "pg_depend", 22, QUERY, "d.objid", create, drop, alter)
