"""unmigrate restore"""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, render, snapshots
from unmigrate.words import amount


@click.command("restore", epilog="Example: unmigrate restore --before 20250601120000_bad --to app_restored")
@click.argument("snapshot", required=False)
@click.option("--before", metavar="MIGRATION", help="The last snapshot before this migration; or its restore point's LSN, where possible.")
@click.option("--lsn", help="To this position of the log (providers with point-in-time recovery).")
@click.option("--time", "moment", metavar="ISO", help="To this time, as 2025-06-01T11:55:00Z (likewise).")
@click.option("--to", required=True, metavar="NAME", help="The new database, or instance. There must be none of this name.")
@click.option("--url-file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write its URL there, secrets included.")
@click.option("--no-look", is_flag=True, help="Do not look at it: its ledger, catalogs and rows.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands; change nothing.")
@options.json_option
@snapshots.provider_options
def command(snapshot: str | None, before: str | None, to: str, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Restore into a new database or instance, never over the one that is there, which stays as it is.

    Then look at it: the ledger must lack the migration, nothing may be half applied, catalogs and all rows must be readable; rows that
    the old one has more are counted. Exit 3 or 5: not to be switched to. Called again, it goes on, or answers as before.
    """
    keys = ("lsn", "moment", "url_file", "no_look", "dry_run")
    flags = {key: rest.pop(key) for key in keys}
    source = snapshots.opened(options.where(rest), provider)
    of = snapshots.moments_of(source, before) if before else None
    at = _at(source, snapshot, of, flags)
    if flags["dry_run"]:
        return snapshots.tell_commands(source.provider.shown_restore(at, to), as_json)
    with render.waiting(f"restoring {at}") as told:
        made = source.provider.restore(at, to, told)
    if flags["url_file"]:
        _write(flags["url_file"], made.url)
    seen = None if flags["no_look"] else _look(source, made, (before,) if before else ())
    return _tell(made, seen, at, as_json)


def _at(source: snapshots.Opened, snapshot: str | None, of: Any, flags: dict[str, Any]) -> Any:
    """What to restore to. Raises UsageError, RefusedError."""
    from unmigrate.errors import UsageError
    from unmigrate.snapshot import find
    from unmigrate.snapshot.provider import At

    provider, lsn, moment = source.provider, flags["lsn"], flags["moment"]
    if sum(x is not None for x in (snapshot, lsn, moment)) > 1 or (of is None and not (snapshot or lsn or moment)):
        raise UsageError("what is to be restored?", code="ambiguous", remedy="give a SNAPSHOT, --before MIGRATION, --lsn or --time")
    if snapshot:
        found = snapshots.named(source, snapshot)
        if of:
            find.require(found, of)
        return At(found.id)
    if (lsn and "lsn" not in provider.points) or (moment and "time" not in provider.points):
        message = f"{provider.name} does not restore to {'an LSN' if lsn else 'a time'}"
        raise UsageError(message, code="no-points", remedy="give a snapshot, or a provider that can: rds, pgbackrest")
    if moment:
        return At(time=_time(moment))
    if lsn:
        return At(lsn=lsn)
    if of.lsn and "lsn" in provider.points:
        return At(lsn=of.lsn)
    return At(find.last_before(provider.snapshots(), of).id)


def _time(text: str) -> datetime:
    from unmigrate.errors import UsageError

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text} is no time", code="time", remedy="write it as 2025-06-01T11:55:00Z") from error
    if found.tzinfo is None:
        raise UsageError(f"{text} says no time zone", code="time", remedy=f"write {text}Z for UTC, or {text}+02:00")
    return found


def _write(file: Path, text: str) -> None:
    """For its owner's eyes alone."""
    import os

    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
        file.chmod(0o600)
        opened.write(f"{text}\n")


def _look(source: snapshots.Opened, made: Any, migrations: tuple[str, ...]) -> Any:
    from unmigrate.prisma.url import connect, parse_url
    from unmigrate.snapshot.verify import look

    with render.waiting(f"looking at {made.display}"), connect(parse_url(made.url)) as new, source.connect() as old:
        return look(new, old, migrations, source.url.schema)


def _tell(made: Any, seen: Any, at: Any, as_json: bool) -> int:
    if as_json:
        render.print_json({**made.to_json(), "at": str(at), "look": seen.to_json() if seen else None})
        return 0
    click.echo(f"Restored {at} as {made.display}{f' in {made.seconds:.1f} s' if made.fresh else ' (by an earlier call)'}.")
    if seen:
        rows = f"{amount(sum(seen.counts.values()), 'row')} in {amount(len(seen.counts), 'table')}"
        click.echo(f"Looked at: {amount(len(seen.ledger), 'migration')}, {rows}, all readable.")
        for table, fewer in sorted(seen.fewer.items()):
            click.echo(f"  {table}: {amount(fewer, 'row')} fewer than the old database has now")
        if seen.missing:
            click.echo(f"It lacks {', '.join(seen.missing)} too, which the old database has.")
    click.echo("The old database is as it was, and in use until the connection string is changed.")
    return 0
