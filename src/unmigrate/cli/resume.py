"""unmigrate resume"""

from pathlib import Path

import click

from unmigrate.cli import asking, options


@click.command("resume", epilog="Example: unmigrate resume --approve reverse")
@click.argument("run", required=False)
@click.option("--approve", multiple=True, metavar="STEP", help="Let a step go on that waits for a person; or gate.")
@click.option("--accept-loss", is_flag=True, help="Go on although something is lost, as the run said when it stopped.")
@click.option("--url", type=options.SECRET, help="The run's database URL, needed on another machine than where it began.")
@click.option("--project", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Project folder. Default: here.")
@options.json_option
def command(run: str | None, approve: tuple[str, ...], accept_loss: bool, url: str | None, project: Path, as_json: bool) -> int:
    """Go on with a run that was killed or stopped, where it stands. What is recorded as done is not done again.

    Exit 0: done; 6: stopped again.
    """
    from unmigrate.cli.run_common import finish, open_store, scene_again, session
    from unmigrate.runbook import runner

    last = session(project, run)
    scene = scene_again(last, project, url, frozenset((*approve, *(("loss",) if accept_loss else ()))))

    def asked(step: object, shown: list[str]) -> bool:
        return asking.agreed(f"Go on with {getattr(step, 'title', step)}?\n  " + "\n  ".join(shown))

    result = runner.resume(open_store(scene.config), scene, last, asked)
    return finish(scene, result, as_json=as_json)
