"""Databases on a scratch server, and the role that migrations run as: one that owns its database and is no superuser.

A pool makes the role, makes and drops databases, and takes everything with it when it ends. On a server where we are no superuser
our own role runs the migrations. `connect` is the way to run anything that migrations wrote, their functions and triggers included;
`connect_superuser` searches nothing but pg_catalog and must never write to tables of migrations. `trusted` gives up the fence.
"""

import os
import secrets
import signal
import sys
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from unmigrate.errors import EnvironmentProblem
from unmigrate.scratch import fence, leftovers, templates
from unmigrate.scratch.leftovers import MIGRATOR, PREFIX, TRUSTED
from unmigrate.scratch.roles import MadeRoles
from unmigrate.scratch.sandbox import ScratchConnection, ScratchCursor
from unmigrate.scratch.server import Server
from unmigrate.scratch.templates import KEPT, Templates

BASE = "unmigrate_base_"
FREE_SECONDS = 3


class Pool:
    """Context manager: databases named unmigrate_scratch_<pid>_<token>_<n> on `server`, all dropped at its end.

    allow_extensions: extensions beyond our list that may be created although they need a superuser; trusted: migrations run as a
    superuser (for code one would run on one's own machine anyway, never for a stranger's pull request).
    role: who migrations run as; is_superuser: whether we are one there, and so could make that role.
    """

    def __init__(self, server: Server, *, allow_extensions: frozenset[str] = frozenset(), trusted: bool = False) -> None:
        self.server = server
        self.trusted = trusted
        self.role = ""
        self.is_superuser = False
        self._allow = allow_extensions | server.allow_extensions
        self._password = ""
        self._made_role = False
        self._admin: psycopg.Connection[Any] | None = None
        self._databases: dict[str, None] = {}
        self._counter = 0
        self._token = f"{os.getpid()}_{secrets.token_hex(2)}"
        self._roles_before: frozenset[str] = frozenset()
        self._made_roles = MadeRoles()
        self._base: str | None = None
        self._handler: Any = None

    # life

    def __enter__(self) -> Self:
        self._admin = self.server.connect()
        try:
            self._look()
            if not self.server.own:
                leftovers.clear_given(self.admin)
            self._roles_before = self._roles()
            if self.is_superuser:
                self._make_role()
                self._make_base()
            if not self.server.own:
                self._catch_sigterm()
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
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)
        try:
            if not self._admin.closed:
                for name in list(self._databases):
                    with suppress(psycopg.Error):
                        self.drop(name)
                with suppress(psycopg.Error):
                    self.drop_new_roles()
                if self._made_role and not self.server.own:
                    with suppress(psycopg.Error):
                        self._admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(self.role)))
        finally:
            self._admin.close()
            self._admin = None

    def _catch_sigterm(self) -> None:
        """On a given server nobody cleans up after us: let SIGTERM unwind the stack, unless somebody handles it already."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._handler = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    @property
    def admin(self) -> psycopg.Connection[Any]:
        """The server's own connection, to its maintenance database."""
        if self._admin is None:
            raise RuntimeError("the pool is not open")
        return self._admin

    def _look(self) -> None:
        row = self.admin.execute(
            "SELECT rolname, rolsuper, rolcreatedb, pg_catalog.pg_is_in_recovery() FROM pg_catalog.pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row is not None
        self.role, self.is_superuser, may_create, standby = row
        if standby:
            raise EnvironmentProblem(
                f"{self.server.label} is a standby, on which nothing can be written",
                code="scratch-privilege",
                remedy="use the embedded server (--scratch embedded)",
            )
        if not self.is_superuser and not may_create:
            raise EnvironmentProblem(
                f"role {self.role} of {self.server.label} may not create databases",
                code="scratch-privilege",
                remedy=f'run ALTER ROLE "{self.role}" CREATEDB, or use the embedded server (--scratch embedded)',
            )

    def _make_role(self) -> None:
        """The migration role. On given servers its name is our own, it has a password, and it goes when we go."""
        own = self.server.own
        self.role = (TRUSTED if self.trusted else MIGRATOR) if own else f"{MIGRATOR}_{self._token}"
        self._password = "" if own else secrets.token_urlsafe(24)
        if own:
            fence.close_server(self.admin)
        name = sql.Identifier(self.role)
        if not own or self.admin.execute("SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", [self.role]).fetchone() is None:
            # Before 16 CREATEROLE can hand out access to files and programs; on our own server that is closed.
            power = "SUPERUSER" if self.trusted else "CREATEROLE" if own or self.server.major >= 16 else "NOSUPERUSER"
            password = sql.Literal(self._password) if self._password else sql.SQL("NULL")
            self.admin.execute(sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}").format(name, sql.SQL(power), password))
            self._made_role = True
        if own:
            fence.open_role(self.admin, self.role, superuser=self.trusted)

    def _make_base(self) -> None:
        """The template of all others: an empty database with the functions that create extensions for the migration role."""
        print_ = fence.fingerprint(self._allow)[:16]
        if self.server.own:
            name = f"{BASE}{print_}_{self.role}"
            row = self.admin.execute("SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s", [name]).fetchone()
            if row is not None and not row[0]:
                self._base = name
                return
            self.drop(name)
        else:
            name = self._new_name()
        self._create(name, "template0")
        with self.server.connect(name) as connection:
            fence.install(connection, self.role, self._allow, own=self.server.own)
        if self.server.own:
            self._databases.pop(name)
            templates.close(self.admin, name)
        self._base = name

    # databases

    def create(self, template: str | None = None) -> str:
        """A new database owned by the migration role: empty, or a copy of `template`, to which nobody may be connected."""
        name = self._new_name()
        self._create(name, template or self._base or "template0")
        return name

    def clone(self, database: str) -> str:
        """A copy of `database`; its sessions are ended first."""
        self._free(database, end=True)
        return self.create(database)

    def drop(self, database: str) -> None:
        """Drop a database of this pool, ending its sessions."""
        self._free(database, end=True)
        self.admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))
        self._databases.pop(database, None)

    def _new_name(self) -> str:
        self._counter += 1
        return f"{PREFIX}{self._token}_{self._counter}"

    def _create(self, name: str, template: str) -> None:
        parts = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
        command = parts.format(sql.Identifier(name), sql.Identifier(template), sql.Identifier(self.role))
        if template == "template0":
            command += sql.SQL(" ENCODING 'UTF8'")
        if self.server.own and self.server.major >= 15:
            command += sql.SQL(" STRATEGY file_copy")  # measured: half the time of wal_log, the default
        self._databases[name] = None
        self._free(template, end=False)
        self.admin.execute(command)
        if not self.server.own:
            stamp = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(self._now()))
            self.admin.execute(stamp)

    def _now(self) -> str:
        row = self.admin.execute("SELECT pg_catalog.clock_timestamp()::text").fetchone()
        assert row is not None
        return str(row[0])

    def _free(self, database: str, *, end: bool) -> None:
        """Wait until nobody is connected to `database`; end: ask those who are to leave.

        The server itself would look again after 100 ms only, and a session takes a few to end after its connection was closed.
        """
        act = "pg_catalog.pg_terminate_backend(pid)" if end else "true"
        query = (
            f"SELECT {act} FROM pg_catalog.pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend'"
        )
        deadline = time.monotonic() + FREE_SECONDS
        while self.admin.execute(query, [database]).rowcount and time.monotonic() < deadline:
            time.sleep(0.002)

    def lacking(self, extensions: frozenset[str]) -> dict[str, str]:
        """Of these, the ones that migrations cannot create here, each with the reason and what to do."""
        rows = self.admin.execute(
            "SELECT name, pg_catalog.bool_or(trusted OR NOT superuser) FROM pg_catalog.pg_available_extension_versions GROUP BY name"
        )
        available = {name: bool(trusted) for name, trusted in rows}
        reasons = {}
        for name in sorted(extensions):
            if name not in available:
                reasons[name] = f"not available on {self.server.label}: give a server that has it with --scratch URL"
            elif self.trusted or (available[name] and name not in fence.DENIED):
                continue
            elif not self.is_superuser:
                reasons[name] = f"needs a superuser, and {self.role} is none: use --scratch embedded, or a superuser's URL"
            elif name in fence.DENIED - self._allow:
                reasons[name] = "reaches files, programs or the network, which migrations on scratch must not"
            elif name not in fence.ALLOWED | self._allow:
                reasons[name] = f"not known to be harmless: if you trust it, set UNMIGRATE_SCRATCH_EXTENSIONS={name}"
        return reasons

    # connections

    def conninfo(self, database: str) -> str:
        """libpq string of the migration role, for tools such as pg_dump (which must not run as a superuser on such a database)."""
        changes: dict[str, Any] = {"dbname": database, "application_name": "unmigrate"}
        if self.server.own:
            changes["options"] = ""  # else PGOPTIONS of the caller's environment would speak
        if self.is_superuser:
            changes |= {"user": self.role} | ({"password": self._password} if self._password else {})
        return psycopg.conninfo.make_conninfo(self.server.conninfo, **changes)

    def connect(self, database: str) -> psycopg.Connection[Any]:
        """As the migration role. Text on extensions that need a superuser is replaced on its way (see sandbox.py)."""
        return connect_migrations(self.conninfo(database), self._made_roles, helped=self.helped)

    @property
    def helped(self) -> bool:
        """Whether extensions that need a superuser are created by our functions."""
        return self.is_superuser and not self.trusted

    def connect_superuser(self, database: str) -> psycopg.Connection[Any]:
        """As the server's superuser, searching pg_catalog alone. For reading catalogs; never for running what migrations wrote."""
        if not self.is_superuser:
            raise EnvironmentProblem(
                f"this needs a superuser, and role {self.role} of {self.server.label} is none",
                code="scratch-privilege",
                remedy="use the embedded server (--scratch embedded), or give a superuser's URL",
            )
        return self.server.connect(database)

    # roles of migrations

    def _roles(self) -> frozenset[str]:
        return frozenset(name for (name,) in self.admin.execute("SELECT rolname FROM pg_catalog.pg_roles"))

    def new_roles(self) -> frozenset[str]:
        """Roles that appeared since the pool was opened (on a server of our own: made by migrations)."""
        return self._roles() - self._roles_before - {self.role}

    def drop_new_roles(self) -> tuple[str, ...]:
        """Drop the roles that migrations made: they belong to the server and the next replay would meet them.

        Only on a server of our own, where nobody else makes roles. What owns something in a living database stays.
        """
        if not (self.is_superuser and self.server.own):
            return ()
        dropped = []
        for name in sorted(self.new_roles()):
            with suppress(psycopg.Error):
                self.admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
                dropped.append(name)
        return tuple(dropped)

    # templates kept for the next run

    @property
    def _templates(self) -> Templates:
        prefix = KEPT + ("t_" if self.trusted else "m_") if self.server.own else f"{PREFIX}{self._token}_kept_"
        return Templates(self.admin, prefix)

    def find_template(self, key: str) -> str | None:
        """The database kept under `key` (see template_key), to be given to `create`; None where there is none."""
        return self._templates.find(key)

    def keep_template(self, database: str, key: str) -> bool:
        """Keep `database`, a clone of the caller's, under `key`: its name is gone then, and at most eight are kept.

        False, and nothing changed, where migrations made roles: they cannot be kept with the database.
        """
        if self.new_roles() and self.server.own:
            return False
        self._free(database, end=True)
        name = self._templates.keep(database, key)
        self._databases.pop(database, None)
        if not self.server.own:
            self._databases[name] = None
        return True


def connect_migrations(conninfo: str, made_roles: MadeRoles, *, helped: bool) -> ScratchConnection:
    """A connection to run migrations on; see Pool.connect."""
    connection = ScratchConnection.connect(conninfo, autocommit=True, prepare_threshold=None, cursor_factory=ScratchCursor)
    connection.helped, connection.made_roles = helped, made_roles
    return connection
