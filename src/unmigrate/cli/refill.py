"""unmigrate refill"""

from dataclasses import replace
from typing import Any

import click

from unmigrate.cli import asking, options, refilling, render, snapshots


@click.command("refill", epilog="Example: unmigrate refill 20250601120000_bad --yes")
@click.argument("migration", required=False)
@click.option(
    "--snapshot",
    metavar="ID",
    help="From this one; 'before': the point in time right before the migration. Default: the last snapshot before it.",
)
@click.option(
    "--from", "given", metavar="URL", type=options.SECRET,
    help="From a database that was restored already, on any server. It is only read. URL, env:VARIABLE or @FILE.",
)  # fmt: skip
@click.option("--column", "columns", multiple=True, metavar="SCHEMA.TABLE.COLUMN", help="Only this (repeatable), whoever destroyed it.")
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Likewise.")
@refilling.options
@click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be brought back, and from where; change nothing.")
@options.json_option
@snapshots.provider_options
def command(migration: str | None, snapshot: str | None, given: str | None, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Bring back what a rolled-back migration had destroyed, from a snapshot, and keep every row written since.

    Columns and tables that it dropped, of the last rollback or the one of MIGRATION, are merged by key, some rows at a time. Rows deleted
    since stay deleted, values written since stay, and conflicts are listed. Interrupted (exit 6), the same command goes on.
    """
    keys = ("columns", "tables", "fill_touched", "batch", "jobs", "keep_restored", "lock_timeout", "yes", "dry_run")
    flags = {key: rest.pop(key) for key in keys}
    where = options.where(rest)
    source = snapshots.opened(where, provider)
    undone, losses = _wanted(source, migration, flags)
    judged = undone.migrations if undone.operation else ()
    at = None if given else refilling.chosen(source, snapshot, judged)
    if flags["dry_run"]:
        return _would(source, at, given, losses, as_json)
    names = ", ".join(loss.object for loss in losses)
    if not flags["yes"]:
        asking.confirmed(f"Bring back {names} on {source.url.display}?")
    with (
        render.waiting("refilling") as tell,
        refilling.opened(source, at, given, undone.migrations, losses, keep=flags["keep_restored"], tell=tell) as other,
    ):
        report = refilling.bring_back(where, source, other, undone, losses, flags, tell)
    said = refilling.notes(source, at.snapshot if at else None, judged)
    if as_json:
        render.print_json({**report.to_json(), "notes": said})
    else:
        refilling.tell(report, said)
    return 0


def _wanted(source: snapshots.Opened, migration: str | None, flags: dict[str, Any]) -> tuple[Any, Any]:
    """What was undone, and what of it is to come back. Raises RefusedError, UsageError."""
    from unmigrate.errors import RefusedError, UsageError
    from unmigrate.plan.model import Loss
    from unmigrate.snapshot import lost

    with source.connect() as live:
        undone = lost.undone(live, migration)
        if undone is None and migration is None and not (flags["columns"] or flags["tables"]):
            message = "no rollback is in this database's vault"
            raise RefusedError(message, code="nothing-undone", remedy="unmigrate rollback first; or name what is lost: --column, --table")
        if undone is None:
            undone = lost.Undone("", (migration,) if migration else (), (), None)
        lost.refuse_applied(live, source.url.schema, undone.migrations)
    name = undone.migrations[0] if undone.migrations else ""
    explicit = [Loss(name, c, "column", "named") for c in flags["columns"]] + [Loss(name, t, "table", "named") for t in flags["tables"]]
    losses = tuple(explicit) or (*lost.destroyed(undone.losses), *lost.changed(undone.losses))
    if not losses and not undone.operation:
        remedy = "name what is lost: --column, --table"
        raise UsageError(f"the vault knows no rollback of {name}, so not what it destroyed", code="nothing-named", remedy=remedy)
    if not losses:
        message = f"{', '.join(undone.migrations)} had destroyed nothing"
        raise RefusedError(message, code="nothing-destroyed", remedy="name what is lost: --column, --table")
    return undone, losses


def _would(source: snapshots.Opened, at: Any, given: str | None, losses: Any, as_json: bool) -> int:
    from unmigrate.prisma.url import parse_url
    from unmigrate.snapshot import lost

    lines = () if given else source.provider.shown_restore(replace(at, tables=lost.tables(losses)), "NEW")
    wanted = [f"merge {loss.object} by key from {parse_url(given).display if given else at}" for loss in losses]
    return snapshots.tell_commands((*lines, *wanted), as_json)
