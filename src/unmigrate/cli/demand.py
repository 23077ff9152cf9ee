"""What [policy] asks for before a deploy, as `deploy` and `check --deploy` ask it."""

from collections.abc import Sequence
from typing import Any

from unmigrate.cli import options


def demanded(at: options.Where, target: Any, guarded: Sequence[Any]) -> Any:
    """Whether these guarded migrations (guard.build.Guarded) may be deployed to the target, as snapshot.demand.Demand. Changes nothing.

    Raises RefusedError where policy wants a snapshot that is not there, EnvironmentProblem where its provider cannot be asked.
    """
    from unmigrate.cli import snapshots
    from unmigrate.config.load import load
    from unmigrate.snapshot.demand import asks, require_snapshot

    policy = load(target.project.root).policy
    needed = {one.migration.name: _why(one) for one in guarded if one.back is None or one.verdict != "lossless"}
    listed: Sequence[Any] = ()
    if asks(policy, needed):
        listed = snapshots.opened(at, None).provider.snapshots()
    (now,) = target.connection.execute("select clock_timestamp()", binary=True).fetchone()
    ended = [row.finished_at for state in target.states if state.state == "applied" for row in state.rows if row.finished_at]
    return require_snapshot(policy, needed, listed, now=now, last=max(ended, default=None))


def _why(one: Any) -> str:
    if one.back is None:
        return f"it has no guarded way back: {one.why}" if one.why else "it has no guarded way back"
    return f"its rows are {one.verdict} even so"


def pending_guarded(at: options.Where, target: Any, *, whole: bool = False) -> list[Any]:
    """What is pending on the target, made guarded and proved on scratch. whole: as somebody else will run it."""
    from unmigrate.cli import planning, render
    from unmigrate.config.load import load
    from unmigrate.errors import RefusedError
    from unmigrate.guard.build import guard

    if target.failed:
        message = f"{target.failed[0]} failed: nothing is applied before that is settled (P3009)"
        raise RefusedError(message, code="failed", remedy=f"unmigrate rollback {target.failed[0]}")
    waiting = {s.name for s in target.states if s.state in ("pending", "rolled-back") and not s.missing_folder}
    pending = [m for m in target.migrations if m.name in waiting]
    if not pending:
        return []
    history = target.history()
    fit = planning.guard(target, target.major, strict=True)
    with (
        render.waiting("guarding what is pending, on scratch") as tell,
        planning.scratch(at, [*history, *pending], target.major, fit, schema=target.url.schema, target=target, persistent=True) as work,
    ):
        return list(guard(work, history, pending, tell, load(target.project.root).park, whole=whole))
