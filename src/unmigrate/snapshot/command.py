"""Snapshots by anything else: shell commands that print one line of JSON each (docs/snapshots.md has the contract).

They see what they need in their environment, secrets included, and nothing on their command line. A command that refuses ends with
status 3, one that lacks something with 4, and says why as {"error": code, "message", "remedy"}; any other status is a failure.
"""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from unmigrate.config.snapshot import Command as Config
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError, UnmigrateError, UsageError
from unmigrate.prisma.url import parse_url
from unmigrate.snapshot import programs, urls
from unmigrate.snapshot.provider import At, Restored, Say, Snapshot

_KINDS: dict[int, type[UnmigrateError]] = {2: UsageError, 3: RefusedError, 4: EnvironmentProblem}


class Command:
    """root: the folder that commands run in. environ: what they see besides what is told to them."""

    name = "command"

    def __init__(self, config: Config, url: str, root: Path, environ: Mapping[str, str] | None = None) -> None:
        self._config, self._text, self._url, self._root = config, url, parse_url(url), root
        self._environ = os.environ if environ is None else environ
        self.points: frozenset[str] = frozenset(config.points)

    # what there is

    def snapshots(self) -> tuple[Snapshot, ...]:
        found = self._run("list", self._config.list, {})
        if not isinstance(found, list):
            self._odd("list", "a list of snapshots")
        return tuple(sorted((self._snapshot("list", each) for each in found), key=lambda s: s.created_at))

    def _find(self, snapshot: str) -> Snapshot:
        for each in self.snapshots():
            if each.id == snapshot:
                return each
        remedy = "unmigrate snapshot list shows those there are"
        raise UsageError(f"there is no snapshot {snapshot} of {self._url.database}", code="no-snapshot", remedy=remedy)

    def lacking(self) -> tuple[str, ...]:
        found = []
        try:
            self.snapshots()
        except UnmigrateError as error:
            found.append(f"{error}: {error.remedy}")
        for verb, why in (("protect", "a snapshot that a restore point needs may be pruned"), ("discard", "what was restored stays")):
            if getattr(self._config, verb) is None:
                found.append(f"snapshot.command.{verb} is not given: {why}")
        return tuple(found)

    # making

    def create(self, label: str, say: Say) -> Snapshot:
        say(f"running snapshot.command.create for {self._url.display}")
        return self._snapshot("create", self._run("create", self._config.create, {"UNMIGRATE_LABEL": label}))

    def protect(self, snapshot: str, on: bool) -> Snapshot:
        self._find(snapshot)
        command = self._given("protect", self._config.protect)
        made = self._snapshot("protect", self._run("protect", command, self._protecting(snapshot, on)))
        if made.protected != on:
            self._odd("protect", f"protected: {'true' if on else 'false'}")
        return made

    def _protecting(self, snapshot: str, on: bool) -> dict[str, str]:
        return {"UNMIGRATE_SNAPSHOT": snapshot, "UNMIGRATE_PROTECT": "on" if on else "off"}

    def drop(self, snapshot: str) -> None:
        if self._find(snapshot).protected:
            raise RefusedError(f"{snapshot} is protected", code="protected", remedy=f"unmigrate snapshot protect {snapshot} --off")
        self._run("drop", self._config.drop, {"UNMIGRATE_SNAPSHOT": snapshot}, answer=False)

    # restoring

    def restore(self, at: At, to: str, say: Say) -> Restored:
        began = time.monotonic()
        if at.snapshot:
            self._find(at.snapshot)
        say(f"running snapshot.command.restore of {at} to {to}")
        found = self._run("restore", self._config.restore, _wanted(at, to))
        if not isinstance(found, dict) or not isinstance(found.get("url"), str):
            self._odd("restore", "an object with url")
        try:
            url = parse_url(found["url"])
        except UnmigrateError:
            self._odd("restore", "the URL of a PostgreSQL database")
        if url.display == self._url.display:
            message = f"snapshot.command.restore answers with the source itself, {url.display}"
            raise FailedError(message, code="same-database", remedy="it must restore into a new database, and print that one's URL")
        fresh = bool(found.get("fresh", True))
        return Restored(to, found["url"], url.display, fresh, round(time.monotonic() - began, 2), dict(found.get("detail") or {}))

    def discard(self, to: str) -> None:
        self._run("discard", self._given("discard", self._config.discard), {"UNMIGRATE_TO": to}, answer=False)

    # what would be done

    def shown_create(self, label: str) -> tuple[str, ...]:
        return (_shown(self._config.create, {"UNMIGRATE_LABEL": label}),)

    def shown_protect(self, snapshot: str, on: bool) -> tuple[str, ...]:
        return (_shown(self._given("protect", self._config.protect), self._protecting(snapshot, on)),)

    def shown_drop(self, snapshot: str) -> tuple[str, ...]:
        return (_shown(self._config.drop, {"UNMIGRATE_SNAPSHOT": snapshot}),)

    def shown_restore(self, at: At, to: str) -> tuple[str, ...]:
        return (_shown(self._config.restore, _wanted(at, to)),)

    # talking

    def _given(self, verb: str, command: str | None) -> str:
        if command is None:
            message = f"snapshot.command has no {verb}"
            raise UsageError(message, code=f"no-{verb}", remedy=f"write {verb} = … into [snapshot.command] of unmigrate.toml")
        return command

    def _run(self, verb: str, command: str, extra: Mapping[str, str], *, answer: bool = True) -> Any:
        """What it prints on its last line. answer: whether it must print something."""
        environ = {**self._environ, "DATABASE_URL": self._text, **extra}
        process = subprocess.Popen(
            command, shell=True, cwd=self._root, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )  # fmt: skip
        try:
            out, err = process.communicate(timeout=self._config.wait)
        except subprocess.TimeoutExpired:
            _end(process)
            message = f"snapshot.command.{verb} took longer than {self._config.wait:g} s, and was ended"
            remedy = "look why, or raise snapshot.command.wait; it must leave nothing that passes for whole"
            raise EnvironmentProblem(message, code="timeout", remedy=remedy) from None
        except BaseException:
            _end(process)
            raise
        if process.returncode:
            self._failed(verb, process.returncode, out, err)
        lines = [line for line in out.splitlines() if line.strip()]
        if not answer:
            return None
        try:
            return json.loads(lines[-1])
        except (IndexError, ValueError):
            self._odd(verb, "JSON on its last line")

    def _failed(self, verb: str, status: int, out: str, err: str) -> NoReturn:
        kind = _KINDS.get(status)
        for text in (out, err):
            found = _told(text)
            if kind and found:
                remedy = self._hushed(str(found.get("remedy") or f"see snapshot.command.{verb}"))
                raise kind(self._hushed(str(found.get("message") or "it refuses")), code=str(found["error"]), remedy=remedy)
        raise programs.problem(f"snapshot.command.{verb} ended with {status}", self._hushed(err or out))

    def _odd(self, verb: str, wanted: str) -> NoReturn:
        message = f"snapshot.command.{verb} does not print {wanted}"
        raise FailedError(message, code="contract", remedy="docs/snapshots.md says what it must print; run it by hand to see what it does")

    def _hushed(self, text: str) -> str:
        for secret in urls.secrets_of(self._text):
            text = text.replace(secret, "•••")
        return text

    def _snapshot(self, verb: str, value: Any) -> Snapshot:
        try:
            created = datetime.fromisoformat(value["created_at"])
            if created.tzinfo is None:
                self._odd(verb, "created_at with a time zone")
            size = None if value.get("size") is None else int(value["size"])
            detail = dict(value.get("detail") or {})
            lsn = value.get("lsn")
            return Snapshot(str(value["id"]), self.name, created.astimezone(UTC), lsn, size, bool(value.get("protected")), detail)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._odd(verb, "an object with id and created_at")


def _wanted(at: At, to: str) -> dict[str, str]:
    point = {"UNMIGRATE_SNAPSHOT": at.snapshot, "UNMIGRATE_LSN": at.lsn, "UNMIGRATE_TIME": at.time.isoformat() if at.time else None}
    return {"UNMIGRATE_TO": to, **{name: value for name, value in point.items() if value}}


def _shown(command: str, extra: Mapping[str, str]) -> str:
    return " ".join([*(f"{name}={shlex.quote(value)}" for name, value in sorted(extra.items())), command])


def _told(text: str) -> dict[str, Any] | None:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        found = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("error") else None


def _end(process: "subprocess.Popen[str]") -> None:
    """It, and what it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
