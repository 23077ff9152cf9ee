"""unmigrate purge"""

from typing import Any

import click

from unmigrate.cli import asking, options, render


@click.command("purge", epilog="Example: unmigrate purge --url postgresql://…/app --yes")
@click.option("--now", is_flag=True, help="Everything, however young. Rollback and redo from the vault end with it.")
@click.option(
    "--days", type=float, default=None, metavar="N", help="Keep what is younger. Default: 14, or [park] retention_days, retention."
)
@click.option("--dry-run", is_flag=True, help="Show what would be dropped.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
@options.where_options
def command(now: bool, days: float | None, dry_run: bool, yes: bool, as_json: bool, **rest: Any) -> int:
    """Really drop what deploys and rollbacks have parked, in small locks, and what refills wrote down.

    After that a rollback of those migrations is the plain one. Values stay in dead rows until the table is rewritten (VACUUM FULL),
    and in WAL archives and backups for as long as those are kept.
    """
    from datetime import UTC, datetime

    from unmigrate.cli.target import connect_only
    from unmigrate.park.purge import due, kept, purge, statements
    from unmigrate.snapshot import leftovers
    from unmigrate.snapshot.merge import SCHEMA

    with connect_only(options.where(rest)) as (connection, config):
        found = kept(connection)
        limit = 0.0 if now else days
        keeps = {k.guard: config.park.days(k.tables) if limit is None else limit for k in found}
        chosen = due(found, datetime.now(UTC), lambda k: keeps[k.guard])
        plan = {k.guard: list(statements(connection, k.guard)) for k in chosen}
        if not as_json:
            for k in found:
                render.paragraph(f"{'drop' if k in chosen else 'keep'}: {k.line(keeps[k.guard])}", 0)
        noted = leftovers.left(connection)
        old = noted is not None and _over(noted, now, config.park.days(()) if days is None else days)
        if noted is not None and not as_json:
            render.paragraph(f"{'drop' if old else 'keep'}: {noted.line()}", 0)
            for line in noted.unfinished:
                render.paragraph(line)
        if old:
            plan[SCHEMA] = list(leftovers.statements(connection))
        if (chosen or old) and not (yes or dry_run):
            asking.confirmed("Drop it for good?")
        if not dry_run:
            for k in chosen:
                purge(connection, k.guard)
            if old:
                leftovers.drop(connection, unfinished=now)
    if as_json:
        render.print_json(
            {"purged": [] if dry_run else list(plan), "statements": plan, "kept": [k.guard for k in found if k not in chosen]}
        )
    elif not found and noted is None:
        click.echo("Nothing is parked.")
    return 0


def _over(noted: Any, now: bool, days: float) -> bool:
    """Whether what refills wrote down goes. One that could go on keeps all of it, unless everything is to go."""
    from datetime import UTC, datetime, timedelta

    return now or (not noted.unfinished and noted.since <= datetime.now(UTC) - timedelta(days=days))
