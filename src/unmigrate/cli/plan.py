"""unmigrate plan"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from unmigrate.cli import options, planning, render


@click.command("plan", epilog="Example: unmigrate plan --last 1 --out plan.json")
@planning.selection_options
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the plan there, for rollback --plan.")
@click.option("--concurrently", is_flag=True, help="Build returning indexes outside the switch, without blocking writers.")
@click.option("--fill", multiple=True, metavar="'COLUMN = SQL'", help="Value for a column that returns as NOT NULL.")
@options.json_option
@options.replay_options
@options.where_options
def command(
    name: str | None,
    last: int | None,
    to: str | None,
    out: Path | None,
    concurrently: bool,
    fill: tuple[str, ...],
    as_json: bool,
    **rest: Any,
) -> int:
    """Show the way back over the last migrations: statement and inverse, losses, blockers, locks, options. Changes nothing.

    NAME, if given, must be the last one applied. With a database URL its ledger says what is applied and its rows are counted;
    without one the whole folder counts as applied. Where `unmigrate deploy` left a way back in the vault, that is what is shown, as that is
    what `unmigrate rollback` walks. Exit 1 when something is lossy, blocked or refused.
    """
    from unmigrate.cli.show_plan import show, show_vault

    found = _plan(options.where(rest), name, last, to, concurrently, planning.parse_fill(fill))
    if out:
        if len(found.stored) > 1:
            render.say(
                f"note: {out} holds the plain plan; unmigrate rollback without --plan goes by the vault, one migration after the other"
            )
        to_write = found.stored[0] if len(found.stored) == 1 else found.plan
        out.write_text(json.dumps(to_write.to_json(), indent=1), encoding="utf-8")
    if as_json:
        from unmigrate.plan.returning import returns

        render.print_json(found.plan.to_json() | {"vault": [p.to_json() | {"returns": list(returns(p))} for p in found.stored]})
    elif found.stored:
        show_vault(found.stored, found.plan.options, found.remarks)
    else:
        show(found.plan, found.remarks)
    plans = found.stored or [found.plan]
    fine = all(p.proved and not p.blockers and all(v.data == "lossless" for v in p.verdicts) for p in plans)
    return 0 if fine else 1


@dataclass(frozen=True, slots=True)
class _Found:
    """plan: the plain one, with the options compared; stored: the ways from the vault, newest first, where there are any, and then what
    a rollback walks."""

    plan: Any
    stored: Sequence[Any] = ()
    remarks: Sequence[str] = ()


def _plan(at: options.Where, name: str | None, last: int | None, to: str | None, concurrently: bool, fill: dict[str, str]) -> _Found:
    from unmigrate.cli.target import load, open_target
    from unmigrate.plan.build import chosen

    project, migrations = load(at)
    if project.url is None:
        count = chosen(migrations, [m.name for m in migrations], name, last, to)
        plan = planning.make_plan(
            at, list(migrations), count, schema=project.schema_name, major=None, strict=False, concurrently=concurrently, fill=fill
        )
        return _Found(plan)
    from unmigrate.errors import UnmigrateError
    from unmigrate.execute.inspect import inspect
    from unmigrate.execute.ways import refuse_namesakes
    from unmigrate.park.publications import remarks

    with open_target(at) as target:
        notes = [*remarks(target.connection), *_unread(target.connection)]
        kept = planning.stored(target, name, last, to) or []
        notes += _refused(lambda: refuse_namesakes(kept))
        stored = measured(target.connection, kept)
        try:
            count = planning.choose(target, name, last, to)
            notes += _refused(lambda: planning.refuse_mixed(target, count))
            plan = planning.make_plan(
                at, target.history(), count, schema=target.url.schema, major=target.major, strict=False, concurrently=concurrently,
                fill=fill, target=target,
            )  # fmt: skip
        except UnmigrateError as error:
            if not stored:
                raise
            return _Found(stored[0], stored, [*notes, f"what else could be done is not shown, as there is no plain plan: {error}"])
        return _Found(compared(at, target, inspect(target.connection, plan)), stored, notes)


def _unread(connection: Any) -> list[str]:
    """That the vault may not be read, where that is so: a plan of the plain way back is all there is then."""
    from unmigrate.errors import UnmigrateError
    from unmigrate.park import vault

    try:
        vault.version(connection)
    except UnmigrateError as error:
        return [f"what a guarded deploy kept is not known: {error}; {error.remedy}"]
    return []


def _refused(ask: Callable[[], None]) -> list[str]:
    """That rollback refuses what is asked for, where it does."""
    from unmigrate.errors import RefusedError

    try:
        ask()
    except RefusedError as error:
        return [f"rollback refuses this: {error}; {error.remedy}"]
    return []


def measured(connection: Any, stored: Sequence[Any]) -> list[Any]:
    """What the newest of these ways will meet; what the others will can be asked when it is their turn."""
    from unmigrate.execute.inspect import inspect

    return [inspect(connection, stored[0]), *stored[1:]] if stored else []


def compared(at: options.Where, target: Any, plan: Any) -> Any:
    """The plan, its options compared by what the target and the provider of snapshots say."""
    from dataclasses import replace

    from unmigrate.cli import snapshots
    from unmigrate.errors import UnmigrateError
    from unmigrate.execute.ways import rollback_plans
    from unmigrate.plan.options import Facts, Vaulted
    from unmigrate.plan.options import options as ways_to_go
    from unmigrate.snapshot import choice
    from unmigrate.snapshot.find import moments

    stored = measured(target.connection, rollback_plans(target.connection, plan.migrations) or [])
    losses, blockers = (tuple(x for way in stored for x in getattr(way, name)) for name in ("losses", "blockers"))
    locks = tuple(lock for way in stored for lock in way.locks)
    vault = Vaulted(losses, blockers, locks) if stored else None
    try:
        of = [moments(target.connection, plan.schema, name) for name in plan.migrations]
        found, trouble = choice.candidates(target.connection, snapshots.opened(at, None).provider, of)
    except UnmigrateError as error:
        found, trouble = None, str(error)
    facts = Facts(plan.blockers, plan.locks, vault, found, trouble)
    return replace(plan, options=ways_to_go(plan.verdicts, plan.losses, facts))
