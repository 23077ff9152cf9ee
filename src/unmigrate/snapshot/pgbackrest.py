"""Backups of pgBackRest, and any point in time that its archive reaches, restored into a new instance on this machine.

A backup is of the whole server. Those that we make carry the database's clock and the label as annotations; of others pgBackRest's own
time counts, and a minute. Restoring stops right before the target, so that a migration whose deploy recorded the position is not in it.
"""

import json
import re
import secrets
import shlex
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.config.snapshot import PgBackRest as Config
from unmigrate.errors import EnvironmentProblem, RefusedError, UnmigrateError, UsageError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot import retention, urls, wal
from unmigrate.snapshot.backrest import Backrest, Raw
from unmigrate.snapshot.instance import Instance, free_port
from unmigrate.snapshot.provider import At, Restored, Say, Snapshot

AT, LABEL, PROTECTED, ID = "unmigrate-created-at", "unmigrate-label", "unmigrate-protected", "unmigrate-id"
_SLACK = timedelta(minutes=1)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class PgBackRest:
    """url: of the source database; the port, and the host if configured, of what is restored take the place of its own."""

    name = "pgbackrest"
    points = frozenset({"lsn", "time"})

    def __init__(self, config: Config, url: str, environ: Mapping[str, str]) -> None:
        self._config, self._text, self._url = config, url, parse_url(url)
        self._backrest = Backrest(config, environ)
        self.source_name = config.stanza

    # what there is

    def snapshots(self) -> tuple[Snapshot, ...]:
        found = _backups(self._backrest.info())
        notes = self._notes(found)
        return tuple(sorted((_snapshot(raw, notes.get(raw["label"], "")) for raw in found), key=lambda s: s.created_at))

    def _notes(self, backups: list[Raw]) -> dict[str, str]:
        """How long those that are protected last, by label."""
        kept = [raw for raw in backups if _protected(raw)]
        try:
            rules = retention.read(self._backrest, backups) if kept else None
        except EnvironmentProblem as error:
            return {raw["label"]: f"how long pgbackrest's own expire leaves it could not be asked: {error}" for raw in kept}
        return {raw["label"]: retention.told(raw, rules) for raw in kept} if rules else {}

    def _find(self, name: str) -> Raw:
        for raw in _backups(self._backrest.info()):
            if raw["label"] == name:
                return raw
        remedy = "unmigrate snapshot list shows those there are"
        raise UsageError(f"there is no snapshot {name} of stanza {self._config.stanza}", code="no-snapshot", remedy=remedy)

    def lacking(self) -> tuple[str, ...]:
        found = []
        try:
            info = self._backrest.info()
            self._require_same(info)
            self._backrest.bin_dir(_major(info))
            found += self._endangered(_backups(info))
            with closing(connect(self._url)) as connection:
                found += wal.lacking(connection)
        except UnmigrateError as error:
            found.append(f"{error}: {error.remedy}")
        root = Path(self._config.restore_root)
        if not root.is_dir():
            found.append(f"snapshot.pgbackrest.restore_root {root} is not there: make it, owned by {self._backrest.account or 'you'}")
        return tuple(found)

    def _endangered(self, backups: list[Raw]) -> list[str]:
        """Protected backups that pgbackrest itself prunes now, or with its next backup."""
        if not any(map(_protected, backups)):
            return []
        rules = retention.read(self._backrest, backups)
        soon = [raw for raw in backups if _protected(raw) and (left := retention.left(raw, rules)) is not None and left[0] <= 1]
        return [f"{raw['label']} is protected, but {retention.told(raw, rules)}" for raw in soon]

    def _require_same(self, info: Raw) -> None:
        """The stanza must be of this very server. One that cannot be reached is taken for it: it may be gone for good."""
        try:
            with closing(connect(self._url)) as connection:
                row = connection.execute("select system_identifier from pg_control_system()").fetchone()
        except (psycopg.OperationalError, EnvironmentProblem):
            return
        if row and info["db"] and int(info["db"][-1]["system-id"]) != int(row[0]):
            message = f"stanza {self._config.stanza} is of another server than {self._url.display}"
            raise RefusedError(message, code="other-server", remedy="check snapshot.pgbackrest.stanza, or pgbackrest stanza-upgrade")

    # making

    def create(self, label: str, say: Say) -> Snapshot:
        self._require_same(self._backrest.info())
        token = secrets.token_hex(8)
        say(f"pgbackrest backs up stanza {self._config.stanza}")
        self._backrest.run("backup", *self._create_options(label), f"--annotation={ID}={token}", say=say)
        made = next(raw for raw in _backups(self._backrest.info()) if raw.get("annotation", {}).get(ID) == token)
        with closing(connect(self._url)) as connection:
            row = connection.execute("select clock_timestamp()", binary=True).fetchone()
        assert row is not None
        self._annotate(made["label"], AT, row[0].astimezone(UTC).isoformat())
        return _snapshot(self._find(made["label"]))

    def _create_options(self, label: str) -> tuple[str, ...]:
        """--no-expire-auto: what pgbackrest would prune by the way might be what a restore point needs."""
        return (f"--type={self._config.backup_type}", "--start-fast", "--no-expire-auto", f"--annotation={LABEL}={label}")

    def _annotate(self, snapshot: str, key: str, value: str) -> None:
        self._backrest.run("annotate", f"--set={snapshot}", f"--annotation={key}={value}")

    def protect(self, snapshot: str, on: bool) -> Snapshot:
        """pgbackrest's own expire does not heed it: how long that leaves it is told. Raises RefusedError where it would prune it now."""
        raw, backups = self._find(snapshot), _backups(self._backrest.info())
        rules = retention.read(self._backrest, backups) if on else None
        if rules and snapshot in rules.pruned:
            message = f"pgbackrest's own expire would prune {snapshot} now: its retention is over"
            raise RefusedError(message, code="retention", remedy="raise repo1-retention-full in pgbackrest.conf, and try again")
        self._annotate(snapshot, PROTECTED, "true" if on else "false")
        return _snapshot(self._find(snapshot), retention.told(raw, rules) if rules else "")

    def drop(self, snapshot: str) -> None:
        if _snapshot(self._find(snapshot)).protected:
            raise RefusedError(f"{snapshot} is protected", code="protected", remedy=f"unmigrate snapshot protect {snapshot} --off")
        built = [raw["label"] for raw in _backups(self._backrest.info(), whole=False) if snapshot in (raw.get("reference") or ())]
        if built:
            message = f"{', '.join(built[:3])}{' …' if built[3:] else ''} build upon {snapshot}"
            raise RefusedError(message, code="needed", remedy="drop those first")
        self._backrest.run("expire", f"--set={snapshot}")

    # restoring

    def restore(self, at: At, to: str, say: Say) -> Restored:
        began, info = time.monotonic(), self._backrest.info()
        options = self._restore_options(info, at)
        instance, mark = self._instance(info, to), {"provider": self.name, "stanza": self._config.stanza, "at": _key(at)}
        there = instance.mark()
        self._refuse_taken(instance, there, mark, to, at)
        fresh = there is None or not there["done"]
        if fresh:
            self._require_same(info)
            there = self._recover(instance, mark, at, options, say)
        assert there is not None
        url = self._url_of(there["port"])
        instance.start(there, url, say, self._config.wait)
        if fresh:
            instance.write({**there, "done": True})
        detail = {"data": str(instance.data(there)), "port": there["port"]}
        return Restored(to, url, parse_url(url).display, fresh, round(time.monotonic() - began, 2), detail)

    def _recover(self, instance: Instance, mark: dict[str, Any], at: At, options: tuple[str, ...], say: Say) -> dict[str, Any]:
        if not at.snapshot:
            wal.push(self._url, at, say, self._config.wait)
        begun = instance.begin(mark, self._port())
        say(f"pgbackrest restores {at} into {instance.data(begun)}")
        self._backrest.run("restore", *self._where(instance.folder / begun["try"]), *options, say=say)
        instance.furnish(begun, self._settings(), self._text)
        say(f"recovering to {at} on port {begun['port']}")
        return begun

    def _where(self, folder: Path) -> tuple[str, ...]:
        """tablespace-map-all: tablespaces would be restored where those of the source are."""
        return (f"--pg1-path={folder}/data", f"--tablespace-map-all={folder}/tablespaces", "--archive-mode=off", "--target-action=promote")

    def _restore_options(self, info: Raw, at: At) -> tuple[str, ...]:
        """From which backup, to where. Raises UsageError, RefusedError."""
        if at.snapshot:
            self._find(at.snapshot)
            return (f"--set={at.snapshot}", "--type=immediate")
        found = _backups(info)
        if at.lsn:
            target = wal.number(at.lsn)
            good = [raw for raw in found if wal.number(raw["lsn"]["stop"]) <= target]
            what = (f"--target={at.lsn}", "--type=lsn")
        else:
            assert at.time is not None
            good = [raw for raw in found if datetime.fromtimestamp(raw["timestamp"]["stop"] + 1, UTC) <= at.time]
            what = (f"--target={at.time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00", "--type=time")
        if not good:
            message = f"no backup of stanza {self._config.stanza} is from before {at}"
            raise RefusedError(message, code="no-snapshot", remedy="roll back without one (unmigrate rollback); unmigrate snapshot list")
        return (f"--set={max(good, key=lambda raw: raw['timestamp']['stop'])['label']}", *what, "--target-exclusive")

    def _instance(self, info: Raw, to: str) -> Instance:
        if not _NAME.fullmatch(to):
            remedy = "use letters, digits, dashes, dots and underscores, 63 at most"
            raise UsageError(f"{to} is no name for a folder of an instance", code="name", remedy=remedy)
        return Instance(self._backrest, Path(self._config.restore_root) / to, self._backrest.bin_dir(_major(info)))

    def _refuse_taken(self, instance: Instance, there: dict[str, Any] | None, mark: dict[str, Any], to: str, at: At) -> None:
        ours = there is not None and all(there.get(key) == value for key, value in mark.items())
        empty = not instance.folder.exists() or (instance.folder.is_dir() and not any(instance.folder.iterdir()))
        if to in (self.source_name, self._url.database) or not (ours or (there is None and empty)):
            message = f"there is {to} already, and it is not restored from {at}"
            raise RefusedError(message, code="taken", remedy="give another name; nothing is ever restored over a database")

    def _port(self) -> int:
        taken = set()
        for mark in Path(self._config.restore_root).glob("*/unmigrate.json"):
            try:
                taken.add(int(json.loads(mark.read_text())["port"]))
            except (OSError, ValueError, KeyError, TypeError):
                continue
        return free_port(self._config.port, frozenset(taken))

    def _settings(self) -> dict[str, str]:
        pairs = (each.partition("=") for each in self._config.settings)
        return {name.strip(): value.strip() for name, _, value in pairs}

    def _url_of(self, port: int) -> str:
        return urls.ported(self._text, host=self._config.host, port=port)

    def discard(self, to: str) -> None:
        instance = self._instance(self._backrest.info(), to)
        if to == self.source_name or (instance.folder.exists() and instance.mark() is None) or to == self._url.database:
            raise RefusedError(f"{to} was not restored by unmigrate", code="not-ours", remedy="remove it by hand if it is of no use")
        if instance.folder.exists():
            instance.remove()

    # what would be done

    def _shown(self, verb: str, *options: str) -> str:
        return shlex.join(self._backrest.as_account(self._backrest.command(verb, *options)))

    def shown_create(self, label: str) -> tuple[str, ...]:
        return (self._shown("backup", *self._create_options(label)),)

    def shown_protect(self, snapshot: str, on: bool) -> tuple[str, ...]:
        return (self._shown("annotate", f"--set={snapshot}", f"--annotation={PROTECTED}={'true' if on else 'false'}"),)

    def shown_drop(self, snapshot: str) -> tuple[str, ...]:
        return (self._shown("expire", f"--set={snapshot}"),)

    def shown_restore(self, at: At, to: str) -> tuple[str, ...]:
        info = self._backrest.info()
        instance, options = self._instance(info, to), self._restore_options(info, at)
        folder = instance.folder / "TRY"
        start = [str(instance.bin_dir / "pg_ctl"), "-D", f"{folder}/data", "-l", str(instance.folder / "log"), "-w", "start"]
        pushed = () if at.snapshot else ("SELECT pg_switch_wal()  -- on the source, where the archive does not reach that far",)
        return (*pushed, self._shown("restore", *self._where(folder), *options), shlex.join(self._backrest.as_account(start)))


def _backups(info: Raw, *, whole: bool = True) -> list[Raw]:
    """Of the server as it is now (a stanza may have been upgraded). whole: without those that met broken pages."""
    current = info["db"][-1]["id"] if info.get("db") else None
    return [raw for raw in info.get("backup", []) if raw["database"]["id"] == current and not (whole and raw.get("error"))]


def _protected(raw: Raw) -> bool:
    return (raw.get("annotation") or {}).get(PROTECTED) == "true"


def _snapshot(raw: Raw, note: str = "") -> Snapshot:
    notes: dict[str, str] = raw.get("annotation") or {}
    at = datetime.fromisoformat(notes[AT]) if AT in notes else datetime.fromtimestamp(raw["timestamp"]["stop"] + 1, UTC) + _SLACK
    detail = {"type": raw["type"], **({"label": notes[LABEL]} if LABEL in notes else {}), **({"note": note} if note else {})}
    return Snapshot(raw["label"], "pgbackrest", at, raw["lsn"]["stop"], raw["info"]["size"], _protected(raw), detail)


def _major(info: Raw) -> int:
    return int(str(info["db"][-1]["version"]).split(".")[0])


def _key(at: At) -> str:
    return at.snapshot or (f"lsn {at.lsn}" if at.lsn else f"time {at.time.isoformat() if at.time else ''}")
