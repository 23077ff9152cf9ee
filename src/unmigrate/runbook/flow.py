"""The order of things: forward from step to step, back from the last one to the first. Deterministic, given the records.

`perform` makes one phase of one step durable: it runs it, or, in a session that goes on after a crash, gives the record of when it ran.
"""

from collections.abc import Callable, Collection, Sequence

from unmigrate.runbook.model import Direction, Phase, Record, Result, standing
from unmigrate.runbook.step import Step

Perform = Callable[[Step, Phase, Sequence[Record]], Record]


def play(steps: Sequence[Step], records: Sequence[Record], direction: Direction, perform: Perform, approve: Collection[str]) -> Result:
    """Go on from these records until done, refused, or something needs a person. approve: steps that one must approve first."""
    tale = list(records)
    if direction == "back":
        return _back(steps, tale, perform)
    for step in steps:
        if standing(step.name, tale) == "applied":
            continue
        if step.name in approve and not any(r.step == step.name and r.phase == "approve" and r.ok for r in tale):
            tale.append(perform(step, "approve", tale))
            if not tale[-1].ok:
                return Result("stopped", tuple(tale), step.name, "approval")
        for phase in _missing(step, tale):
            done = perform(step, phase, tale)
            tale.append(done)
            if not done.ok:
                return _failed(steps, step, tale, perform)
    return Result("done", tuple(tale))


def _missing(step: Step, tale: Sequence[Record]) -> tuple[Phase, ...]:
    """A step that was begun keeps what it prepared then: the state before it is not to be learned any more."""
    return ("apply",) if standing(step.name, tale) in ("prepared", "begun") else ("prepare", "apply")


def _failed(steps: Sequence[Step], step: Step, tale: list[Record], perform: Perform) -> Result:
    other = next((s for s in steps if s.name == step.retreat), None)
    if other is not None and other.undo is not None and standing(other.name, tale) != "untouched":
        tale.append(perform(other, "undo", tale))
    harmless = not any(r.phase == "apply" and r.step != "preflight" for r in tale)
    return Result("refused" if harmless else "stopped", tuple(tale), step.name, "failed")


def _back(steps: Sequence[Step], tale: list[Record], perform: Perform) -> Result:
    for step in reversed(steps):
        if step.undo is None or standing(step.name, tale) in ("untouched", "undone"):
            continue
        done = perform(step, "undo", tale)
        tale.append(done)
        if not done.ok:
            return Result("stopped", tuple(tale), step.name, "failed")
    return Result("aborted", tuple(tale))


def objections(steps: Sequence[Step], tale: Sequence[Record], ask: Callable[[Step], None]) -> None:
    """Ask every step that would be undone whether it can be. Raises RefusedError from `ask`."""
    for step in reversed(steps):
        if step.undo is not None and standing(step.name, tale) not in ("untouched", "undone"):
            ask(step)


def pending(steps: Sequence[Step], tale: Sequence[Record]) -> Collection[str]:
    """Names of the steps still to be done."""
    return [s.name for s in steps if standing(s.name, tale) != "applied"]
