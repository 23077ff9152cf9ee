"""The vault: what unmigrate keeps in the target database.

Schema `unmigrate` holds versioned metadata (operations, their journal, archived ledger rows); one schema `unmigrate_<id>` per
operation holds copies of what it took away. Both belong to the role that rolled back, and nobody else was given anything in them.
"""

import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.park.publications import identify

VAULT_VERSION = 1
ENDS = ("done", "abandoned")
SCHEMA = "unmigrate"

_THERE = (
    "select exists (select from pg_class c join pg_namespace n on n.oid = c.relnamespace where nspname = 'unmigrate' and relname = 'meta')"
)
_TABLES = """
CREATE TABLE unmigrate.meta (version int NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE unmigrate.operation (
  id text PRIMARY KEY, kind text NOT NULL, plan_id text NOT NULL, plan jsonb NOT NULL, migrations text[] NOT NULL,
  consent boolean NOT NULL, state text NOT NULL, actor text NOT NULL DEFAULT session_user,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(), finished_at timestamptz);
CREATE TABLE unmigrate.journal (
  operation text NOT NULL REFERENCES unmigrate.operation, step int NOT NULL, phase text NOT NULL, object text NOT NULL,
  sql text NOT NULL, transactional boolean NOT NULL, done_at timestamptz, PRIMARY KEY (operation, step));
CREATE TABLE unmigrate.ledger_row (
  operation text NOT NULL REFERENCES unmigrate.operation, row jsonb NOT NULL, archived_at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE unmigrate.way (
  migration text NOT NULL, kind text NOT NULL, guard text NOT NULL, plan jsonb NOT NULL,
  made_at timestamptz NOT NULL DEFAULT clock_timestamp(), PRIMARY KEY (migration, kind));
CREATE TABLE unmigrate.restore_point (
  migrations text[] NOT NULL, lsn pg_lsn NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp(), txid bigint PRIMARY KEY,
  snapshot text, app text);
"""
# Grants that default privileges of the database gave to anybody but the owner.
_GRANTED = """
select distinct 'SCHEMA ' || quote_ident(n.nspname), a.grantee = 0, pg_get_userbyid(a.grantee)::text
from pg_namespace n, aclexplode(n.nspacl) a where n.nspname = %(schema)s and a.grantee <> n.nspowner
union
select distinct format('TABLE %%I.%%I', n.nspname, c.relname), a.grantee = 0, pg_get_userbyid(a.grantee)::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
where n.nspname = %(schema)s and c.relkind in ('r', 'p') and a.grantee <> c.relowner"""
_COLUMNS = """
select quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
  t.typnamespace = 'pg_catalog'::regnamespace and t.typname !~ '^_?reg',
  coalesce(c.collnamespace = 'pg_catalog'::regnamespace, true)
from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_collation c on c.oid = a.attcollation
where a.attrelid = %s and a.attnum > 0 and not a.attisdropped order by a.attnum"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One run of a plan, or a guard (see `armed`). state: "preparing" (not switched yet), "switched" (steps after it are pending), "done"
    or "abandoned".
    """

    id: str
    kind: str
    plan_id: str
    migrations: tuple[str, ...]
    state: str
    started_at: datetime
    finished_at: datetime | None
    actor: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "kind": self.kind, "plan": self.plan_id, "migrations": list(self.migrations), "state": self.state,
            "started_at": self.started_at, "finished_at": self.finished_at, "actor": self.actor,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Journalled:
    """A step as the journal keeps it: number in its plan, phase, the object it is about, its SQL, whether it runs in a transaction."""

    number: int
    phase: str
    object: str
    sql: str
    transactional: bool


def version(connection: psycopg.Connection[Any]) -> int | None:
    """The vault's version; None where there is no vault. Raises RefusedError for a newer one, EnvironmentProblem for another's."""
    try:
        row = connection.execute(_THERE).fetchone()  # not by to_regclass: within a transaction it may remember that there was none
        if not row or not row[0]:
            return None
        found = connection.execute("select max(version) from unmigrate.meta").fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        owner, user = _owner(connection), connection.info.user
        remedy = f"connect as {owner}, or GRANT {ident(owner)} TO {ident(user)}"
        raise EnvironmentProblem(f"this database's vault belongs to {owner}", code="privilege", remedy=remedy) from error
    number = int(found[0]) if found and found[0] is not None else None
    if number is not None and number > VAULT_VERSION:
        message = f"this database's vault has version {number}; this unmigrate knows {VAULT_VERSION}"
        raise RefusedError(message, code="newer-vault", remedy="use the newer unmigrate that wrote it")
    return number


def _owner(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("select pg_get_userbyid(nspowner)::text from pg_namespace where nspname = %s", [SCHEMA]).fetchone()
    return str(row[0]) if row else "another role"


def create(connection: psycopg.Connection[Any]) -> None:
    """Make the vault if it is not there; whoever else makes it at the same time is waited for.

    Raises EnvironmentProblem without the privilege, RefusedError where the name is taken by something else.
    """
    if version(connection) is not None:
        return
    try:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(72707370)")
            if version(connection) is not None:
                return
            _refuse_taken(connection)
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            connection.execute(_TABLES)
            connection.execute(f"INSERT INTO unmigrate.meta VALUES ({VAULT_VERSION})")
            seal(connection, SCHEMA)
    except psycopg.errors.InsufficientPrivilege as error:
        raise EnvironmentProblem("the vault cannot be made in this database", code="privilege", remedy=grant_create(connection)) from error


def _refuse_taken(connection: psycopg.Connection[Any]) -> None:
    row = connection.execute(
        "select min(c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = %s", [SCHEMA]
    ).fetchone()
    if row and row[0]:
        message = f'this database has a schema "{SCHEMA}" that is not our vault (it holds {row[0]})'
        raise RefusedError(message, code="foreign-vault", remedy="rename that schema")


def grant_create(connection: psycopg.Connection[Any]) -> str:
    """The statement that lets us make schemas."""
    return f"GRANT CREATE ON DATABASE {ident(connection.info.dbname)} TO {ident(connection.info.user)}"


def seal(connection: psycopg.Connection[Any], schema: str) -> None:
    """Take everything in a schema of the vault from everybody but its owner: default privileges may have given it away.

    Its tables get a replica identity too, without which a publication FOR ALL TABLES forbids changes.
    """
    identify(connection, schema)
    _close(connection, schema, tables=True)


def _close(connection: psycopg.Connection[Any], schema: str, *, tables: bool) -> None:
    """Take the schema from everybody but its owner; its tables too, unless they are somebody's that are only parked there."""
    connection.execute(f"REVOKE ALL ON SCHEMA {ident(schema)} FROM PUBLIC")
    for what, public, role in connection.execute(_GRANTED, {"schema": schema}).fetchall():
        if tables or what.startswith("SCHEMA "):
            connection.execute(f"REVOKE ALL ON {what} FROM {'PUBLIC' if public else ident(role)}")


def open_operation(
    connection: psycopg.Connection[Any], operation: str, kind: str, plan: dict[str, Any], *, state: str, consent: bool
) -> None:
    """Record an operation, or bring one that was being prepared into its next state."""
    connection.execute(
        "insert into unmigrate.operation (id, kind, plan_id, plan, migrations, consent, state) values (%s, %s, %s, %s, %s, %s, %s) "
        "on conflict (id) do update set state = excluded.state",
        [operation, kind, plan["id"], json.dumps(plan), list(plan["migrations"]), consent, state],
    )


def journal(connection: psycopg.Connection[Any], operation: str, steps: Sequence[Journalled], *, done: bool) -> None:
    """Write steps into the journal; those already there stay as they are."""
    if not steps:
        return
    connection.execute(
        "insert into unmigrate.journal (operation, step, phase, object, sql, transactional, done_at) "
        "select %s, j.*, case when %s then clock_timestamp() end "
        "from unnest(%s::int[], %s::text[], %s::text[], %s::text[], %s::boolean[]) j on conflict do nothing",
        [operation, done, *(list(column) for column in zip(*map(astuple, steps), strict=True))],
    )


def step_done(connection: psycopg.Connection[Any], operation: str, step: int, *, done: bool = True) -> None:
    """Mark a step as done, or as to be done again."""
    sql = "update unmigrate.journal set done_at = case when %s then clock_timestamp() end where operation = %s and step = %s"
    connection.execute(sql, [done, operation, step])


def set_state(connection: psycopg.Connection[Any], operation: str, state: str) -> None:
    """done and abandoned are ends."""
    ended = "case when %s in ('done', 'abandoned') then clock_timestamp() end"
    connection.execute(f"update unmigrate.operation set state = %s, finished_at = {ended} where id = %s", [state, state, operation])


def pending_steps(connection: psycopg.Connection[Any], operation: str, phase: str) -> list[Journalled]:
    """Steps of an operation's phase that are not done."""
    rows = connection.execute(
        "select step, phase, object, sql, transactional from unmigrate.journal "
        "where operation = %s and phase = %s and done_at is null order by step",
        [operation, phase],
    )
    return [Journalled(*row) for row in rows]


def stored_plan(connection: psycopg.Connection[Any], operation: str) -> tuple[dict[str, Any], bool]:
    """An operation's plan as JSON, and whether losses were consented to."""
    row = connection.execute("select plan, consent from unmigrate.operation where id = %s", [operation]).fetchone()
    assert row is not None
    return row[0], row[1]


def operations(connection: psycopg.Connection[Any], *, unfinished: bool = False) -> tuple[Operation, ...]:
    """Operations recorded, oldest first; empty where there is no vault, or it may not be read.

    unfinished: runs of plans that were interrupted. Guards that wait for their migration are none.
    """
    try:
        if version(connection) is None:
            return ()
    except EnvironmentProblem:
        return ()
    where = "where state not in ('done', 'abandoned') and kind <> 'guard'" if unfinished else ""
    rows = connection.execute(
        f"select id, kind, plan_id, migrations, state, started_at, finished_at, actor from unmigrate.operation {where} order by started_at",
        binary=True,
    )
    return tuple(Operation(i, k, p, tuple(m), s, a, f, w) for i, k, p, m, s, a, f, w in rows)


def of_guard(connection: psycopg.Connection[Any], guard: str) -> tuple[Operation, ...]:
    """Unfinished operations that walk a way of this guard."""
    rows = connection.execute(
        "select id from unmigrate.operation where state not in ('done', 'abandoned') and plan ->> 'guard' = %s", [guard]
    )
    mine = {name for (name,) in rows}
    return tuple(o for o in operations(connection, unfinished=True) if o.id in mine)


def archive_ledger(connection: psycopg.Connection[Any], operation: str, table: str, names: list[str]) -> int:
    """Copy ledger rows of these migrations into the vault and delete them: the count."""
    return connection.execute(
        f"with gone as (delete from {table} l where migration_name = any (%s) returning to_jsonb(l) as row) "
        "insert into unmigrate.ledger_row (operation, row) select %s, row from gone",
        [names, operation],
    ).rowcount


def archived(connection: psycopg.Connection[Any], operation: str) -> int | None:
    """How many ledger rows an operation archived; None where it never committed."""
    if version(connection) is None:
        return None
    row = connection.execute(
        "select (select count(*) from unmigrate.ledger_row where operation = o.id) from unmigrate.operation o "
        "where id = %s and state <> 'preparing'",
        [operation],
    ).fetchone()
    return int(row[0]) if row else None


def copy_schema(connection: psycopg.Connection[Any], operation: str) -> str:
    """The schema for copies of one operation, made now if it is not there."""
    name = f"unmigrate_{operation}"
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {ident(name)}")
    return name


def copy_rows(connection: psycopg.Connection[Any], schema: str, number: int, what: str, select: str) -> str:
    """Keep the result of a SELECT as a table of the vault; what it was stands in its comment. Returns its name."""
    name = f"{ident(schema)}.copy_{number}"
    connection.execute(f"CREATE TABLE {name} AS {select}")
    connection.execute(f"COMMENT ON TABLE {name} IS {literal(what)}")
    return name


def plain_columns(connection: psycopg.Connection[Any], table: int) -> dict[str, tuple[str, str]]:
    """Columns of a table as {name: (expression for a copy, type)}.

    Types, domains and collations that a way back may drop would make the copy stand in its way, and reg* types forbid pg_upgrade:
    such values are kept as text.
    """
    found = {}
    for name, type_, builtin, plain in connection.execute(_COLUMNS, [table]):
        expression = name if builtin else f"{name}::text"
        collated = expression if plain else f'{expression} COLLATE "default"'
        found[name] = (collated if collated == name else f"{collated} AS {name}", type_)
    return found


# guarded ways


def parked_schemas(guard: str) -> tuple[str, str]:
    """Schemas of tables parked by a guarded migration, and by its way back."""
    return f"unmigrate_{guard}_old", f"unmigrate_{guard}_new"


def guard_schemas(guard: str) -> tuple[str, ...]:
    """All schemas of a guarded migration; the first one holds images of rows."""
    return (f"unmigrate_{guard}", *parked_schemas(guard))


def make_guard(connection: psycopg.Connection[Any], guard: str) -> None:
    """What must be there before a guarded way is walked, given to nobody. Parked tables keep their own grants: they return with them."""
    for name in guard_schemas(guard):
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {ident(name)}")
        _close(connection, name, tables=False)


def store_way(connection: psycopg.Connection[Any], plan: dict[str, Any]) -> None:
    """Keep a way of a migration, in place of an older one of that kind."""
    connection.execute(
        "insert into unmigrate.way (migration, kind, guard, plan) values (%s, %s, %s, %s) on conflict (migration, kind) "
        "do update set guard = excluded.guard, plan = excluded.plan, made_at = clock_timestamp()",
        [plan["migrations"][0], plan["kind"], plan["guard"], json.dumps(plan)],
    )


def way(connection: psycopg.Connection[Any], migration: str, kind: str) -> dict[str, Any] | None:
    """The stored way of a migration ("rollback" or "redo") as JSON of a plan; None where there is none."""
    if version(connection) is None:
        return None
    row = connection.execute("select plan from unmigrate.way where migration = %s and kind = %s", [migration, kind]).fetchone()
    return row[0] if row else None


def forget_ways(connection: psycopg.Connection[Any], *, guard: str = "", migrations: Sequence[str] = ()) -> None:
    """Take out the ways of a guard, or of migrations."""
    connection.execute("delete from unmigrate.way where guard = %s or migration = any (%s)", [guard, list(migrations)])
