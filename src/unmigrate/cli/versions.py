"""unmigrate versions"""

from typing import Any

import click

from unmigrate.cli import options, render
from unmigrate.words import amount


@click.command("versions", epilog="Example: unmigrate versions --without 20250601120000_bad")
@click.option("--without", "name", metavar="NAME", help="Only tags that do not ship this migration.")
@click.option("--tags", metavar="PATTERN", help="Which tags are releases. Default: app.tags of unmigrate.toml.")
@options.json_option
@options.where_options
def command(name: str | None, tags: str | None, as_json: bool, **rest: Any) -> int:
    """Which git tags ship which migrations: the version to go back to is one that ships none of what is undone."""
    from unmigrate.config import load
    from unmigrate.prisma.migrations import read_migrations
    from unmigrate.runbook.adapters import git

    at = options.where(rest)
    project = options.load_project(at)
    order = [m.name for m in read_migrations(project.migrations_dir)]
    found = git.releases(project.root, project.migrations_dir, tags or load(at.project).app.tags)
    shown = [r for r in found if name is None or name not in r.migrations]
    rows: list[dict[str, Any]] = [
        {"tag": r.tag, "commit": r.commit[:12], "at": r.at, "migrations": len(r.migrations),
         "last": next((n for n in reversed(order) if n in r.migrations), None), "lacks": [n for n in order if n not in r.migrations]}
        for r in shown
    ]  # fmt: skip
    if as_json:
        render.print_json({"versions": rows})
        return 0
    for row in rows:
        click.echo(f"{row['tag']:24} {row['at'][:10]}  {amount(row['migrations'], 'migration')}, last {row['last'] or 'none'}")
    if not rows:
        click.echo("no tag fits" if found else "git has no such tags")
    return 0
