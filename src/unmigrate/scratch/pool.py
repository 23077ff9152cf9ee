"""Databases on a scratch server, and the role that migrations run as: one that owns its database and is no superuser.

A pool makes the role, makes and drops databases, and takes everything with it when it ends. On a server where we are no superuser
our own role runs the migrations. `connect` is the way to run anything that migrations wrote, their functions and triggers included;
`connect_superuser` searches nothing but pg_catalog and must never write to tables of migrations.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.scratch import guard
from unmigrate.scratch.sandbox import ScratchCursor
from unmigrate.scratch.server import Server

PREFIX = "unmigrate_scratch_"
MIGRATOR = "unmigrate_migrator"
KEPT = "unmigrate_kept_"
MAX_KEPT = 8


class Pool:
    """Context manager: databases named unmigrate_scratch_<pid>_<token>_<n> on `server`, all dropped at its end."""

    def __init__(self, server: Server, *, allow_extensions: frozenset[str] = frozenset()) -> None:
        self.server = server
        self.role = ""
        self.is_superuser = False
        self._allow = allow_extensions
        self._password = ""
        self._made_role = False
        self._admin: psycopg.Connection[Any] | None = None
        self._databases: dict[str, None] = {}
        self._counter = 0
        self._prefix = f"{PREFIX}{os.getpid()}_{secrets.token_hex(2)}_"
        self._roles_before: frozenset[str] = frozenset()
        self._base: str | None = None

    # life

    def __enter__(self) -> Self:
        self._admin = self.server.connect()
        try:
            self._look()
            self._roles_before = self._roles()
            self._prepare_role()
            if self.is_superuser:
                self._base = self._new_name()
                self._make_base(self._base)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop every database and role this pool made. Safe to call twice."""
        if self._admin is None:
            return
        try:
            if not self._admin.closed:
                for name in list(self._databases):
                    with suppress(psycopg.Error):
                        self.drop(name)
                self.drop_new_roles()
                if self._made_role and not self.server.own:
                    with suppress(psycopg.Error):
                        self._admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(self.role)))
        finally:
            self._admin.close()
            self._admin = None

    @property
    def admin(self) -> psycopg.Connection[Any]:
        """The server's own connection, to its maintenance database."""
        if self._admin is None:
            raise RuntimeError("the pool is not open")
        return self._admin

    def _look(self) -> None:
        row = self.admin.execute(
            "SELECT rolname, rolsuper, rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row is not None
        self.role, self.is_superuser, may_create = row
        if not self.is_superuser and not may_create:
            raise EnvironmentProblem(
                f"role {self.role} of {self.server.label} may not create databases",
                code="scratch-privilege",
                remedy=f'run ALTER ROLE "{self.role}" CREATEDB, or use the embedded server (--scratch embedded)',
            )

    def _prepare_role(self) -> None:
        """The migration role. On given servers its name is our own, it has a password, and it goes when we go."""
        if not self.is_superuser:
            return
        own = self.server.own
        may_create_roles = own or self.server.major >= 16  # before 16 CREATEROLE can hand out access to files and programs
        self.role = MIGRATOR if own else f"{MIGRATOR}_{self._prefix.removeprefix(PREFIX).rstrip('_')}"
        self._password = "" if own else secrets.token_urlsafe(24)
        if own:
            guard.close_server(self.admin)
            if self.admin.execute("SELECT FROM pg_catalog.pg_roles WHERE rolname = %s", [self.role]).fetchone():
                guard.open_role(self.admin, self.role)
                return
        options = "LOGIN NOSUPERUSER NOCREATEDB NOREPLICATION " + ("CREATEROLE" if may_create_roles else "NOCREATEROLE")
        self.admin.execute(
            sql.SQL("CREATE ROLE {} {} PASSWORD {}").format(
                sql.Identifier(self.role), sql.SQL(options), sql.Literal(self._password) if self._password else sql.SQL("NULL")
            )
        )
        self._made_role = True
        if own:
            guard.open_role(self.admin, self.role)

    def _make_base(self, name: str) -> None:
        """The template of all others: an empty database with the functions that create extensions for the migration role."""
        self._create(name, "template0")
        with self._connect_admin(name) as connection:
            guard.install(connection, self.role, self._allow)

    # databases

    def create(self, template: str | None = None) -> str:
        """A new database owned by the migration role: empty, or a copy of `template`, to which nobody may be connected."""
        name = self._new_name()
        self._create(name, template or self._base or "template0")
        return name

    def clone(self, database: str) -> str:
        """A copy of `database`; its sessions are ended first."""
        self._end_sessions(database)
        return self.create(database)

    def drop(self, database: str) -> None:
        """Drop a database of this pool, ending its sessions."""
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        self._databases.pop(database, None)

    def _new_name(self) -> str:
        self._counter += 1
        return f"{self._prefix}{self._counter}"

    def _create(self, name: str, template: str) -> None:
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        command = statement.format(sql.Identifier(name), sql.Identifier(template), sql.Identifier(self.role))
        if template == "template0":
            command += sql.SQL(" ENCODING 'UTF8'")
        if self.server.version >= 150000 and self.server.own:
            command += sql.SQL(" STRATEGY file_copy")
        self._databases[name] = None
        self._patiently(lambda: self.admin.execute(command))

    @staticmethod
    def _patiently(action: Callable[[], Any]) -> None:
        """Once more where a session that is just ending still holds the template."""
        import time

        for pause in (0.02, 0.1, 0.5, 0):
            try:
                action()
                return
            except psycopg.errors.ObjectInUse:
                if not pause:
                    raise
                time.sleep(pause)

    def _end_sessions(self, database: str) -> None:
        self.admin.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid, 2000) FROM pg_catalog.pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid()",
            [database],
        )

    # connections

    def conninfo(self, database: str) -> str:
        """libpq string of the migration role, for tools such as pg_dump (which must not run as a superuser on such a database)."""
        changes: dict[str, Any] = {"dbname": database, "application_name": "unmigrate"}
        if self.is_superuser:
            changes |= {"user": self.role} | ({"password": self._password} if self._password else {})
        return psycopg.conninfo.make_conninfo(self.server.conninfo, **changes)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """As the migration role. Text on extensions that need a superuser is replaced on its way (see sandbox.py)."""
        cursor = ScratchCursor if self.is_superuser else psycopg.Cursor
        return psycopg.connect(self.conninfo(database), autocommit=True, prepare_threshold=None, cursor_factory=cursor)

    def connect_superuser(self, database: str) -> psycopg.Connection[Any]:
        """As the server's superuser, searching pg_catalog alone. For reading catalogs; never for running what migrations wrote."""
        if not self.is_superuser:
            raise EnvironmentProblem(
                f"this needs a superuser, and role {self.role} of {self.server.label} is none",
                code="scratch-privilege",
                remedy="use the embedded server (--scratch embedded), or give a superuser's URL",
            )
        return self._connect_admin(database)

    def _connect_admin(self, database: str) -> psycopg.Connection[Any]:
        return self.server.connect(database)

    # roles of migrations

    def _roles(self) -> frozenset[str]:
        return frozenset(name for (name,) in self.admin.execute("SELECT rolname FROM pg_catalog.pg_roles"))

    def drop_new_roles(self) -> tuple[str, ...]:
        """Drop the roles that migrations made: they belong to the server and would be met by the next replay. What still owns
        something in a database that is kept stays."""
        if not self.is_superuser:
            return ()
        dropped = []
        for name in sorted(self._roles() - self._roles_before - {self.role}):
            with suppress(psycopg.Error):
                self.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
                dropped.append(name)
        return tuple(dropped)

    # templates kept for the next run

    def find_template(self, key: str) -> str | None:
        """The database kept under `key`, to be given to `create`; None where there is none."""
        if not (self.server.persistent and self.is_superuser):
            return None
        name = KEPT + key[:40]
        row = self.admin.execute("SELECT FROM pg_catalog.pg_database WHERE datname = %s AND datallowconn IS FALSE", [name]).fetchone()
        if row is None:
            return None
        self._touch(name)
        return name

    def keep_template(self, database: str, key: str) -> str:
        """Keep `database` (of this pool, given up by the caller) under `key`; the least recently used beyond eight are dropped."""
        name = KEPT + key[:40]
        if not (self.server.persistent and self.is_superuser):
            return database
        self._end_sessions(database)
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(database), sql.Identifier(name))
        self._patiently(lambda: self.admin.execute(rename))
        self._databases.pop(database, None)
        self.admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name)))
        self._touch(name)
        self._prune()
        return name

    def _touch(self, name: str) -> None:
        row = self.admin.execute("SELECT pg_catalog.clock_timestamp()::text").fetchone()
        assert row is not None
        self.admin.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(row[0])))

    def _prune(self) -> None:
        rows = self.admin.execute(
            "SELECT datname FROM pg_catalog.pg_database WHERE datname LIKE %s "
            "ORDER BY pg_catalog.shobj_description(oid, 'pg_database')::timestamptz DESC NULLS LAST OFFSET %s",
            [KEPT.replace("_", r"\_") + "%", MAX_KEPT],
        ).fetchall()
        for (name,) in rows:
            with suppress(psycopg.Error):
                self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def refuse_same_database(scratch: psycopg.Connection[Any], target: psycopg.Connection[Any]) -> None:
    """RefusedError where both connections are to one and the same database."""
    if _identity(scratch) == _identity(target):
        raise RefusedError(
            f"the scratch database is the target database {target.info.dbname}",
            code="scratch-is-target",
            remedy="give another server as scratch, or none: the embedded one is used then",
        )


def _identity(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    row = connection.execute(
        "SELECT (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()), pg_catalog.current_database(),"
        " pg_catalog.pg_postmaster_start_time(), (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'port')"
    ).fetchone()
    assert row is not None
    return tuple(row)
