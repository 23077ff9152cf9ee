"""A history replayed on scratch without proofs, from where an earlier run of the same beginning left off.

Databases are kept on the persistent scratch server under a chain of checksums, like an audit's. Not kept: where migrations made roles
(see Pool), or left settings in the session, which a copy would lack.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import psycopg

from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.cache import code_digest
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.templates import template_key

# Limits of time and what is told to the client do not change what later migrations do.
_SETTINGS = """select name, setting from pg_settings where source = 'session' and name not in
  ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout', 'client_min_messages') order by name"""


def replayed(work: Workspace, migrations: Sequence[Migration]) -> History:
    """A history with all of these applied. Raises ReplayError naming the migration that fails."""
    keys = chain(work, migrations) if work.pool.server.persistent else []
    done, connection = _longest(work, keys)
    history = History(connection)
    settings = _settings(connection)
    for migration in migrations[done:]:
        try:
            history.skip(migration)
        except ReplayError as error:
            connection.close()
            raise ReplayError(f"{migration.name}: {error}", error.sqlstate) from error
    if not keys or done == len(migrations) or _settings(connection) != settings:
        return history
    return _kept(work, history, keys[-1])


def _longest(work: Workspace, keys: Sequence[str]) -> tuple[int, psycopg.Connection[Any]]:
    """A copy of the kept database that goes furthest, and how far; else a new one."""
    for count in range(len(keys), 0, -1):
        if connection := work.at(keys[count - 1]):
            return count, connection
    return 0, work.fresh()


def _kept(work: Workspace, history: History, key: str) -> History:
    """The same, on a copy of the database just kept; on itself where it cannot be kept."""
    database = history.connection.info.dbname
    kept = work.at(key) if work.keep(history.connection, key) else None
    return History(kept or work.prepare(work.pool.connect(database)))


def _settings(connection: psycopg.Connection[Any]) -> list[Any]:
    return connection.execute(_SETTINGS).fetchall()


def chain(work: Workspace, migrations: Sequence[Migration]) -> list[str]:
    """One key per migration: of the database with it and all before it."""
    key = template_key(work.pool.server, ["replayed", code_digest(), work.schema, work.setup, str(work.pool.trusted)])
    keys = []
    for migration in migrations:
        key = hashlib.sha256(f"{key} {migration.name} {migration.checksum}".encode()).hexdigest()
        keys.append(key)
    return keys
