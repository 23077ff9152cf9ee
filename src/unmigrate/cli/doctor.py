"""unmigrate doctor"""

from collections.abc import Callable
from typing import Any

import click

from unmigrate.cli import options, render
from unmigrate.errors import UnmigrateError
from unmigrate.words import amount


@click.command("doctor", epilog="Example: unmigrate doctor --url postgresql://…/app")
@options.json_option
@options.where_options
def command(as_json: bool, **rest: Any) -> int:
    """Check before the incident that a rollback could run: project, database, privileges, scratch server, and access to everything that
    unmigrate.toml names. Changes nothing.

    Exit 0 when all is well, 4 when something is missing.
    """
    at = options.where(rest)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("project", lambda: _project(at)),
        ("database", lambda: _database(at)),
        ("privileges", lambda: _privileges(at)),
        ("scratch", lambda: _scratch(at)),
        ("unmigrate.toml", lambda: _configuration(at)),
    ]
    checks += [*_snapshots(at), *_adapters(at)]
    results: list[dict[str, Any]] = []
    for name, check in checks:
        failed = next((r["check"] for r in results if not r["ok"]), None)
        if failed is not None and name in ("database", "privileges"):  # each of the first ones rests on those before it
            results.append({"check": name, "ok": False, "says": f"not looked at: {failed} comes first", "remedy": ""})
        else:
            results.append(_run(name, check))
    if as_json:
        render.print_json({"checks": results})
    else:
        width = max(10, *(len(r["check"]) for r in results))
        for result in results:
            mark = click.style(f"{'ok':7}", fg="green") if result["ok"] else click.style("missing", fg="red")
            render.paragraph(f"{result['check']:{width}}  {mark}  {result['says']}", 0)
            if result["remedy"]:
                render.paragraph(f"what to do: {result['remedy']}", width + 11)
    return 0 if all(r["ok"] for r in results) else 4


def _run(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": name, "ok": True, "says": check(), "remedy": ""}
    except UnmigrateError as error:
        return {"check": name, "ok": False, "says": str(error), "remedy": error.remedy}


def _project(at: options.Where) -> str:
    from unmigrate.cli.target import load

    project, migrations = load(at)
    url = f"URL from {project.url_source}" if project.url else "no URL"
    return f"{amount(len(migrations), 'migration')} in {project.migrations_dir}; {url}"


def _database(at: options.Where) -> str:
    from unmigrate.cli.target import open_target

    with open_target(at) as target:
        return f"PostgreSQL {target.major} at {target.url.display}; {len(target.applied)} applied"


def _privileges(at: options.Where) -> str:
    from unmigrate.cli.target import open_target
    from unmigrate.execute.privileges import loud_triggers, missing_privileges

    with open_target(at) as target:
        missing = missing_privileges(target.connection, target.url.schema)
        loud = loud_triggers(target.connection, target.url.schema)
    if missing:
        from unmigrate.errors import EnvironmentProblem

        raise EnvironmentProblem("; ".join(m.what for m in missing), code="privileges", remedy="; ".join(m.remedy for m in missing))
    return f"may create the vault, lock and alter every table, and correct the ledger{loud}"


def _scratch(at: options.Where) -> str:
    from unmigrate.cli.planning import scratch_for
    from unmigrate.cli.target import open_target

    major = None
    try:
        with open_target(at) as target:
            major = target.major
    except UnmigrateError:
        pass
    with options.workspace(scratch_for(at.scratch, major), frozenset()) as work:
        server = work.pool.server
        fit = "" if major is None or server.major == major else f"; the target is {major}: a rollback needs that version (--scratch target)"
        return f"{server.label}{fit}"


def _configuration(at: options.Where) -> str:
    from unmigrate.config import load

    file = load(at.project).file
    return str(file) if file else "none: all defaults (unmigrate init writes one)"


def _snapshots(at: options.Where) -> list[tuple[str, Callable[[], str]]]:
    """What the provider of snapshots lacks, where unmigrate.toml names one."""
    from unmigrate.config import load
    from unmigrate.errors import EnvironmentProblem

    def look() -> str:
        from unmigrate.cli.snapshots import opened

        provider = opened(at, None).provider
        if missing := provider.lacking():
            raise EnvironmentProblem("; ".join(missing), code="snapshots", remedy="see docs/snapshots.md for what the provider needs")
        found = provider.snapshots()
        notes = [f"{each.id}: {note}" for each in found if (note := each.detail.get("note"))]
        return "; ".join([f"{provider.name}: {len(found)} there", *notes])

    try:
        file = load(at.project).file
    except UnmigrateError:  # told above
        return []
    return [("snapshots", look)] if file and "[snapshot" in file.read_text(encoding="utf-8") else []


def _adapters(at: options.Where) -> list[tuple[str, Callable[[], str]]]:
    """Access to what a run would use. Nothing of it is changed."""
    from unmigrate.cli.run_common import scene_to_look
    from unmigrate.runbook.steps.preflight import accesses

    try:
        scene = scene_to_look(at)
    except UnmigrateError:  # told by the checks above
        return []
    return [*accesses(scene), *([("state of runs", lambda: _state(scene))] if scene.config.file else [])]


def _state(scene: Any) -> str:
    from unmigrate.cli.run_common import open_store

    open_store(scene.config).prepare()
    return f"kept in the database of {scene.config.run.state_env}" if scene.config.run.state_env else "kept on this machine"
