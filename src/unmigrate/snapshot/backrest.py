"""pgBackRest's command: run with a time limit and progress, its problems told in one line, what its repository holds.

It runs as the account that owns the repository; no URL and no password is ever given to it.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from unmigrate.config.snapshot import PgBackRest as Config
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.scratch import binaries
from unmigrate.snapshot import programs
from unmigrate.snapshot.provider import Say

_TOLD_EVERY = 5.0  # seconds
_SEEN = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")  # and what pgbackrest itself reads (PGBACKREST_…)
Raw = dict[str, Any]


class Backrest:
    """environ: of which only what programs need is handed on: not the PG… variables of the app."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._environ = {k: v for k, v in environ.items() if k in _SEEN or k.startswith("PGBACKREST_")}
        self.account = config.user or ("postgres" if os.geteuid() == 0 else None)

    # as which account

    def as_account(self, command: Sequence[str]) -> list[str]:
        """The command, as the account: by runuser where we are root."""
        if self.account is None or self._uid() == os.geteuid():
            return list(command)
        return ["runuser", "-u", self.account, "--", *command]

    def _uid(self) -> int:
        try:
            return pwd.getpwnam(str(self.account)).pw_uid
        except KeyError:
            remedy = "say in snapshot.pgbackrest.user which account owns the repository"
            raise EnvironmentProblem(f"there is no account {self.account} here", code="no-account", remedy=remedy) from None

    def require_account(self) -> None:
        """Raises EnvironmentProblem where we can neither be nor become it."""
        if self.account is not None and self._uid() != os.geteuid() and os.geteuid() != 0:
            message = f"pgbackrest is to run as {self.account}, and this is {pwd.getpwuid(os.geteuid()).pw_name}"
            raise EnvironmentProblem(message, code="privilege", remedy=f"run unmigrate as {self.account}, or as root")

    def own(self, path: Path) -> None:
        """Hand a file or folder to the account."""
        if self.account is not None and self._uid() != os.geteuid():
            entry = pwd.getpwnam(self.account)
            os.chown(path, entry.pw_uid, entry.pw_gid)

    # running

    def command(self, verb: str, *options: str) -> list[str]:
        which = [f"--config={self._config.config}"] if self._config.config else []
        return ["pgbackrest", *which, f"--stanza={self._config.stanza}", *options, verb]

    def run(self, verb: str, *options: str, say: Say | None = None) -> str:
        self.require_account()
        if shutil.which("pgbackrest", path=self._environ.get("PATH")) is None:
            raise EnvironmentProblem("pgbackrest is not installed here", code="no-program", remedy="apt install pgbackrest")
        status, out, err = self.call(self.command(verb, *options), f"pgbackrest {verb}", say)
        if status:
            _failed(verb, err or out)
        return out

    def call(self, command: Sequence[str], what: str, say: Say | None = None) -> tuple[int, str, str]:
        """Status, output, errors. What it started ends with it when it takes too long, or when we are interrupted."""
        began = time.monotonic()
        process = subprocess.Popen(
            self.as_account(command), env=self._environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True, cwd="/",
        )  # fmt: skip
        try:
            while True:
                try:
                    out, err = process.communicate(timeout=_TOLD_EVERY)
                    return process.returncode, out, err
                except subprocess.TimeoutExpired:
                    spent = time.monotonic() - began
                    if spent > self._config.wait:
                        message = f"{what} took longer than {self._config.wait:g} s, and was ended"
                        remedy = "look why, or raise snapshot.pgbackrest.wait; the same command again begins afresh"
                        raise EnvironmentProblem(message, code="timeout", remedy=remedy) from None
                    if say:
                        say(f"{what}: {spent:.0f} s")
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate()
            raise

    # what there is

    def info(self) -> Raw:
        """The stanza, as `pgbackrest info` tells it. Raises EnvironmentProblem where there is none."""
        found: list[Raw] = json.loads(self.run("info", "--output=json"))
        stanza = next((each for each in found if each["name"] == self._config.stanza), None)
        status = (stanza or {}).get("status", {})
        if stanza is None or status.get("code") not in (0, 2):  # 2: no valid backups yet
            message = f"pgbackrest does not know stanza {self._config.stanza}: {status.get('message', 'missing')}"
            remedy = "check snapshot.pgbackrest.stanza and config; pgbackrest stanza-create makes one"
            raise EnvironmentProblem(message, code="no-stanza", remedy=remedy)
        return stanza

    def bin_dir(self, major: int) -> Path:
        """The server's programs, of just this major version: a data directory fits no other."""
        if self._config.bin_dir:
            found: Path | None = Path(self._config.bin_dir)
        else:
            found = next((one.bin_dir for one in binaries.debian() if one.major == major), None)
        if found is None or not (found / "pg_ctl").exists():
            remedy = f"apt install postgresql-{major}, or give snapshot.pgbackrest.bin_dir"
            raise EnvironmentProblem(f"the programs of a PostgreSQL {major} server are not here", code="no-program", remedy=remedy)
        return found


def _failed(verb: str, said: str) -> NoReturn:
    if "unable to acquire lock" in said:
        message = f"pgbackrest {verb}: another pgbackrest is at work on this stanza"
        raise EnvironmentProblem(message, code="busy", remedy="wait until it is done (pgbackrest info), and try again")
    if "cannot be expired until another full backup" in said:
        message = "it is the only full backup, and pgbackrest keeps the last one"
        raise RefusedError(message, code="last", remedy="make another full backup first (backup_type = full)")
    raise programs.problem(f"pgbackrest {verb}", said)
