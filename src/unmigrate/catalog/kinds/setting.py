"""Settings of the database and of roles in it (ALTER DATABASE SET, ALTER ROLE IN DATABASE SET)."""

from unmigrate.catalog.kinds.base import CannotInvert, Kind, Statements
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import ident, literal

QUERY = """
select s.setrole, 0, case when s.setrole = 0 then 'database' else 'role ' || pg_get_userbyid(s.setrole) end, null, null::oid, 0,
  json_build_object('role', case when s.setrole <> 0 then pg_get_userbyid(s.setrole) end, 'settings', s.setconfig), '{}'::jsonb
from pg_db_role_setting s where s.setdatabase = (select oid from pg_database where datname = current_database()) and {where}"""


def _pairs(settings: list[str]) -> dict[str, str]:
    return dict(setting.split("=", 1) for setting in settings)


def _statements(of: Object, now: dict[str, str], wanted: dict[str, str]) -> Statements:
    if of.facts["role"]:
        raise CannotInvert(f"settings of {of.name} in this database were changed")
    statements = []
    for name in sorted(now.keys() | wanted.keys()):
        if now.get(name) != wanted.get(name):
            value = f"SET {ident(name)} TO {literal(wanted[name])}" if name in wanted else f"RESET {ident(name)}"
            body = f"format('ALTER DATABASE %I {value.replace('%', '%%').replace(chr(39), chr(39) * 2)}', current_database())"
            statements.append(f"DO $unmigrate$ BEGIN EXECUTE {body}; END $unmigrate$")
    return statements


def create(setting: Object, catalog: Catalog) -> Statements:
    return _statements(setting, {}, _pairs(setting.facts["settings"]))


def drop(setting: Object) -> Statements:
    return _statements(setting, _pairs(setting.facts["settings"]), {})


def alter(now: Object, wanted: Object, changed: frozenset[str]) -> Statements | None:
    return _statements(wanted, _pairs(now.facts["settings"]), _pairs(wanted.facts["settings"]))


KIND = Kind("setting", "pg_db_role_setting", 21, QUERY, "s.setrole", create, drop, alter)
