"""unmigrate checks"""

import os
from typing import Any

import click

from unmigrate.cli import options, render


@click.command("checks", epilog="Example: unmigrate checks --json")
@options.json_option
@options.where_options
def command(as_json: bool, **rest: Any) -> int:
    """Run the checks of unmigrate.toml alone: SQL, commands, HTTP. Before a deploy, after it, any time.

    Exit 1 when one fails.
    """
    from dataclasses import asdict

    from unmigrate.cli.target import open_target
    from unmigrate.config import load
    from unmigrate.runbook.steps import checks

    at = options.where(rest)
    config = load(at.project)
    found: list[Any] = []
    if config.checks.sql or config.checks.command:
        with open_target(at) as target:
            found += checks.run_sql(config, target.connection)
            found += checks.run_commands(config, at.project, os.environ, str(target.project.url))
    found += checks.run_http(config, os.environ, attempts=1, left=lambda: 60.0)
    if as_json:
        render.print_json({"checks": [asdict(o) for o in found]})
    else:
        for o in found:
            mark = click.style("ok", fg="green") if o.ok else click.style("failed", fg="red")
            click.echo(f"{mark:6}  {o.kind:8} {o.name}: {o.says}")
        if not found:
            click.echo("unmigrate.toml names no checks: see docs/configuration.md")
    return 0 if all(o.ok for o in found) else 1
