"""Scratch databases at the beginning of a history: the URL's schema, the ledger table, and the user's set-up."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import UsageError
from unmigrate.inverse.replay import INSUFFICIENT_PRIVILEGE
from unmigrate.scratch.pool import Pool
from unmigrate.sql import script
from unmigrate.sql.extensions import wanted_extensions

TRUSTED = "--trusted: on scratch a superuser ran the migrations; on the target the rights of the URL's user count"

LEDGER = """
CREATE TABLE IF NOT EXISTS "_prisma_migrations" (id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL,
  finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz,
  started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)"""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Makes scratch databases for one project.

    schema: the URL's; setup: statements to run first in every database; its SETs, on every connection.
    """

    pool: Pool
    schema: str = "public"
    setup: str = ""

    def at(self, key: str) -> psycopg.Connection[Any] | None:
        """A copy of the database kept under `key`, or None."""
        template = self.pool.find_template(key)
        return self.prepare(self.pool.connect(self.pool.create(template))) if template else None

    def remarks(self, scripts: Iterable[str]) -> tuple[str, ...]:
        """What a proof of these scripts rests on here that the target may not have."""
        used = self.pool.server.stand_ins & wanted_extensions([self.setup, *scripts])
        found = (f"scratch has only stand-ins for {', '.join(sorted(used))}",) if used else ()
        return (*found, TRUSTED) if self.pool.trusted and self.pool.is_superuser else found

    def keep(self, connection: psycopg.Connection[Any], key: str) -> bool:
        """Keep this connection's database under `key` for later runs, if it can be; the connection is closed."""
        database = connection.info.dbname
        connection.close()
        return self.pool.keep_template(database, key)

    def fresh(self) -> psycopg.Connection[Any]:
        """A new database at the beginning of the history. Raises UsageError if the set-up fails."""
        return self.prepare(self.pool.connect(self.pool.create()), first=True)

    def prepare(self, connection: psycopg.Connection[Any], *, first: bool = False) -> psycopg.Connection[Any]:
        """What Prisma does on connecting; `first` also makes what the history expects to find."""
        try:
            if first and self.schema != "public":
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {ident(self.schema)}")
            for text in self.on_connecting()[: 1 if first else None]:
                connection.execute(text)
            if first:
                connection.execute(LEDGER)
            if first and self.setup:
                connection.execute(self.setup)
        except psycopg.Error as error:
            message = f"the set-up fails on scratch: {error.diag.message_primary or error}"
            remedy = "it asks for a superuser: --trusted, if you would run it on this machine anyway"
            denied = error.sqlstate == INSUFFICIENT_PRIVILEGE
            raise UsageError(message, code="setup", remedy=remedy if denied else "check the file given with --setup") from error
        return connection

    def on_connecting(self) -> tuple[str, ...]:
        """What every connection to a database that was prepared runs first."""
        try:
            settings = [s.text for s in script.split(self.setup) if s.node == "VariableSetStmt"]
        except script.ScriptError:
            settings = []
        return (f"SET search_path TO {ident(self.schema)}", *settings)
