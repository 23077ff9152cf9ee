"""A protective snapshot, and the way by restoring: a new database beside the old one, looked at before anything is switched to it."""

from typing import Any

import psycopg

from unmigrate.errors import FailedError, RefusedError
from unmigrate.prisma.ledger import read_ledger, states
from unmigrate.prisma.url import parse_url
from unmigrate.runbook.adapters import contents, snapshots
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step
from unmigrate.snapshot import verify


def _protect(scene: Scene, prepared: Json) -> Json:
    made = snapshots.source(scene, restoring=False).create(scene)
    return {"said": [f"snapshot {made or '(without a name)'}"], "snapshot": made}


def _restore(scene: Scene, prepared: Json) -> Json:
    given = scene.spec.snapshot or {}
    target = scene.keep.get("target")
    if target is None:
        target = snapshots.source(scene, restoring=True).restore(scene, str(given.get("id", "")))
        scene.trace("restore: restored")
        scene.keep.put("target", target)
    scene.trace("restore: kept")
    return _look(scene, target)


def _look(scene: Scene, target: str) -> Json:
    """The restored database must be another one, from before the migrations, with nothing half done; what it lacks is counted."""
    display = parse_url(target).display
    losses = compared(scene, target)
    said = [f"restored as {display}", *([f"it lacks what was written since: {contents.told(losses)}"] if losses else [])]
    if losses and not scene.consents:
        raise RefusedError(f"this loses what was written since the snapshot: {contents.told(losses)}", code="loss")
    later = f"unmigrate carry-over --run {scene.spec.run} counts what was written since, and brings it over with --merge"
    follow_up = {"follow_up": later} if losses else {}
    return {"said": [*said, "the old database is kept"], "losses": losses, "database": display, **follow_up}


def compared(scene: Scene, target: str) -> list[Json]:
    """What the database in use has that the restored one lacks. Raises RefusedError, FailedError for one that must not be switched to."""
    with closing_connection(scene) as old, closing_connection(scene, target) as new:
        verify.require_before(new, old, scene.spec.migrations, scene.spec.schema)
        verify.require_readable(new)
        _same_history(old, new, scene)
        return contents.losses(old, new)


def _same_history(old: psycopg.Connection[Any], new: psycopg.Connection[Any], scene: Scene) -> None:
    """What stays applied here must be applied there, as an older snapshot would undo more than was asked for; and nothing else."""
    there = {s.name for s in states((), read_ledger(new, scene.spec.schema) or ()) if s.state == "applied"}
    here = {s.name for s in states((), read_ledger(old, scene.spec.schema) or ()) if s.state == "applied"}
    if missing := sorted(here - there - set(scene.spec.migrations)):
        message = f"the restored database lacks {', '.join(missing)} too"
        raise FailedError(message, code="snapshot-old", remedy=f"choose a newer snapshot, or roll back to before {missing[0]}")
    if strange := sorted(there - here):
        message = f"the restored database is not of this one: {', '.join(strange)} was never applied here"
        raise FailedError(message, code="other-history", remedy="choose a snapshot of this database")


def _kept(scene: Scene, prepared: Json) -> Json:
    target = scene.keep.get("target")
    if target is None:
        return {"said": ["nothing had been restored"]}
    return {"said": [f"{parse_url(target).display} is kept"], "follow_up": f"drop {parse_url(target).display} when it is of no use"}


def _shown(scene: Scene) -> list[str]:
    target = scene.keep.get("target")
    if target is not None:
        return [f"look at {parse_url(target).display}: ledger, history, rows"]
    return snapshots.source(scene, restoring=True).shown_restore(str((scene.spec.snapshot or {}).get("id", "")))


def _shown_protect(scene: Scene) -> list[str]:
    return snapshots.source(scene, restoring=False).shown_create()


PROTECT = Step("snapshot", "protective snapshot", _shown_protect, _protect, tries=2)
STEP = Step("restore", "restore into a new database", _shown, _restore, undo=_kept)
