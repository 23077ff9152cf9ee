"""unmigrate init"""

import os
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options


@click.command("init", epilog="Example: unmigrate init --stdout")
@click.option("--stdout", is_flag=True, help="Print it instead of writing unmigrate.toml.")
@click.option("--force", is_flag=True, help="Write over an unmigrate.toml that is there.")
@options.where_options
def command(stdout: bool, force: bool, **rest: Any) -> int:
    """Write an unmigrate.toml from what is found here: releases in git, .env, Kubernetes manifests, health routes.

    What is guessed is marked, what is not found stands there as a comment. `unmigrate doctor` says whether it is right.
    """
    from unmigrate.config.load import FILE
    from unmigrate.errors import RefusedError
    from unmigrate.runbook.found import look, toml

    at = options.where(rest)
    project = options.load_project(at)
    text = toml(look(at.project, project, os.environ))
    path: Path = at.project / FILE
    if stdout:
        click.echo(text, nl=False)
        return 0
    if path.exists() and not force:
        raise RefusedError(f"{path} is there already", code="exists", remedy="look at the difference with --stdout, or add --force")
    path.write_text(text, encoding="utf-8")
    click.echo(f"Wrote {path}. Look at it, then run unmigrate doctor.")
    return 0
