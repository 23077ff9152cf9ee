"""unmigrate abort"""

from pathlib import Path

import click

from unmigrate.cli import asking, options, render


@click.command("abort", epilog="Example: unmigrate abort --yes")
@click.argument("run", required=False)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--accept-loss", is_flag=True, help="Go back although rows written since are left behind.")
@click.option("--url", type=options.SECRET, help="The run's database URL, needed on another machine than where it began.")
@click.option("--project", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Project folder. Default: here.")
@options.json_option
def command(run: str | None, yes: bool, accept_loss: bool, url: str | None, project: Path, as_json: bool) -> int:
    """Take the safe way out of a run: what it did is undone, from the last step to the first.

    Refuses (exit 3), with nothing undone, where a step cannot be undone, and says what to do instead.
    """
    from unmigrate.cli.run_common import finish, open_store, scene_again, session
    from unmigrate.errors import PartialError
    from unmigrate.runbook import runner

    last = session(project, run)
    scene = scene_again(last, project, url, frozenset({"loss"} if accept_loss else ()))
    if not yes:
        for line in runner.would_undo(scene, last):
            render.paragraph(line)
        asking.confirmed(f"Undo what run {last.spec.run} did on {last.spec.display}?", remedy="add --yes")
    result = runner.abort(open_store(scene.config), scene, last)
    if result.state == "stopped" and result.error:
        right = result.error["remedy"] or "put it right"
        raise PartialError(
            result.error["message"], code=result.error["code"], remedy=f"{right}; then unmigrate resume {last.spec.run} goes on"
        )
    return finish(scene, result, as_json=as_json)
