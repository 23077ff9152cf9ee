"""unmigrate carry-over"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import click

from unmigrate.cli import asking, options, refilling, render, snapshots
from unmigrate.cli.options import Where
from unmigrate.errors import UsageError
from unmigrate.words import amount


@click.command("carry-over", epilog="Example: unmigrate carry-over --from env:OLD_DATABASE_URL --merge --yes")
@click.option(
    "--from", "old", metavar="URL", type=options.SECRET,
    help="The database that was in use before the restore: URL, env:VARIABLE or @FILE. It is only read.",
)  # fmt: skip
@click.option("--run", metavar="RUN", help="Both databases as that run of the runbook knew them.")
@click.option("--snapshot", metavar="ID", help="What was restored. Default: what the restored database says it is of.")
@click.option(
    "--baseline", metavar="URL", type=options.SECRET, help="The same, as a database restored from that snapshot that nobody wrote to."
)
@click.option("--at-rest", is_flag=True, help="Nobody wrote to the restored database yet: it is its own baseline.")
@click.option("--merge", is_flag=True, help="Carry over. Without it rows are counted, and nothing is changed.")
@click.option(
    "--include", multiple=True, metavar="SCHEMA.TABLE", help="Although a migration wrote to it by itself (repeatable; * for all)."
)
@click.option("--deletes", is_flag=True, help="Delete what was deleted there, too.")
@click.option("--batch", type=click.IntRange(1), default=5000, metavar="ROWS", help="Rows per transaction. Default: 5000.")
@click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")
@click.option("--keep-restored", is_flag=True, help="Leave the restored baseline there afterwards.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@options.json_option
@snapshots.provider_options
def command(
    old: str | None, run: str | None, snapshot: str | None, baseline: str | None, as_json: bool, provider: str | None, **rest: Any
) -> int:  # fmt: skip
    """After a full restore: what was written to the old database since the snapshot, table by table, and carried over on request.

    Rows are compared by key with the snapshot and with the restored database (--url): what only the old one changed is carried over; what
    both changed is a conflict, stays, and is listed. Exit 1 when something was written since, and not carried over.
    """
    names = ("at_rest", "merge", "include", "deletes", "batch", "lock_timeout", "keep_restored", "yes")
    flags = {key: rest.pop(key) for key in names}
    at = options.where(rest)
    if run is not None:
        at, old = _of_run(run, at, old)
    if old is None:
        raise UsageError("which database was in use before?", code="no-source", remedy="give --from URL, or --run RUN")
    with _sides(at, old, snapshot, baseline, provider, flags) as (source, sides, name, tell):
        wanted, left = _tables(at, source, sides, flags["include"])
        if flags["merge"]:
            status = _merge(source, sides, wanted, left, name, flags, as_json, tell)
            if run is not None and not status:
                _keep_of(run).forget()
            return status
        from unmigrate.snapshot.carry import listed

        with source.connect() as live:
            found = listed(live, sides, wanted, tell)
    return _tell(found, left, as_json)


def _keep_of(run: str) -> Any:
    import os

    from unmigrate.runbook.store import Keep

    return Keep.of(run, os.environ)


def _of_run(run: str, at: Where, old: str | None) -> tuple[Where, str]:
    """The restored database as the target, and the old one. Raises UsageError where they are not known here."""
    if old is not None or at.url is not None:
        raise UsageError("--run names both databases", code="ambiguous", remedy="give --run, or --url and --from")
    keep = _keep_of(run)
    target, source = keep.get("target"), keep.get("source")
    if target is None or source is None:
        message = f"the databases of run {run} are not known on this machine"
        remedy = "give them: --url of the restored one, --from of the old one (URL, env:VARIABLE or @FILE)"
        raise UsageError(message, code="no-url", remedy=remedy)
    return replace(at, url=target), source


@contextmanager
def _sides(
    at: Where, old: str, snapshot: str | None, baseline: str | None, provider: str | None, flags: dict[str, Any]
) -> Iterator[tuple[snapshots.Opened, Any, str, Any]]:  # fmt: skip
    """The restored database, the other two, and a name for what they are compared with. Raises UsageError, RefusedError."""
    from unmigrate.prisma.url import connect, parse_url
    from unmigrate.snapshot import beside
    from unmigrate.snapshot.carry import Sides
    from unmigrate.snapshot.provider import At
    from unmigrate.snapshot.verify import require_other

    source = snapshots.opened(at, provider)
    with render.waiting("comparing") as tell, closing(connect(parse_url(old))) as there, source.connect() as live:
        require_other(live, there)
        if flags["at_rest"]:
            with source.connect() as itself:
                yield source, Sides(there, itself), f"{parse_url(old).display} (at rest)", tell
            return
        if baseline:
            context = beside.given(baseline)
        else:
            of_old = snapshots.opened(at, provider, url=old)
            found = snapshots.named(of_old, snapshot or _says(live))
            context = beside.restored(of_old.provider, At(found.id), of_old.url.database, tell, keep=flags["keep_restored"])
        with context as other:
            require_other(other.connection, there)
            yield source, Sides(there, other.connection), f"{parse_url(old).display} since {other.name}", tell


def _says(live: Any) -> str:
    """What a database that we restored says in its comment."""
    from unmigrate.snapshot.databases import mark_of

    mark = mark_of(live, live.info.dbname) or {}
    if mark.get("kind") != "restored" or not mark.get("at") or "tables" in mark:
        remedy = "give --snapshot ID, or --baseline URL; or --at-rest, if nobody wrote to it yet"
        raise UsageError("the restored database does not say of which snapshot it is", code="no-baseline", remedy=remedy)
    return str(mark["at"])


def _tables(at: Where, source: snapshots.Opened, sides: Any, include: tuple[str, ...]) -> tuple[Any, Any]:
    from unmigrate.catalog.read import read_catalog
    from unmigrate.cli.target import load
    from unmigrate.prisma.ledger import read_ledger, states
    from unmigrate.snapshot import carry

    with source.connect() as live:
        catalog, schema = read_catalog(live), source.url.schema
        here = {s.name for s in states((), read_ledger(live, schema) or ()) if s.state == "applied"}
    more = [s.name for s in states((), read_ledger(sides.old, schema) or ()) if s.state in ("applied", "failed") and s.name not in here]
    folder = {m.name: m.sql for m in load(at)[1]} if more else {}
    old = read_catalog(sides.old)
    found, left = carry.tables(catalog, old, read_catalog(sides.base))
    return carry.hold(found, {name: folder.get(name) for name in more}, old, include), left


def _merge(
    source: snapshots.Opened, sides: Any, wanted: Any, left: Any, name: str, flags: dict[str, Any], as_json: bool, tell: Any
) -> int:  # fmt: skip
    from unmigrate.snapshot.carry import carry_over
    from unmigrate.snapshot.job import Asked

    if not flags["yes"]:
        asking.confirmed(f"Carry rows over into {source.url.display}?")
    asked = Asked(name, flags["batch"], False, flags["lock_timeout"], tell)
    report = carry_over(source.connect, sides, wanted, asked, deletes=flags["deletes"], left=left)
    if as_json:
        render.print_json(report.to_json())
    else:
        refilling.tell(report, [], verb="Carried over")
    return 1 if any(t.held for t in wanted) else 0


def _tell(found: Any, left: Any, as_json: bool) -> int:
    written = [s for s in found if s.inserted or s.edited or s.deleted]
    if as_json:
        left_out = [{"object": name, "reason": why} for name, why in left]
        render.print_json({"tables": [s.to_json() for s in found], "left_out": left_out})
        return 1 if written else 0
    for since in written:
        click.echo(
            f"  {since.table}: {amount(since.inserted, 'row')} new, {since.edited:,} edited, {since.deleted:,} deleted since the snapshot"
        )
        if since.held:
            render.paragraph(f"held back: {since.held}; --include {since.table} consents", indent=4)
    for name, why in left:
        render.paragraph(f"left out: {name}: {why}")
    same = len(found) - len(written)
    click.echo(f"{amount(same, 'table is', 'tables are')} as in the snapshot." + (" --merge carries the others over." if written else ""))
    return 1 if written else 0
