"""A plan for people."""

from collections.abc import Iterable, Sequence

import click

from unmigrate.cli.render import console, paragraph, styled
from unmigrate.plan.model import Option, Plan
from unmigrate.words import amount

LONG = 240  # so much of a statement of ours
BRIEF = 8  # so many lines of a list before "and N more"


def show(plan: Plan, remarks: Iterable[str] = (), *, statements: bool = True) -> None:
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
    for remark in remarks:
        click.echo()
        paragraph(f"note: {remark}", indent=0)


_PHASES = {
    "prepare": "Before the switch, while the application writes",
    "switch": "The switch, in one transaction",
    "finish": "After the switch, while the application writes",
}


def show_vault(plans: Sequence[Plan], options: Iterable[Option], remarks: Iterable[str] = ()) -> None:
    """The ways from the vault, newest first: steps by phase, what returns, rows that block, locks; and what else could be done."""
    from unmigrate.plan.returning import returns

    for plan in plans:
        name = click.style(plan.id, bold=True)
        click.echo(f"Plan {name} on PostgreSQL {plan.server_major}, from the vault: undo {', '.join(plan.migrations)}\n")
        for verdict in plan.verdicts:
            click.echo(f"  schema {styled(verdict.schema)}, data {styled(verdict.data)}{f'  {verdict.reason}' if verdict.reason else ''}")
            for gap in verdict.not_covered:
                click.echo(f"    not covered: {gap}")
        _returning(returns(plan))
        for phase, title in _PHASES.items():
            steps = [step for step in plan.steps if step.phase == phase]
            if steps:
                click.echo(click.style(f"\n{title}", bold=True))
            for step in steps:
                sql = " ".join(step.sql.split())
                paragraph(sql if len(sql) <= LONG else f"{sql[:LONG]} …")
        _counted(plan)
        click.echo()
    if len(plans) > 1:
        paragraph("note: rows that block the older ones are asked for when it is their turn", indent=0)
    click.echo(click.style("Options", bold=True))
    for option in options:
        _option(option)
    for note in (*(n for plan in plans for n in plan.notes), *remarks):
        click.echo()
        paragraph(f"note: {note}", indent=0)


def _returning(names: Sequence[str]) -> None:
    click.echo(click.style("\nComes back", bold=True))
    for name in names or ("nothing that was kept: the migration destroyed nothing",):
        paragraph(name)


def show_brief(plan: Plan, remarks: Iterable[str] = (), *, refill: bool = False) -> None:
    """What must be known before saying yes: what is undone, what is lost, what blocks, how long locks are held. refill: a snapshot gives
    back what the migration destroyed."""
    click.echo(f"To undo, on PostgreSQL {plan.server_major}:\n")
    for verdict in plan.verdicts:
        click.echo(f"  {verdict.migration}: schema {styled(verdict.schema)}, data {styled(verdict.data)}")
        for remark in (verdict.reason, *(f"not covered: {gap}" for gap in verdict.not_covered)):
            if remark:
                paragraph(remark, indent=4)
    _brief_losses(plan, refill=refill)
    if plan.blockers:
        _blockers(plan)
    _brief_locks(plan)
    for note in (*plan.notes, *remarks):
        click.echo()
        paragraph(f"note: {note}", indent=0)
    click.echo(f"\n{amount(len(plan.steps), 'statement')}: --verbose, or unmigrate plan, shows each beside what it undoes.")


def _brief_losses(plan: Plan, *, refill: bool) -> None:
    """What the way back takes goes to the vault; what the migration had destroyed stays away, or comes from the snapshot."""
    taken = [loss for loss in plan.losses if loss.kind.startswith("added") and loss.rows != 0]
    taken.sort(key=lambda loss: -loss.rows if loss.rows is not None else float("-inf"))  # the most first; uncounted ones may be many
    gone = [loss for loss in plan.losses if not loss.kind.startswith("added")]
    empty = sum(loss.kind.startswith("added") and loss.rows == 0 for loss in plan.losses)
    if not taken and not gone:
        told = "1 added table or column is" if empty == 1 else f"{empty} added tables or columns are"
        click.echo(f"\n{_no_loss(plan)}" + (f" ({told} still empty)." if empty else "."))
        return
    if taken:
        click.echo(click.style("\nTaken away, and copied to the vault", bold=True))
        _some([f"{loss.object}{'' if loss.rows is None else _rows(loss.rows)}" for loss in taken])
    back = [loss for loss in gone if refill and loss.kind in ("column", "table")]
    away = "Comes back as far as a rehearsal tells" if refill else "Does not come back, as the migration destroyed or changed it"
    rest = [loss for loss in gone if loss not in back]
    for title, losses in (("Comes back from the snapshot, once it is rolled back", back), (away, rest)):
        if losses:
            click.echo(click.style(f"\n{title}", bold=True))
            _some([f"{loss.object}: {loss.reason}" for loss in losses])


def _no_loss(plan: Plan) -> str:
    shown = all(verdict.data == "lossless" for verdict in plan.verdicts)
    return "Nothing is lost" if shown else "Nothing is known to be lost; what was not covered may be"


def _brief_locks(plan: Plan) -> None:
    total = sum(lock.seconds or 0 for lock in plan.locks)
    click.echo(click.style("\nLocks", bold=True) + f" for about {total:.2f} s" * any(lock.seconds is not None for lock in plan.locks))
    order = sorted(plan.locks, key=lambda lock: -(lock.seconds or 0))
    _some([f"{k.table}: {k.mode}" + ("" if k.work == "metadata" else f", {k.work}, {k.seconds or 0:.2f} s") for k in order] or ["none"])


def _some(lines: list[str]) -> None:
    for line in lines[:BRIEF]:
        paragraph(line)
    if len(lines) > BRIEF:
        click.echo(f"  and {len(lines) - BRIEF} more")


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


def _rows(count: int) -> str:
    return f" ({amount(count, 'row')})"


def _short(sql: str) -> str:
    from rich.markup import escape

    text = sql if len(sql) <= 600 else sql[:600] + " …"
    return escape(text)


def _blockers(plan: Plan) -> None:
    click.echo(click.style("\nRows that block" if any(b.of_rows for b in plan.blockers) else "\nWhat blocks", bold=True, fg="red"))
    for blocker in plan.blockers:
        rows = "an unknown number of rows" if blocker.rows < 0 else amount(blocker.rows, "row")
        paragraph(f"{blocker.object}: {f'{rows}: ' if blocker.of_rows else ''}{blocker.reason}")
        for sample in blocker.samples:
            paragraph(f"{'e.g.' if blocker.of_rows else 'it answers'} {sample}", indent=4)
        for way in blocker.ways_out:
            paragraph(f"way out: {way}", indent=4)


def _lists(plan: Plan) -> None:
    _counted(plan)
    click.echo(click.style("\nOptions", bold=True))
    for option in plan.options:
        _option(option)
    for note in plan.notes:
        click.echo(f"\nnote: {note}")


def _counted(plan: Plan) -> None:
    """What is lost, what blocks, what is locked."""
    if plan.losses:
        click.echo(click.style("\nLosses", bold=True))
        for loss in plan.losses:
            rows = "" if loss.rows is None else _rows(loss.rows)
            click.echo(f"  {loss.object}{rows}: {loss.reason}")
    else:
        click.echo(f"\n{_no_loss(plan)}.")
    if plan.blockers:
        _blockers(plan)
    if plan.locks:
        click.echo(click.style("\nLocks", bold=True))
        for lock in plan.locks:
            time = "" if lock.seconds is None else f", about {lock.seconds:.2f} s"
            click.echo(f"  {lock.table}: {lock.mode} ({lock.work}{time})")


def _option(option: Option) -> None:
    """One way to go: the first line says what it is, the others what it costs."""
    name = f"{option.name} {option.of}".strip()
    mark = click.style("→", fg="green") if option.recommended else " "
    click.echo(f"  {mark} {click.style(name, bold=option.recommended)}{'' if option.possible else ' (not as things stand)'}")
    blocked = {0: "", -1: "rows block, uncounted; "}.get(option.blocked, f"{amount(option.blocked, 'row blocks', 'rows block')}; ")
    basis = f" ({option.basis})" if option.basis else ""
    disk = "" if option.disk is None else f"; disk {option.disk / 1e6:,.0f} MB"
    paragraph(f"loses {option.loses}", indent=6)
    paragraph(f"{blocked}writers wait: {option.downtime}{basis}{disk}", indent=6)
    paragraph(f"needs {option.needs}", indent=6)
    paragraph(f"{'recommended: ' if option.recommended else ''}{option.reason}", indent=6)
