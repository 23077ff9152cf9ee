"""The vault: what unmigrate keeps in the target database.

Schema `unmigrate` holds versioned metadata (operations, their journal, archived ledger rows); one schema `unmigrate_<id>` per
operation holds copies of what it took away. Nothing in either is readable by PUBLIC.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.errors import EnvironmentProblem, RefusedError

VAULT_VERSION = 1
SCHEMA = "unmigrate"

_TABLES = """
CREATE TABLE IF NOT EXISTS unmigrate.meta (version int NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS unmigrate.operation (
  id text PRIMARY KEY, kind text NOT NULL, plan_id text NOT NULL, plan jsonb NOT NULL, migrations text[] NOT NULL,
  state text NOT NULL, actor text NOT NULL DEFAULT session_user, started_at timestamptz NOT NULL DEFAULT now(), finished_at timestamptz);
CREATE TABLE IF NOT EXISTS unmigrate.journal (
  operation text NOT NULL REFERENCES unmigrate.operation, step int NOT NULL, phase text NOT NULL, sql text NOT NULL,
  done_at timestamptz, PRIMARY KEY (operation, step));
CREATE TABLE IF NOT EXISTS unmigrate.ledger_row (
  operation text NOT NULL REFERENCES unmigrate.operation, row jsonb NOT NULL, archived_at timestamptz NOT NULL DEFAULT now());
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One run of a plan. state: "switched" (steps outside the transaction are pending) or "done"."""

    id: str
    kind: str
    plan_id: str
    migrations: tuple[str, ...]
    state: str
    started_at: datetime
    finished_at: datetime | None

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id, "kind": self.kind, "plan": self.plan_id, "migrations": list(self.migrations), "state": self.state,
            "started_at": self.started_at, "finished_at": self.finished_at,
        }  # fmt: skip


def version(connection: psycopg.Connection[Any]) -> int | None:
    """The vault's version; None where there is no vault. Raises RefusedError for a newer one."""
    row = connection.execute("select to_regclass('unmigrate.meta') is not null").fetchone()
    if not row or not row[0]:
        return None
    found = connection.execute("select max(version) from unmigrate.meta").fetchone()
    number = int(found[0]) if found and found[0] is not None else None
    if number is not None and number > VAULT_VERSION:
        message = f"this database's vault has version {number}; this unmigrate knows {VAULT_VERSION}"
        raise RefusedError(message, code="newer-vault", remedy="use the newer unmigrate that wrote it")
    return number


def create(connection: psycopg.Connection[Any]) -> None:
    """Make the vault if it is not there, revoked from PUBLIC. Raises EnvironmentProblem without the privilege."""
    if version(connection) is not None:
        return
    try:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(72707370)")
            connection.execute("CREATE SCHEMA IF NOT EXISTS unmigrate")
            connection.execute("REVOKE ALL ON SCHEMA unmigrate FROM PUBLIC")
            connection.execute(_TABLES)
            connection.execute("REVOKE ALL ON ALL TABLES IN SCHEMA unmigrate FROM PUBLIC")
            connection.execute(f"INSERT INTO unmigrate.meta SELECT {VAULT_VERSION} WHERE NOT EXISTS (SELECT FROM unmigrate.meta)")
    except psycopg.errors.InsufficientPrivilege as error:
        raise EnvironmentProblem("the vault cannot be made in this database", code="privilege", remedy=_grant(connection)) from error


def _grant(connection: psycopg.Connection[Any]) -> str:
    return f"GRANT CREATE ON DATABASE {ident(connection.info.dbname)} TO {ident(connection.info.user)}"


def open_operation(
    connection: psycopg.Connection[Any], operation: str, kind: str, plan: dict[str, Any], pending: Sequence[tuple[int, str, str]]
) -> None:
    """Record an operation and the steps that are still to be done, in the transaction of the switch."""
    state = "switched" if pending else "done"
    connection.execute(
        "insert into unmigrate.operation (id, kind, plan_id, plan, migrations, state, finished_at) "
        "values (%s, %s, %s, %s, %s, %s, case when %s = 'done' then now() end)",
        [operation, kind, plan["id"], json.dumps(plan), list(plan["migrations"]), state, state],
    )
    for number, phase, sql in pending:
        connection.execute(
            "insert into unmigrate.journal (operation, step, phase, sql) values (%s, %s, %s, %s)", [operation, number, phase, sql]
        )


def step_done(connection: psycopg.Connection[Any], operation: str, step: int) -> None:
    connection.execute("update unmigrate.journal set done_at = now() where operation = %s and step = %s", [operation, step])


def close_operation(connection: psycopg.Connection[Any], operation: str) -> None:
    connection.execute("update unmigrate.operation set state = 'done', finished_at = now() where id = %s", [operation])


def pending_steps(connection: psycopg.Connection[Any], operation: str) -> list[tuple[int, str]]:
    """(number, SQL) of the steps of an operation that are not done."""
    rows = connection.execute("select step, sql from unmigrate.journal where operation = %s and done_at is null order by step", [operation])
    return [(step, sql) for step, sql in rows]


def operations(connection: psycopg.Connection[Any], *, unfinished: bool = False) -> tuple[Operation, ...]:
    """Operations recorded, oldest first; empty where there is no vault, or it may not be read."""
    try:
        if version(connection) is None:
            return ()
    except psycopg.errors.InsufficientPrivilege:
        return ()
    where = "where state <> 'done'" if unfinished else ""
    rows = connection.execute(
        f"select id, kind, plan_id, migrations, state, started_at, finished_at from unmigrate.operation {where} order by started_at"
    )
    return tuple(Operation(i, k, p, tuple(m), s, a, f) for i, k, p, m, s, a, f in rows)


def archive_ledger(connection: psycopg.Connection[Any], operation: str, table: str, names: list[str]) -> int:
    """Copy ledger rows of these migrations into the vault and delete them: the count."""
    connection.execute(
        f"insert into unmigrate.ledger_row (operation, row) select %s, to_jsonb(l) from {table} l where migration_name = any (%s)",
        [operation, names],
    )
    return connection.execute(f"delete from {table} where migration_name = any (%s)", [names]).rowcount


def copy_schema(connection: psycopg.Connection[Any], operation: str) -> str:
    """The schema for copies of one operation, made now."""
    name = ident(f"unmigrate_{operation}")
    connection.execute(f"CREATE SCHEMA {name}")
    connection.execute(f"REVOKE ALL ON SCHEMA {name} FROM PUBLIC")
    return name


def copy_rows(connection: psycopg.Connection[Any], schema: str, number: int, what: str, select: str) -> str:
    """Keep the result of a SELECT as a table of the vault; what it was stands in its comment. Returns its name."""
    name = f"{schema}.copy_{number}"
    connection.execute(f"CREATE TABLE {name} AS {select}")
    connection.execute(f"COMMENT ON TABLE {name} IS {literal(what)}")
    return name
