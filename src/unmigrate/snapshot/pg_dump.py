"""Snapshots by pg_dump: directory format, several tables at a time, restored by pg_restore into a new database.

The dump is of one exported snapshot, so its time and LSN are known to the statement.
"""

import os
import shutil
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.config.snapshot import PgDump as Config
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError
from unmigrate.prisma.url import DatabaseUrl, connect, parse_url
from unmigrate.snapshot import apart, databases, dumps, programs, some, urls
from unmigrate.snapshot.choice import counters
from unmigrate.snapshot.provider import At, Restored, Say, Snapshot

_STATE = """
select clock_timestamp(), case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end::text,
  pg_export_snapshot(), current_setting('server_version_num')::int, pg_get_userbyid(datdba)::text, pg_encoding_to_char(encoding),
  datcollate::text, datctype::text, {provider}, {locale}
from pg_database where datname = current_database()"""


@dataclass(frozen=True, slots=True)
class _Filling:
    """What a new database is filled with. tables: see `At`."""

    program: Path
    folder: Path
    manifest: dict[str, Any]
    tables: tuple[str, ...] | None
    say: Say

    def check(self, read: some.Some | None = None) -> None:
        """read: what of it is read; None: all. Raises RefusedError."""
        self.say(f"checking {self.folder}")
        wanted = [name for name in self.manifest["files"] if read is None or read.reads(name)]
        if damaged := dumps.damaged(self.folder, self.manifest, wanted):
            message = f"{self.folder} is damaged: {', '.join(damaged[:3])} is not as it was written"
            raise RefusedError(message, code="damaged", remedy="choose another snapshot")


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
        program = programs.find("pg_restore", self._config.bin_dir, manifest["version"] // 10000)
        mark: dict[str, Any] = {"kind": "restored", "at": at.snapshot, "provider": self.name}
        mark |= {} if at.tables is None else {"tables": sorted(at.tables)}
        with databases.admin(self._text, own=True) as connection:
            fresh = databases.prepare(connection, to, mark, same=("kind", "at", "provider", "tables"))
            if fresh:
                self._fill(connection, _Filling(program, folder, manifest, at.tables, say), to)
                databases.finish(connection, to, mark, extra=databases.furnish_sql(to, manifest["settings"], manifest["grants"]))
        text, seconds = urls.moved(self._text, database=to), round(time.monotonic() - began, 2)
        if fresh and at.tables is None:
            with suppress(OSError):  # for the next estimate
                dumps.write(folder, {**manifest, "restored_in": seconds})
        return Restored(to, text, new.display, fresh, seconds)

    def _fill(self, connection: psycopg.Connection[Any], filling: "_Filling", to: str) -> None:
        unfinished = databases.unfinished_name(to)
        if filling.tables is None:
            filling.check()
        connection.execute(_create_sql(unfinished, filling.manifest, connection.info.server_version))
        try:
            target = urls.beside(self._text, unfinished)
            filling.say(f"pg_restore into {urls.beside(self._text, to).display}")
            if filling.tables is not None:
                self._run_some(filling, target, filling.tables)
            else:
                self._run_whole(filling, target)
                with psycopg.connect(target.conninfo, autocommit=True) as made:
                    made.execute("ANALYZE")  # the planner knows nothing of what was just loaded
        except psycopg.OperationalError as error:
            databases.drop(connection, unfinished)
            raise FailedError(f"the server ended the restore: {error}", code="restore", remedy="try again") from error
        except BaseException:
            databases.drop(connection, unfinished)
            raise

    def _run_whole(self, filling: "_Filling", target: DatabaseUrl, *sections: str) -> None:
        """All of it, or of these sections."""
        for listing in self._listings(filling.program, filling.folder, *sections):
            self._run(filling, target, *sections, listing=listing)

    def _listings(self, program: Path, folder: Path, *sections: str) -> tuple[str, ...]:
        told = [str(program), "--format=directory", "--list", *sections, str(folder / dumps.DATA)]
        return apart.listings(programs.run(told, self._environ, what="pg_restore failed"))

    def _run(self, filling: "_Filling", target: DatabaseUrl, *options: str, listing: str = "") -> None:
        """What the options say; of that, where there is a listing, what it has."""
        conninfo, environ = programs.access(target, self._environ)
        with NamedTemporaryFile("w", prefix="unmigrate-") as file:
            file.write(listing)
            file.flush()
            chosen = (*options, f"--use-list={file.name}") if listing else options
            command = self._restore(filling.program, conninfo, filling.folder / dumps.DATA, *chosen)
            programs.run(command, environ, what="pg_restore failed", hush=urls.secrets_of(self._text))

    def _run_some(self, filling: "_Filling", target: DatabaseUrl, tables: Collection[str]) -> None:
        """Definitions, and the rows of these tables; all of it where the dump does not tell which rows are theirs."""
        filling.check(some.Some((), frozenset()))
        self._run(filling, target, "--section=pre-data")
        with psycopg.connect(target.conninfo, autocommit=True) as made:
            names = some.wanted(made, tables)
        told = [str(filling.program), "--format=directory", str(filling.folder / dumps.DATA)]
        listed = programs.run([*told, "--list"], self._environ, what="pg_restore failed")
        script = programs.run([*told, "--schema-only", "--verbose", "--file=-"], self._environ, what="pg_restore failed")
        chosen = some.entries(listed, script, names)
        filling.check(chosen)
        if chosen is None:
            self._run_whole(filling, target, "--section=data", "--section=post-data")
        else:
            self._run(filling, target, listing=chosen.listed())

    def _restore(self, program: Path | str, conninfo: str, folder: Path, *options: str) -> list[str]:
        always = ["--format=directory", f"--jobs={self._config.jobs}", "--exit-on-error", "--no-password"]
        return [str(program), *always, *options, f"--dbname={conninfo}", str(folder)]

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
            *self._shown_fill(conninfo, folder, manifest, at.tables),
            f"ALTER DATABASE {ident(unfinished)} RENAME TO {ident(to)}",
            *databases.furnish_sql(to, manifest["settings"], manifest["grants"]),
        )

    def _shown_fill(self, conninfo: str, folder: Path, manifest: dict[str, Any], tables: tuple[str, ...] | None) -> tuple[str, ...]:
        def command(*options: str) -> str:
            return programs.shown(self._restore("pg_restore", conninfo, folder / dumps.DATA, *options))

        if tables is not None:
            listed = f"  # LIST: rows and unique keys of {', '.join(tables)} and the ledger"
            return (command("--section=pre-data"), command("--use-list=LIST") + listed)
        program = programs.find("pg_restore", self._config.bin_dir, manifest["version"] // 10000)
        if len(self._listings(program, folder)) == 1:
            return (command(), "ANALYZE")
        first, second = command("--use-list=FIRST"), command("--use-list=SECOND")
        return (f"{first}  # FIRST: {apart.FIRST}", f"{second}  # SECOND: {apart.SECOND}", "ANALYZE")


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
