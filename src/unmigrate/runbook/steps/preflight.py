"""Before anything is changed: every adapter's access, the way back as a dry run, and the checks as they stand now."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

import psycopg

from unmigrate.errors import EnvironmentProblem, UnmigrateError
from unmigrate.runbook import foresight
from unmigrate.runbook.adapters import contents, database, git, http, snapshots, webhook
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.step import Step
from unmigrate.runbook.steps import checks, connection

Access = tuple[str, Callable[[], str]]


def accesses(scene: Scene) -> Iterator[Access]:
    """(what, a question that changes nothing and raises where access is missing) for all that the run's steps use."""
    c, steps = scene.config, scene.spec.steps
    if c.announce.webhook_env and "announce-begin" in steps:
        yield "announce", lambda: f"{c.announce.webhook_env} is set" if webhook.url(c.announce.webhook_env or "", scene.environ) else ""
    if c.maintenance.database and "maintenance-on" in steps:
        yield "maintenance at the database", lambda: _database(scene)
    if (k := c.maintenance.kubernetes) and "maintenance-on" in steps:
        yield "maintenance in the cluster", lambda: _cluster(k.namespace, k.context).access_scale(k)
    if (lacking := snapshots.missing(scene)) is not None:
        yield "snapshots", lambda: _snapshots(lacking)
    if "connection" in steps:
        yield "connection string", lambda: _places(scene)
    if a := c.app.kubernetes:
        yield "app in the cluster", lambda: _cluster(a.namespace, a.context).access_app(a)
    if c.app.checkout:
        yield "checkout", lambda: _checkout(scene)
    if scene.spec.tag and (c.app.checkout or c.app.deploy):
        yield "tag", lambda: f"{scene.spec.tag} is {git.commit_of(scene.root, scene.spec.tag or '')[:12]}"
    requests = [r for check in c.checks.http for r in check.requests]
    if missing := sorted(http.variables(requests) - set(scene.environ)):
        yield "variables of checks", lambda: _missing(missing)


def _database(scene: Scene) -> str:
    with closing_connection(scene) as connection_:
        database.require(connection_)
    return "may alter the database and end other sessions"


def _cluster(namespace: str, context: str | None):  # type: ignore[no-untyped-def]  # the library is optional
    from unmigrate.runbook.adapters import kubernetes

    return kubernetes.Cluster.open(namespace, context)


def _snapshots(lacking: tuple[str, ...]) -> str:
    if lacking:
        raise EnvironmentProblem("; ".join(lacking), code="snapshots", remedy="give what is missing, or another provider in [snapshot]")
    return "may be made and restored"


def _places(scene: Scene) -> str:
    found = connection.places(scene)
    for place in found:
        place.get()
    return ", ".join(place.name for place in found)


def _checkout(scene: Scene) -> str:
    worktree = scene.root / (scene.config.app.checkout or "")
    git.refuse_dirty(worktree)
    return f"{worktree} is at {git.head(worktree)}"


def _missing(names: list[str]) -> str:
    raise EnvironmentProblem(f"not set: {', '.join(names)}", code="variable", remedy="set them: checks use them")


def _apply(scene: Scene, prepared: Json) -> Json:
    said = []
    for what, ask in accesses(scene):
        scene.left()
        said.append(f"{what}: {ask()}")
    said += _foreseen(scene)
    before, untold = _now(scene)
    return {"said": [*said, *untold], "checks_before": before}


def _foreseen(scene: Scene) -> list[str]:
    """The way back as a dry run, and what it loses. Raises what would stop it."""
    found = foresight.foresee(scene)
    if found.refusal is not None:
        raise found.refusal
    lost = f"will be lost, as consented to ({found.basis}): {contents.told(found.losses)}"
    return [*found.passed, *([lost] if found.losses else [])]


def _now(scene: Scene) -> tuple[list[Json], list[str]]:
    """The checks as they stand, else why they could not be asked. What fails already is not blamed on the way back, and stops nothing."""
    try:
        with closing_connection(scene) as connection_:
            found = checks.run_sql(scene.config, connection_)
        found += checks.run_http(scene.config, scene.environ, attempts=1, left=scene.left)
    except (UnmigrateError, psycopg.Error) as error:
        return [], [f"how the checks stood before is not known: {error}"]
    return [asdict(o) for o in found], []


STEP = Step(
    "preflight",
    "look before",
    lambda scene: [f"ask: {what}" for what, _ in accesses(scene)] + ["the way back as a dry run, and what it loses", "all checks"],
    _apply,
)
