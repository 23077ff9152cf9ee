"""unmigrate rollback"""

import json
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import asking, options, planning, refilling, render, ways_out


@click.command("rollback", epilog="Example: unmigrate rollback --last 1 --url postgresql://…/app --yes")
@planning.selection_options
@click.option("--plan", "plan_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A plan made by `plan --out`.")
@click.option("--yes", is_flag=True, help="Do not ask. Never implies --accept-loss.")
@click.option("--accept-loss", is_flag=True, help="Go on although something is lost; it is copied to the vault first.")
@click.option("--dry-run", is_flag=True, help="Do everything but the switch.")
@click.option("--verbose", is_flag=True, help="Show the whole plan before asking: each statement beside what it undoes, options.")
@click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")
@click.option("--max-lock", type=float, default=5.0, metavar="SECONDS", help="Refuse when locks would be held longer. Default: 5.")
@click.option("--concurrently", is_flag=True, help="Build returning indexes outside the switch, without blocking writers.")
@ways_out.options
@click.option(
    "--refill",
    metavar="SNAPSHOT",
    type=options.SECRET,
    help="Then bring back what was destroyed, from a snapshot's id, 'last', 'before' (a point in time), or a restored database's URL.",
)
@refilling.options
@options.json_option
@options.replay_options
@options.where_options
def command(name: str | None, last: int | None, to: str | None, plan_file: Path | None, as_json: bool, **rest: Any) -> int:
    """Roll back the last applied migration (or N, or back to NAME), or the failed one, on the database.

    Proves the way back on scratch, checks drift, rows and locks on the target, asks, and switches in one transaction, ledger
    included. Exit 3: refused, nothing changed; 5: failed and rolled back; 6: partly done, run it again.
    """
    from unmigrate.cli.target import open_target
    from unmigrate.park import vault

    keys = ("yes", "accept_loss", "dry_run", "lock_timeout", "max_lock", "concurrently", "verbose")
    flags = {k: rest.pop(k) for k in (*keys, *ways_out.FLAGS, "refill", "fill_touched", "batch", "jobs", "keep_restored")}
    at = options.where(rest)
    with open_target(at) as target:
        vault.version(target.connection)  # one that may not be read would be taken for none
        if (unfinished := _resume(target, dry_run=flags["dry_run"])) is not None:
            if flags["refill"]:
                render.say("what it destroyed is not brought back yet: unmigrate refill")
            return _report([unfinished], as_json)
        if flags["yes"] and name is None and to is None and plan_file is None:
            planning.refuse_next(target)
        if plan_file is None and (stored := planning.stored(target, name, last, to)):
            return _execute(at, target, stored, flags, as_json)
        plan = _from_file(plan_file, target) if plan_file else _make(at, target, name, last, to, flags)
        return _execute(at, target, [plan], flags, as_json)


def _resume(target: Any, *, dry_run: bool) -> Any:
    """Finish what an earlier rollback left, if anything; it was consented to then. Raises RefusedError in a dry run."""
    from unmigrate.errors import RefusedError
    from unmigrate.execute.rollback import finish_pending, pending

    waiting = pending(target.connection)
    if not waiting:
        return None
    if dry_run:
        message = f"operation {waiting[0].id} was interrupted, and must be finished before anything else is rolled back"
        raise RefusedError(message, code="unfinished", remedy="run unmigrate rollback without --dry-run: it goes on where it stopped")
    render.say(f"finishing operation {waiting[0].id}, which was interrupted")
    return finish_pending(target.open, waiting[0].id, on_progress=render.say)


def _from_file(file: Path, target: Any) -> Any:
    from unmigrate.errors import RefusedError, UsageError
    from unmigrate.plan.model import PlanFormatError, from_json

    try:
        plan = from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, PlanFormatError) as error:
        raise UsageError(f"{file} is not a plan: {error}", code="plan-file", remedy="make one with unmigrate plan --out") from error
    if plan.server_major != target.major:
        message = f"the plan was proved on PostgreSQL {plan.server_major}, the target is {target.major}"
        raise RefusedError(message, code="major", remedy=f"make it again with --scratch debian:{target.major} or --scratch target")
    current = target.failed if plan.failed else target.applied[-len(plan.migrations) :][::-1]
    if list(plan.migrations) != current:
        message = f"the database moved on: the plan undoes {', '.join(plan.migrations)}, now last are {', '.join(current) or 'none'}"
        raise RefusedError(message, code="moved-on", remedy="make a new plan")
    return plan


def _make(at: options.Where, target: Any, name: str | None, last: int | None, to: str | None, flags: dict[str, Any]) -> Any:
    fill = planning.parse_fill(flags["fill"])
    if target.failed:
        return planning.make_failed_plan(at, target, name)
    count = planning.choose(target, name, last, to)
    planning.refuse_mixed(target, count)
    return planning.make_plan(
        at, target.history(), count, schema=target.url.schema, major=target.major, strict=True,
        concurrently=flags["concurrently"], fill=fill, target=target,
    )  # fmt: skip


def _execute(at: options.Where, target: Any, plans: Any, flags: dict[str, Any], as_json: bool) -> int:
    """Show, ask, switch. Several plans, newest first, switch one after the other: the ledger names the state between them."""
    from unmigrate.cli.several import one_by_one
    from unmigrate.cli.show_plan import show, show_brief
    from unmigrate.execute.inspect import inspect
    from unmigrate.execute.refuse import refuse_counted
    from unmigrate.execute.rollback import execute
    from unmigrate.execute.ways import refuse_namesakes
    from unmigrate.park.publications import remarks

    refuse_namesakes(plans)
    decisions = ways_out.parsed(flags)
    plans = ways_out.applied(plans, decisions)
    shown = [inspect(target.connection, plans[0]), *plans[1:]]  # what the others will meet can be asked when it is their turn
    for plan in shown if not as_json else ():
        if flags["verbose"]:
            show(plan, remarks(target.connection))
        else:
            show_brief(plan, remarks(target.connection), refill=bool(flags["refill"]))
    if not (as_json or flags["yes"] or flags["dry_run"]) and (more := ways_out.asked(shown[0], decisions)) != decisions:
        plans = ways_out.applied(plans, more)
        shown = [inspect(target.connection, plans[0]), *plans[1:]]
    for plan in plans:
        if not plan.proved:
            raise planning.unproved(plan)
    with refilling.after(at, plans, flags) as back:
        if not (flags["yes"] or flags["dry_run"]):
            limits = {"accept_loss": flags["accept_loss"], "max_lock_seconds": flags["max_lock"], "returning": back.returning}
            refuse_counted(shown[0], **limits)  # rather now than after a "yes"
            asking.confirmed(f"\nUndo {', '.join(name for plan in plans for name in plan.migrations)} on {target.url.display}?")

        def undo(plan: Any) -> Any:
            return execute(
                target.open, plan, accept_loss=flags["accept_loss"], lock_timeout_ms=flags["lock_timeout"],
                max_lock_seconds=flags["max_lock"], dry_run=flags["dry_run"], on_progress=render.say, returning=back.returning,
            )  # fmt: skip

        rest = _rest(target, plans)
        outcomes, problem = one_by_one(plans[:1] if flags["dry_run"] else plans, undo, lambda _: f"unmigrate rollback {rest}")
        refilled = None if flags["dry_run"] or problem else back.refill()
    status = _report(outcomes, as_json, refilled)
    if not flags["dry_run"] and not as_json:
        _warn(target, [name for outcome in outcomes for name in outcome.migrations])
    if problem is not None:
        raise problem
    return status


def _rest(target: Any, plans: Any) -> str:
    """What names the same migrations however many of them are undone already."""
    before = target.applied[: target.applied.index(plans[-1].migrations[-1])] if len(plans) > 1 else []
    return f"--to {before[-1]}" if before else "undoes the next one"


def _report(outcomes: Any, as_json: bool, refilled: Any = None) -> int:
    if as_json:
        found = [outcome.to_json() for outcome in outcomes]
        if refilled:
            found[-1] |= {"refill": refilled.to_json()}
        render.print_json(found[0] if len(found) == 1 else found)
    else:
        for line in (line for outcome in outcomes for line in outcome.lines()):
            click.echo(line)
        if refilled:
            refilling.tell(refilled.report, refilled.notes)
    return 0


def _warn(target: Any, names: list[str]) -> None:
    folders = {m.name for m in target.migrations}
    shipped = [name for name in names if name in folders]
    if shipped:
        click.echo(err=True)
        render.say(
            f"The folder still ships {', '.join(shipped)}: the next `prisma migrate deploy` applies it again. "
            "Deploy the app version from before it, or take the folder out, before anything deploys."
        )
