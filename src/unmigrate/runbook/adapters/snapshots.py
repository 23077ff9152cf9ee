"""Snapshots as a run needs them: one made for protection, one restored into a new database. Providers plug in here.

Restored is never over the database that is there. The URL that comes back is a secret.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg

from unmigrate.config import Config
from unmigrate.config.snapshot import Snapshot as Section
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.snapshot.choice import counters, written_since
from unmigrate.snapshot.find import last_before, moments, require
from unmigrate.snapshot.open import open_provider
from unmigrate.snapshot.provider import At, Snapshot

_TIME = "time:"
POINT = "lsn:"  # a position of the log, in the place of a snapshot's id


class Source(Protocol):
    """Both may be called again after an interruption, with the same run, and then go on or answer as before."""

    def create(self, scene: Scene) -> str:
        """Make a snapshot now; its id."""
        ...

    def restore(self, scene: Scene, snapshot: str) -> str:
        """Restore a snapshot into a new database; its URL."""
        ...

    def shown_create(self) -> list[str]: ...

    def shown_restore(self, snapshot: str) -> list[str]: ...


class Commands:
    """Shell commands: they see UNMIGRATE_RUN and UNMIGRATE_SNAPSHOT, and DATABASE_URL of the database that is there."""

    def __init__(self, config: Section) -> None:
        self._config = config

    def create(self, scene: Scene) -> str:
        return self._run(scene, self._config.create_command or "", "").strip()

    def restore(self, scene: Scene, snapshot: str) -> str:
        lines = self._run(scene, self._config.restore_command or "", snapshot).strip().splitlines()
        if not lines or "://" not in lines[-1]:
            message = "snapshot.restore_command ended with 0, but its last line is no URL of a new database"
            raise FailedError(message, code="command", remedy="let it print the URL last")
        return lines[-1].strip()

    def shown_create(self) -> list[str]:
        return [self._config.create_command or ""]

    def shown_restore(self, snapshot: str) -> list[str]:
        return [f"UNMIGRATE_SNAPSHOT={snapshot} {self._config.restore_command}  # its last line is the new database's URL"]

    def _run(self, scene: Scene, text: str, snapshot: str) -> str:
        return scene.shell(text, {"UNMIGRATE_SNAPSHOT": snapshot, "DATABASE_URL": scene.source_text()}, hush=True)


class Provided:
    """A provider of [snapshot]."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        # With writers seen to be gone, what is left is our own session, which is made again.
        ending = scene.spec.maintenance
        self._provider = open_provider(scene.config, _writable(scene.source_text()), scene.root, scene.environ, end_sessions=ending)

    def create(self, scene: Scene) -> str:
        label = self._label().replace("-", "_")  # as providers write it that may have no dashes
        found = self._provider.snapshots()  # maybe by this run, before it was interrupted; some tell the label beside the id
        made = [s.id for s in found if label in f"{s.id} {s.detail.get('label', '')}".replace("-", "_")]
        return made[-1] if made else self._provider.create(self._label(), scene.say).id

    def restore(self, scene: Scene, snapshot: str) -> str:
        return _as_app(self._provider.restore(_at(snapshot), self._new(), scene.say).url, scene.source_text())

    def snapshots(self) -> tuple[Any, ...]:
        return self._provider.snapshots()

    def lacking(self) -> tuple[str, ...]:
        """What is missing for making and restoring."""
        return self._provider.lacking()

    def shown_create(self) -> list[str]:
        return list(self._provider.shown_create(self._label()))

    def shown_restore(self, snapshot: str) -> list[str]:
        return list(self._provider.shown_restore(_at(snapshot), self._new()))

    def _label(self) -> str:
        return f"run-{self._scene.spec.run}"

    def _new(self) -> str:
        """A name of the new database that says where it comes from, within PostgreSQL's 63 bytes."""
        run = re.sub(r"[^a-z0-9]", "_", self._scene.spec.run)
        return f"{self._scene.source().database[: 62 - len(run)]}_{run}"


class Copy:
    """What a run restores beside the database to refill from; its name says of which run it is."""

    def __init__(self, scene: Scene) -> None:
        self._provider = open_provider(scene.config, _writable(scene.source_text()), scene.root, scene.environ)
        database = scene.source().database.encode()[:30].decode(errors="ignore")
        self.name = f"{database}-refill-{scene.spec.run}".replace("_", "-")

    def restore(self, at: str, tables: Sequence[str] | None, say: Callable[[str], None]) -> str:
        """Its URL."""
        return self._provider.restore(_some(at, tables), self.name, say).url

    def discard(self) -> None:
        self._provider.discard(self.name)

    def shown(self, at: str, tables: Sequence[str] | None) -> list[str]:
        return list(self._provider.shown_restore(_some(at, tables), self.name))


def key(at: At) -> str:
    """What to restore to, as text."""
    return at.snapshot or (f"{POINT}{at.lsn}" if at.lsn else f"{_TIME}{at.time.isoformat() if at.time else ''}")


def _some(at: str, tables: Sequence[str] | None) -> At:
    return replace(_at(at), tables=None if tables is None else tuple(tables))


def _at(text: str) -> At:
    if text.startswith(_TIME):
        return At(time=datetime.fromisoformat(text.removeprefix(_TIME)))
    return At(lsn=text.removeprefix(POINT)) if text.startswith(POINT) else At(snapshot=text)


def _writable(text: str) -> str:
    """The URL for a provider, which must be able to work while maintenance makes the database read-only."""
    parts = urlsplit(text)
    pairs = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != "options"]
    options = " ".join([*(v for k, v in parse_qsl(parts.query) if k == "options"), "-c default_transaction_read_only=off"])
    return urlunsplit(parts._replace(query=urlencode([*pairs, ("options", options)], quote_via=quote)))


def _as_app(restored: str, source_: str) -> str:
    """The restored database's URL without what was added for the provider."""

    def options(text: str, *, own: bool) -> list[str]:
        return [part for part in urlsplit(text).query.split("&") if part and part.startswith("options=") == own]

    return urlunsplit(urlsplit(restored)._replace(query="&".join([*options(restored, own=False), *options(source_, own=True)])))


def source(scene: Scene, *, restoring: bool) -> Source:
    """Who makes, or restores, snapshots with this configuration: its commands, else its provider."""
    config = scene.config.snapshot
    wanted = config.restore_command if restoring else config.create_command
    return Commands(config) if wanted else Provided(scene)


def missing(scene: Scene) -> tuple[str, ...] | None:
    """What the providers lack that this run uses; None where it uses none."""
    config = scene.config.snapshot
    makes = "snapshot" in scene.spec.steps and config.create_command is None
    restores = "restore" in scene.spec.steps and config.restore_command is None and scene.spec.snapshot is not None
    restores = restores or ("refill-source" in scene.spec.steps and bool((scene.spec.refill or {}).get("at")))
    return Provided(scene).lacking() if makes or restores else None


def known(config: Config, url: str, root: Path, environ: Mapping[str, str], snapshot: str) -> Snapshot | None:
    """What the provider knows of a snapshot; None too where there is none that could be asked, as commands do its work."""
    try:
        found = open_provider(config, url, root, environ).snapshots()
    except EnvironmentProblem:
        return None
    return next((s for s in found if s.id == snapshot), None)


def untold(scene: Scene) -> bool:
    """Whether nothing tells of what time the snapshot is before it is restored."""
    given = str((scene.spec.snapshot or {}).get("id", ""))
    commands = scene.config.snapshot.restore_command is not None
    return commands and known(scene.config, _writable(scene.source_text()), scene.root, scene.environ, given) is None


def named(snapshot: str) -> str:
    """A snapshot as people are told of it."""
    if snapshot.startswith(POINT):
        return f"the position {snapshot.removeprefix(POINT)}, right before the deploy"
    return f"the snapshot {snapshot}" if snapshot else "the snapshot"


def written(scene: Scene, snapshot: str) -> dict[str, int] | None:
    """Rows written by table since a snapshot was made, by the server's counters; None where that cannot be known."""
    if scene.config.snapshot.restore_command or snapshot.startswith(POINT):
        return None
    made = next((s for s in Provided(scene).snapshots() if s.id == snapshot), None)
    if made is None:
        raise RefusedError(f"there is no snapshot {snapshot}", code="no-snapshot", remedy="unmigrate snapshot list")
    with closing_connection(scene) as connection:
        return written_since(made.detail.get("counters"), counters(connection))


def choose(
    config: Config, url: str, root: Path, environ: Mapping[str, str], connection: psycopg.Connection[Any], schema: str, migration: str,
    named: str | None,
) -> str:  # fmt: skip
    """What to restore: the snapshot named, else the position that the deploy recorded, with a provider that restores to one, else the last
    snapshot from before the migration. Raises RefusedError where none qualifies."""
    provider = open_provider(config, url, root, environ)
    found, of = provider.snapshots(), moments(connection, schema, migration)
    if named is None and of.lsn and "lsn" in provider.points:
        provider.shown_restore(At(lsn=of.lsn), "x")  # refuses where nothing reaches it
        return f"{POINT}{of.lsn}"
    if named is None:
        return last_before(found, of).id
    match = next((s for s in found if s.id == named), None)
    if match is None:
        raise RefusedError(f"there is no snapshot {named}", code="no-snapshot", remedy="unmigrate snapshot list")
    require(match, of)
    return match.id
