"""Snapshots as databases beside the source: CREATE DATABASE … TEMPLATE. Seconds, as much disk as the database, the same server.

PostgreSQL copies a database only while nobody is connected to it. Sessions are waited for, or ended with consent; new ones are kept
waiting by the server itself while it copies.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.config.snapshot import Template as Config
from unmigrate.errors import EnvironmentProblem, RefusedError, UsageError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot import databases, urls
from unmigrate.snapshot.choice import counters
from unmigrate.snapshot.provider import At, Restored, Say, Snapshot
from unmigrate.words import amount

_SESSIONS = """
select array_agg(distinct concat(usename, ' (' || nullif(application_name, '') || ')')), count(*)
from pg_stat_activity where datname = %s and backend_type = 'client backend'"""
_END = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = %s and backend_type = 'client backend'"
_NOW = "select clock_timestamp(), case when pg_is_in_recovery() then null else pg_current_wal_lsn() end::text"
_OWNER = """
select d.datname is not null, coalesce(pg_has_role(d.datdba, 'USAGE'), false), r.rolcreatedb or r.rolsuper
from pg_roles r left join pg_database d on d.datname = %s where r.rolname = current_user"""


class Template:
    name = "template"
    points: frozenset[str] = frozenset()

    def __init__(self, config: Config, url: str) -> None:
        self._config, self._text, self._url = config, url, parse_url(url)

    # what there is

    def snapshots(self) -> tuple[Snapshot, ...]:
        with databases.admin(self._text) as connection:
            found = [
                _snapshot(name, mark, template, size)
                for name, mark, template, size in databases.marked(connection)
                if mark.get("kind") == "snapshot" and mark.get("of") == self._url.database
            ]
        return tuple(sorted(found, key=lambda s: s.created_at))

    def lacking(self) -> tuple[str, ...]:
        try:
            with databases.admin(self._text) as connection:
                row = connection.execute(_OWNER, [self._url.database]).fetchone()
                user = connection.info.user
        except EnvironmentProblem as error:
            return (f"{error}: {error.remedy}",)
        there, owns, creates = row or (False, False, False)
        found = [] if there else [f"there is no database {self._url.database}"]
        found += [] if owns or not there else [f"{user} does not own {self._url.database}, and only its owner may copy it"]
        return (*found, *([] if creates else [f"{user} may not create databases: ALTER ROLE {ident(user)} CREATEDB"]))

    def _find(self, connection: psycopg.Connection[Any], name: str) -> dict[str, Any]:
        mark = databases.mark_of(connection, name)
        if mark is None or mark.get("kind") != "snapshot" or mark.get("of") != self._url.database:
            remedy = "unmigrate snapshot list shows those there are"
            raise UsageError(f"there is no snapshot {name} of {self._url.database}", code="no-snapshot", remedy=remedy)
        return mark

    # making

    def create(self, label: str, say: Say) -> Snapshot:
        with databases.admin(self._text) as connection:
            name = _named(self._url.database, label)
            mark: dict[str, Any] = {"kind": "snapshot", "of": self._url.database}
            counted = self._counted(connection)
            unfinished = databases.unfinished_name(f"snapshot of {self._url.database}")  # the same each time: what was left goes
            databases.drop(connection, unfinished)
            if not self._config.end_sessions:
                _refuse_sessions(connection, self._url.database)
            say(f"copying {self._url.display} to {name}, which keeps new sessions waiting")
            self._copy(connection, self._url.database, unfinished, end=self._config.end_sessions)
            row = connection.execute(_NOW, binary=True).fetchone()
            assert row is not None
            whole = {**mark, "created_at": row[0].astimezone(UTC).isoformat(), "lsn": row[1], "counters": counted}
            whole |= {
                "settings": databases.settings(connection, self._url.database),
                "grants": databases.grants(connection, self._url.database),
            }
            closed = f"ALTER DATABASE {ident(name)} WITH ALLOW_CONNECTIONS false"
            databases.finish(connection, name, whole, extra=(closed,), unfinished=unfinished)
        return next(s for s in self.snapshots() if s.id == name)

    def _counted(self, connection: psycopg.Connection[Any]) -> dict[str, Any]:
        """The source's counters, asked by a session of ours that is gone afterwards."""
        with connect(self._url) as source:
            found, pid = counters(source), source.info.backend_pid
        for _ in range(200):
            row = connection.execute("select exists (select from pg_stat_activity where pid = %s)", [pid]).fetchone()
            if row and not row[0]:
                break
            time.sleep(0.01)
        return found

    def _copy(self, connection: psycopg.Connection[Any], source: str, copy: str, *, end: bool) -> None:
        """end: end sessions of the source while the server, which lets no new ones in by then, waits for them to go."""
        stop, ender = threading.Event(), None
        if end:
            ender = threading.Thread(target=_end_sessions, args=(self._text, source, stop))
            ender.start()
        try:
            with databases.translated(f"while copying {source}"):
                connection.execute(_copy_sql(source, copy, connection.info.server_version))
        except psycopg.errors.ObjectInUse:
            databases.drop(connection, copy)
            _refuse_sessions(connection, source)
            raise RefusedError(
                f"{source} is in use", code="in-use", remedy="try again, or consent to ending sessions: --end-sessions"
            ) from None
        except BaseException:
            databases.drop(connection, copy)
            raise
        finally:
            stop.set()
            if ender:
                ender.join()

    def protect(self, snapshot: str, on: bool) -> Snapshot:
        with databases.admin(self._text) as connection:
            self._find(connection, snapshot)
            connection.execute(_protect_sql(snapshot, on))
        return next(s for s in self.snapshots() if s.id == snapshot)

    def drop(self, snapshot: str) -> None:
        with databases.admin(self._text) as connection:
            self._find(connection, snapshot)
            try:
                databases.drop(connection, snapshot)
            except psycopg.errors.WrongObjectType:  # PostgreSQL drops no template
                remedy = f"unmigrate snapshot protect {snapshot} --off"
                raise RefusedError(f"{snapshot} is protected", code="protected", remedy=remedy) from None

    # restoring

    def restore(self, at: At, to: str, say: Say) -> Restored:
        began, new = time.monotonic(), urls.beside(self._text, to)
        with databases.admin(self._text) as connection:
            found = self._find(connection, at.snapshot or "")
            mark = {"kind": "restored", "at": at.snapshot, "provider": self.name}
            fresh = databases.prepare(connection, to, mark, same=("kind", "at", "provider"))
            if fresh:
                say(f"copying {at.snapshot} to {new.display}")
                self._copy(connection, str(at.snapshot), databases.unfinished_name(to), end=False)
                databases.finish(connection, to, mark, extra=databases.furnish_sql(to, found["settings"], found["grants"]))
        return Restored(to, urls.moved(self._text, database=to), new.display, fresh, round(time.monotonic() - began, 2))

    def discard(self, to: str) -> None:
        databases.discard(self._text, to)

    # what would be done

    def shown_create(self, label: str) -> tuple[str, ...]:
        name = _named(self._url.database, label)
        unfinished = databases.unfinished_name(f"snapshot of {self._url.database}")
        with databases.admin(self._text) as connection:
            copy = _copy_sql(self._url.database, unfinished, connection.info.server_version)
        end = (_END.replace("%s", f"'{self._url.database}'"),) if self._config.end_sessions else ()
        rename = f"ALTER DATABASE {ident(unfinished)} RENAME TO {ident(name)}"
        return (*end, copy, rename, f"ALTER DATABASE {ident(name)} WITH ALLOW_CONNECTIONS false")

    def shown_protect(self, snapshot: str, on: bool) -> tuple[str, ...]:
        return (_protect_sql(snapshot, on),)

    def shown_drop(self, snapshot: str) -> tuple[str, ...]:
        return (f"DROP DATABASE {ident(snapshot)} WITH (FORCE)",)

    def shown_restore(self, at: At, to: str) -> tuple[str, ...]:
        with databases.admin(self._text) as connection:
            found = self._find(connection, at.snapshot or "")
            copy = _copy_sql(str(at.snapshot), databases.unfinished_name(to), connection.info.server_version)
        rename = f"ALTER DATABASE {ident(databases.unfinished_name(to))} RENAME TO {ident(to)}"
        return (copy, rename, *databases.furnish_sql(to, found["settings"], found["grants"]))


def _snapshot(name: str, mark: dict[str, Any], template: bool, size: int | None) -> Snapshot:
    return Snapshot(
        name, "template", datetime.fromisoformat(mark["created_at"]), mark.get("lsn"), size, template, {"counters": mark.get("counters")}
    )


def _named(database: str, label: str) -> str:
    """At most 63 bytes, as PostgreSQL cuts names."""
    tail = f"_{datetime.now(UTC):%Y%m%d%H%M%S}_{label}".replace("-", "_")[:40]
    return database.encode()[: 63 - len(tail)].decode(errors="ignore") + tail


def _copy_sql(source: str, copy: str, version: int) -> str:
    """STRATEGY FILE_COPY: three to five times faster where there is the choice (a checkpoint before and after it)."""
    strategy = " STRATEGY FILE_COPY" if version >= 150000 else ""
    return f"CREATE DATABASE {ident(copy)} TEMPLATE {ident(source)}{strategy}"


def _protect_sql(name: str, on: bool) -> str:
    return f"ALTER DATABASE {ident(name)} WITH IS_TEMPLATE {'true' if on else 'false'}"


def _refuse_sessions(connection: psycopg.Connection[Any], database: str) -> None:
    row = connection.execute(_SESSIONS, [database]).fetchone()
    if row and row[1]:
        who = f"{amount(row[1], 'session is', 'sessions are')} connected to {database} ({', '.join(row[0][:4])})"
        message = f"{who}, and PostgreSQL copies no database in use"
        remedy = "stop the app, or consent to ending sessions (--end-sessions), or make the snapshot with pg_dump, which needs no quiet"
        raise RefusedError(message, code="in-use", remedy=remedy)


def _end_sessions(url: str, database: str, stop: threading.Event) -> None:
    """Again and again, as those that were connecting when the copy began are let in before it waits."""
    with databases.admin(url) as connection:
        while not stop.wait(0.05):
            connection.execute(_END, [database])
