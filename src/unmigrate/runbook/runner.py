"""Working at a run: one phase of one step becomes one record; a session goes forward or back until it ends.

Only one process works at a run, and at a database: a lock file, and an advisory lock on the database the run is about.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from unmigrate.errors import EnvironmentProblem, FailedError, PartialError, RefusedError, UnmigrateError
from unmigrate.runbook import flow
from unmigrate.runbook.adapters.command import masked
from unmigrate.runbook.durable import Durable, Session, Store, in_main
from unmigrate.runbook.model import Direction, Json, Phase, Record, Result, Spec, UnmetError
from unmigrate.runbook.scene import Scene
from unmigrate.runbook.step import Step
from unmigrate.runbook.steps import steps_of

_WORDS = ("said", "text", "follow_up", "checks", "checks_before")  # of a record's data; the rest is what steps come back to
FENCE = 72707371  # beside Prisma's 72707369
# Codes of what is wrong with a snapshot: a run keeps to the one that it began with.
_OTHER = ("snapshot-after", "snapshot-old", "in-flight", "no-ledger", "other-history", "same-database", "catalogs")
_FINAL = ("no-way", "unfinished", "no-old-value")  # of objections
_SETTLED = ("refused", "done", "aborted")
Ask = Callable[[Step, list[str]], bool]


class Fence:
    """Nobody else's run works at this database. The lock ends with the process, so a killed run's database is free at once."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._connection: psycopg.Connection[Any] | None = None

    def hold(self) -> None:
        """Take it, or take it again where the connection was lost. Raises RefusedError where another run has it."""
        if self._connection is not None and not self._connection.closed:
            with suppress(psycopg.Error):
                self._connection.execute("select 1")
                return
        connection = self._scene.connect()
        row = connection.execute("select pg_try_advisory_lock(%s)", [FENCE]).fetchone()
        if not (row and row[0]):
            connection.close()
            message = f"another run works at {self._scene.spec.display}"
            raise RefusedError(message, code="busy", remedy="wait for it, or end it; unmigrate run list names runs")
        self._connection = connection

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()


def begin(store: Store, scene: Scene, ask: Ask) -> Result:
    """The first session."""
    return _work(store, scene, ask, 1, (), "forward")


def resume(store: Store, scene: Scene, last: Session, ask: Ask) -> Result:
    """Go on: with the session that was killed, or, after one that stopped, with the next in the same direction."""
    if last.result is None and not last.broken:
        return _work(store, scene, ask, last.number, last.before, last.direction)
    _refuse_settled(last)
    return _work(store, scene, ask, last.number + 1, last.records, last.direction)


def abort(store: Store, scene: Scene, last: Session) -> Result:
    """Go back from wherever the run stands. Raises RefusedError, with nothing undone, where one of the steps cannot be undone."""
    if last.result is None and last.direction == "back":
        return resume(store, scene, last, _never)
    would_undo(scene, last)
    if last.result is None and not last.broken:
        store.cancel(last)
    return _work(store, scene, _never, last.number + 1, last.records, "back")


def would_undo(scene: Scene, last: Session) -> list[str]:
    """What `abort` undoes, a line for each step, the last one first. Raises RefusedError as it would."""
    _refuse_settled(last)
    lines: list[str] = []

    def one(step: Step) -> None:
        step.objection(scene, scene.prepared(step.name))
        lines.append(f"undo {step.title} [{step.name}]")

    with _alone(scene):
        scene.tale = last.records
        if last.result is None and last.direction == "back":
            return lines
        flow.objections(steps_of(scene.spec), last.records, one)
    return lines


def _refuse_settled(last: Session) -> None:
    if last.result is not None and last.result.state in _SETTLED:
        message = f"run {last.spec.run} has ended ({last.result.state})"
        raise RefusedError(message, code="ended", remedy="begin another: unmigrate run rollback NAME")


def _never(step: Step, shown: list[str]) -> bool:
    return False


@contextmanager
def _alone(scene: Scene) -> Iterator[Fence]:
    fence = Fence(scene)
    with scene.keep.locked():
        fence.hold()
        try:
            yield fence
        finally:
            fence.release()


def _work(store: Store, scene: Scene, ask: Ask, number: int, before: tuple[Record, ...], direction: Direction) -> Result:
    with _alone(scene) as fence:

        def play(spec: Spec, records: list[Record], way: Direction, durable: Durable) -> Result:
            def perform(step: Step, phase: Phase, tale: Sequence[Record]) -> Record:
                scene.tale = tuple(tale)
                name = f"{step.name}.{phase}.{len(tale)}"
                return Record.from_json(durable(name, lambda: _perform(scene, fence, ask, step, phase).to_json()))

            return flow.play(steps_of(spec), records, way, perform, spec.approve)

        return store.work(number, scene.spec, before, direction, play)


def _perform(scene: Scene, fence: Fence, ask: Ask, step: Step, phase: Phase) -> Record:
    """Run one phase. What goes wrong becomes a record as well; only kills leave none."""
    began, at = time.monotonic(), datetime.now(UTC).isoformat(timespec="milliseconds")
    scene.deadline = began + scene.config.run.timeouts.get(step.name, scene.config.run.timeout)
    shown: list[str] = []
    tries = step.tries if phase == "apply" else 1
    number, error, data = 0, None, {}
    while True:
        number += 1
        try:
            scene.trace(f"{step.name}.{phase} begins")
            fence.hold()
            shown = _shown(scene, step, phase)
            data, error = _phase(scene, ask, step, phase, shown), None
            scene.trace(f"{step.name}.{phase} done")
        except EnvironmentProblem as problem:
            error = _error(problem)
            if number < tries and time.monotonic() < scene.deadline:
                scene.say(masked(f"{step.title}: {problem}; trying again", scene.secrets()))
                time.sleep(min(2.0 ** (number - 1), 10.0))
                continue
        except UnmigrateError as problem:
            error, data = _error(problem), problem.found if isinstance(problem, UnmetError) else {}
        except psycopg.Error as problem:
            error = _error(EnvironmentProblem(f"the database answers: {problem.diag.message_primary or problem}", code="database"))
        except Exception as problem:
            bug = FailedError(f"{type(problem).__name__}: {problem}", code="bug", remedy="report it; unmigrate resume tries again")
            error = {**_error(bug), "traceback": traceback.format_exc(limit=-6)}
        break
    seconds = round(time.monotonic() - began, 3)
    record = _hushed(scene, Record(step.name, phase, error is None, at, seconds, data, error, tuple(shown), number))
    _tell(scene, step, record)
    return record


def _hushed(scene: Scene, record: Record) -> Record:
    """Whatever a step, a server or a command put into words for people: no secret of this run is in it, nor in the state."""
    secrets = scene.secrets()

    def hush(value: Any) -> Any:
        if isinstance(value, str):
            return masked(value, secrets)
        if isinstance(value, dict):
            return {k: hush(v) for k, v in value.items()}
        return [hush(v) for v in value] if isinstance(value, list | tuple) else value

    words = {k: hush(v) for k, v in record.data.items() if k in _WORDS}
    return replace(record, data={**record.data, **words}, error=hush(record.error), shown=tuple(hush(record.shown)))


def _shown(scene: Scene, step: Step, phase: Phase) -> list[str]:
    if phase == "undo":
        return step.shown_undo(scene, scene.prepared(step.name)) if step.shown_undo else []
    return step.shown(scene) if phase in ("apply", "approve") else []


def _phase(scene: Scene, ask: Ask, step: Step, phase: Phase, shown: list[str]) -> Json:
    if phase == "approve":
        how = "--approve" if step.name in scene.allow else "a person at the terminal" if in_main(lambda: ask(step, shown)) else ""
        if not how:
            message = f"{step.name} waits to be approved"
            raise PartialError(message, code="approval", remedy=f"unmigrate resume --approve {step.name}, or unmigrate abort")
        return {"said": [f"approved by {how}"]}
    if phase == "prepare":
        return step.prepare(scene)
    if phase == "apply":
        return step.apply(scene, scene.prepared(step.name))
    assert step.undo is not None
    return step.undo(scene, scene.prepared(step.name))


def _error(problem: UnmigrateError) -> Json:
    return {"code": problem.code, "message": str(problem), "remedy": problem.remedy, "exit_status": problem.exit_status}


def _tell(scene: Scene, step: Step, record: Record) -> None:
    if record.phase == "prepare" and record.ok:
        return
    verb = {"approve": "approval", "prepare": "prepare", "apply": "", "undo": "undone"}[record.phase]
    label = f"{step.title}{f' ({verb})' if verb else ''}"
    said = "; ".join(line.removesuffix(".") for line in record.data.get("said", ()))
    if record.ok:
        scene.say(f"✓ {label} [{record.seconds:.1f} s]{f': {said}' if said else ''}")
    elif record.error is not None:
        scene.say(f"✗ {label}: {record.error['message']}")


def stuck(scene: Scene, result: Result) -> str:
    """Why a run that stopped cannot go back by itself any more; "" where it can, or where that may not be asked now."""
    if result.state != "stopped":
        return ""
    scene.tale = result.records
    try:
        flow.objections(steps_of(scene.spec), result.records, lambda step: step.objection(scene, scene.prepared(step.name)))
    except RefusedError as objection:
        return str(objection) if objection.code in _FINAL else ""  # what can be consented to is told by abort
    except (UnmigrateError, psycopg.Error):
        return ""
    return ""


def ended(result: Result, spec: Spec, no_way_back: str = "") -> UnmigrateError | None:
    """What a session's end means for the person who started it: None when done, else the error to end with."""
    if result.state in ("done", "aborted"):
        return None
    error = result.error or {"message": f"{result.at} waits to be approved", "code": "approval", "remedy": "", "exit_status": 6}
    if result.state == "refused":
        kind: type[UnmigrateError] = {2: RefusedError, 3: RefusedError, 4: EnvironmentProblem}.get(int(error["exit_status"]), RefusedError)
        return kind(f"{error['message']}; nothing was changed", code=error["code"], remedy=error["remedy"])
    if result.reason == "approval":
        remedy = f"unmigrate resume {spec.run} --approve {result.at}" + ("" if no_way_back else f", or unmigrate abort {spec.run}")
        return PartialError(f"run {spec.run} waits: {result.at} is to be approved", code="approval", remedy=remedy)
    remedy = _ways_on(error, spec.run, no_way_back)
    return PartialError(f"run {spec.run} stopped at {result.at}: {error['message']}", code=error["code"], remedy=remedy)


def _ways_on(error: Json, run: str, no_way_back: str) -> str:
    """What to do about a run that stopped, a line each: what puts it right, how it goes on, how it goes back; each said once."""
    back = f"to go back: unmigrate abort {run}" if not no_way_back else f"it does not go back by itself: {no_way_back}"
    if error["code"] == "loss":  # nothing is to be put right: it is a decision
        consent = f"unmigrate resume {run} --accept-loss consents and goes on (unmigrate carry-over can bring over what a snapshot lacks)"
        return f"{consent}\n{back}"
    if error["code"] in _OTHER:
        return f"{back}\nthen {error['remedy']}, in a new run"
    return f"{error['remedy'] or 'put it right'}\nthen, to go on: unmigrate resume {run}\n{back}"


def require_same(spec: Spec, display: str) -> None:
    """Raises RefusedError where the URL given again, as it is displayed, is of another database than the run's."""
    if display != spec.display:
        message = f"run {spec.run} is about {spec.display}, the URL found now is of {display}"
        raise RefusedError(message, code="other-database", remedy="give --url of the run's own database")
