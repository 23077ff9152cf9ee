"""What refill and rollback --refill share: which snapshot, opening it, bringing back, telling."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import click

from unmigrate.cli import render, snapshots
from unmigrate.cli.options import Where
from unmigrate.errors import PartialError, RefusedError, UnmigrateError, UsageError
from unmigrate.words import span

BEFORE = "before"


def options(function: Any) -> Any:
    """--fill-touched, --batch, --jobs, --keep-restored."""
    for option in (
        click.option("--keep-restored", is_flag=True, help="Leave the restored copy of the snapshot there afterwards."),
        click.option("--jobs", type=click.IntRange(1), default=2, metavar="N", help="Sessions that merge a large table. Default: 2."),
        click.option("--batch", type=click.IntRange(1), default=5000, metavar="ROWS", help="Rows per transaction. Default: 5000."),
        click.option(
            "--fill-touched", is_flag=True, help="Fill rows written since the way back too, where the column is still as it returned."
        ),
    ):
        function = option(function)
    return function


def chosen(source: snapshots.Opened, snapshot: str | None, migrations: tuple[str, ...]) -> Any:
    """The snapshot named, the point right before, or the last one that is from before all of these. Raises RefusedError for others."""
    from unmigrate.snapshot import find
    from unmigrate.snapshot.provider import At

    moments = [snapshots.moments_of(source, name) for name in migrations]
    if snapshot == BEFORE:
        return _right_before(source, moments)
    if snapshot:
        found = snapshots.named(source, snapshot)
        for of in moments:
            find.require(found, of)
        return At(found.id)
    if not moments:
        raise RefusedError("which snapshot?", code="no-snapshot", remedy="give --snapshot ID or --from URL")
    oldest = min(moments, key=lambda m: m.began)
    if oldest.lsn and "lsn" in source.provider.points:
        return At(lsn=oldest.lsn)
    return At(find.last_before(source.provider.snapshots(), oldest).id)


def _right_before(source: snapshots.Opened, moments: Any) -> Any:
    from unmigrate.snapshot.choice import right_before

    point = right_before(source.provider, min(moments, key=lambda m: m.began)) if moments else None
    if point is None:
        message = f"{source.provider.name} does not restore to a point in time"
        raise UsageError(message, code="no-points", remedy="give a snapshot, or a provider that can: rds, pgbackrest")
    return point


@contextmanager
def opened(
    source: snapshots.Opened, at: Any, given: str | None, migrations: tuple[str, ...], losses: Any, *, keep: bool,
    tell: Callable[[str], None],
) -> Iterator[Any]:  # fmt: skip
    """The snapshot as a database to read from, looked at: it must be another one than the source, and from before the migrations."""
    from unmigrate.snapshot import beside, lost
    from unmigrate.snapshot.verify import require_before

    context = (
        beside.given(given)
        if given
        else beside.restored(source.provider, replace(at, tables=lost.tables(losses)), source.url.database, tell, keep=keep)
    )
    with context as other, source.connect() as live:
        require_before(other.connection, live, migrations, source.url.schema)
        yield other


def bring_back(
    at: Where, source: snapshots.Opened, other: Any, undone: Any, losses: Any, flags: dict[str, Any], tell: Callable[[str], None]
) -> Any:  # fmt: skip
    """Refill, and what was done. Raises as `snapshot.refill.refill`."""
    from unmigrate.catalog.read import read_catalog
    from unmigrate.snapshot import lost
    from unmigrate.snapshot.job import Asked
    from unmigrate.snapshot.refill import refill

    with source.connect() as live:
        lost.refuse_applied(live, source.url.schema, undone.migrations)
        found = lost.find(losses, read_catalog(live), read_catalog(other.connection))
    asked = Asked(other.name, flags["batch"], flags["fill_touched"], flags.get("lock_timeout", 200), tell, jobs=flags["jobs"])
    return refill(source.connect, other.connection, undone, found, asked, up=texts(at, undone, losses), copy=other.copy)


def texts(at: Where, undone: Any, losses: Any) -> list[str] | str:
    """What the undone migrations say, oldest first, as they were deployed; or why that is not to be had."""
    from unmigrate.cli.target import load

    if not any(loss.kind == "values" for loss in losses):
        return []
    folder = {m.name: m for m in load(at)[1]}
    for name in undone.migrations:
        if name not in folder:
            return f"{name} is not in the folder, and has to be run on the snapshot to tell"
        if folder[name].checksum != undone.checksums.get(name):
            return f"{name} is another text in the folder than the one that was deployed"
    return [folder[name].sql for name in reversed(undone.migrations)]


def notes(source: snapshots.Opened, snapshot: str | None, migrations: tuple[str, ...]) -> list[str]:
    """What a snapshot cannot know, said: what was written between it and the migration."""
    from unmigrate.park.publications import remarks

    with source.connect() as live:
        found = list(remarks(live))
    if snapshot and migrations:
        at = next((s.created_at for s in source.provider.snapshots() if s.id == snapshot), None)
        began = min(snapshots.moments_of(source, name).began for name in migrations)
        if at is not None:
            found.append(
                f"the snapshot was taken {span((began - at).total_seconds())} before the migration: of what was written in between to "
                "what was lost, nothing is known to it"
            )
    return found


def tell(report: Any, said: list[str], *, verb: str = "Refilled") -> None:
    """For people."""
    if report.again:
        click.echo(f"{verb} from {report.snapshot} by an earlier run; nothing was done now.")
    else:
        longest = report.longest * 1000
        click.echo(f"{verb} from {report.snapshot} in {report.seconds:.1f} s; no writer waited longer than {longest:.0f} ms for us.")
    for part in report.parts:
        what = part.table if part.kind != "columns" else f"{part.table} ({', '.join(part.columns)})"
        gone = f", {part.gone:,} deleted since" if part.gone else ""
        if part.staged or part.kind in ("rows", "columns"):
            done = {"edits": "edits", "deletes": "rows deleted"}.get(
                part.kind, "rows brought back" if verb == "Refilled" else "rows inserted"
            )
            click.echo(f"  {what}: {part.filled:,} of {part.staged:,} {done}{gone}")
        for reason, count in part.reasons.items():
            render.paragraph(f"{count:,} kept as they are here: {reason}", indent=4)
        if part.samples:
            render.paragraph(f"e.g. {'; '.join(part.samples)}", indent=4)
    for name, why in report.left_out:
        render.paragraph(f"left out: {name}: {why}")
    if any(p.conflicts for p in report.parts):
        click.echo(f"What the snapshot had for these is kept in {report.conflict_table}.")
    for note in said:
        render.paragraph(f"note: {note}", indent=0)


@dataclass(frozen=True, slots=True)
class Refilled:
    """What a rollback tells of its refill."""

    report: Any
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        return {**self.report.to_json(), "notes": self.notes}


@dataclass(frozen=True, slots=True)
class After:
    """What follows a rollback: nothing without --refill. returning: what it will bring back."""

    returning: frozenset[str] = frozenset()
    refill: Callable[[], Refilled | None] = lambda: None


@contextmanager
def after(at: Where, plans: Any, flags: dict[str, Any]) -> Iterator[After]:
    """Before a rollback with --refill: its snapshot is restored and looked at, so that nothing is rolled back without one that fits."""
    from unmigrate.prisma.url import parse_url
    from unmigrate.snapshot import lost

    migrations = tuple(name for plan in plans for name in plan.migrations)
    losses = tuple(loss for plan in plans for loss in (*lost.destroyed(plan.losses), *lost.changed(plan.losses)))
    returning = frozenset(loss.object for loss in lost.destroyed(losses))  # what it changed by itself may turn out not to
    if not flags["refill"] or not losses:
        if flags["refill"]:
            render.say(f"{', '.join(migrations)} destroyed nothing that must come from a snapshot: --refill does nothing")
        yield After()
        return
    if len(plans) > 1:
        raise UsageError("--refill with several ways from the vault", code="several", remedy="roll them back one after the other")
    source = snapshots.opened(at, None)
    given = flags["refill"] if "://" in flags["refill"] else None
    point = None if given else chosen(source, None if flags["refill"] == "last" else flags["refill"], migrations)
    if flags["dry_run"]:
        render.say(f"then bring back {', '.join(sorted(x.object for x in losses))} from {parse_url(given).display if given else point}")
        yield After(returning)
        return
    with (
        render.waiting("restoring the snapshot") as tell,
        opened(source, point, given, migrations, losses, keep=flags["keep_restored"], tell=tell) as other,
    ):
        yield After(returning, lambda: _now(at, source, other, plans[0], losses, flags, point, tell))


def for_run(at: Where, plans: Any, asked: str) -> tuple[dict[str, Any] | None, str | None]:
    """What a run of the runbook is to bring back, without secrets, and the URL where that was given. None where nothing was destroyed."""
    from unmigrate.prisma.url import parse_url
    from unmigrate.runbook.adapters.snapshots import key
    from unmigrate.snapshot import lost

    migrations = tuple(name for plan in plans for name in plan.migrations)
    destroyed = lost.destroyed(loss for plan in plans for loss in plan.losses)
    losses = (*destroyed, *lost.changed(loss for plan in plans for loss in plan.losses))
    if not losses:
        render.say(f"{', '.join(migrations)} destroyed nothing that must come from a snapshot: --refill does nothing")
        return None, None
    if len(plans) > 1:
        raise UsageError("--refill with several ways from the vault", code="several", remedy="roll them back one after the other")
    source, given = snapshots.opened(at, None), asked if "://" in asked else None
    point = None if given else chosen(source, None if asked == "last" else asked, migrations)
    spec = {
        "at": "" if point is None else key(point), "name": parse_url(given).display if given else f"snapshot {point}",
        "tables": lost.tables(losses), "objects": sorted(x.object for x in losses), "destroyed": sorted(x.object for x in destroyed),
        "texts": texts(at, plans[0], losses), "notes": notes(source, point.snapshot if point else None, migrations),
    }  # fmt: skip
    return spec, given


def _now(
    at: Where, source: snapshots.Opened, other: Any, plan: Any, losses: Any, flags: dict[str, Any], point: Any, tell: Any
) -> Refilled:  # fmt: skip
    from unmigrate.snapshot import lost

    tell("refilling")
    try:
        with source.connect() as live:
            undone = lost.undone(live, plan.migrations[0])
        report = bring_back(at, source, other, undone, losses, flags, tell)
        return Refilled(report, notes(source, point.snapshot if point else None, plan.migrations))
    except UnmigrateError as error:
        message = f"{', '.join(plan.migrations)} is rolled back, but not refilled: {error}"
        remedy = f"{error.remedy}; then unmigrate refill {plan.migrations[0]}"
        raise PartialError(message, code="refill", remedy=remedy) from error
