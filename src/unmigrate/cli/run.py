"""unmigrate run"""

from pathlib import Path
from typing import Any

import click

from unmigrate.cli import asking, options, planning, render, ways_out
from unmigrate.cli.run_common import Chosen, decide, finish, open_store, scene_of
from unmigrate.words import amount

_WAYS = {"reverse": "the reverse way: the schema goes back, in this database", "restore": "restoring: the app moves to another database"}
_LISTED, _BRIEF = 12, 8


@click.group("run", epilog="Example: unmigrate run rollback 20250601120000_bad --dry-run")
def command() -> None:
    """The whole runbook as one durable run: it can be killed anywhere and goes on with `unmigrate resume`."""


@command.command("rollback", epilog="Example: unmigrate run rollback 20250601120000_bad --tag v1.4.2 --yes")
@planning.selection_options
@click.option("--tag", help="The app version to go back to. Default: the newest tag that ships none of what is undone.")
@click.option(
    "--way", type=click.Choice(["reverse", "restore"]), default="reverse", help="Undo it, or restore a snapshot. Default: reverse."
)
@click.option("--snapshot", metavar="ID", help="For --way restore: which snapshot. Default: the last from before.")
@click.option(
    "--database",
    metavar="URL",
    type=options.SECRET,
    help="For --way restore: the new database, restored already (env:VARIABLE, @FILE).",
)
@click.option(
    "--refill", metavar="SNAPSHOT", type=options.SECRET,
    help="Then bring back what was destroyed, from a snapshot's id, 'last', 'before' (a point in time), or a restored database's URL.",
)  # fmt: skip
@click.option("--maintenance", is_flag=True, help="Keep writers away although this way needs no downtime.")
@click.option("--approve", multiple=True, metavar="STEP", help="Let a step go on that waits for a person (run.approve); or gate.")
@click.option("--accept-loss", is_flag=True, help="Go on although something is lost; it is copied to the vault first.")
@click.option("--lock-timeout", type=int, default=200, metavar="MS", help="Wait this long for locks per try. Default: 200.")
@click.option("--max-lock", type=float, default=5.0, metavar="SECONDS", help="Refuse when locks would be held longer. Default: 5.")
@ways_out.options
@click.option("--dry-run", is_flag=True, help="Print the whole runbook, filled in; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before it begins. Never implies --accept-loss or --approve.")
@options.json_option
@options.replay_options
@options.where_options
def rollback(name: str | None, last: int | None, to: str | None, as_json: bool, **rest: Any) -> int:
    """Roll back the last applied migration (or N, or back to NAME) by the whole runbook.

    Exit 0: done; 3 or 4: refused, nothing changed; 6: stopped, go on with `unmigrate resume` or back with `unmigrate abort`.
    """
    from unmigrate.runbook import runner

    keys = (
        "way",
        "snapshot",
        "database",
        "refill",
        "tag",
        "maintenance",
        "approve",
        "accept_loss",
        "lock_timeout",
        "max_lock",
        "dry_run",
        "yes",
        *ways_out.FLAGS,
    )
    flags = {k: rest.pop(k) for k in keys}
    at = options.where(rest)
    chosen: Chosen = decide(at, name, last, to, flags)
    scene = scene_of(chosen, frozenset(flags["approve"]), as_json=as_json)
    if flags["dry_run"]:
        try:
            _show(scene, as_json)
            return 0
        finally:
            scene.keep.discard()
    if not flags["yes"]:
        try:
            _show(scene, False, brief=True)
            asking.confirmed(f"\nBegin run {scene.spec.run} on {scene.spec.display}?")
        except BaseException:
            scene.keep.discard()
            raise
    store = open_store(scene.config)
    store.prepare()
    result = runner.begin(store, scene, lambda step, shown: asking.agreed(f"Go on with {step.title}?\n  " + "\n  ".join(shown)))
    return finish(scene, result, as_json=as_json)


def _show(scene: Any, as_json: bool, *, brief: bool = False) -> None:
    """The runbook, filled in, and what it loses. brief: of long steps the beginning. Raises what would stop it before it begins."""
    from unmigrate.runbook.foresight import foresee
    from unmigrate.runbook.steps import steps_of

    steps = [(step, step.shown(scene)) for step in steps_of(scene.spec)]
    with render.waiting("looking at what would be lost"):
        found = foresee(scene)
    if as_json:
        spec = scene.spec
        render.print_json({
            "way": spec.way, "migrations": spec.migrations, "database": spec.display, "tag": spec.tag,
            "steps": [{"step": s.name, "title": s.title, "shown": shown, "approval": s.name in spec.approve} for s, shown in steps],
            "losses": list(found.losses), "basis": found.basis, "blocked": list(found.blocked), "consents": scene.consents,
        })  # fmt: skip
    else:
        _tell(scene, steps, found, brief=brief)
    if found.refusal is not None:
        raise found.refusal


def _tell(scene: Any, steps: list[Any], found: Any, *, brief: bool) -> None:
    click.echo(f"Undo {', '.join(scene.spec.migrations)}")
    click.echo(f"  on {scene.spec.display}")
    click.echo(f"  {_WAYS[scene.spec.way]}{', and a refill' if scene.spec.refill else ''}")
    click.echo(f"  app: {scene.spec.tag or 'no version is known that fits'}")
    for number, (step, shown) in enumerate(steps, 1):
        waits = "  (waits to be approved)" if step.name in scene.spec.approve else ""
        click.echo(f"{number:2}. {click.style(step.title, bold=True)} [{step.name}]{waits}")
        lines = [line for each in shown for line in each.splitlines()]
        some = lines[:_BRIEF] if brief and len(lines) > _BRIEF + 2 else lines
        for line in some:
            click.echo(f"      {line}")
        if len(some) < len(lines):
            click.echo(f"      … and {len(lines) - len(some)} lines more: --dry-run shows all")
    _tell_losses(scene, found)


def _tell_losses(scene: Any, found: Any) -> None:
    """What is lost, how that is known, and whether consent is there."""
    if not found.losses:
        click.echo(f"\nNothing is lost ({found.basis}).")
    else:
        consent = "consented to by --accept-loss" if scene.consents else "needs --accept-loss"
        click.echo(f"\n{click.style('Lost', bold=True)} ({consent}; {found.basis})")
    for loss in found.losses[:_LISTED]:
        rows = "" if loss["rows"] is None else f" ({amount(loss['rows'], 'row')})"
        render.paragraph(f"{loss['object']}{rows}{': ' * bool(loss['why'])}{loss['why']}")
    if len(found.losses) > _LISTED:
        click.echo(f"  and {len(found.losses) - _LISTED} more: --json names all")
    for line in found.passed:
        render.paragraph(line, indent=0)
    for line in found.blocked:
        render.paragraph(f"blocks: {line}")


@command.command("list", epilog="Example: unmigrate run list --json")
@options.json_option
@click.option("--project", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Project folder. Default: here.")
def list_runs(as_json: bool, project: Path) -> int:
    """Runs, newest last, and how they stand."""
    from unmigrate.cli.run_common import runs

    found = [
        {"run": s.spec.run, "state": s.result.state if s.result else "interrupted", "at": s.result.at if s.result else "",
         "database": s.spec.display, "migrations": list(s.spec.migrations), "began": s.spec.began}
        for s in runs(project)
    ]  # fmt: skip
    if as_json:
        render.print_json({"runs": found})
    for each in found if not as_json else ():
        render.paragraph(f"{each['run']}  {each['state']:11}  {each['database']}  {', '.join(each['migrations'])}", 0)
    return 0


@command.command("report", epilog="Example: unmigrate run report 20250601-120000-abc")
@click.argument("run", required=False)
@click.option("--project", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Project folder. Default: here.")
def report_run(run: str | None, project: Path) -> int:
    """Write the report of a run as it stands now."""
    from unmigrate.cli.run_common import session
    from unmigrate.config import load
    from unmigrate.runbook import report

    last = session(project, run, ended=True)
    state = last.result.state if last.result else "interrupted"
    for path in report.write(project / load(project).run.report, last.spec, last.records, state):
        click.echo(path)
    return 0
