"""What a run keeps on this machine: a folder per run, for its owner's eyes only, with connection strings and a lock.

Runs themselves are kept by `durable`. Connection strings never go there: they stand in `private.json` (mode 0600) beside the lock.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unmigrate.errors import EnvironmentProblem, RefusedError

_RUN = re.compile(r"[0-9a-z_-]+")


def state_dir(environ: Mapping[str, str]) -> Path:
    """$UNMIGRATE_STATE, else unmigrate in $XDG_STATE_HOME or ~/.local/state; made for its owner alone."""
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".local" / "state")
    folder = Path(environ.get("UNMIGRATE_STATE") or Path(base) / "unmigrate")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        remedy = "set UNMIGRATE_STATE to a folder that you may write"
        raise EnvironmentProblem(f"{folder} cannot be made: {error.strerror}", code="state", remedy=remedy) from error
    return folder


def _unkept(folder: Path, error: OSError) -> EnvironmentProblem:
    remedy = "make room there, or let UNMIGRATE_STATE name a folder that you may write; then give the same command again"
    return EnvironmentProblem(f"{folder} cannot be written: {error.strerror}", code="state", remedy=remedy)


class Keep:
    """The private values of one run: {name: text}, written durably before anything relies on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "private.json"

    @classmethod
    def of(cls, run: str, environ: Mapping[str, str]) -> "Keep":
        if not _RUN.fullmatch(run):
            raise RefusedError(f"{run!r} is no run's name", code="no-run", remedy="unmigrate run list")
        folder = state_dir(environ) / "runs" / run
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise _unkept(folder, error) from error
        return cls(folder)

    def get(self, name: str) -> str | None:
        return self._read().get(name)

    def values(self) -> tuple[str, ...]:
        return tuple(self._read().values())

    def put(self, name: str, value: str) -> None:
        self._write({**self._read(), name: value})

    def _write(self, values: dict[str, str]) -> None:
        temporary = self._file.with_suffix(".new")
        try:
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(values, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _unkept(self.folder, error) from error
        temporary.replace(self._file)

    def reduce(self, names: Collection[str]) -> None:
        """Forget all but these."""
        values = {name: value for name, value in self._read().items() if name in names}
        self._write(values)

    def forget(self) -> None:
        """Take the private values away: the run is over."""
        self._file.unlink(missing_ok=True)

    def discard(self) -> None:
        """The run never began: leave no trace of it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self) -> dict[str, str]:
        try:
            values: dict[str, str] = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return values

    @contextmanager
    def locked(self) -> Iterator[None]:
        """This process alone works at the run on this machine. Raises RefusedError where another does."""
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                message = f"another process works at run {self.folder.name}"
                raise RefusedError(message, code="busy", remedy="wait for it, or end it, and try again") from error
            yield


class Fixed(Keep):
    """Values that are kept nowhere."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(Path())
        self._values = values

    def _read(self) -> dict[str, str]:
        return self._values

    def put(self, name: str, value: str) -> None:
        raise AssertionError("nothing is kept here")
