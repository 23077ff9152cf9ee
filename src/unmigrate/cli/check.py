"""unmigrate check"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning, render

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("check", epilog="Example: unmigrate check --base origin/main --sarif check.sarif --markdown comment.md")
@click.option(
    "--base", metavar="COMMIT", help="New is what this branch, tag or commit has not. Default: what CI says, else origin's branch."
)
@click.option("--since", metavar="NAME", help="New is what comes after this migration; git is not asked.")
@click.option("--all", "everything", is_flag=True, help="Every migration is new.")
@click.option("--deploy", "deploying", is_flag=True, help="Also ask whether policy lets what is pending in the database be deployed.")
@click.option("--sarif", "sarif_file", type=FILE, help="Write SARIF 2.1.0 there, for code scanning.")
@click.option("--junit", "junit_file", type=FILE, help="Write JUnit XML there.")
@click.option("--markdown", "markdown_file", type=FILE, help="Write the comment for the pull request there.")
@click.option("--annotations", is_flag=True, help="Print GitHub's annotations. Default inside GitHub Actions.")
@options.json_option
@options.replay_options
@options.where_options
def command(
    base: str | None, since: str | None, everything: bool, as_json: bool, annotations: bool, deploying: bool, **rest: Any
) -> int:  # fmt: skip
    """Check the new migrations before they ship: proof, losses, locks up and back, lints, the previous app on the new schema.

    Everything is run on scratch. Exit 0: nothing counts against them; 1: something of level error that no comment allows ([lint] fail_on).
    A comment in the migration allows a finding: -- unmigrate: allow RULE: reason. With --deploy, exit 3: policy refuses the deploy.
    """
    from unmigrate.check.run import check
    from unmigrate.config.load import load as load_config
    from unmigrate.verify.tag import top_of

    files = {kind: rest.pop(f"{kind}_file") for kind in ("sarif", "junit", "markdown")}
    at = options.where(rest)
    project = options.load_project(at)
    whole = load_config(project.root)
    config = whole.lint
    left_out: list[str] = []
    found = _base(at, project, base, since, everything, left_out)
    root = _root(project.root, top_of)
    with (
        render.waiting("starting scratch") as tell,
        planning.scratch(at, [*found.kept, *found.new], None, schema=project.schema_name, persistent=True) as work,
    ):
        report = check(work, found, config, root=root, left_out=left_out, on_progress=tell, flags=whole.flags)
    _write(report, files, config)
    demand, refusal = _demand(at) if deploying else (None, None)
    if as_json:
        told = {"allowed": refusal is None, "refused": str(refusal or ""), **(demand.to_json() if demand else {})}
        render.print_json({**report.to_json(), **({"deploy": told} if deploying else {})})
    else:
        from unmigrate.cli.show_check import show

        show(report)
    if annotations or (os.environ.get("GITHUB_ACTIONS") == "true" and not as_json):
        from unmigrate.report.annotations import annotations as lines

        for line in lines(report):
            click.echo(line)
    if refusal is not None:
        raise refusal
    if demand is not None and not as_json:
        because = f"with snapshot {demand.found.id}" if demand.found else "policy asks for no snapshot"
        click.echo(f"Deploy: what is pending may be deployed; {because}.")
    return 1 if report.failed else 0


def _demand(at: options.Where) -> tuple[Any, Any]:
    """(what policy wants and has, None), or (None, why it refuses): that is said after the report."""
    from unmigrate.cli.demand import demanded, pending_guarded
    from unmigrate.cli.target import open_target
    from unmigrate.errors import RefusedError

    with open_target(at, ledger=False) as target:
        try:
            return demanded(at, target, pending_guarded(at, target)), None
        except RefusedError as error:
            return None, error


def _base(at: options.Where, project: Any, base: str | None, since: str | None, everything: bool, left_out: list[str]) -> Any:
    """What is new, by the flags. Raises UsageError."""
    from dataclasses import replace

    from unmigrate.check import base as bases
    from unmigrate.errors import UsageError
    from unmigrate.prisma.migrations import read_migrations

    if sum(map(bool, (base, since, everything))) > 1:
        raise UsageError("--base, --since and --all say three different things", code="ambiguous", remedy="give one of them")
    migrations = read_migrations(project.migrations_dir, on_code=lambda error: left_out.append(f"left out: {error}"))
    if since or everything:
        return bases.since(migrations, since)

    def load(folder: Path, moved: Callable[[Path], Path]) -> Any:
        schema = moved(at.schema_file) if at.schema_file else None
        folder_of_migrations = moved(at.migrations) if at.migrations else None
        return options.load_project(replace(at, project=folder, url=None, schema_file=schema, migrations=folder_of_migrations))

    return bases.against(at.project, migrations, base or bases.default_base(at.project, os.environ), load)


def _root(project: Path, top_of: Any) -> Path:
    """Where paths in findings begin: the checkout's top, as services that show them expect; else the project."""
    from unmigrate.errors import UnmigrateError

    try:
        return Path(top_of(project))
    except UnmigrateError:
        return project.resolve()


def _write(report: Any, files: dict[str, Path | None], config: Any) -> None:
    if path := files["sarif"]:
        from unmigrate.report.sarif import sarif

        path.write_text(json.dumps(sarif(report), indent=1), encoding="utf-8")
    if path := files["junit"]:
        from unmigrate.report.junit import junit

        path.write_text(junit(report, "off" if config.fail_on == "never" else config.fail_on), encoding="utf-8")
    if path := files["markdown"]:
        from unmigrate.report.markdown import markdown

        path.write_text(markdown(report), encoding="utf-8")
