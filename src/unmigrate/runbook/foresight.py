"""What a run would lose, and whether it would be let through: asked before anything is touched, by preflight and the dry run alike.

Nothing that is not known is taken for nothing: what cannot be counted before the run needs the same consent as what can.
"""

from dataclasses import dataclass, replace

import psycopg

from unmigrate.errors import EnvironmentProblem, RefusedError, UnmigrateError
from unmigrate.execute.inspect import inspect
from unmigrate.execute.refuse import refuse_loss
from unmigrate.execute.rollback import execute
from unmigrate.plan.model import Plan
from unmigrate.prisma.url import parse_url
from unmigrate.runbook.adapters import contents, snapshots
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene, closing_connection
from unmigrate.runbook.steps import app, restore, reverse
from unmigrate.words import amount

_UNCOUNTED = "counted only once it is restored"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """losses: {object, rows, why}, rows None where they are not counted; basis: how that is known; blocked: rows that block, as lines;
    passed: what was found in order; refusal: why the run would end in preflight, None where it would not."""

    losses: tuple[Json, ...]
    basis: str
    blocked: tuple[str, ...] = ()
    passed: tuple[str, ...] = ()
    refusal: UnmigrateError | None = None


def foresee(scene: Scene) -> Foreseen:
    """Reads only. Raises EnvironmentProblem where the databases cannot be asked at all."""
    try:
        found = _reverse(scene) if scene.spec.way == "reverse" else _restore(scene)
    except psycopg.Error as error:
        raise EnvironmentProblem(f"the database answers: {error.diag.message_primary or error}", code="database") from error
    if found.refusal is None and "app" in scene.spec.steps:
        try:
            app.refuse_tag(scene)
        except UnmigrateError as error:
            return replace(found, refusal=error)
    return found


def _reverse(scene: Scene) -> Foreseen:
    """By the plans. Each is counted as the database stands now; what cannot be counted before its turn has come counts as a loss."""
    plans = reverse.plans(scene)
    with closing_connection(scene) as connection:
        now = [inspect(connection, plan) for plan in plans]
    lost = [x for plan in now for x in plan.losses if x.rows != 0 and x.object not in scene.returning]
    losses = tuple({"object": x.object, "rows": x.rows, "why": x.reason} for x in lost)
    blocked = tuple(f"{b.object}: {_rows(b.rows)}: {b.reason}" for b in now[0].blockers)
    refusal = _refusal(scene, now)
    return Foreseen(losses, "by the plan, counted now", blocked, _passed(scene, plans, refusal), refusal)


def _rows(count: int) -> str:
    return "rows that could not be counted" if count < 0 else amount(count, "row")


def _passed(scene: Scene, plans: list[Plan], refusal: UnmigrateError | None) -> tuple[str, ...]:
    found = () if refusal else (f"plan {plans[0].id} would go through on {scene.spec.display}",)
    if scene.spec.refill is None:
        return found
    return *found, f"comes back from {scene.spec.refill['name']}: {', '.join(scene.spec.refill['objects'])}"


def _refusal(scene: Scene, plans: list[Plan]) -> UnmigrateError | None:
    first = plans[0]  # what else the others will meet can be asked when it is their turn
    try:
        if not scene.consents:  # asked for first, and of all plans: later it would stop a run halfway
            refuse_loss([loss for plan in plans for loss in plan.losses if loss.object not in scene.returning])
        execute(
            scene.connect, first, accept_loss=scene.consents, lock_timeout_ms=scene.spec.lock_timeout_ms,
            max_lock_seconds=scene.spec.max_lock_seconds, dry_run=True, on_progress=scene.say, returning=scene.returning,
        )  # fmt: skip
    except UnmigrateError as error:
        return error
    return None


def _restore(scene: Scene) -> Foreseen:
    """By comparing, where the database was restored already; else by the server's counters, where the snapshot knows them."""
    target = scene.keep.get("target")
    if target is None:
        losses, basis = _since(scene)
        remedy = f"add --accept-loss, and bring it over afterwards (unmigrate carry-over); {_counted_first(scene)}"
    else:
        losses, basis = restore.compared(scene, target), f"compared now with {parse_url(target).display}"
        remedy = "add --accept-loss, and bring it over afterwards (unmigrate carry-over)"
    refusal = None
    if losses and not scene.consents:
        told = contents.told(losses)
        message = f"this loses {'' if losses[0]['why'] == _UNCOUNTED else 'what was written since the snapshot: '}{told}"
        refusal = RefusedError(message, code="loss", remedy=f"{remedy}; or undo it without a snapshot: --way reverse")
    passed = () if losses else (f"nothing was written since, {basis}",)
    if target is None and snapshots.untold(scene):
        given, names = str((scene.spec.snapshot or {}).get("id", "")), ", ".join(scene.spec.migrations)
        told = f"whether {snapshots.named(given)} is from before {names} is seen once it is restored, with writers away"
        passed = (*passed, f"{told}: {_counted_first(scene)}")
    return Foreseen(tuple(losses), basis, refusal=refusal, passed=passed)


def _since(scene: Scene) -> tuple[list[Json], str]:
    """What was written since the snapshot, as far as it can be known before it is restored."""
    given = str((scene.spec.snapshot or {}).get("id", ""))
    written = snapshots.written(scene, given)
    if written is None:
        lost: Json = {"object": f"what was written since {snapshots.named(given)}", "rows": None, "why": _UNCOUNTED}
        return [lost], "nothing tells it beforehand"
    basis = "by the server's counters since the snapshot, which count the migration's own writes too"
    return [{"object": name, "rows": count, "why": ""} for name, count in sorted(written.items())], basis


def _counted_first(scene: Scene) -> str:
    if scene.config.snapshot.restore_command:
        return "to have it looked at first, restore it by yourself and give --database URL"
    return "to have it looked at first, restore it now (unmigrate restore … --to NAME --url-file FILE) and give --database @FILE"
