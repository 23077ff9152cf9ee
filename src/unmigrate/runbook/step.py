"""What a step is: a name, and functions of the scene for each phase."""

from collections.abc import Callable
from dataclasses import dataclass

from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene


def _nothing(scene: Scene) -> Json:
    return {}


def _no_objection(scene: Scene, prepared: Json) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Step:
    """One step. Everything it needs to know later it learns in `prepare`, which changes nothing and is recorded before `apply`.

    shown: the exact commands and API calls, for the dry run and the report; apply: idempotent, given what was prepared; returns evidence;
    undo: idempotent as well, right also when apply never began or stopped in the middle; None where there is nothing to undo;
    objection: raises RefusedError where undo cannot be done; looked at for all steps before any is undone.
    tries: how often apply is tried when the outside world is not ready (EnvironmentProblem).
    retreat: a step to be undone when this one fails. Data of all phases may hold "said": lines for people.
    """

    name: str
    title: str
    shown: Callable[[Scene], list[str]]
    apply: Callable[[Scene, Json], Json]
    prepare: Callable[[Scene], Json] = _nothing
    undo: Callable[[Scene, Json], Json] | None = None
    shown_undo: Callable[[Scene, Json], list[str]] | None = None
    objection: Callable[[Scene, Json], None] = _no_objection
    tries: int = 1
    retreat: str | None = None
