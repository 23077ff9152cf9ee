"""A server instance restored beside the source: one folder, one port, a mark that says what it holds and whether it is whole.

Each try has a data directory of its own, so that a program which outlived a kill -9 of ours meets nobody else's files. What must not
happen from a copy does not: it archives nothing into the source's repository, subscribes to nothing, runs no jobs of pg_cron, waits for
no standby.
"""

import json
import secrets
import shutil
import socket
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psycopg

from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError, UnmigrateError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot.backrest import Backrest
from unmigrate.snapshot.programs import problem
from unmigrate.snapshot.provider import Say

MARK = "unmigrate.json"
_POLL = 0.1  # seconds
_TRIES = 30
QUIET = {
    "synchronous_standby_names": "",
    "max_logical_replication_workers": "0",
    "cron.launch_active_jobs": "off",
    "logging_collector": "off",
    "external_pid_file": "",
    "hot_standby": "on",
}
_SETTINGS = """
select name, setting from pg_settings where source = 'configuration file' and sourcefile not like '%postgresql.auto.conf'
and name not in ('config_file', 'data_directory', 'hba_file', 'ident_file', 'external_pid_file', 'port', 'restore_command')
and name not like 'archive%' and name not like 'primary%' order by name"""


@dataclass(frozen=True, slots=True)
class Instance:
    """folder: all of it. bin_dir: of the server's programs."""

    backrest: Backrest
    folder: Path
    bin_dir: Path

    # the mark

    def mark(self) -> dict[str, Any] | None:
        """None where nothing of ours is there."""
        try:
            found = json.loads((self.folder / MARK).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and "at" in found else None

    def write(self, mark: Mapping[str, Any]) -> None:
        part = self.folder / f"{MARK}.part"
        part.write_text(json.dumps(dict(mark)))
        self.backrest.own(part)
        part.replace(self.folder / MARK)

    # a try

    def begin(self, mark: Mapping[str, Any], port: int) -> dict[str, Any]:
        """A new, empty try; what an earlier one left goes. The mark, with "try" and "port"."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.backrest.own(self.folder)
        begun = {**mark, "try": secrets.token_hex(4), "port": port, "done": False}
        self.write(begun)
        for old in self.folder.iterdir():
            if old.is_dir():
                self.stop(old / "data")
                shutil.rmtree(old)
        for path in (self.folder / begun["try"], self.folder / begun["try"] / "data", self.folder / begun["try"] / "tablespaces"):
            path.mkdir(mode=0o700)
            self.backrest.own(path)
        return begun

    def data(self, mark: Mapping[str, Any]) -> Path:
        return self.folder / str(mark["try"]) / "data"

    def furnish(self, mark: Mapping[str, Any], settings: Mapping[str, str], source: str) -> None:
        """Its port and what keeps it quiet; and where the source has its configuration elsewhere (Debian), a copy of that."""
        data = self.data(mark)
        if not (data / "postgresql.conf").exists() or not (data / "pg_hba.conf").exists():
            self._copy_configuration(data, source)
        lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in {**QUIET, "port": str(mark["port"]), **settings}.items())
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write(f"# unmigrate, for what was restored\n{lines}")

    def _copy_configuration(self, data: Path, source: str) -> None:
        try:
            with closing(connect(parse_url(source))) as connection:
                settings = connection.execute(_SETTINGS).fetchall()
                row = connection.execute("select current_setting('hba_file'), current_setting('ident_file')").fetchone()
            assert row is not None
            files = {"pg_hba.conf": Path(row[0]).read_text(), "pg_ident.conf": Path(row[1]).read_text()}
        except (psycopg.Error, OSError, UnmigrateError) as error:
            message = f"the source keeps its configuration outside its data directory, and it cannot be read: {str(error).splitlines()[0]}"
            remedy = "run this on the source's machine, with a role that has pg_read_all_settings"
            raise EnvironmentProblem(message, code="no-configuration", remedy=remedy) from None
        files["postgresql.conf"] = "".join(f"{name} = {_quoted(value)}\n" for name, value in settings)
        for name, text in files.items():
            if not (data / name).exists():
                (data / name).write_text(text)
                (data / name).chmod(0o600)
                self.backrest.own(data / name)

    # the server

    def running(self, data: Path) -> bool:
        return self.backrest.call([str(self.bin_dir / "pg_ctl"), "-D", str(data), "status"], "pg_ctl")[0] == 0

    def start(self, mark: Mapping[str, Any], url: str, say: Say, wait: float) -> None:
        """Until it has recovered and takes writes. url: by which it is reached. Raises EnvironmentProblem, FailedError, RefusedError."""
        data, end = self.data(mark), time.monotonic() + wait
        if not self.running(data):
            log = str(self.folder / "log")
            start = [str(self.bin_dir / "pg_ctl"), "-D", str(data), "-l", log, "-w", "-t", str(int(wait)), "start"]
            status, out, err = self.backrest.call(start, "recovery", say)
            if status:
                self._ended(err or out)
        tries = 0  # after it has recovered
        while time.monotonic() < end:
            unreached: UnmigrateError | psycopg.Error | None = None
            try:
                with closing(connect(parse_url(url))) as connection:
                    row = connection.execute("select not pg_is_in_recovery(), current_setting('port')::int").fetchone()
                if row and row[1] != mark["port"]:  # a proxy, or another server of this name
                    message = f"{parse_url(url).display} leads to another server than the one that was restored"
                    raise FailedError(message, code="other-server", remedy="check snapshot.pgbackrest.host")
                if row and row[0]:
                    return
            except FailedError:
                raise
            except (UnmigrateError, psycopg.OperationalError) as error:
                unreached = error
            if not self.running(data):
                self._ended("")
            tries += unreached is not None and not (data / "recovery.signal").exists()
            if tries > _TRIES:
                remedy = "check snapshot.pgbackrest.host, and pg_hba.conf and listen_addresses of the source, which it has too"
                raise EnvironmentProblem(f"what was restored runs, but {unreached}", code="unreachable", remedy=remedy)
            time.sleep(_POLL)
        raise EnvironmentProblem("recovery takes longer than snapshot.pgbackrest.wait", code="timeout", remedy="the same command goes on")

    def _ended(self, said: str) -> NoReturn:
        log = self.folder / "log"
        text = log.read_text(errors="replace") if log.exists() else said
        if "recovery ended before configured recovery target was reached" in text:
            message = "the archive does not reach that far: the log was not archived up to there"
            remedy = "run SELECT pg_switch_wal() on the source as a superuser, wait until it is archived (pgbackrest check), and try again"
            raise RefusedError(message, code="not-archived", remedy=remedy)
        if "before consistent recovery point" in text:
            message = "that moment is before the end of the backup it would be restored from"
            raise RefusedError(message, code="time", remedy="give a later moment, or an older backup")
        fatal = [line for line in text.splitlines() if "FATAL" in line or "PANIC" in line]
        error = problem("the restored server did not start", "\n".join(fatal[-1:]) or said or text[-300:])
        raise FailedError(str(error), code="recovery", remedy=f"see {log}; restored settings are changed by snapshot.pgbackrest.settings")

    def stop(self, data: Path) -> None:
        if (data / "postmaster.pid").exists():
            for mode in ("fast", "immediate"):
                stop = [str(self.bin_dir / "pg_ctl"), "-D", str(data), "-m", mode, "-w", "-t", "60", "stop"]
                if self.backrest.call(stop, "pg_ctl")[0] == 0 or not self.running(data):
                    return
            message = f"the server in {data} does not stop"
            raise EnvironmentProblem(message, code="still-running", remedy="stop it by hand, and try again")

    def remove(self) -> None:
        """The mark goes last, so that what was interrupted can be gone on with."""
        for old in self.folder.iterdir():
            if old.is_dir():
                self.stop(old / "data")
                shutil.rmtree(old)
        shutil.rmtree(self.folder)


def free_port(first: int, taken: frozenset[int]) -> int:
    """The first that nobody listens on and no other restored instance has."""
    for port in range(first, min(first + 200, 65536)):
        if port in taken:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise EnvironmentProblem(f"no port from {first} on is free", code="no-port", remedy="give snapshot.pgbackrest.port")


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
