"""A plan for people."""

import click

from unmigrate.cli.render import console, styled
from unmigrate.plan.model import Plan


def show(plan: Plan, *, statements: bool = True) -> None:
    """Verdicts, what undoes what (unless it was seen already), losses, blockers, locks, options."""
    click.echo(f"Plan {click.style(plan.id, bold=True)} on PostgreSQL {plan.server_major}: undo {', '.join(plan.migrations)}\n")
    for verdict in plan.verdicts:
        reason = f"  {verdict.reason}" if verdict.reason else ""
        click.echo(f"  {verdict.migration}: schema {styled(verdict.schema)}, data {styled(verdict.data)}{reason}")
        for gap in verdict.not_covered:
            click.echo(f"    not covered: {gap}")
    if statements:
        _show_statements(plan)
    _lists(plan)


def _show_statements(plan: Plan) -> None:
    from rich.table import Table

    table = Table(title="What was done, and what undoes it", title_justify="left", show_lines=True)
    table.add_column("statement", ratio=1)
    table.add_column("inverse", ratio=1)
    last = ""
    for step in plan.steps:
        undone = step.undoes if step.undoes != last else ""
        last = step.undoes
        table.add_row(
            _short(undone or ("〃" if step.undoes else "")),
            _short(step.sql + ("" if step.transactional else "  -- outside the transaction")),
        )
    click.echo()
    console().print(table)


def _short(sql: str) -> str:
    from rich.markup import escape

    text = sql if len(sql) <= 600 else sql[:600] + " …"
    return escape(text)


def _lists(plan: Plan) -> None:
    if plan.losses:
        click.echo(click.style("\nLosses", bold=True))
        for loss in plan.losses:
            rows = "" if loss.rows is None else f" ({loss.rows} rows)"
            click.echo(f"  {loss.object}{rows}: {loss.reason}")
    else:
        click.echo("\nNothing is lost.")
    if plan.blockers:
        click.echo(click.style("\nRows that block", bold=True, fg="red"))
        for blocker in plan.blockers:
            click.echo(f"  {blocker.object}: {blocker.rows} rows: {blocker.reason}")
            for sample in blocker.samples:
                click.echo(f"    e.g. {sample}")
            for way in blocker.ways_out:
                click.echo(f"    way out: {way}")
    if plan.locks:
        click.echo(click.style("\nLocks", bold=True))
        for lock in plan.locks:
            time = "" if lock.seconds is None else f", about {lock.seconds:.2f} s"
            click.echo(f"  {lock.table}: {lock.mode} ({lock.work}{time})")
    click.echo(click.style("\nOptions", bold=True))
    for option in plan.options:
        mark = click.style("→", fg="green") if option.recommended else " "
        click.echo(f"  {mark} {option.name}: loses {option.loses}; downtime: {option.downtime}; needs {option.needs} ({option.reason})")
    for note in plan.notes:
        click.echo(f"\nnote: {note}")
