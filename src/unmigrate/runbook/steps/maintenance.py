"""Maintenance on, writers observed to be gone, maintenance off."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psycopg

from unmigrate.errors import FailedError, UnmigrateError
from unmigrate.runbook.adapters import database, http
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step
from unmigrate.runbook.steps import app
from unmigrate.words import amount


def _cluster(scene: Scene) -> Any:
    from unmigrate.runbook.adapters import kubernetes

    config = scene.config.maintenance.kubernetes
    return kubernetes.Cluster.open(config.namespace, config.context) if config else None


def _prepare(scene: Scene) -> Json:
    m, found = scene.config.maintenance, {}
    if m.kubernetes:
        found["kubernetes"] = _cluster(scene).scaling(m.kubernetes)
    if m.database:
        with closing_connection(scene) as connection:
            database.require(connection)
            found["database"] = database.before(connection, m.database)
    return found


def _apply(scene: Scene, prepared: Json) -> Json:
    m, said = scene.config.maintenance, []
    if m.http:
        said += http.Client(scene.environ).run([m.http.on], scene.left())
        scene.trace("maintenance-on: http")
    if m.command:
        said += _command(scene, m.command.on)
        if m.command.status:
            said += _command(scene, m.command.status)
        scene.trace("maintenance-on: command")
    if "kubernetes" in prepared:
        said += _cluster(scene).scale_down(prepared["kubernetes"], scene)
    if "database" in prepared:
        with closing_connection(scene) as connection:
            said += database.enter(connection, prepared["database"], scene.left)
        scene.trace("maintenance-on: database")
    return {"said": said}


def _lift(scene: Scene, prepared: Json) -> Json:
    """In the opposite order: the database admits writers before they start."""
    m, said = scene.config.maintenance, []
    if "database" in prepared:
        with closing_connection(scene, scene.source_text()) as connection:
            said += database.leave(connection, prepared["database"])
        scene.trace("maintenance-off: database")
    if "kubernetes" in prepared:
        said += _cluster(scene).scale_up(prepared["kubernetes"], scene)
    if m.command:
        said += _command(scene, m.command.off)
        scene.trace("maintenance-off: command")
    if m.http:
        said += http.Client(scene.environ).run([m.http.off], scene.left())
        scene.trace("maintenance-off: http")
    return {"said": said}


def _off(scene: Scene, prepared: Json) -> Json:
    """After a restore the old database stays closed: whoever still has its connection string must not write where it is lost."""
    stood = dict(scene.prepared("maintenance-on"))
    paused = stood.get("kubernetes", {}).get("argocd", [])
    if paused and scene.config.app.kubernetes and "app" in scene.spec.steps:
        stood["kubernetes"] = {**stood["kubernetes"], "argocd": []}  # it would deploy the bad version again
    done = _lift_as_way(scene, stood, prepared)
    return {**done, "follow_up": app.argocd_follow_up(paused, scene)} if paused and not stood["kubernetes"]["argocd"] else done


def _lift_as_way(scene: Scene, stood: Json, prepared: Json) -> Json:
    if scene.spec.way != "restore" or "database" not in stood:
        return _lift(scene, stood)
    said = []
    if any(r.step == "maintenance-off" and r.phase == "undo" for r in scene.tale):  # the restored one was closed as well
        with closing_connection(scene, scene.current_text()) as connection:
            said += database.leave(connection, prepared["database"])
    del stood["database"]
    return {"said": [*said, *_lift(scene, stood)["said"], f"{scene.spec.display} stays closed to writers"]}


def _before_off(scene: Scene) -> Json:
    """Of the restored database: what was written so far (more are people's rows), and its settings, to come back to."""
    if scene.spec.way != "restore":
        return {}
    if first := scene.prepared("maintenance-off"):
        return first
    config = scene.config.maintenance.database
    with closing_connection(scene, scene.current_text()) as connection:
        return {**database.mark(connection), **({"database": database.before(connection, config)} if config else {})}


def _on_again(scene: Scene, prepared: Json) -> Json:
    """Maintenance as before; after a restore also at the restored database, which people use by now."""
    done = _apply(scene, scene.prepared("maintenance-on"))
    if "database" not in prepared:
        return done
    with closing_connection(scene, scene.current_text()) as connection:
        return {"said": [*done["said"], *database.enter(connection, prepared["database"], scene.left)]}


def _command(scene: Scene, text: str) -> list[str]:
    return [scene.shell_line(text, {"UNMIGRATE_STEP": "maintenance"})]


def _shown(scene: Scene) -> list[str]:
    m, lines = scene.config.maintenance, []
    if m.http:
        lines.append(http.shown(m.http.on))
    if m.command:
        lines += [m.command.on, *([m.command.status] if m.command.status else [])]
    known = _known(scene)
    if m.kubernetes:
        lines += _names(scene, lambda cluster: cluster.shown_down(m.kubernetes, known.get("kubernetes")))
    if m.database:
        lines += database.shown(m.database, scene.source().database, known.get("database", {}))
    return lines


def _known(scene: Scene) -> Json:
    """What stands now, or stood before: a dry run shows what would be put back, as far as it may be asked."""
    if found := scene.prepared("maintenance-on"):
        return found
    with suppress(UnmigrateError, psycopg.Error):
        return _prepare(scene)
    return {}


def _shown_off(scene: Scene) -> list[str]:
    return _shown_lift(scene, _known(scene))


def _shown_lift(scene: Scene, prepared: Json) -> list[str]:
    m, lines = scene.config.maintenance, []
    if m.database:
        config = prepared.get("database") or {"mode": m.database.mode, "setting": None, "grants": []}
        lines += database.shown_undo(config, scene.source().database) or ["GRANT CONNECT to whoever had it"]
    if m.kubernetes:
        lines += _names(scene, lambda cluster: cluster.shown_up(prepared.get("kubernetes"), m.kubernetes))
    if m.command:
        lines.append(m.command.off)
    if m.http:
        lines.append(http.shown(m.http.off))
    return lines


def _names(scene: Scene, ask: Callable[[Any], list[str]]) -> list[str]:
    from unmigrate.runbook.adapters import kubernetes

    return ask(kubernetes)


def _quiet(scene: Scene, prepared: Json) -> Json:
    m = scene.config.maintenance
    with closing_connection(scene) as connection:
        return database.watch(connection, m.quiet, min(m.wait, scene.left()), scene.pause)


def refuse_writes(scene: Scene) -> None:
    """Raises FailedError where rows were written to the source since writers were seen to be gone."""
    seen = scene.evidence("quiet")
    if not seen:
        return
    with closing_connection(scene, scene.source_text()) as connection:
        moved = database.since(connection, seen, scene.pause)
    if moved:
        tables = ", ".join(f"{table} ({amount(count, 'row')})" for table, count in sorted(moved.items())[:5])
        message = f"somebody wrote although maintenance is on: {tables}"
        raise FailedError(message, code="writes-seen", remedy="find and stop the writer")


ON = Step("maintenance-on", "maintenance on", _shown, _apply, prepare=_prepare, undo=_lift, shown_undo=_shown_lift, tries=3)
QUIET = Step(
    "quiet", "wait until writers are gone",
    lambda scene: [f"watch pg_stat_activity, pg_stat_user_tables and transaction ids until quiet for {scene.config.maintenance.quiet:g} s"],
    _quiet,
)  # fmt: skip
OFF = Step(
    "maintenance-off", "maintenance off", _shown_off, _off, prepare=_before_off,
    undo=_on_again, shown_undo=lambda scene, _: _shown(scene), tries=3,
)  # fmt: skip
