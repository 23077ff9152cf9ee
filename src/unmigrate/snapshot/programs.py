"""PostgreSQL's and others' programs: found, run, their last words told. Passwords go by the environment, never by the command line."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from unmigrate.errors import EnvironmentProblem, FailedError
from unmigrate.prisma.url import DatabaseUrl
from unmigrate.scratch import binaries

_FULL = ("No space left on device", "Disk quota exceeded", "disk full", "could not extend file")
_RIGHTS = ("permission denied", "must be owner of", "must be superuser", "must be member of", "must be able to SET ROLE")


def find(name: str, bin_dir: str | None, major: int) -> Path:
    """One of PostgreSQL's programs, of this major version or a newer one. Raises EnvironmentProblem."""
    if bin_dir:
        found: Path | None = Path(bin_dir) / name
    else:
        folder = binaries.pg_dump_dir(major)
        found = folder / name if folder and (folder / name).exists() else _on_path(name)
    if found is None or not found.exists():
        remedy = f"install PostgreSQL's client programs, version {major} or newer (apt install postgresql-client), or give bin_dir"
        raise EnvironmentProblem(f"there is no {name} for PostgreSQL {major} here", code="no-program", remedy=remedy)
    return found


def _on_path(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def access(url: DatabaseUrl, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """A libpq string without password, and the environment that has it."""
    parts = conninfo_to_dict(url.conninfo)
    password = parts.pop("password", None)
    environment = {**environ, "PGAPPNAME": "unmigrate"}
    if password is not None:
        environment["PGPASSWORD"] = str(password)
    return make_conninfo("", **parts), environment


def run(command: Sequence[str], environ: Mapping[str, str], *, what: str, hush: Sequence[str] = ()) -> str:
    """Its standard output. Raises EnvironmentProblem for a full disk and missing rights, else FailedError with its last line.

    It and what it started end with us when we are interrupted.
    """
    try:
        process = subprocess.Popen(
            list(command), env=dict(environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True, cwd="/",
        )  # fmt: skip
    except OSError as error:
        raise EnvironmentProblem(
            f"{command[0]} cannot be run: {error.strerror}", code="no-program", remedy="check its path and rights"
        ) from None
    try:
        out, err = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()
        raise
    if process.returncode:
        for secret in hush:
            err = err.replace(secret, "•••")
        raise problem(what, err or out)
    return out


def problem(what: str, said: str) -> EnvironmentProblem | FailedError:
    """The error that a program's last words mean."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "FATAL" in line or any(w in line for w in (*_FULL, *_RIGHTS))]
    word = (telling or lines or ["no message"])[0][:300]
    if any(w in said for w in _FULL):
        remedy = "free space, and try again; nothing was left"
        return EnvironmentProblem(f"{what}: the disk is full ({word})", code="disk-full", remedy=remedy)
    if any(w in said for w in _RIGHTS):
        return EnvironmentProblem(f"{what}: {word}", code="privilege", remedy="connect as a role that may read, or own, all of it")
    return FailedError(f"{what}: {word}", code="program", remedy="run it by hand to see why (--dry-run prints it)")


def shown(command: Sequence[str]) -> str:
    """As a shell would take it."""
    import shlex

    return shlex.join(command)
