"""What a rollback needs to be allowed to do, asked beforehand."""

from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import EnvironmentProblem
from unmigrate.park import vault
from unmigrate.plan.model import Plan


@dataclass(frozen=True, slots=True)
class Missing:
    """A privilege the connected role lacks, and the statement that gives it."""

    what: str
    remedy: str


def missing_privileges(connection: psycopg.Connection[Any], schema: str) -> tuple[Missing, ...]:
    """CREATE on the database (for the vault), ownership of the schema's tables, DELETE on the ledger."""
    found = []
    row = connection.execute(
        "select current_user::text, current_database()::text, has_database_privilege(current_database(), 'CREATE'), "
        "has_table_privilege(quote_ident(%s::text) || '._prisma_migrations', 'DELETE')",
        [schema],
    ).fetchone()
    assert row is not None
    role, database, may_create, may_delete = row
    if not may_create:
        found.append(
            Missing(f"{role} may not create schemas in {database}", f"GRANT CREATE ON DATABASE {ident(database)} TO {ident(role)}")
        )
    if not may_delete:
        found.append(Missing(f"{role} may not change the ledger", f"GRANT DELETE ON {ident(schema)}._prisma_migrations TO {ident(role)}"))
    foreign = connection.execute(
        "select count(*), min(pg_get_userbyid(c.relowner)) from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and c.relkind in ('r', 'p') and not pg_has_role(c.relowner, 'USAGE')",
        [schema],
    ).fetchone()
    if foreign and foreign[0]:
        found.append(
            Missing(
                f"{foreign[0]} tables belong to {foreign[1]}", f"connect as {foreign[1]}, or GRANT {ident(foreign[1])} TO {ident(role)}"
            )
        )
    return tuple(found)


def loud_triggers(connection: psycopg.Connection[Any], schema: str) -> str:
    """What to know of triggers that fire for rows which a rollback fills, as the role may not keep them quiet; "" where none would."""
    parameter = "has_parameter_privilege('session_replication_role', 'SET')" if connection.info.server_version >= 150000 else "false"
    row = connection.execute(
        f"select {parameter} or (select rolsuper from pg_roles where rolname = current_user), current_user::text, "
        "(select count(*) from pg_trigger g join pg_class c on c.oid = g.tgrelid join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname = %s and not g.tgisinternal and g.tgenabled in ('O', 'A') and g.tgtype & 19 = 17 "  # row, not before, update
        "and g.tgname !~ '^_unmigrate_')",
        [schema],
    ).fetchone()
    if row is None or row[0] or not row[2]:
        return ""
    grant = f"GRANT SET ON PARAMETER session_replication_role TO {ident(row[1])}"
    return f"; {row[2]} AFTER UPDATE triggers fire for rows that a guarded rollback fills, unless: {grant}"


def require_privileges(connection: psycopg.Connection[Any], plan: Plan) -> None:
    """Raise EnvironmentProblem where this plan would fail for want of a privilege; tables it does not touch do not matter."""
    row = connection.execute(
        "select pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'), "
        "has_table_privilege(%s, 'SELECT') and has_table_privilege(%s, 'DELETE'), current_user::text",
        [ledger := f"{ident(plan.schema)}._prisma_migrations", ledger],
    ).fetchone()
    assert row is not None
    standby, may_create, may_delete, role = row
    if standby:
        raise EnvironmentProblem("this server is a standby: it can only be read", code="standby", remedy="give the primary's URL")
    if not may_create:
        raise EnvironmentProblem(
            f"{role} may not create the vault in this database", code="privilege", remedy=vault.grant_create(connection)
        )
    if not may_delete:
        remedy = f"GRANT SELECT, DELETE ON {ledger} TO {ident(role)}"
        raise EnvironmentProblem(f"{role} may not change the ledger", code="privilege", remedy=remedy)
    foreign = connection.execute(
        "select c.oid::regclass::text, pg_get_userbyid(c.relowner)::text "
        "from unnest(%s::text[]) t join pg_class c on c.oid = to_regclass(t) where not pg_has_role(c.relowner, 'USAGE') order by 1 limit 1",
        [[lock.table for lock in plan.locks]],
    ).fetchone()
    if foreign:
        table, owner = foreign
        remedy = f"connect as {owner}, or GRANT {ident(owner)} TO {ident(role)}"
        raise EnvironmentProblem(f"{table} belongs to {owner}, and {role} may not change it", code="privilege", remedy=remedy)
