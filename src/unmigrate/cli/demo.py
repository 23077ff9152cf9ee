"""unmigrate demo"""

import shlex
import sys
import time

import click

PAUSE = 1.5  # seconds, for people


@click.command("demo", epilog="Example: unmigrate demo")
def command() -> int:
    """Watch the whole story on an embedded server: deploy, the runbook's script, plan, proof, rollback. Under a minute."""
    from unmigrate.cli.main import main
    from unmigrate.demo.story import tell

    def run(words: list[str]) -> int:
        _pause()
        click.echo(click.style(f"\n$ unmigrate {shlex.join(words)}\n", bold=True))
        status = main(words)
        click.echo(click.style(f"\nexit {status}", dim=True))
        _pause()
        return status

    return tell(run, lambda line: click.echo(click.style(line, fg="cyan")))


def _pause() -> None:
    if sys.stdout.isatty():
        time.sleep(PAUSE)
