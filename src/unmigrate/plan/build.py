"""Making a plan: replay on scratch up to the migrations to be undone, prove each, and put their ways back together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.model import Catalog, Key
from unmigrate.errors import EnvironmentProblem, RefusedError, UnmigrateError, UsageError
from unmigrate.inverse import server, unseen
from unmigrate.inverse.checks import checks
from unmigrate.inverse.losses import added, losses
from unmigrate.inverse.model import InverseStep
from unmigrate.inverse.replay import ReplayError
from unmigrate.plan.locks import locks
from unmigrate.plan.model import Check, Lock, Loss, Plan, Step, Verdict
from unmigrate.plan.options import options
from unmigrate.plan.pools import remarks, rewritten
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import attempt, emptying
from unmigrate.prove.beginning import replayed
from unmigrate.prove.dump import Committed, committed
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.rows import DataProof, RowsHistory
from unmigrate.prove.statements import Undoes, statement_map
from unmigrate.prove.workspace import Workspace
from unmigrate.sql.script import concurrently

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What to undo: `migrations` up to and including the last applied one; the last `count` of them go.

    setup and fill: see Workspace and `--fill`. concurrently: indexes that return are built outside the switch.
    """

    migrations: Sequence[Migration]
    count: int
    rows: bool = True
    concurrently: bool = False
    fill: dict[str, str] | None = None


def build(work: Workspace, request: Request, on_progress: Progress) -> Plan:
    """A proved plan. Raises EnvironmentProblem where the history does not replay; a refused migration stays in the plan."""
    kept, undone = request.migrations[: -request.count], request.migrations[-request.count :]
    on_progress(f"replaying {len(kept)} migrations on scratch")
    history = _beginning(work, kept)
    history.fill, history.may_empty = request.fill or {}, True
    connection = history.connection
    start = history.observer.catalog
    proofs, undoes = [], []
    asked: list[Check] = []
    for migration in undone:
        on_progress(f"proving {migration.name}")
        questions = server.asks(migration.sql, history.observer.catalog)
        before = server.answers(connection, questions)
        undoes.append(_replayed(migration, lambda m=migration: statement_map(history, m)))  # type: ignore[misc]
        proofs.append(_replayed(migration, lambda m=migration: history.prove(m)))  # type: ignore[misc]
        asked += server.checks(migration.name, before, server.answers(connection, questions))
    reason = _prove_together(history, proofs, start)
    history.require_exact()
    witness = committed(work, request.migrations, request.count, proofs) if not reason else Committed(reason)
    data = _prove_rows(work, kept, proofs, on_progress) if request.rows else [None] * len(proofs)
    connection.close()
    verdicts = tuple(_verdict(p, d, witness.wrong) for p, d in zip(proofs, data, strict=True))
    plan = _assemble(work, request, proofs, undoes, verdicts, start, history.observer.catalog)
    return replace(plan, checks=(*plan.checks, *asked), notes=(*plan.notes, *witness.notes))


def _replayed(migration: Migration, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except ReplayError as error:
        raise _told(f"{migration.name} does not replay on scratch: {error}", error) from error


def _beginning(work: Workspace, kept: Sequence[Migration]) -> History:
    try:
        return replayed(work, kept)
    except ReplayError as error:  # it names the migration
        raise _told(f"the history does not replay on scratch: {error}", error) from error


def _told(message: str, error: ReplayError) -> UsageError | EnvironmentProblem:
    if error.unreadable:
        return UsageError(message, code="syntax", remedy=error.remedy)
    return EnvironmentProblem(message, code="replay", remedy=error.remedy)


def _prove_together(history: History, proofs: Sequence[SchemaProof], start: Catalog) -> str:
    """All ways back in a row must lead to the start; the reason why not, or ""."""
    if len(proofs) == 1 or any(p.refused for p in proofs):
        return ""
    from unmigrate.catalog.observer import Delta

    after = history.observer.catalog
    history.observer.begin()
    keys = frozenset(key for p in proofs for key in p.delta.keys)
    statements = [emptying(after)] if any(p.emptied for p in proofs) else []
    statements += [sql for p in reversed(proofs) for sql in p.statements]
    together = attempt(history.connection, history.observer, Delta(start, after, keys), statements)
    history.connection.execute("COMMIT")
    return together.reason if together.verdict == "refused" else ""


def _prove_rows(work: Workspace, kept: Sequence[Migration], proofs: Sequence[SchemaProof], on_progress: Progress) -> list[DataProof | None]:
    on_progress("proving rows")
    connection = _beginning(work, kept).connection
    rows = RowsHistory(connection)
    rows.begin()
    found: list[DataProof | None] = [rows.prove(proof, written_after=True) for proof in proofs]
    connection.close()
    return found


def _verdict(proof: SchemaProof, data: DataProof | None, together: str) -> Verdict:
    schema, reason = proof.outcome.verdict, proof.outcome.reason
    if together and schema != "refused":
        schema, reason = "refused", together
    if data is None:
        return Verdict(proof.migration.name, schema, reason, "unknown", (), ("rows", *unseen.told(proof.migration.sql, proof.delta)))
    blocked = (f"on generated rows the way back stops: {data.blocked}",) if data.blocked else ()
    return Verdict(proof.migration.name, schema, reason, data.verdict, data.lost, (*data.not_covered, *blocked))


def _assemble(
    work: Workspace,
    request: Request,
    proofs: list[SchemaProof],
    undoes: list[Undoes],
    verdicts: tuple[Verdict, ...],
    start: Catalog,
    end: Catalog,
) -> Plan:
    newest_first = list(zip(reversed(proofs), reversed(undoes), strict=True))
    keys = {key for p in proofs for key in p.delta.keys}
    before, after = _fingerprints(end, start, keys)
    steps = tuple(step for proof, origin in newest_first for step in _steps(proof, origin, request))
    found, locked = _all_losses(proofs, end), _all_locks(proofs)
    return Plan(
        migrations=tuple(p.migration.name for p, _ in newest_first),
        checksums={p.migration.name: p.migration.checksum for p in proofs},
        schema=work.schema,
        server_major=work.pool.server.version // 10000,
        steps=steps,
        losses=found,
        checks=tuple(c for p in proofs for c in checks(p.migration.name, p.delta) if c.columns or c.object not in (request.fill or {})),
        locks=locked,
        verdicts=tuple(reversed(verdicts)),
        before=before,
        after=after,
        options=options(verdicts, found),
        notes=tuple(
            sorted(
                {note for p in proofs for note in p.notes}
                | {*work.remarks(m.sql for m in request.migrations), *remarks(end, start, (s.sql for s in steps)), *rewritten(locked)}
            )
        ),
    )


def _fingerprints(end: Catalog, start: Catalog, keys: set[Key]) -> tuple[dict[str, str], dict[str, str]]:
    """Digests of every object concerned: as it must be now, and afterwards; "" where it must not be."""
    now = {label(o): digest(o) for k in keys if (o := end.objects.get(k))}
    then = {label(o): digest(o) for k in keys if (o := start.objects.get(k))}
    names = now.keys() | then.keys()
    return {n: now.get(n, "") for n in sorted(names)}, {n: then.get(n, "") for n in sorted(names)}


def _steps(proof: SchemaProof, origin: Undoes, request: Request) -> list[Step]:
    steps = []
    for inverse in proof.steps:
        undone = origin.of(inverse)
        where = f"{inverse.kind} {inverse.name}"
        sql = inverse.sql
        if request.concurrently and (concurrent := concurrently(sql)) and _survives(inverse, proof):
            steps.append(Step("finish", proof.migration.name, concurrent, where, undone, transactional=False))
            continue
        steps.append(Step("switch", proof.migration.name, sql, where, undone))
    return steps


def _survives(inverse: InverseStep, proof: SchemaProof) -> bool:
    index = next((proof.delta.before.objects[k] for k in inverse.keys if k in proof.delta.before.objects), None)
    return index is not None and index.parent in proof.delta.after.objects and index.facts.get("table_kind") == "r"


def _all_losses(proofs: Sequence[SchemaProof], end: Catalog) -> tuple[Loss, ...]:
    """Per migration what was destroyed, and what was added, is still there, and holds rows since."""
    found = [loss for p in proofs for loss in losses(p.migration.name, p.migration.sql, p.delta)]
    return (*found, *added(((p.migration.name, p.delta) for p in proofs), end))


def _all_locks(proofs: Sequence[SchemaProof]) -> tuple[Lock, ...]:
    found: dict[str, Lock] = {}
    for proof in proofs:
        for lock in locks(list(proof.steps), proof.delta):
            found[lock.table] = (
                lock if lock.table not in found else max(found[lock.table], lock, key=lambda k: (k.work != "metadata", k.mode))
            )
    return tuple(found[name] for name in sorted(found))


def _not_applied(given: str, migrations: Sequence[Migration], applied: Sequence[str]) -> UnmigrateError:
    if given in {m.name for m in migrations}:
        return RefusedError(f"{given} is not applied", code="not-applied", remedy="unmigrate status shows what is")
    like = [name for name in applied if given in name] or get_close_matches(given, applied, 1)
    remedy = f"did you mean {like[-1]}?" if like else "take the name of its folder; unmigrate status shows what is applied"
    return UsageError(f"there is no migration {given}", code="unknown-migration", remedy=remedy)


def chosen(migrations: Sequence[Migration], applied: Sequence[str], name: str | None, last: int | None, to: str | None) -> int:
    """How many of the applied migrations are to be undone. Raises UsageError for an unknown name, RefusedError for an older one."""
    if sum(x is not None for x in (name, last, to)) > 1:
        raise UsageError("NAME, --last and --to say three different things", code="ambiguous", remedy="give one of them")
    for given in (name, to):
        if given is not None and given not in applied:
            raise _not_applied(given, migrations, applied)
    if to is not None:
        return len(applied) - 1 - list(applied).index(to)
    if name is not None and name != applied[-1]:
        message = f"{name} is not the last applied migration: {applied[-1]} is"
        remedy = (
            f"undo back to the one before it: --to {applied[list(applied).index(name) - 1]}"
            if name != applied[0]
            else f"undo all of them: --last {len(applied)}"
        )
        raise RefusedError(message, code="not-last", remedy=remedy)
    count = 1 if last is None else last
    if not 1 <= count <= len(applied):
        message = f"{count} migrations cannot be undone: {len(applied)} are applied"
        raise UsageError(message, code="count", remedy=f"give --last a number from 1 to {len(applied)}")
    return count
