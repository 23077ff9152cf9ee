"""Nothing living may go on reading or checking what is parked.

What falls with a dropped thing is known from scratch and is dropped by name. The target may hold more: a view, a policy or a foreign
key that no migration made. DROP would have failed there; so does this, as the view would silently go on reading what is parked.
"""

from unmigrate.catalog.model import Object
from unmigrate.catalog.sqltext import literal

_KINDS = """
    d.classid IN ('pg_proc'::regclass, 'pg_statistic_ext'::regclass)
    OR d.classid = 'pg_rewrite'::regclass AND {own} (SELECT r.ev_class <> {table} FROM pg_rewrite r WHERE r.oid = d.objid)
    OR d.classid = 'pg_policy'::regclass AND {own} (SELECT p.polrelid <> {table} FROM pg_policy p WHERE p.oid = d.objid)
    OR d.classid = 'pg_trigger'::regclass AND {own} (SELECT g.tgrelid <> {table} FROM pg_trigger g WHERE g.oid = d.objid)
    OR d.classid = 'pg_attrdef'::regclass AND (SELECT f.adrelid <> {table} OR {other} FROM pg_attrdef f WHERE f.oid = d.objid)
    OR d.classid = 'pg_constraint'::regclass AND (
        SELECT {check} OR k.conrelid <> {table} AND c.relnamespace::regnamespace::text !~ '^"?unmigrate_'
        FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = k.conrelid WHERE k.oid = d.objid)"""


def column_alone(column: Object, aside: str) -> str:
    """Fails where something depends on the parked column. aside: its name by now (SQL)."""
    table = f"{literal(column.facts['table'])}::regclass"
    # A trigger or policy of the table itself that speaks of the column, a generated column that reads it, a check: DROP would take them.
    kinds = _KINDS.format(table=table, own="true OR", other="f.adnum <> d.refobjsubid", check="k.contype = 'c'")
    kinds += "\n    OR d.classid = 'pg_publication_rel'::regclass"  # its list of columns
    where = (
        f"d.refclassid = 'pg_class'::regclass AND d.refobjid = {table} "
        f"AND d.refobjsubid = (SELECT a.attnum FROM pg_attribute a WHERE a.attrelid = {table} AND a.attname = {_bare(aside)})"
    )
    return _refusal(where, kinds, column.name)


def table_alone(table: Object, moved: str) -> str:
    """Fails where something else depends on the parked table, or on its row type. moved: its name by now (SQL)."""
    oid = f"{literal(moved)}::regclass"
    kinds = _KINDS.format(table=oid, own="", other="false", check="false")
    row_type = (
        f"(SELECT t.oid FROM pg_type t WHERE t.typrelid = {oid} OR t.oid = (SELECT y.typarray FROM pg_type y WHERE y.typrelid = {oid}))"
    )
    used = f"d.refclassid = 'pg_type'::regclass AND d.refobjid IN {row_type} AND d.classid = 'pg_class'::regclass AND d.objsubid > 0"
    return _refusal(f"(d.refclassid = 'pg_class'::regclass AND d.refobjid = {oid})", f"({kinds})", table.name, f" OR ({used})")


def _bare(name: str) -> str:
    return literal(name[1:-1].replace('""', '"') if name.startswith('"') else name)


def _refusal(where: str, kinds: str, name: str, more: str = "") -> str:
    told = literal(f"cannot park {name}: ".replace("%", "%%") + "% depends on it, and no migration made that")
    return (
        f"DO $unmigrate$ DECLARE dependent text; BEGIN SELECT pg_describe_object(d.classid, d.objid, d.objsubid) INTO dependent "
        f"FROM pg_depend d WHERE {where} AND ({kinds}){more} LIMIT 1; "
        f"IF dependent IS NOT NULL THEN RAISE EXCEPTION {told}, dependent USING ERRCODE = 'dependent_objects_still_exist'; END IF; "
        f"END $unmigrate$"
    )
