"""prove --on: the proof on a sample of a real database, or of a dump of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from unmigrate.catalog.sqltext import ident
from unmigrate.cli import options, planning, render
from unmigrate.cli.options import Where
from unmigrate.words import amount

FEW = 8


def prove_on(at: Where, source: str, name: str | None, as_json: bool) -> int:
    """Prove what the database or dump at `source` lacks (up to `name`), on a sample of it; nothing is written there. The exit status."""
    from unmigrate.prisma.url import parse_url

    if "://" in source:
        return _prove(at, parse_url(source), name, as_json)
    return _prove_dump(at, Path(source), name, as_json)


def _prove_dump(at: Where, file: Path, name: str | None, as_json: bool) -> int:
    """As for a database: what the dump restores to, on a scratch server of its own."""
    from unmigrate.errors import UsageError
    from unmigrate.prisma.migrations import read_migrations
    from unmigrate.prisma.url import schema_of
    from unmigrate.rehearse import dump

    if not file.exists():
        raise UsageError(f"there is no {file}", code="no-dump", remedy="--on takes a URL, or a file or directory of pg_dump")
    found, project = dump.read(file), options.load_project(at)
    migrations = read_migrations(project.migrations_dir, on_code=lambda _: None)
    schema = schema_of(at.url or project.url)
    with render.waiting("starting scratch") as tell, planning.scratch(at, migrations, found.major, schema=schema) as work:
        if work.pool.server.major < found.major:
            message = f"the dump is of PostgreSQL {found.major}, scratch is {work.pool.server.major}"
            raise UsageError(
                message, code="major", remedy=f"give a scratch server of {found.major}: --scratch debian:{found.major} or a URL"
            )
        with dump.restored(found, work.pool, schema, str(file), tell) as url:
            return _prove(at, url, name, as_json, dumped=True)


def _prove(at: Where, url: Any, name: str | None, as_json: bool, *, dumped: bool = False) -> int:
    from unmigrate.config.load import load as load_config
    from unmigrate.prisma.migrations import read_migrations
    from unmigrate.rehearse.run import rehearse
    from unmigrate.rehearse.source import opened

    project = options.load_project(at)
    rules = load_config(project.root).sample
    with opened(url, hold=rules.hold, statement=rules.statement) as first:
        kept, pending = _divided(read_migrations(project.migrations_dir, on_code=lambda _: None), _applied(first, url.schema), name)
        major = first.connection.info.server_version // 10000
    with (
        render.waiting("starting scratch") as tell,
        planning.scratch(at, [*kept, *pending], major, _same_major(major), schema=url.schema, persistent=True) as work,
    ):
        report = rehearse(work, kept, pending, lambda: opened(url, hold=rules.hold, statement=rules.statement), rules, tell)
    if as_json:
        render.print_json({"source": url.display, **report.to_json()})
    else:
        _show(report, url.display, dumped)
    return 3 if report.refused else 0 if report.fine else 1


def _same_major(major: int) -> Any:
    def fit(server: Any) -> None:
        if server.major != major:
            render.say(f"note: proved on PostgreSQL {server.major}, the source is {major}")

    return fit


def _applied(source: Any, schema: str) -> set[str]:
    """Names that the source's ledger says are applied. Raises RefusedError where one failed, or where tables have no ledger."""
    from unmigrate.errors import RefusedError
    from unmigrate.prisma.ledger import read_ledger

    ledger = read_ledger(source.connection, schema)
    if ledger is None:
        there = source.rows(
            "SELECT count(*) FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relnamespace = to_regnamespace(%s)", [ident(schema)]
        )
        if there[0][0]:
            message = f"schema {schema} there has tables and no ledger: nobody knows what is applied (P3005)"
            raise RefusedError(
                message, code="no-ledger", remedy="is it the right database and ?schema=? if so: prisma migrate resolve --applied NAME"
            )
        render.say(f"note: schema {schema} there is empty: everything counts as pending")
    rows = [r for r in ledger or () if r.rolled_back_at is None]
    if unfinished := [r.migration_name for r in rows if r.finished_at is None]:
        message = f"{unfinished[0]} is half applied there (P3009)"
        raise RefusedError(message, code="failed", remedy="give a database from before it, or one where that is settled")
    return {r.migration_name for r in rows}


def _divided(migrations: Sequence[Any], applied: set[str], name: str | None) -> tuple[list[Any], list[Any]]:
    """(applied there, to be proved). Raises UsageError, RefusedError."""
    from unmigrate.errors import RefusedError, UsageError

    names = [m.name for m in migrations]
    if name is not None and name not in names:
        raise UsageError(f"there is no migration {name}", code="unknown-migration", remedy="take the name of its folder")
    if ahead := sorted(applied - set(names)):
        message = f"the database has {ahead[-1]}, which the migrations folder does not"
        raise RefusedError(message, code="ahead", remedy="check out the commit that was deployed, with the new migrations on top of it")
    until = names.index(name) + 1 if name else len(names)
    pending = [m for m in migrations[:until] if m.name not in applied]
    if not pending:
        message = f"{name or 'everything'} is applied there already"
        raise RefusedError(message, code="nothing-to-do", remedy="what a rollback there would meet: unmigrate plan --url")
    return [m for m in migrations if m.name in applied], pending


def _show(report: Any, display: str, dumped: bool) -> None:
    rows = sum(report.rows.values())
    how = "restored on scratch for this" if dumped else f"its snapshot was held for {report.held:.1f} s"
    click.echo(f"Sampled {amount(rows, 'row')} of {amount(len(report.rows), 'table')} of {display}; {how}.")
    masked = amount(report.masked, "column was", "columns were")
    click.echo(f"{masked} read masked; nothing was written {'to the dump' if dumped else 'there'}.")
    for line in report.told:
        click.echo(f"  note: {line}")
    for each in report.migrations:
        _one(each)
    if left := [a for a in report.asked if a.rows is None or a.rows]:
        click.echo("\nRows of the source that would stop a migration:")
    for asked in left:
        count = f"not counted ({asked.why})" if asked.rows is None else f"{asked.rows:,} rows"
        settles = "; the migration changes this table itself, and may settle them first" if asked.settles else ""
        click.echo(f"  {asked.migration}: {asked.object}: {asked.reason}: {count}{settles}")
    click.echo("\nTimes are extrapolated from sizes there and rates measured here, in memory: slow disks take longer.")


def _one(each: Any) -> None:
    schema, data = each.proof.outcome, each.data
    verdict = data.verdict if data else "unknown"
    name = click.style(each.proof.migration.name, bold=True)
    click.echo(f"\n{name}: way back {render.styled(schema.verdict)}, data {render.styled(verdict)} on the sample")
    if each.fails:
        where = f" at: {each.at}" if each.at else ""
        click.echo(f"  {click.style('fails on these rows', fg='red')}: {each.fails}{where}")
    for lost in data.lost if data else ():
        click.echo(f"  loses {lost}")
    if data and data.blocked:
        click.echo(f"  the way back stops: {data.blocked}")
    for reason, count in each.blocked:
        click.echo(f"  the way back would stop at {count} rows of the sample: {reason}")
    for gap in data.not_covered if data else ():
        click.echo(f"  not covered: {gap}")
    _expected("up", each.up)
    _expected("back", each.down)


def _expected(word: str, parts: Sequence[Any]) -> None:
    from unmigrate.rehearse.expect import held

    click.echo(f"  {word}: about {_seconds(sum(p.seconds for p in parts))}")
    for part in [p for p in parts if p.why][:FEW]:
        click.echo(f"    {_seconds(part.seconds)}: {part.why}: {part.statement[:80]}")
    for table, (mode, seconds) in sorted(held(parts).items(), key=lambda item: -item[1][1])[:FEW]:
        click.echo(f"    locks {table} {mode} for about {_seconds(seconds)}")


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:,.0f} s" if value < 120 else f"{value / 60:,.0f} min"
