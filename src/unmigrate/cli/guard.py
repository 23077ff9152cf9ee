"""unmigrate guard"""

from typing import Any

import click

from unmigrate.cli import options, render

_lock_timeout = click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")


@click.group("guard", invoke_without_command=True, epilog="Example: unmigrate guard && npx prisma migrate deploy && unmigrate guard finish")
@click.option("--accept-loss", is_flag=True, help="Leave migrations unguarded of which something cannot be kept.")
@click.option("--dry-run", is_flag=True, help="Prove and show everything; change nothing.")
@_lock_timeout
@options.json_option
@options.replay_options
@options.where_options
@click.pass_context
def command(context: click.Context, /, accept_loss: bool, dry_run: bool, lock_timeout: int, as_json: bool, **rest: Any) -> int:
    """Before `prisma migrate deploy`: keep what pending migrations destroy, until `guard finish`.

    For pipelines that keep Prisma's own deploy. Proves each way back on scratch, then follows the tables concerned by triggers that
    only append to a log in the vault, and copies what will be dropped. Exit 3: something cannot be kept, nothing changed.
    """
    if context.invoked_subcommand is not None:
        return 0
    from unmigrate.cli.demand import pending_guarded
    from unmigrate.cli.target import open_target
    from unmigrate.execute import pipeline
    from unmigrate.guard.ahead import guards, refusals
    from unmigrate.verify.tag import described

    at = options.where(rest)
    with open_target(at, ledger=False) as target:
        if not dry_run:
            _catch_up(target, lock_timeout)
        listed = pending_guarded(at, target, whole=True) if target.has_ledger else []
        refused = list(refusals(listed))
        if not as_json:
            _show(listed, refused)
        _refuse(refused, accept_loss)
        kept = [one for one in listed if one.migration.name not in {name for name, _ in refused}]
        ready = guards(target.connection, kept, target.url.schema)
        if not dry_run and ready:
            pipeline.arm(
                target.open, ready, app=described(target.project.root), lock_timeout_ms=lock_timeout, on_progress=render.say
            )  # fmt: skip
    if as_json:
        render.print_json({"dry_run": dry_run, "guarded": [_told(one) for one in kept], "refused": [list(pair) for pair in refused]})
    elif not listed:
        click.echo("Nothing is pending." if target.has_ledger else "This database has no ledger yet: nothing is there to be kept.")
    elif ready and not dry_run:
        click.echo("Guarded. Now run `prisma migrate deploy`, then `unmigrate guard finish`.")
    return 0


def _catch_up(target: Any, lock_timeout: int) -> None:
    """Finish a guard whose migration was deployed in a run of the pipeline that ended before it was finished."""
    from unmigrate.execute import pipeline
    from unmigrate.park.armed import armed

    if armed(target.connection):
        for one in pipeline.finish(target.open, lock_timeout_ms=lock_timeout, on_progress=render.say):
            if one.state == "done":
                render.say(f"finished the guard of {one.migration}, which was deployed since")


def _refuse(refused: list[tuple[str, str]], accept_loss: bool) -> None:
    from unmigrate.errors import RefusedError

    if refused and not accept_loss:
        name, why = refused[0]
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        remedy = "unmigrate deploy applies it and keeps more; or add --accept-loss to leave it unguarded"
        raise RefusedError(f"{name} cannot be guarded: {why}{more}", code="unguarded", remedy=remedy)


def _show(listed: list[Any], refused: list[tuple[str, str]]) -> None:
    reasons = dict(reversed(refused))
    for one in listed:
        name = one.migration.name
        if name in reasons:
            click.echo(f"{name}: {click.style('not guarded', fg='red')}: {reasons[name]}")
            continue
        click.echo(f"{name}: its way back is {one.back.verdicts[0].schema}; its rows are {one.verdict}")
        for image in one.images:
            click.echo(f"  keeps rows of {image.table}: {', '.join(str(c.before) for c in image.columns)}")
        for gap in one.up.verdicts[0].not_covered:
            click.echo(f"  not covered: {gap}")
        for loss in one.forgets:
            click.echo(f"  {click.style('destroys', fg='red')} {loss.object}: {loss.reason}")


def _told(one: Any) -> dict[str, Any]:
    tables = {image.table: [column.before for column in image.columns] for image in one.images}
    verdict = one.back.verdicts[0]
    known = {"schema": verdict.schema, "data": one.verdict, "not_covered": list(verdict.not_covered)}
    return {"migration": one.migration.name, **known, "tables": tables}


@command.command("finish", epilog="Example: unmigrate guard finish --json")
@_lock_timeout
@options.json_option
@options.where_options
def finish(lock_timeout: int, as_json: bool, **rest: Any) -> int:
    """After `prisma migrate deploy`: put what was kept and the ways back into the vault, and take the triggers away.

    Exit 1: a guarded migration is not deployed yet. Exit 3: what was kept cannot be vouched for.
    """
    from unmigrate.cli.target import connecting
    from unmigrate.execute import pipeline

    done = pipeline.finish(connecting(options.where(rest)), lock_timeout_ms=lock_timeout, on_progress=render.say)
    if as_json:
        render.print_json({"guards": [one.to_json() for one in done]})
    for one in done if not as_json else ():
        rows = ", ".join(f"{count:,} rows of {table}" for table, count in one.rows.items()) or "no rows needed keeping"
        click.echo(f"{one.migration}: {rows}; unmigrate rollback undoes it." if one.state == "done" else _waits(one.migration))
    if not done and not as_json:
        click.echo("No guard waits.")
    return 1 if any(one.state != "done" for one in done) else 0


def _waits(migration: str) -> str:
    return f"{migration}: not deployed yet; its guard stays."


@command.command("abandon", epilog="Example: unmigrate guard abandon")
@click.option("--accept-loss", is_flag=True, help="Although its migration was run, and what it destroyed is kept nowhere else.")
@_lock_timeout
@options.json_option
@options.where_options
def abandon(accept_loss: bool, lock_timeout: int, as_json: bool, **rest: Any) -> int:
    """Take waiting guards away: their triggers, logs and copies."""
    from unmigrate.cli.target import connecting
    from unmigrate.execute import pipeline

    connect = connecting(options.where(rest))
    names = pipeline.abandon(connect, accept_loss=accept_loss, lock_timeout_ms=lock_timeout, on_progress=render.say)
    if as_json:
        render.print_json({"abandoned": list(names)})
    else:
        click.echo(f"Taken away: the guard of {', '.join(names)}." if names else "No guard waits.")
    return 0
