"""unmigrate split"""

from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning, render


@click.command("split", epilog="Example: unmigrate split 20240301_rename_name --write")
@click.argument("name")
@click.option("--write/--dry-run", "writing", default=False, help="Write the two files; nothing is overwritten. Default: only show them.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for them. Default: <migrations folder>-split.")
@options.json_option
@options.replay_options
@options.where_options
def command(name: str, writing: bool, out: Path | None, as_json: bool, **rest: Any) -> int:
    """Make two migrations of one that takes something away: add and fill now, drop later. Both are proved on scratch.

    The first loses nothing and lets the previous version of the app work; both together lead to the same catalog. For a migration that
    is not deployed anywhere yet. Exit 0 also where there is nothing to split, 1 not everything could be shown, 3 no split holds.
    """
    from unmigrate.check import base as bases
    from unmigrate.check import split_files
    from unmigrate.check.split import split
    from unmigrate.config.flags import gating
    from unmigrate.config.load import load as load_config
    from unmigrate.prisma.migrations import read_migrations

    at = options.where(rest)
    project = options.load_project(at)
    flags = [f.name for f in gating(load_config(project.root).flags, [name])]
    migrations = read_migrations(project.migrations_dir, on_code=lambda _: None)
    kept = bases.since(migrations, name).kept
    with (
        render.waiting("proving the two steps on scratch"),
        planning.scratch(at, kept, None, schema=project.schema_name, persistent=True) as work,
    ):
        found = split(work, kept[:-1], kept[-1])
    if found is None:
        text = f"{name} loses nothing and lets the previous app work: there is nothing to split"
        render.print_json({"version": 1, "migration": name, "steps": []}) if as_json else click.echo(text)
        return 0
    made = split_files.files(name, found, flags)
    folder = out or project.migrations_dir.with_name(f"{project.migrations_dir.name}-split")
    written = split_files.write(folder, made) if writing else []
    if as_json:
        render.print_json(_json(name, found, made, flags, written))
    else:
        _show(found, made, written, folder, project.migrations_dir, name)
    return 0 if found.first.data and found.first.data.verdict == "lossless" else 1


def _show(found: Any, made: Any, written: list[Path], folder: Path, migrations: Path, name: str) -> None:
    for each, subject in zip(made, (found.first, found.second), strict=True):
        schema = subject.proof.outcome.verdict if subject.proof else "unknown"
        data = subject.data.verdict if subject.data else "unknown"
        click.echo(
            f"\n{click.style(f'{each.folder}/migration.sql', bold=True)}: way back {render.styled(schema)}, data {render.styled(data)}"
        )
        for gap in subject.data.not_covered if subject.data else ():
            click.echo(f"  not covered: {gap}")
        click.echo("".join(f"    {line}\n" for line in each.sql.splitlines()), nl=False)
    click.echo("\nBoth together lead to the same catalog" + (", but for the order of columns." if found.order else "."))
    for path in written:
        click.echo(f"written: {path}")
    first, second = made
    click.echo(f"To take it over: remove {migrations / name}, move {folder / first.folder} there;")
    click.echo(f"later, move {folder / second.folder} there as <time>_{second.folder.removeprefix('later_')}.")
    if not written:
        click.echo("Nothing was written: --write does.")


def _json(name: str, found: Any, made: Any, flags: list[str], written: list[Path]) -> dict[str, Any]:
    steps = []
    for each, subject in zip(made, (found.first, found.second), strict=True):
        steps.append(
            {
                "folder": each.folder,
                "sql": each.sql,
                "schema": subject.proof.outcome.verdict if subject.proof else "unknown",
                "data": subject.data.verdict if subject.data else "unknown",
                "lost": list(subject.data.lost) if subject.data else [],
                "not_covered": list(subject.data.not_covered) if subject.data else [],
            }
        )
    return {
        "version": 1,
        "migration": name,
        "steps": steps,
        "new": list(found.steps.new),
        "gone": list(found.steps.gone),
        "flags": flags,
        "same_catalog": "column-order" if found.order else "exact",
        "written": [str(path) for path in written],
    }
