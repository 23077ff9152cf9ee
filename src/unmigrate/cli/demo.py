"""unmigrate demo"""

import shlex

import click


@click.command("demo", epilog="Example: unmigrate demo")
def command() -> int:
    """Watch the whole story on an embedded server: deploy, the runbook's script, plan, proof, rollback. Under a minute."""
    from unmigrate.cli.main import main
    from unmigrate.demo.story import tell

    def run(words: list[str]) -> int:
        click.echo(click.style(f"\n$ unmigrate {shlex.join(words)}\n", bold=True))
        return main(words)

    return tell(run, lambda line: click.echo(click.style(line, fg="cyan")))
