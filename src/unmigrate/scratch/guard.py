"""What keeps migrations in their database on scratch, as SQL that our superuser runs there once."""

from typing import Any

import psycopg


def close_predefined_roles(connection: psycopg.Connection[Any]) -> None:
    """Make the roles that reach files and programs grantable by superusers alone (before 16 CREATEROLE could grant them)."""
    connection.execute(
        "UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE NOT rolsuper AND rolname IN "
        "('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')"
    )


def install(connection: psycopg.Connection[Any], role: str, allow: frozenset[str]) -> None:
    """The schema unmigrate_scratch with the functions that create extensions."""
