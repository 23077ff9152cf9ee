"""What killed processes left on a server that outlives them: databases and roles of pools that nobody closes any more."""

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

PREFIX = "unmigrate_scratch_"
MIGRATOR = "unmigrate_migrator"
TRUSTED = "unmigrate_trusted"
STALE = "1 day"


def clear_own(connection: psycopg.Connection[Any]) -> None:
    """On a persistent server just started, which is ours alone: every scratch database, every role that migrations made."""
    names = connection.execute("SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, %s)", [PREFIX]).fetchall()
    for (name,) in names:
        _drop(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    roles = connection.execute(
        "SELECT rolname FROM pg_catalog.pg_roles WHERE NOT pg_catalog.starts_with(rolname, 'pg_') AND rolname <> current_user "
        "AND rolname <> ALL (%s)",
        [[MIGRATOR, TRUSTED]],
    ).fetchall()
    for (name,) in roles:
        _drop(connection, "DROP ROLE IF EXISTS {}", name)


def clear_given(connection: psycopg.Connection[Any]) -> None:
    """On somebody's server: scratch databases with our stamp that are old, unused and ours to drop, and their owners."""
    rows = connection.execute(
        "SELECT d.datname, r.rolname FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_roles AS r ON r.oid = d.datdba "
        "WHERE pg_catalog.starts_with(d.datname, %s) AND pg_catalog.pg_has_role(d.datdba, 'USAGE') "
        "AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.datid = d.oid) "
        "AND pg_catalog.shobj_description(d.oid, 'pg_database') < (pg_catalog.clock_timestamp() - %s::pg_catalog.interval)::text",
        [PREFIX, STALE],
    ).fetchall()
    for name, owner in rows:
        _drop(connection, "DROP DATABASE IF EXISTS {}", name)
        if owner.startswith(f"{MIGRATOR}_"):
            _drop(connection, "DROP ROLE IF EXISTS {}", owner)


def _drop(connection: psycopg.Connection[Any], command: str, name: str) -> None:
    with suppress(psycopg.Error):
        connection.execute(sql.SQL(command).format(sql.Identifier(name)))
