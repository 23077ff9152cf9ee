"""unmigrate redo"""

from typing import Any

import click

from unmigrate.cli import asking, options, render


@click.command("redo", epilog="Example: unmigrate redo --url postgresql://…/app --yes")
@click.argument("name", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Do everything but the switch.")
@click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")
@click.option("--max-lock", type=float, default=5.0, metavar="SECONDS", help="Refuse when locks would be held longer. Default: 5.")
@options.json_option
@options.where_options
def command(name: str | None, as_json: bool, **rest: Any) -> int:
    """Undo the undo: bring the last rolled back migration back, with what was parked, in milliseconds. Again: the one before it.

    Only for migrations that `unmigrate deploy` guarded. Exit 3: refused, nothing changed.
    """
    from unmigrate.cli.target import open_target
    from unmigrate.execute.rollback import execute
    from unmigrate.execute.ways import redo_plans, rolled_back

    flags = {k: rest.pop(k) for k in ("yes", "dry_run", "lock_timeout", "max_lock")}
    with open_target(options.where(rest)) as target:
        (plan,) = redo_plans(target.connection, [name] if name else [])
        if not (flags["yes"] or flags["dry_run"]):
            asking.confirmed(f"Apply {plan.migrations[0]} again on {target.url.display}?")
        outcome = execute(
            target.open, plan, accept_loss=False, lock_timeout_ms=flags["lock_timeout"], max_lock_seconds=flags["max_lock"],
            dry_run=flags["dry_run"], on_progress=render.say,
        )  # fmt: skip
        waiting = rolled_back(target.connection)
    if waiting and not flags["dry_run"]:
        render.say(f"{waiting[0]} was rolled back before it: unmigrate redo brings that back in its turn")
    if as_json:
        render.print_json(outcome.to_json())
    else:
        for line in outcome.lines():
            click.echo(line)
    return 0
