"""Databases kept as templates: the state of a scratch database after the first so many migrations of a history.

On a server of our own they outlive the pool, and with a persistent data directory the process: a second run replays only what is new.
On a given server they end with the pool. The least recently used beyond MAX_KEPT are dropped.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import sql

from unmigrate.scratch.server import Server

KEPT = "unmigrate_kept_"
MAX_KEPT = 8


def template_key(server: Server, parts: Iterable[str]) -> str:
    """A key for `find` and `keep`: a hash of the server's version, its stand-ins and `parts` (setup, checksums of migrations)."""
    texts = [str(server.version), ",".join(sorted(server.stand_ins)), *parts]
    return hashlib.sha256(b"\0".join(text.encode() for text in texts)).hexdigest()


def close(admin: psycopg.Connection[Any], name: str) -> None:
    """Let nobody in any more, and take the database from the migration role: a later migration must not rename or open it."""
    admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(sql.Identifier(name)))
    admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))


class Templates:
    """Kept databases whose names begin with `prefix`, seen through the pool's own connection."""

    def __init__(self, admin: psycopg.Connection[Any], prefix: str) -> None:
        self._admin = admin
        self._prefix = prefix

    def _name(self, key: str) -> str:
        return f"{self._prefix}{hashlib.sha256(key.encode()).hexdigest()[:24]}"

    def find(self, key: str) -> str | None:
        """The kept database's name; None where there is none. Half-made ones still allow connections and do not count."""
        name = self._name(key)
        row = self._admin.execute("SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [name]).fetchone()
        if row is None or row[0]:
            return None
        self._touch(name)
        return name

    def keep(self, database: str, key: str) -> str:
        """Rename `database`, to which nobody is connected, and close it. Returns its new name."""
        name = self._name(key)
        self.forget(name)
        self._admin.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(name)))
        close(self._admin, name)
        self._touch(name)
        self._prune()
        return name

    def forget(self, name: str) -> None:
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _touch(self, name: str) -> None:
        row = self._admin.execute("SELECT pg_catalog.clock_timestamp()::text").fetchone()
        assert row is not None
        self._admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(row[0])))

    def _prune(self) -> None:
        rows = self._admin.execute(
            "SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, %s) "
            "ORDER BY pg_catalog.shobj_description(oid, 'pg_database') DESC NULLS LAST OFFSET %s",
            [self._prefix, MAX_KEPT],
        ).fetchall()
        for (name,) in rows:
            with suppress(psycopg.Error):
                self.forget(name)
