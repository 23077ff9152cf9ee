"""What run, resume and abort share: choosing plans and a tag, finding a run again, telling how it ended."""

import getpass
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from unmigrate.cli import options, planning, refilling, render, ways_out
from unmigrate.config import Config, load
from unmigrate.errors import EnvironmentProblem, RefusedError, UsageError

if TYPE_CHECKING:
    from unmigrate.runbook.durable import Session, Store
    from unmigrate.runbook.model import Result, Spec
    from unmigrate.runbook.scene import Scene


@dataclass(frozen=True, slots=True)
class Chosen:
    """A run that could begin. url: with its secrets; restored: of the database restored already, for the way "restore";
    refill: likewise, to refill from."""

    spec: "Spec"
    config: Config
    url: str
    restored: str | None = None
    refill: str | None = None


def decide(at: options.Where, name: str | None, last: int | None, to: str | None, flags: dict[str, Any]) -> Chosen:
    """The way, its plans from the vault or made on scratch, and the tag that fits. Raises as rollback does."""
    from unmigrate.cli.target import open_target
    from unmigrate.execute.inspect import inspect
    from unmigrate.execute.rollback import pending
    from unmigrate.park import vault

    config = load(at.project)
    with open_target(at) as target:
        vault.version(target.connection)  # one that may not be read would be taken for none
        if waiting := pending(target.connection):
            message = f"operation {waiting[0].id} is not finished"
            raise RefusedError(message, code="unfinished", remedy="unmigrate rollback finishes it first")
        if name is None and last is None and to is None:
            _refuse_next(at, target)
        if flags["way"] == "restore":
            if flags["refill"]:
                raise UsageError("--refill goes with the reverse way", code="ambiguous", remedy="leave out --refill, or --way restore")
            names = target.failed or target.applied[-planning.choose(target, name, last, to) :][::-1]
            flags = {**flags, "snapshot": _snapshot(at, config, target, flags, names[-1])}
            return Chosen(_spec(at, config, target, flags, tuple(names), ()), config, str(target.project.url), flags["database"])
        plans = _plans(at, target, name, last, to, flags)
        for plan in plans:
            if not plan.proved:
                raise planning.unproved(plan)
        plans[0] = inspect(target.connection, plans[0])
        names = [n for plan in plans for n in plan.migrations]
        refill, given = refilling.for_run(at, plans, flags["refill"]) if flags["refill"] else (None, None)
        spec = _spec(at, config, target, flags, tuple(names), tuple(p.to_json() for p in plans), refill)
        return Chosen(spec, config, str(target.project.url), refill=given)


def _refuse_next(at: options.Where, target: Any) -> None:
    """Raise RefusedError where the last run has rolled back what was applied last, and nothing was deployed since: asked for again, the
    same words would mean the migration before it.
    """
    try:
        here = [s for s in runs(at.project) if s.spec.project == str(at.project.resolve()) and s.result and s.result.state == "done"]
    except EnvironmentProblem as error:
        if error.code == "no-run":
            return
        raise
    standing = {*target.applied, *target.failed}
    if not here or not target.applied or standing & set(here[-1].spec.migrations):
        return
    finished = [row.finished_at for state in target.states if state.state == "applied" for row in state.rows if row.finished_at]
    if not target.failed and max(finished) < datetime.fromisoformat(here[-1].spec.began):
        message = (
            f"run {here[-1].spec.run} has rolled back {', '.join(here[-1].spec.migrations)} already; next would be {target.applied[-1]}"
        )
        raise RefusedError(message, code="rolled-back", remedy=f"unmigrate run rollback {target.applied[-1]}, if that is what you want")


def _snapshot(at: options.Where, config: Config, target: Any, flags: dict[str, Any], oldest: str) -> str | None:
    """Which snapshot is restored, None where that was done already. What this way needs must be there before anything begins."""
    from unmigrate.runbook.adapters import snapshots
    from unmigrate.snapshot.find import moments, require

    c = config.connection
    if not (c.env_file or c.kubernetes or c.aws or c.command):
        message = "unmigrate.toml does not say where the app's connection string stands"
        raise UsageError(message, code="no-connection", remedy="write [connection.env_file], .kubernetes, .aws or .command")
    if flags["database"] is not None:
        return None
    if config.snapshot.restore_command is None:
        url, schema = str(target.project.url), target.url.schema
        return snapshots.choose(config, url, at.project, os.environ, target.connection, schema, oldest, flags["snapshot"])
    if flags["snapshot"] is None:
        raise UsageError("which snapshot is to be restored?", code="no-snapshot", remedy="give --snapshot ID")
    if known := snapshots.known(config, str(target.project.url), at.project, os.environ, flags["snapshot"]):
        require(known, moments(target.connection, target.url.schema, oldest))
    return str(flags["snapshot"])


def _spec(
    at: options.Where, config: Config, target: Any, flags: dict[str, Any], names: tuple[str, ...], plans: tuple[dict[str, Any], ...],
    refill: dict[str, Any] | None = None,
) -> "Spec":  # fmt: skip
    from unmigrate.runbook.model import Spec
    from unmigrate.runbook.steps import names_for

    way = flags["way"]
    keep = {state.name for state in target.states if state.state == "applied"} - set(names)
    maintenance = bool(way == "restore" or flags["maintenance"] or config.maintenance.always)
    files = {"schema_file": _text(at.schema_file), "migrations": _text(at.migrations)}
    now = datetime.now(UTC)
    return Spec(
        run=f"{now:%Y%m%d-%H%M%S}-{uuid4().hex[:4]}", project=str(at.project.resolve()), way=way, migrations=names,
        display=target.url.display, schema=target.url.schema, plans=plans, refill=refill,
        steps=names_for(config, way, maintenance=maintenance, refill=refill is not None),
        snapshot={"id": flags["snapshot"]} if flags["snapshot"] else None, tag=flags["tag"] or fitting_tag(config, target, keep),
        approve=config.run.approve, maintenance=maintenance, accept_loss=flags["accept_loss"], lock_timeout_ms=flags["lock_timeout"],
        max_lock_seconds=flags["max_lock"], flags={"package": at.package, **files}, actor=actor(), began=now.isoformat(timespec="seconds"),
    )  # fmt: skip


def _text(path: Path | None) -> str | None:
    return str(path.resolve()) if path else None


def _plans(at: options.Where, target: Any, name: str | None, last: int | None, to: str | None, flags: dict[str, Any]) -> list[Any]:
    from unmigrate.execute.ways import refuse_namesakes

    if target.failed:
        return [planning.make_failed_plan(at, target, name)]
    if (plans := planning.stored(target, name, last, to)) is None:
        count, fill = planning.choose(target, name, last, to), planning.parse_fill(flags["fill"])
        planning.refuse_mixed(target, count)
        plans = [
            planning.make_plan(
                at, target.history(), count, schema=target.url.schema, major=target.major, strict=True, fill=fill, target=target
            )
        ]  # fmt: skip
    refuse_namesakes(plans)
    return ways_out.applied(plans, ways_out.parsed(flags))


def fitting_tag(config: Config, target: Any, keep: set[str]) -> str | None:
    """The newest tag that ships exactly what stays applied; None where git has none."""
    from unmigrate.runbook.adapters import git

    try:
        found = git.releases(target.project.root, target.project.migrations_dir, config.app.tags)
    except EnvironmentProblem:
        return None
    return next((r.tag for r in found if r.fits(keep)), None)


def actor() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return "unknown"


def scene_of(chosen: Chosen, allow: frozenset[str], *, as_json: bool = False) -> "Scene":
    from unmigrate.runbook.scene import Scene
    from unmigrate.runbook.store import Keep

    keep = Keep.of(chosen.spec.run, os.environ)
    if keep.get("source") is None and chosen.url:
        keep.put("source", chosen.url)
    if chosen.restored:
        keep.put("target", chosen.restored)
    if chosen.refill:
        from unmigrate.runbook.steps.refill import GIVEN

        keep.put(GIVEN, chosen.refill)
    return Scene(chosen.spec, chosen.config, keep, os.environ, say=render.say, allow=allow)


def scene_to_look(at: options.Where) -> "Scene":
    """A scene of no run, for questions that change nothing: every step there is. Raises what finding the project raises."""
    from unmigrate.cli.target import url_of
    from unmigrate.runbook.model import Spec
    from unmigrate.runbook.scene import Scene
    from unmigrate.runbook.steps import names_for
    from unmigrate.runbook.store import Fixed

    config, project = load(at.project), options.load_project(at)
    url = url_of(project)
    steps = {*names_for(config, "reverse", maintenance=True), *names_for(config, "restore", maintenance=True)}
    spec = Spec("doctor", str(at.project.resolve()), "reverse", (), url.display, url.schema, tuple(steps))
    return Scene(spec, config, Fixed({"source": str(project.url)}), os.environ)


def open_store(config: Config) -> "Store":
    from unmigrate.runbook.durable import Store
    from unmigrate.runbook.store import state_dir

    return Store.open(state_dir(os.environ), config.run.state_env, os.environ)


def runs(project: Path) -> list["Session"]:
    """The last session of every run."""
    last = {s.spec.run: s for s in open_store(load(project)).sessions()}
    return list(last.values())


def session(project: Path, run: str | None, *, ended: bool = False) -> "Session":
    """The last session of this run, or of the one run of this project that has not ended. Raises UsageError."""
    found = runs(project)
    if run is not None:
        match = [s for s in found if s.spec.run == run]
        if not match:
            raise UsageError(f"there is no run {run}", code="no-run", remedy="unmigrate run list")
        return match[0]
    here = [s for s in found if s.spec.project == str(project.resolve())]
    open_ = [s for s in here if s.result is None or s.result.state == "stopped"]
    candidates = open_ or (here[-1:] if ended else [])
    if len(candidates) != 1:
        names = ", ".join(s.spec.run for s in candidates)
        message = f"several runs wait: {names}" if candidates else "no run of this project waits to go on"
        raise UsageError(message, code="no-run", remedy="name one; unmigrate run list shows them")
    return candidates[0]


def scene_again(last: "Session", project: Path, url: str | None, allow: frozenset[str]) -> "Scene":
    """The scene of a run that goes on. url: needed only on another machine than where it began."""
    from unmigrate.prisma.url import parse_url
    from unmigrate.runbook.runner import require_same

    spec = last.spec
    if url:
        require_same(spec, parse_url(url).display)
    return scene_of(Chosen(spec, load(Path(spec.project) if Path(spec.project).is_dir() else project), url or ""), allow)


def finish(scene: "Scene", result: "Result", *, as_json: bool) -> int:
    """Say how it ended. Raises the error to end with, unless it is done."""
    from unmigrate.runbook import report
    from unmigrate.runbook.model import evidence
    from unmigrate.runbook.runner import ended, stuck

    if result.state != "done":
        report.write(scene.root / scene.config.run.report, scene.spec, result.records, result.state)
    if result.state == "done" and evidence("restore", result.records).get("losses"):
        scene.keep.reduce(("source", "target"))  # for carry-over --run, which forgets them
    elif result.state in ("done", "refused", "aborted"):
        scene.keep.forget()
    if as_json:
        render.print_json({"run": scene.spec.run, **result.to_json()})
    problem = ended(result, scene.spec, stuck(scene, result))
    if problem is not None:
        raise problem
    if not as_json:
        render.paragraph(f"Run {scene.spec.run}: {result.state}. Report: {scene.root / scene.config.run.report / scene.spec.run}.md", 0)
        for each in report.follow_ups(result.records):
            render.paragraph(f"- {each}", 0)
    return 0
