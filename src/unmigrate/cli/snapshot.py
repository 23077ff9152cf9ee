"""unmigrate snapshot"""

from typing import Any

import click

from unmigrate.cli import asking, options, render, snapshots
from unmigrate.words import amount


@click.group("snapshot", epilog="Example: unmigrate snapshot create --label before-release")
def command() -> None:
    """Snapshots of the database, by the provider that unmigrate.toml names ([snapshot]); without one by pg_dump, into snapshots/."""


@command.command("create", epilog="Example: unmigrate snapshot create --provider template --end-sessions")
@click.option("--label", default="manual", help="Part of its name. Default: manual.")
@click.option("--end-sessions", is_flag=True, help="With template: end the sessions of the database, which must have none.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands; change nothing.")
@options.json_option
@snapshots.provider_options
def create(label: str, end_sessions: bool, dry_run: bool, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Make one now, right before a deploy at best."""
    label = snapshots.checked_label(label)
    source = snapshots.opened(options.where(rest), provider, end_sessions=end_sessions)
    if dry_run:
        return snapshots.tell_commands(source.provider.shown_create(label), as_json)
    with render.waiting("making a snapshot") as told:
        made = source.provider.create(label, told)
    if as_json:
        render.print_json(made.to_json())
    else:
        click.echo(f"Snapshot {made.id} ({source.provider.name}, {snapshots.size(made.size)}, {made.created_at:%Y-%m-%d %H:%M:%S %Z}).")
    return 0


@command.command("list", epilog="Example: unmigrate snapshot list --before 20250601120000_bad")
@click.option("--before", metavar="MIGRATION", help="Say which are from before this migration, and why the others are not.")
@options.json_option
@snapshots.provider_options
def list_(before: str | None, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Those there are, oldest first."""
    from unmigrate.snapshot.find import judged

    source = snapshots.opened(options.where(rest), provider)
    of = snapshots.moments_of(source, before) if before else None
    found = source.provider.snapshots()
    verdicts = judged(found, of) if of else []
    if as_json:
        render.print_json({"provider": source.provider.name, "snapshots": [x.to_json() for x in (verdicts or found)]})
        return 0
    for number, each in enumerate(found):
        verdict = "" if not verdicts else f": no: {reason}" if (reason := verdicts[number].reason) else ": before it"
        render.paragraph(f"{each.id}{verdict}", 0)
        at = f" at {each.lsn}" if each.lsn else ""
        kept = ", protected" if each.protected else ""
        render.paragraph(f"{each.created_at:%Y-%m-%d %H:%M:%S %Z}{at}, {snapshots.size(each.size)}{kept}")
        _note(each)
    if not found:
        click.echo("There is no snapshot.")
    return 0


@command.command("protect", epilog="Example: unmigrate snapshot protect app-20250601T115500Z-manual")
@click.argument("snapshot")
@click.option("--off", is_flag=True, help="No longer.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands; change nothing.")
@options.json_option
@snapshots.provider_options
def protect(snapshot: str, off: bool, dry_run: bool, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Keep one from being dropped and pruned."""
    source = snapshots.opened(options.where(rest), provider)
    if dry_run:
        return snapshots.tell_commands(source.provider.shown_protect(snapshots.named(source, snapshot).id, not off), as_json)
    made = source.provider.protect(snapshots.named(source, snapshot).id, not off)
    if as_json:
        render.print_json(made.to_json())
    else:
        click.echo(f"{made.id} is {'protected' if made.protected else 'not protected any more'}.")
        _note(made)
    return 0


def _note(made: Any) -> None:
    if note := made.detail.get("note"):
        render.paragraph(f"note: {note}", indent=4)


@command.command("drop", epilog="Example: unmigrate snapshot drop app-20250601T115500Z-manual --yes")
@click.argument("snapshot")
@click.option("--force", is_flag=True, help="Although a restore point (a deployed migration) needs it.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
@snapshots.provider_options
def drop(snapshot: str, force: bool, dry_run: bool, yes: bool, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Drop one. A protected one is refused, and one that a restore point needs."""
    from unmigrate.snapshot.find import require_free

    source = snapshots.opened(options.where(rest), provider)
    found = snapshots.named(source, snapshot)
    if not force:
        require_free(found, source.provider.snapshots(), _points(source))
    if dry_run:
        return snapshots.tell_commands(source.provider.shown_drop(found.id), as_json)
    if not yes:
        asking.confirmed(f"Drop snapshot {found.id} for good?")
    source.provider.drop(found.id)
    return _dropped([found.id], as_json)


@command.command("prune", epilog="Example: unmigrate snapshot prune --keep 7 --yes")
@click.option("--keep", type=click.IntRange(1), required=True, metavar="N", help="Leave the newest N.")
@click.option("--dry-run", is_flag=True, help="Print the exact commands; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
@snapshots.provider_options
def prune(keep: int, dry_run: bool, yes: bool, as_json: bool, provider: str | None, **rest: Any) -> int:
    """Drop all but the newest. Protected ones stay, and those that a restore point (a deployed migration) needs."""
    from unmigrate.snapshot.find import held

    source = snapshots.opened(options.where(rest), provider)
    found = source.provider.snapshots()
    needed = held(found, _points(source))
    old = [s.id for s in found[:-keep] if not s.protected and s.id not in needed]
    if dry_run:
        return snapshots.tell_commands(tuple(line for each in old for line in source.provider.shown_drop(each)), as_json)
    if old and not yes:
        asking.confirmed(f"Drop {amount(len(old), 'snapshot')} for good?")
    dropped = [each for each in reversed(old) if _went(source.provider, each)]  # what builds upon another goes before it
    return _dropped(dropped[::-1], as_json)


def _went(provider: Any, snapshot: str) -> bool:
    """Drop one, unless the provider keeps it for others that build upon it, or as the last."""
    from unmigrate.errors import RefusedError

    try:
        provider.drop(snapshot)
    except RefusedError as error:
        if error.code not in ("needed", "last"):
            raise
        click.echo(f"{snapshot} stays: {error}", err=True)
        return False
    return True


def _points(source: snapshots.Opened) -> Any:
    """Restore points of the source's vault."""
    from unmigrate.park.restore_points import read

    with source.connect() as connection:
        return read(connection)


def _dropped(names: list[str], as_json: bool) -> int:
    if as_json:
        render.print_json({"dropped": names})
    else:
        click.echo(f"Dropped {', '.join(names)}." if names else "Nothing was dropped.")
    return 0
