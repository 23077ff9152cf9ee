"""unmigrate down"""

from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning


@click.command("down", epilog="Example: unmigrate down --last 1 > rollback.sql && psql -v ON_ERROR_STOP=1 -f rollback.sql")
@planning.selection_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of standard output.")
@options.json_option
@options.replay_options
@options.where_options
def command(name: str | None, last: int | None, to: str | None, out: Path | None, as_json: bool, **rest: Any) -> int:
    """Write the proved way back as plain SQL for psql, newest migration first, ledger included. Exit 3 when none is proved."""
    import json

    from unmigrate.cli.target import load
    from unmigrate.plan.build import chosen
    from unmigrate.plan.script import as_script

    at = options.where(rest)
    project, migrations = load(at)
    count = chosen(migrations, [m.name for m in migrations], name, last, to)
    plan = planning.make_plan(at, list(migrations), count, schema=project.schema_name, major=None, strict=False, rows=True)
    if not plan.proved:
        raise planning.unproved(plan)
    text = json.dumps({"sql": as_script(plan), "plan": plan.to_json()}, indent=1) if as_json else as_script(plan)
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        click.echo(text)
    return 0
