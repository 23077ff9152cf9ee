"""unmigrate deploy"""

from typing import Any

import click

from unmigrate.cli import asking, options, render


@click.command("deploy", epilog="Example: unmigrate deploy --url postgresql://…/app --yes")
@click.option("--yes", is_flag=True, help="Do not ask. Never implies --accept-loss.")
@click.option("--accept-loss", is_flag=True, help="Go on although something is destroyed that cannot be kept.")
@click.option("--dry-run", is_flag=True, help="Prove and show everything; change nothing.")
@click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")
@click.option(
    "--max-lock", type=float, metavar="SECONDS", help="Refuse when locks would be held longer. Default: policy.max_lock_seconds, or 60."
)
@click.option("--policy", type=click.Choice(["strict"]), help="Refuse what is lossy or unproved, whatever unmigrate.toml says.")
@options.json_option
@options.replay_options
@options.where_options
def command(as_json: bool, **rest: Any) -> int:
    """Apply pending migrations as `prisma migrate deploy` does, keeping what they would destroy.

    Dropped columns and tables are parked, changed rows keep their images, and the way back goes into the vault: a rollback then needs
    neither the repository nor a scratch server, and loses nothing. Exit 3: refused, nothing changed.
    """
    from unmigrate.cli.demand import demanded, pending_guarded
    from unmigrate.cli.target import open_target
    from unmigrate.config.load import load
    from unmigrate.guard.policy import refuse_by_policy, strict

    flags = {k: rest.pop(k) for k in ("yes", "accept_loss", "dry_run", "lock_timeout", "max_lock", "policy")}
    at = options.where(rest)
    with open_target(at, ledger=False) as target:
        guarded = pending_guarded(at, target)
        if not guarded:
            return _report([], as_json)
        if not as_json:
            _show(guarded)
        policy = load(target.project.root).policy
        refuse_by_policy(strict(policy) if flags["policy"] else policy, guarded)
        demanded(at, target, guarded)
        flags["max_lock"] = flags["max_lock"] or policy.max_lock_seconds or 60.0
        if not (flags["yes"] or flags["dry_run"]):
            asking.confirmed(f"\nDeploy {', '.join(one.migration.name for one in guarded)} to {target.url.display}?")
        done, problem = _apply(target, guarded, flags)
        _report(done, as_json)
        if problem is not None:
            raise problem
        return 0


def _show(guarded: list[Any]) -> None:
    for one in guarded:
        why = f"guarded; its way back is {one.back.verdicts[0].schema}" if one.back else f"applied as it is: {one.why}"
        click.echo(f"{one.migration.name}: {why}")
        for line in one.kept:
            click.echo(f"  keeps {line}")
        for gap in one.up.verdicts[0].not_covered:
            click.echo(f"  not covered: {gap}")
        for note in one.up.notes:
            click.echo(f"  note: {note}")
        for loss in (*one.losses, *one.forgets):
            click.echo(f"  {click.style('destroys', fg='red')} {loss.object}: {loss.reason}")


def _apply(target: Any, guarded: list[Any], flags: dict[str, Any]) -> tuple[list[Any], Any]:
    """(what was done, what stopped it). A dry run tries the first alone: the next one would start from what this one did not do."""
    from unmigrate.cli.several import one_by_one
    from unmigrate.execute.deploy import deploy, make_ledger
    from unmigrate.verify.tag import described

    if not flags["dry_run"]:
        make_ledger(target.connection, target.url.schema)
    app = described(target.project.root)

    def apply(one: Any) -> Any:
        ways = [way for way in (one.back, one.again) if way is not None]
        return deploy(
            target.open, one.up, ways, accept_loss=flags["accept_loss"], lock_timeout_ms=flags["lock_timeout"],
            max_lock_seconds=flags["max_lock"], dry_run=flags["dry_run"], app=app, on_progress=render.say,
        )  # fmt: skip

    return one_by_one(guarded[:1] if flags["dry_run"] else guarded, apply, lambda _: "unmigrate deploy goes on")


def _report(outcomes: list[Any], as_json: bool) -> int:
    if as_json:
        render.print_json({"deployed": [o.to_json() for o in outcomes]})
        return 0
    for line in (line for o in outcomes for line in o.lines()):
        click.echo(line)
    if not outcomes:
        click.echo("Nothing is pending.")
    return 0
