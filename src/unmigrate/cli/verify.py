"""unmigrate verify"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unmigrate.cli import options, render
from unmigrate.errors import UnmigrateError

if TYPE_CHECKING:
    from unmigrate.catalog.model import Catalog
    from unmigrate.cli.target import Target


@dataclass(slots=True)
class Section:
    """One comparison. skipped: why it was not made; then `problem` is the error, unless it was not asked for."""

    name: str
    title: str
    differences: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    skipped: str = ""
    problem: UnmigrateError | None = None


@click.command("verify", epilog="Example: unmigrate verify --tag v1.4.2 --url postgresql://…/app")
@click.option("--tag", metavar="TAG", help="Take schema.prisma and the migrations from this git tag: what is deployed.")
@click.option("--no-history", is_flag=True, help="Do not replay the history on scratch.")
@options.json_option
@options.replay_options
@options.where_options
def command(tag: str | None, no_history: bool, as_json: bool, **rest: Any) -> int:
    """Compare everything that should agree: ledger and folder, database and history, database and schema.prisma.

    Says also what `prisma migrate status` will say. Changes nothing. Exit 1 on any difference, each of them named.
    """
    from unmigrate.catalog.parked import without_parked
    from unmigrate.catalog.read import read_catalog
    from unmigrate.cli.target import open_target
    from unmigrate.prisma.ledger import predict_status

    at = options.where(rest)
    with _at_tag(at, tag) as there, open_target(there) as target:
        live = without_parked(read_catalog(target.connection))
        sections = [_ledger(target)]
        if not no_history:
            sections.append(_history(there, target, live))
        sections.append(_schema(target, live))
        prediction = predict_status(target.states, minor=target.project.version or (7, 9))
        display = target.url.display
    if prediction.exit_code:
        says = f"prisma migrate status will exit {prediction.exit_code}: {prediction.text}"
        sections.append(Section("status", "prisma migrate status", (says,)))
    else:
        sections.append(Section("status", "prisma migrate status", notes=[f"it will say: {prediction.text}"]))
    if as_json:
        render.print_json(_json(display, tag, sections, prediction))
    else:
        _show(display, tag, sections)
    return _exit_status(sections)


@contextmanager
def _at_tag(at: options.Where, tag: str | None) -> Iterator[options.Where]:
    """The same place in the files of the tag; the URL is still the checkout's, as .env files are not in git."""
    if tag is None:
        yield at
        return
    import tempfile

    from unmigrate.verify.tag import extract, top_of

    top = top_of(at.project)
    url = at.url or options.load_project(at).url
    with tempfile.TemporaryDirectory(prefix="unmigrate-tag-") as folder:
        extract(top, tag, Path(folder))

        def moved(path: Path) -> Path:
            absolute = path if path.is_absolute() or path.exists() else at.project / path
            return Path(folder) / absolute.resolve().relative_to(top.resolve())

        project = moved(at.project)
        project.mkdir(parents=True, exist_ok=True)
        schema_file = moved(at.schema_file) if at.schema_file else None
        migrations = moved(at.migrations) if at.migrations else None
        yield replace(at, project=project, url=url, schema_file=schema_file, migrations=migrations)


def _ledger(target: "Target") -> Section:
    from unmigrate.verify.ledger import ledger_differences

    return Section("ledger", "ledger and migrations folder", ledger_differences(target.states))


def _history(at: options.Where, target: "Target", live: "Catalog") -> Section:
    """The live catalog against the applied migrations, replayed on scratch."""
    from unmigrate.cli import planning
    from unmigrate.errors import EnvironmentProblem
    from unmigrate.inverse.replay import ReplayError
    from unmigrate.prove.beginning import replayed
    from unmigrate.verify.live import live_differences

    section = Section("history", "database and history")
    if target.failed:
        section.notes.append(f"{target.failed[0]} failed: what it had done by then shows as differences")
    try:
        migrations = target.history()
        fit = planning.guard(target, None, strict=False)
        with (
            render.waiting("replaying the history on scratch"),
            planning.scratch(at, migrations, target.major, fit, schema=target.url.schema, target=target, persistent=True) as work,
        ):
            if work.pool.server.major != target.major:
                section.notes.append(f"replayed on PostgreSQL {work.pool.server.major}, the database is {target.major}: wording may differ")
            section.notes += work.remarks(m.sql for m in migrations)
            history = replayed(work, migrations)
            section.differences = live_differences(history.observer.catalog, live, history.connection)
            history.connection.close()
    except UnmigrateError as error:
        section.skipped, section.problem = str(error), error
    except ReplayError as error:
        section.skipped = f"the history does not replay on scratch: {error}"
        section.problem = EnvironmentProblem(section.skipped, code="replay", remedy=error.remedy)
    return section


def _schema(target: "Target", live: "Catalog") -> Section:
    """The live catalog against schema.prisma."""
    from unmigrate.prisma.schema import read_schema
    from unmigrate.verify.datamodel import datamodel_differences

    section = Section("schema", "database and schema.prisma")
    schema = read_schema(target.project.schema_files)
    if not schema.models:
        section.skipped = "schema.prisma declares no models" if target.project.schema_files else "there is no schema.prisma"
        return section
    section.differences = datamodel_differences(schema, live, target.url.schema)
    return section


def _exit_status(sections: list[Section]) -> int:
    if any(s.differences for s in sections):
        return 1
    return next((s.problem.exit_status for s in sections if s.problem is not None), 0)


def _json(display: str, tag: str | None, sections: list[Section], prediction: Any) -> dict[str, Any]:
    return {
        "database": display,
        "tag": tag,
        "agrees": _exit_status(sections) == 0,
        "sections": [
            {"name": s.name, "title": s.title, "differences": s.differences, "notes": s.notes, "skipped": s.skipped or None}
            for s in sections
        ],
        "prisma_migrate_status": {"exit_code": prediction.exit_code, "says": prediction.text},
    }


def _show(display: str, tag: str | None, sections: list[Section]) -> None:
    click.echo(f"{display}{f' against {tag}' if tag else ''}")
    for section in sections:
        count = len(section.differences)
        if section.skipped:
            mark, text = click.style("-", fg="yellow"), "not compared"
        elif count:
            mark, text = click.style("✗", fg="red"), f"{count} difference{'s' if count > 1 else ''}"
        else:
            mark, text = click.style("✓", fg="green"), "agree"
        click.echo(f"{mark} {section.title}: {text}")
        for line in (section.skipped, *section.notes, *section.differences):
            if line:
                click.echo(f"    {line}")
        if section.problem is not None and section.problem.remedy:
            click.echo(f"    what to do: {section.problem.remedy}")
    if _exit_status(sections) == 0:
        click.echo(click.style("all agree", fg="green") if not any(s.skipped for s in sections) else "what was compared agrees")
