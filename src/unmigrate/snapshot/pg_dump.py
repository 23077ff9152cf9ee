"""Snapshots by pg_dump: directory format, several tables at a time, restored by pg_restore into a new database.

The dump is of one exported snapshot, so its time and LSN are known to the statement.
"""

import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.config.snapshot import PgDump as Config
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot import databases, dumps, programs, selection, urls
from unmigrate.snapshot.choice import counters
from unmigrate.snapshot.pg_restore import PgRestore
from unmigrate.snapshot.provider import At, Restored, Say, Snapshot

_STATE = """
select clock_timestamp(), case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text,
  pg_export_snapshot(), current_setting('server_version_num')::int, pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding),
  datcollate::text, datctype::text, {provider}, {locale}
from pg_database where datname = current_database()"""


class PgDump:
    """root: the folder that the configuration's paths are relative to."""

    name = "pg_dump"
    points: frozenset[str] = frozenset()

    def __init__(self, config: Config, url: str, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self._config, self._text, self._url = config, url, parse_url(url)
        self.directory = (root / config.directory).resolve()
        self._environ = os.environ if environ is None else environ

    # what there is

    def snapshots(self) -> tuple[Snapshot, ...]:
        try:
            return dumps.snapshots(self.directory, self._url.database)
        except OSError as error:
            message = f"{self.directory} cannot be read: {error.strerror}"
            raise EnvironmentProblem(message, code="folder", remedy="check the folder's rights, or give another") from error

    def lacking(self) -> tuple[str, ...]:
        found = []
        try:
            with connect(self._url) as connection:
                major = connection.info.server_version // 10000
            programs.find("pg_dump", self._config.bin_dir, major)
            programs.find("pg_restore", self._config.bin_dir, major)
        except EnvironmentProblem as error:
            found.append(f"{error}: {error.remedy}")
        folder = self.directory
        while not folder.exists():
            folder = folder.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            found.append(f"{folder} may not be written to: give another snapshot.pg_dump.directory")
        return tuple(found) or self._may_create()

    def _may_create(self) -> tuple[str, ...]:
        with connect(self._url) as connection:
            row = connection.execute("select rolcreatedb or rolsuper from pg_roles where rolname = current_user").fetchone()
        user = self._url.display.partition("://")[2].partition("@")[0]
        return () if row and row[0] else (f"{user} may not create databases: ALTER ROLE {user} CREATEDB",)

    # making

    def create(self, label: str, say: Say) -> Snapshot:
        began = time.monotonic()
        with connect(self._url) as connection, databases.translated(f"while dumping {self._url.display}"):
            program = programs.find("pg_dump", self._config.bin_dir, connection.info.server_version // 10000)
            counted = counters(connection)
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            manifest, exported = _state(connection)
            name = f"{self._url.database}-{datetime.fromisoformat(manifest['created_at']):%Y%m%dT%H%M%SZ}-{label}".replace("/", "_")
            with dumps.writing(self.directory, name) as partial:
                say(f"pg_dump of {self._url.display} into {self.directory / name}")
                conninfo, environ = programs.access(self._url, self._environ)
                command = self._dump(program, conninfo, partial / dumps.DATA, exported)
                programs.run(command, environ, what="pg_dump failed", hush=urls.secrets_of(self._text))
                manifest["settings"] = databases.settings(connection, self._url.database)
                manifest["grants"] = databases.grants(connection, self._url.database)
                manifest["counters"] = counted
                manifest["seconds"] = round(time.monotonic() - began, 2)
                return dumps.complete(partial, {**manifest, "database": self._url.database, "server": self._url.display})

    def _dump(self, program: Path | str, conninfo: str, folder: Path, exported: str) -> list[str]:
        compress = [] if self._config.compress is None else [f"--compress={self._config.compress}"]
        options = ["--format=directory", f"--jobs={self._config.jobs}", *compress, f"--file={folder}", f"--dbname={conninfo}"]
        return [str(program), *options, f"--snapshot={exported}", "--lock-wait-timeout=60s", "--no-password"]

    def protect(self, snapshot: str, on: bool) -> Snapshot:
        folder, manifest = dumps.find(self.directory, self._url.database, snapshot)
        try:
            dumps.write(folder, {**manifest, "protected": on})
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}", code="folder", remedy="check the folder's rights") from error
        return next(s for s in self.snapshots() if s.id == snapshot)

    def drop(self, snapshot: str) -> None:
        folder, manifest = dumps.find(self.directory, self._url.database, snapshot)
        if manifest.get("protected"):
            raise RefusedError(f"{snapshot} is protected", code="protected", remedy=f"unmigrate snapshot protect {snapshot} --off")
        try:
            (folder / dumps.MANIFEST).unlink()  # from here on it is no dump any more
            shutil.rmtree(folder)
        except OSError as error:
            raise EnvironmentProblem(f"{folder}: {error.strerror}", code="folder", remedy="check the folder's rights") from error

    # restoring

    def restore(self, at: At, to: str, say: Say) -> Restored:
        folder, manifest = dumps.find(self.directory, self._url.database, at.snapshot or "")
        began, new = time.monotonic(), urls.beside(self._text, to)
        restoring = self._restoring(folder, manifest)
        mark: dict[str, Any] = {"kind": "restored", "at": at.snapshot, "provider": self.name}
        mark |= {} if at.tables is None else {"tables": sorted(at.tables)}
        with databases.admin(self._text, own=True) as connection:
            fresh = databases.prepare(connection, to, mark, same=("kind", "at", "provider", "tables"))
            if fresh:
                say(f"checking {folder}")
                restoring.check(None if at.tables is None else selection.DEFINITIONS)
                say(f"pg_restore into {new.display}")
                self._fill(connection, restoring, to, at.tables)
                databases.finish(connection, to, mark, extra=databases.furnish_sql(to, manifest["settings"], manifest["grants"]))
        text, seconds = urls.moved(self._text, database=to), round(time.monotonic() - began, 2)
        if fresh and at.tables is None:
            with suppress(OSError):  # for the next estimate
                dumps.write(folder, {**manifest, "restored_in": seconds})
        return Restored(to, text, new.display, fresh, seconds)

    def _restoring(self, folder: Path, manifest: dict[str, Any]) -> PgRestore:
        program = programs.find("pg_restore", self._config.bin_dir, manifest["version"] // 10000)
        return PgRestore(program, folder, manifest, self._config.jobs, self._environ, urls.secrets_of(self._text))

    def _fill(self, connection: psycopg.Connection[Any], restoring: PgRestore, to: str, tables: tuple[str, ...] | None) -> None:
        """Make the database under its unfinished name, and restore into it; gone again when that fails."""
        unfinished = databases.unfinished_name(to)
        connection.execute(_create_sql(unfinished, restoring.manifest, connection.info.server_version))
        try:
            target = urls.beside(self._text, unfinished)
            if tables is not None:
                restoring.rows_of(target, tables)
            else:
                restoring.whole(target)
                with psycopg.connect(target.conninfo, autocommit=True) as made:
                    made.execute("ANALYZE")  # the planner knows nothing of what was just loaded
        except psycopg.OperationalError as error:
            databases.drop(connection, unfinished)
            raise FailedError(f"the server ended the restore: {error}", code="restore", remedy="try again") from error
        except BaseException:
            databases.drop(connection, unfinished)
            raise

    def discard(self, to: str) -> None:
        databases.discard(self._text, to)

    # what would be done

    def shown_create(self, label: str) -> tuple[str, ...]:
        conninfo, _ = programs.access(self._url, {})
        folder = self.directory / f"{self._url.database}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{label}" / dumps.DATA
        return ("SELECT pg_export_snapshot()", programs.shown(self._dump("pg_dump", conninfo, folder, "EXPORTED")))

    def shown_protect(self, snapshot: str, on: bool) -> tuple[str, ...]:
        return (f"write protected: {'true' if on else 'false'} into {self.directory / snapshot / dumps.MANIFEST}",)

    def shown_drop(self, snapshot: str) -> tuple[str, ...]:
        return (f"rm -r {self.directory / snapshot}",)

    def shown_restore(self, at: At, to: str) -> tuple[str, ...]:
        folder, manifest = dumps.find(self.directory, self._url.database, at.snapshot or "")
        unfinished = databases.unfinished_name(to)
        conninfo, _ = programs.access(urls.beside(self._text, unfinished), {})
        return (
            f"sha256 of every file in {folder}" if at.tables is None else f"sha256 of the files in {folder} that are read",
            _create_sql(unfinished, manifest, manifest["version"]),
            *self._restoring(folder, manifest).shown(conninfo, at.tables),
            *(("ANALYZE",) if at.tables is None else ()),
            f"ALTER DATABASE {ident(unfinished)} RENAME TO {ident(to)}",
            *databases.furnish_sql(to, manifest["settings"], manifest["grants"]),
        )


def _state(connection: psycopg.Connection[Any]) -> tuple[dict[str, Any], str]:
    """What the manifest says of the moment, and the exported snapshot. The time is read after the snapshot was taken, never before."""
    version = connection.info.server_version
    connection.execute("select 1")  # takes the snapshot
    provider = "datlocprovider::text" if version >= 150000 else "'c'"
    locale = "datlocale" if version >= 170000 else "daticulocale" if version >= 150000 else "null::text"
    row = connection.execute(_STATE.format(provider=provider, locale=locale), binary=True).fetchone()
    assert row is not None
    at, lsn, exported, number, owner, encoding, collate, ctype, kind, icu = row
    made = {"owner": owner, "encoding": encoding, "collate": collate, "ctype": ctype, "provider": kind, "locale": icu}
    return {"created_at": at.astimezone(UTC).isoformat(), "lsn": lsn, "version": number, "made": made}, exported


def _create_sql(name: str, manifest: dict[str, Any], server: int) -> str:
    made = manifest["made"]
    options = [f"ENCODING {literal(made['encoding'])}", f"LC_COLLATE {literal(made['collate'])}", f"LC_CTYPE {literal(made['ctype'])}"]
    if made["provider"] == "i":
        options += ["LOCALE_PROVIDER icu", f"ICU_LOCALE {literal(made['locale'])}"]
    elif made["provider"] == "b":
        options += ["LOCALE_PROVIDER builtin", f"BUILTIN_LOCALE {literal(made['locale'])}"]
    elif server >= 150000:
        options.append("LOCALE_PROVIDER libc")
    return f"CREATE DATABASE {ident(name)} TEMPLATE template0 OWNER {ident(made['owner'])} {' '.join(options)}"
