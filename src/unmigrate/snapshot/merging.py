"""Merging rows of another database by key, for refill and carry-over.

Staged first (COPY between the two servers, as text), then merged in batches of one transaction each, journalled with it: what was killed
goes on where it stood, and nothing is done twice. Constraints hold in every batch: a row that one does not let in is listed. Triggers of
people do not fire, within a batch only.
"""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

import psycopg

from unmigrate.errors import EnvironmentProblem, FailedError, PartialError, RefusedError
from unmigrate.park import vault
from unmigrate.prisma.ledger import deploy_lock
from unmigrate.snapshot import merge
from unmigrate.snapshot.batches import Run, merge_part, merge_waiting
from unmigrate.snapshot.databases import translated
from unmigrate.snapshot.job import Asked, Connect, Filled, Job, Report


def run(connect: Connect, job: Job, asked: Asked) -> Report:
    """Do the job, or what is left of it. Raises RefusedError, EnvironmentProblem (nothing changed beyond staging), PartialError (run it
    again: it goes on)."""
    with closing(connect()) as live, deploy_lock(live), translated("while merging"):
        live.execute(merge.SETTINGS)
        asked.on_step("asked")
        going = Run(connect, live, job, asked)
        if _open(going):
            return _report(going, again=True)
        try:
            return _walk(going)
        except psycopg.errors.DiskFull as error:
            raise _partial("the server's disk is full", "free space") from error
        except psycopg.OperationalError as error:
            raise _partial(f"the connection was lost ({str(error).strip().splitlines()[0]})", "when the server is back") from error


def unfinished(connection: psycopg.Connection[Any]) -> list[str]:
    """One line per refill or carry-over that was interrupted; none where they may not be read."""
    try:
        row = connection.execute("select to_regclass(%s) is not null", [f"{merge.SCHEMA}.refill"]).fetchone()
        if not row or not row[0]:
            return []
        rows = connection.execute(f"select migrations, snapshot, began_at from {merge.SCHEMA}.refill where done_at is null").fetchall()
    except psycopg.errors.InsufficientPrivilege:
        return []
    return [
        f"{_called(names)} from {snapshot}, begun {began:%Y-%m-%d %H:%M}, is not finished: run the same command again"
        for names, snapshot, began in rows
    ]


def _called(migrations: Sequence[str]) -> str:
    return f"a refill of {', '.join(migrations)}" if migrations else "a carry-over"


def _partial(what: str, then: str) -> PartialError:
    remedy = f"{then}, and run the same command again: it goes on where it stopped"
    return PartialError(f"{what}: it is not finished, what it did stands", code="refill", remedy=remedy)


def _open(run: Run) -> bool:
    """Make or find the journal of this job; whether all is done. Raises RefusedError where it was begun from another snapshot."""
    live, job, asked = run.live, run.job, run.asked
    try:
        with live.transaction():
            vault.create(live)
            live.execute(f"CREATE SCHEMA IF NOT EXISTS {merge.SCHEMA}")
            live.execute(merge.JOURNAL)
            vault.seal(live, merge.SCHEMA)
            row = live.execute(f"select snapshot, touched, done_at from {merge.SCHEMA}.refill where id = %s", [job.id]).fetchone()
            if row is None:
                _begin(run)
    except psycopg.errors.InsufficientPrivilege as error:
        raise EnvironmentProblem("the journal cannot be made here", code="privilege", remedy=vault.grant_create(live)) from error
    asked.on_step("opened")
    if row is None:
        return False
    if row[0] != asked.snapshot or row[1] != asked.touched:
        how = " with --fill-touched" if row[1] else ""
        message = f"this was {'done' if row[2] else 'begun'} from {row[0]}{how}"
        remedy = (
            f"give the same; or forget that refill, which makes all it wrote count as written since: DROP SCHEMA {merge.SCHEMA} CASCADE"
        )
        raise RefusedError(message, code="other-refill", remedy=remedy)
    return row[2] is not None


def _begin(run: Run) -> None:
    values = [run.job.id, list(run.job.migrations), run.asked.snapshot, run.asked.touched]
    run.live.execute(f"insert into {merge.SCHEMA}.refill (id, migrations, snapshot, touched) values (%s, %s, %s, %s)", values)
    for p in run.job.found.parts:
        run.live.execute(
            f"insert into {merge.SCHEMA}.part (refill, number, table_name, kind, columns) values (%s, %s, %s, %s, %s)",
            [run.job.id, p.number, p.table, p.kind, [c.name for c in p.columns]],
        )


def _walk(run: Run) -> Report:
    run.job.begin(run.live)
    run.asked.on_step("begun")
    parts = run.job.found.parts
    for part in parts:
        run.job.stage(run.live, run.job.id, part, run.asked.say)
        run.asked.on_step(f"staged {part.number}")
    rows = [p for p in parts if p.kind == "rows"]
    for part in rows:
        merge_part(run, part)
    merge_waiting(run, rows)
    for part in parts:
        if part.kind != "rows":
            merge_part(run, part)
    report = _report(run)
    _close(run, report)
    return report


def _close(run: Run, report: Report) -> None:
    """What was staged goes; what is to be listed, and which transactions were ours, stays."""
    with run.live.transaction():
        for part in run.job.found.parts:
            run.live.execute(f"DROP TABLE IF EXISTS {merge.stage(run.job.id, part)}")
        run.live.execute(f"update {merge.SCHEMA}.refill set done_at = clock_timestamp() where id = %s", [run.job.id])
        plan = {"id": run.job.id, "migrations": list(report.migrations), "from": report.snapshot}
        operation = f"{time.strftime('%Y%m%d%H%M%S', time.gmtime())}_{uuid4().hex[:6]}"
        vault.open_operation(run.live, operation, run.job.kind, plan, state="done", consent=run.asked.touched)
        vault.set_state(run.live, operation, "done")
        run.asked.on_step("closing")
    run.asked.on_step("closed")


def _report(run: Run, *, again: bool = False) -> Report:
    rows = run.live.execute(
        f"select number, table_name, kind, columns, staged, filled, gone from {merge.SCHEMA}.part where refill = %s order by number",
        [run.job.id],
    ).fetchall()
    parts = []
    for number, table, kind, columns, staged, filled, gone in rows:
        reasons = dict(
            run.live.execute(
                f"select reason, count(*) from {merge.SCHEMA}.conflict where refill = %s and part = %s group by 1 order by 2 desc limit 20",
                [run.job.id, number],
            ).fetchall()
        )
        keys = run.live.execute(
            f"select distinct key::text from {merge.SCHEMA}.conflict where refill = %s and part = %s order by 1 limit 5",
            [run.job.id, number],
        ).fetchall()
        count = sum(reasons.values())
        parts.append(Filled(table, kind, tuple(columns), staged or 0, filled, gone, count, reasons, tuple(k for (k,) in keys)))
    if any(staged is None for *_, staged, _, _ in rows):
        raise FailedError("the journal is damaged", code="journal", remedy=f"DROP SCHEMA {merge.SCHEMA} CASCADE, and again")
    seconds = 0.0 if again else round(time.monotonic() - run.began, 2)
    return Report(
        run.job.id, run.job.migrations, run.asked.snapshot, tuple(parts), run.job.found.left_out, again, seconds, round(run.longest, 3)
    )
