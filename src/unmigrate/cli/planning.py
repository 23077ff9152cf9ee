"""What plan, prove, down and rollback share: choosing migrations and making a plan of them on scratch."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from unmigrate.cli import options, render
from unmigrate.cli.options import Where
from unmigrate.cli.target import Target
from unmigrate.errors import RefusedError
from unmigrate.plan.build import Request, build, chosen
from unmigrate.plan.model import Plan
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.workspace import Workspace
from unmigrate.sql.extensions import wanted_extensions


def selection_options(function: Any) -> Any:
    """NAME, --last, --to: which migrations."""
    import click

    function = click.option("--to", metavar="NAME", help="Undo everything after NAME; NAME stays applied.")(function)
    function = click.option("--last", type=int, metavar="N", help="Undo the last N. Default: 1.")(function)
    return click.argument("name", required=False)(function)


def parse_fill(values: tuple[str, ...]) -> dict[str, str]:
    """--fill 'schema.table.column = SQL' as {column: SQL}."""
    from unmigrate.errors import UsageError

    result = {}
    for value in values:
        column, equals, expression = value.partition("=")
        if not equals or not expression.strip():
            raise UsageError(
                f"--fill wants 'schema.table.column = SQL', not {value!r}", code="fill", remedy="name the column as the plan does"
            )
        result[column.strip()] = expression.strip()
    return result


def make_plan(
    at: Where, migrations: list[Migration], count: int, *, schema: str, major: int | None, strict: bool, rows: bool = True,
    concurrently: bool = False, fill: dict[str, str] | None = None, target: Target | None = None,
) -> Plan:  # fmt: skip
    """A plan for the last `count` of these applied migrations. strict: the proof must run on the target's major version."""
    fit = guard(target, major, strict=strict)
    with (
        render.waiting("starting scratch") as tell,
        scratch(at, migrations, major, fit, schema=schema, target=target, persistent=True) as work,
    ):
        request = Request(migrations, count, rows=rows, concurrently=concurrently, fill=fill)
        return build(work, request, tell)


@contextmanager
def scratch(
    at: Where, migrations: Iterable[Migration], major: int | None, fit: Callable[[Any], None] = lambda server: None, *,
    schema: str, target: Target | None = None, persistent: bool = False,
) -> Iterator[Workspace]:  # fmt: skip
    """A scratch server for these migrations, as the flags say; what it lacks is told. major: the target's; fit: see `guard`."""
    setup = options.setup_text(at)
    needed = wanted_extensions([setup, *(m.sql for m in migrations)])
    url = target.project.url if target else None
    with options.workspace(
        scratch_for(at.scratch, major), needed, schema=schema, setup=setup, trusted=at.trusted, target=url, persistent=persistent, guard=fit
    ) as work:
        for name, why in work.pool.lacking(needed).items():
            render.say(f"note: {work.pool.server.label} lacks extension {name}: {why}")
        yield work


def scratch_for(choice: str | None, major: int | None) -> str | None:
    """Without a choice: the embedded server or Debian's of the target's major version, whichever is there."""
    import os

    if choice or major is None or os.environ.get("UNMIGRATE_SCRATCH"):
        return choice
    from unmigrate.scratch import binaries

    embedded = binaries.embedded()
    if embedded and embedded.major == major:
        return "embedded"
    return f"debian:{major}" if any(one.major == major for one in binaries.debian()) else None


def guard(target: Target | None, major: int | None, *, strict: bool) -> Callable[[Any], None]:
    """Refuses a scratch server that is the target's own database, or, where it matters, not of its major version."""

    def check(server: Any) -> None:
        if target is not None and not server.own and not server.target:
            from unmigrate.scratch.identity import refuse_same_database

            with server.connect() as connection:
                refuse_same_database(connection, target.connection)
        if major is None or server.major == major:
            return
        message = f"the proof would run on PostgreSQL {server.major}, the target is {major}"
        remedy = f"give a scratch server of version {major}: --scratch target (databases beside the target's), debian:{major} or a URL"
        if strict:
            raise RefusedError(message, code="major", remedy=remedy)
        render.say(f"note: {message}; a rollback needs a proof on {major} ({remedy})")

    return check


def choose(target: Target, name: str | None, last: int | None, to: str | None) -> int:
    """How many applied migrations to undo; guards against edited ones."""
    if not target.applied:
        raise RefusedError("nothing is applied in this database", code="nothing-applied", remedy="unmigrate status")
    count = chosen(target.migrations, target.applied, name, last, to)
    if count == 0:
        raise RefusedError(f"{to} is already the last applied migration", code="nothing-to-do", remedy="unmigrate status")
    for state in target.states:
        if state.edited and state.name in target.applied[-count:]:
            message = f"{state.name} was edited after it was applied: its text does not say what was done"
            raise RefusedError(message, code="edited", remedy="check out the version of the file that was deployed")
    return count


def refuse_next(target: Target) -> None:
    """Raise RefusedError where what was applied last was rolled back already, and nothing was deployed since: the same words, given again
    as nobody saw how it ended, would mean the migration before it.
    """
    from unmigrate.park import vault

    walked = [o for o in vault.operations(target.connection) if o.kind in ("rollback", "redo", "deploy", "guard") and o.state == "done"]
    if not walked or walked[-1].kind != "rollback" or target.failed or not target.applied:
        return
    last = walked[-1]
    finished = [row.finished_at for state in target.states for row in state.rows if row.finished_at]
    if not set(target.applied) & set(last.migrations) and max(finished, default=last.started_at) <= last.started_at:
        message = f"{', '.join(last.migrations)} was rolled back already (operation {last.id}); next would be {target.applied[-1]}"
        raise RefusedError(message, code="rolled-back", remedy=f"unmigrate rollback {target.applied[-1]}, if that is what you want")


def stored(target: Target, name: str | None, last: int | None, to: str | None) -> list[Plan] | None:
    """The ways back that a guarded deploy left in the vault, newest first; None where planning on scratch is needed."""
    from unmigrate.execute.ways import rollback_plans

    if target.failed or not target.applied:
        return None
    count = chosen(target.migrations, target.applied, name, last, to)
    return rollback_plans(target.connection, target.applied[-count:][::-1]) if count else None


def refuse_mixed(target: Target, count: int) -> None:
    """Raise RefusedError where some of the last `count` have a way in the vault: one plan for all of them would lose what is kept there."""
    from unmigrate.execute.ways import rollback_plans

    names = target.applied[-count:][::-1]
    kept = [name for name in names if rollback_plans(target.connection, [name])]
    if kept and len(names) > 1:
        message = f"only {', '.join(kept)} was guarded when it was deployed: one plan for all would lose what the vault keeps"
        raise RefusedError(message, code="mixed", remedy=f"roll them back one after the other, first unmigrate rollback {names[0]}")


def unproved(plan: Plan) -> RefusedError:
    """What to say of a plan that is not proved: why, and what a person can do."""
    refused = next(v for v in plan.verdicts if v.schema == "refused")
    note = next((n for n in plan.notes if n.startswith(f"{refused.migration}: its down.sql is not used")), "")
    remedy = f"put a down.sql beside {refused.migration}/migration.sql: it is proved, and used when it proves better; or restore a snapshot"
    if note:
        remedy = f"correct its down.sql: {note.partition('not used: ')[2]}"
    return RefusedError(f"no way back of {refused.migration} is proved: {refused.reason}", code="unproved", remedy=remedy)


def make_failed_plan(at: Where, target: Target, name: str | None) -> Plan:
    """The plan for a failed migration; it comes before anything else can be rolled back."""
    from unmigrate.catalog.read import read_catalog
    from unmigrate.plan.failed import build_failed

    failed = target.failed[0]
    if name not in (None, failed):
        raise RefusedError(f"{failed} failed: it must be rolled back first", code="not-last", remedy=f"unmigrate rollback {failed}")
    migration = next((m for m in target.migrations if m.name == failed), None)
    if migration is None:
        message = f"the database has the failed {failed}, which the migrations folder does not"
        raise RefusedError(message, code="ahead", remedy="check out the commit that was deployed")
    history = target.history()
    fit = guard(target, target.major, strict=True)
    with (
        render.waiting("looking how far it got, on scratch"),
        scratch(at, [*history, migration], target.major, fit, schema=target.url.schema, target=target) as work,
    ):
        return build_failed(work, history, migration, read_catalog(target.connection))
