"""unmigrate status"""

from typing import Any

import click

from unmigrate.cli import options, render


@click.command("status", epilog="Example: unmigrate status --json")
@options.json_option
@options.where_options
def command(as_json: bool, **rest: Any) -> int:
    """Show what the ledger says of the folder, what Prisma will say, and what the vault holds.

    Exit 1 when something is pending, failed, edited, ahead or unfinished.
    """
    from unmigrate.cli.target import open_target
    from unmigrate.config import load as load_config
    from unmigrate.execute.rollback import history, pending
    from unmigrate.park import publications
    from unmigrate.park.armed import armed
    from unmigrate.park.purge import kept
    from unmigrate.prisma.ledger import predict_status
    from unmigrate.snapshot import merging

    at = options.where(rest)
    park = load_config(at.project).park
    with open_target(at) as target:
        prediction = predict_status(target.states, minor=target.project.version or (7, 9))
        operations, unfinished = history(target.connection), pending(target.connection)
        remarks = [r for s in target.states for r in _remarks(s)]
        undone = {name for o in operations if o.state == "done" for name in o.migrations}
        remarks += [
            f"{s.name} was rolled back by unmigrate, and the folder still ships it: the next deploy applies it again"
            for s in target.states
            if s.state == "pending" and s.name in undone
        ]
        remarks += merging.unfinished(target.connection)
        remarks += [f"a guard waits for {g.migration} ({g.state}): unmigrate guard finish, or abandon" for g in armed(target.connection)]
        notes = publications.remarks(target.connection)
        parked = kept(target.connection)
    if as_json:
        render.print_json({
            "migrations": [
                {"name": s.name, "state": s.state, "edited": s.edited, "missing_folder": s.missing_folder} for s in target.states
            ],
            "prisma_migrate_status": {"exit_code": prediction.exit_code, "says": prediction.text},
            "operations": [o.to_json() for o in operations], "unfinished": [o.to_json() for o in unfinished], "remarks": remarks,
            "notes": notes, "parked": [k.to_json() | {"days": park.days(k.tables)} for k in parked],
        })  # fmt: skip
    else:
        told = [*remarks, *(f"note: {n}" for n in notes), *(k.line(park.days(k.tables)) for k in parked)]
        _show(target, prediction, operations, unfinished, told)
    return 1 if remarks or unfinished or prediction.exit_code else 0


def _remarks(state: Any) -> list[str]:
    found = []
    if state.state in ("pending", "failed", "rolled-back"):
        found.append(f"{state.name} is {state.state}")
    if state.edited:
        found.append(f"{state.name} was edited after it was applied")
    if state.missing_folder:
        found.append(f"{state.name} is in the database, not in the folder")
    return found


def _show(target: Any, prediction: Any, operations: Any, unfinished: Any, remarks: list[str]) -> None:
    applied = len(target.applied)
    last = target.applied[-1] if applied else "none"
    render.paragraph(f"{target.url.display}: {applied} applied of {len(target.states)} known migrations; last: {last}", 0)
    render.paragraph(f"prisma migrate status will exit {prediction.exit_code}: {prediction.text}", 0)
    for operation in operations:
        render.paragraph(f"operation {operation.id}: {operation.kind} of {', '.join(operation.migrations)}: {operation.state}", 0)
    for operation in unfinished:
        render.paragraph(f"{click.style('unfinished', fg='red')}: {operation.id}; run unmigrate rollback to finish it", 0)
    for remark in remarks:
        render.paragraph(f"- {remark}", 0)
