"""unmigrate plan"""

import json
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning, render


@click.command("plan", epilog="Example: unmigrate plan --last 1 --out plan.json")
@planning.selection_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan there, for rollback --plan.")
@click.option("--concurrently", is_flag=True, help="Build returning indexes outside the switch, without blocking writers.")
@click.option("--fill", multiple=True, metavar="'COLUMN = SQL'", help="Value for a column that returns as NOT NULL.")
@options.json_option
@options.replay_options
@options.where_options
def command(
    name: str | None,
    last: int | None,
    to: str | None,
    out: Path | None,
    concurrently: bool,
    fill: tuple[str, ...],
    as_json: bool,
    **rest: Any,
) -> int:
    """Show the way back over the last migrations: statement and inverse, losses, blockers, locks, options. Changes nothing.

    NAME, if given, must be the last one applied. With a database URL its ledger says what is applied and its rows are counted;
    without one the whole folder counts as applied. Exit 1 when something is lossy, blocked or refused.
    """
    from unmigrate.cli.show_plan import show

    plan, remarks = _plan(options.where(rest), name, last, to, concurrently, planning.parse_fill(fill))
    if out:
        out.write_text(json.dumps(plan.to_json(), indent=1), encoding="utf-8")
    if as_json:
        render.print_json(plan.to_json())
    else:
        show(plan, remarks)
    return 0 if plan.proved and not plan.blockers and all(v.data == "lossless" for v in plan.verdicts) else 1


def _plan(at: options.Where, name: str | None, last: int | None, to: str | None, concurrently: bool, fill: dict[str, str]) -> Any:
    from unmigrate.cli.target import load, open_target
    from unmigrate.plan.build import chosen

    project, migrations = load(at)
    if project.url is None:
        count = chosen(migrations, [m.name for m in migrations], name, last, to)
        plan = planning.make_plan(
            at, list(migrations), count, schema=project.schema_name, major=None, strict=False, concurrently=concurrently, fill=fill
        )
        return plan, ()
    from unmigrate.execute.rollback import inspect
    from unmigrate.park.publications import remarks

    with open_target(at) as target:
        count = planning.choose(target, name, last, to)
        plan = planning.make_plan(
            at, target.history(), count, schema=target.url.schema, major=target.major, strict=False, concurrently=concurrently,
            fill=fill, target=target,
        )  # fmt: skip
        return inspect(target.connection, plan), remarks(target.connection)
