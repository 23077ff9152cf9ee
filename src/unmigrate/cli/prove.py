"""unmigrate prove"""

from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning, render


@click.command("prove", epilog="Example: unmigrate prove --down runbook/rollback.sql")
@planning.selection_options
@click.option(
    "--down", "down_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A script of yours to prove instead."
)
@click.option(
    "--on",
    "source",
    metavar="URL|DUMP",
    type=options.SECRET,
    help="Prove what this database, or pg_dump's file or directory, lacks (up to NAME), on a masked sample.",
)
@options.json_option
@options.replay_options
@options.where_options
def command(
    name: str | None, last: int | None, to: str | None, down_file: Path | None, source: str | None, as_json: bool, **rest: Any
) -> int:  # fmt: skip
    """Prove on scratch that the last migrations can be undone: catalog, pg_dump, rows. Changes nothing else.

    With --down FILE, tells what a script written by hand misses. With --on, the rows are a sample of a database that is only read (a live
    one, or a restored snapshot) or of a dump (pg_dump's file or directory) restored on scratch; its sizes say what to expect.
    Exit 0 proved, 1 lossy, not covered or blocked, 3 not proved.
    """
    from unmigrate.cli.target import load
    from unmigrate.plan.build import chosen

    at = options.where(rest)
    if source is not None:
        from unmigrate.cli.prove_on import prove_on
        from unmigrate.errors import UsageError

        if last is not None or to is not None or down_file is not None:
            remedy = "give NAME alone, or nothing: what the database lacks is proved"
            raise UsageError("--on goes with none of --last, --to and --down", code="ambiguous", remedy=remedy)
        return prove_on(at, source, name, as_json)
    project, migrations = load(at)
    count = chosen(migrations, [m.name for m in migrations], name, last, to)
    if down_file is not None:
        return _prove_script(at, list(migrations), count, project.schema_name, down_file, as_json)
    plan = planning.make_plan(at, list(migrations), count, schema=project.schema_name, major=None, strict=False)
    if as_json:
        render.print_json({"plan": plan.id, "verdicts": plan.to_json()["verdicts"], "notes": plan.notes})
    else:
        for verdict in plan.verdicts:
            reason = f": {verdict.reason}" if verdict.reason else ""
            click.echo(f"{verdict.migration}: schema {render.styled(verdict.schema)}, data {render.styled(verdict.data)}{reason}")
            for line in (*(f"loses {lost}" for lost in verdict.lost), *(f"not covered: {gap}" for gap in verdict.not_covered)):
                click.echo(f"  {line}")
        for note in plan.notes:
            click.echo(f"note: {note}")
    if not plan.proved:
        return 3
    return 0 if all(v.data == "lossless" for v in plan.verdicts) else 1


def _prove_script(at: options.Where, migrations: list[Any], count: int, schema: str, file: Path, as_json: bool) -> int:
    from unmigrate.prisma.migrations import read_sql
    from unmigrate.prove.script import prove_script

    text = read_sql(file)
    with render.waiting("proving on scratch"), planning.scratch(at, migrations, None, schema=schema) as work:
        result = prove_script(work, migrations, count, text)
    if as_json:
        render.print_json(result.to_json())
    else:
        click.echo(f"{file}: {render.styled(result.verdict)}")
        for remark in result.remarks:
            click.echo(f"  {remark}")
    return 0 if result.verdict != "refused" else 3
