"""Merging rows of another database by key, for refill and carry-over.

Staged first (COPY between the two servers, as text), then merged in batches of one transaction each, journalled with it: what was killed
goes on where it stood, and nothing is done twice. Constraints hold in every batch: a row that one does not let in is listed. Triggers of
people do not fire, within a batch only.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import uuid4

import psycopg

from unmigrate.errors import EnvironmentProblem, FailedError, PartialError, RefusedError
from unmigrate.park import vault
from unmigrate.prisma.ledger import deploy_lock
from unmigrate.snapshot import merge
from unmigrate.snapshot.databases import translated
from unmigrate.snapshot.lost import Found, Part
from unmigrate.words import amount

BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
TRIES = 50
VACUUM_EVERY = 100  # batches: keeps the table from doubling
_XID = "select (txid_current() % 4294967296)::text::xid::text"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """batch: rows per transaction. touched: fill too what is empty in rows written since. on_step: for tests that interrupt there."""

    snapshot: str
    batch: int = 5000
    touched: bool = False
    lock_timeout_ms: int = 200
    say: Say = lambda _: None
    on_step: Say = lambda _: None


@dataclass(frozen=True, slots=True)
class Filled:
    """One part. staged: rows of the snapshot; filled: rows inserted or changed; gone: rows that are not here any more; conflicts: rows
    or values kept as they are here; reasons: {why: how many of these}; samples: keys of some."""

    table: str
    kind: str
    columns: tuple[str, ...]
    staged: int
    filled: int
    gone: int
    conflicts: int
    reasons: dict[str, int]
    samples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Report:
    """again: an earlier run had done it all. longest: seconds of the longest batch, which is as long as a writer may have waited."""

    id: str
    migrations: tuple[str, ...]
    snapshot: str
    parts: tuple[Filled, ...]
    left_out: tuple[tuple[str, str], ...]
    again: bool = False
    seconds: float = 0.0
    longest: float = 0.0
    conflict_table: str = f"{merge.SCHEMA}.conflict"

    def to_json(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("parts", "left_out")}
        left = [{"object": name, "reason": why} for name, why in self.left_out]
        return {**plain, "parts": [p.to_json() for p in self.parts], "left_out": left}


class Stage(Protocol):
    """Where rows come from."""

    def __call__(self, live: psycopg.Connection[Any], job: str, part: Part, say: Say) -> None:
        """Fill the part's staging table and journal how many rows it has, unless that was done."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be merged. id: the same for the same job, whenever it is run; xid: see `merge`; begin: done before anything is staged."""

    id: str
    kind: str
    migrations: tuple[str, ...]
    found: Found
    stage: Stage
    begin: Callable[[psycopg.Connection[Any]], None]
    xid: str | None = None


@dataclass(slots=True)
class _Run:
    live: psycopg.Connection[Any]
    job: Job
    asked: Asked
    longest: float = 0.0
    batches: int = 0
    began: float = field(default_factory=time.monotonic)


def run(connect: Callable[[], psycopg.Connection[Any]], job: Job, asked: Asked) -> Report:
    """Do the job, or what is left of it. Raises RefusedError, EnvironmentProblem (nothing changed beyond staging), PartialError (run it
    again: it goes on)."""
    with closing(connect()) as live, deploy_lock(live), translated("while merging"):
        live.execute(merge.SETTINGS)
        asked.on_step("asked")
        going, done = _open(live, job, asked)
        if done:
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


def _open(live: psycopg.Connection[Any], job: Job, asked: Asked) -> tuple[_Run, bool]:
    """The journal of this job, made or found; whether all is done. Raises RefusedError where it was begun otherwise."""
    run = _Run(live, job, asked)
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
        return run, False
    if row[0] != asked.snapshot or row[1] != asked.touched:
        how = " with --fill-touched" if row[1] else ""
        message = f"this was {'done' if row[2] else 'begun'} from {row[0]}{how}"
        remedy = (
            f"give the same; or forget that refill, which makes all it wrote count as written since: DROP SCHEMA {merge.SCHEMA} CASCADE"
        )
        raise RefusedError(message, code="other-refill", remedy=remedy)
    return run, row[2] is not None


def _begin(run: _Run) -> None:
    values = [run.job.id, list(run.job.migrations), run.asked.snapshot, run.asked.touched]
    run.live.execute(f"insert into {merge.SCHEMA}.refill (id, migrations, snapshot, touched) values (%s, %s, %s, %s)", values)
    for p in run.job.found.parts:
        run.live.execute(
            f"insert into {merge.SCHEMA}.part (refill, number, table_name, kind, columns) values (%s, %s, %s, %s, %s)",
            [run.job.id, p.number, p.table, p.kind, [c.name for c in p.columns]],
        )


def _walk(run: _Run) -> Report:
    run.job.begin(run.live)
    run.asked.on_step("begun")
    parts = run.job.found.parts
    for part in parts:
        run.job.stage(run.live, run.job.id, part, run.asked.say)
        run.asked.on_step(f"staged {part.number}")
    rows = [p for p in parts if p.kind == "rows"]
    for part in rows:
        _merge(run, part)
    _waiting(run, rows)
    for part in parts:
        if part.kind != "rows":
            _merge(run, part)
    report = _report(run)
    _close(run, report)
    return report


def _merge(run: _Run, part: Part) -> None:
    row = run.live.execute(
        f"select staged, done from {merge.SCHEMA}.part where refill = %s and number = %s", [run.job.id, part.number]
    ).fetchone()  # fmt: skip
    assert row is not None
    staged, done = int(row[0]), int(row[1])
    size = staged if part.alone else run.asked.batch
    while done < staged:
        end = min(staged, done + size)
        _range(run, part, done, end)
        done = end
        run.asked.say(f"{part.table}: {done:,} of {amount(staged, 'row')}")
        run.batches += 1
        if run.batches % VACUUM_EVERY == 0 and part.kind != "rows":
            run.live.execute(f"VACUUM {part.table}")
    if part.kind in ("columns", "edits"):
        counted = f"update {merge.SCHEMA}.part set gone = ({merge.absent(run.job.id, part)}) where refill = %s and number = %s"
        run.live.execute(counted, [run.job.id, part.number])


def _range(run: _Run, part: Part, low: int, high: int) -> None:
    """One batch; where a constraint objects, its halves, down to the row."""
    where = merge.between(low, high)
    try:
        _patiently(run, part, lambda: _batch(run, part, where, high))
        return
    except psycopg.errors.IntegrityError as error:
        objection = error
    if high - low > 1:
        middle = (low + high) // 2
        _range(run, part, low, middle)
        _range(run, part, middle, high)
    else:
        _patiently(run, part, lambda: _refused(run, part, high, objection))


def _patiently(run: _Run, part: Part, work: Callable[[], None]) -> None:
    """In one transaction, which no writer waits for behind us longer than the lock timeout and the work take."""
    for attempt in range(TRIES):
        began = time.monotonic()
        try:
            with run.live.transaction():
                run.live.execute(f"SET LOCAL lock_timeout = {max(1, run.asked.lock_timeout_ms)}")
                work()
            run.longest = max(run.longest, time.monotonic() - began)
            return
        except BUSY:
            time.sleep(min(1.0, 0.02 * 1.5 ** min(attempt, 20)))
    message = f"rows of {part.table} are locked by others: it is not finished, what it did stands"
    raise PartialError(message, code="locks", remedy="end the sessions that hold them, and run the same command again: it goes on")


def _batch(run: _Run, part: Part, where: str, high: int) -> None:
    live, id_, xid, touched = run.live, run.job.id, run.job.xid, run.asked.touched
    for sql in merge.quiet(part):
        live.execute(sql)
    live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    filled = live.execute(merge.apply(id_, part, where, xid, touched=touched)).rowcount
    run.asked.on_step(f"part {part.number} to {high} applied")
    if part.key:
        live.execute(merge.conflicts(id_, part, where))
    for sql in merge.loud(part):
        live.execute(sql)
    live.execute(f"insert into {merge.SCHEMA}.batch values (%s::xid)", [_xid(live)])
    _advance(run, part, high, filled)
    run.asked.on_step(f"part {part.number} to {high} merged")


def _xid(live: psycopg.Connection[Any]) -> str:
    row = live.execute(_XID).fetchone()
    assert row is not None
    return str(row[0])


def _advance(run: _Run, part: Part, done: int, filled: int = 0) -> None:
    run.live.execute(
        f"update {merge.SCHEMA}.part set done = greatest(done, %s), filled = filled + %s where refill = %s and number = %s",
        [done, filled, run.job.id, part.number],
    )


def _refused(run: _Run, part: Part, n: int, error: psycopg.Error) -> None:
    """A row that cannot be: it may wait for another one to return, else it is listed."""
    if part.kind == "rows" and isinstance(error, psycopg.errors.ForeignKeyViolation):
        run.live.execute(f"insert into {merge.SCHEMA}.waiting values (%s, %s, %s) on conflict do nothing", [run.job.id, part.number, n])
    else:
        run.live.execute(merge.failed(run.job.id, part, f"b.n = {n}", _why(error)))
    _advance(run, part, n)


def _why(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.ForeignKeyViolation):
        return f"what it refers to is gone ({error.diag.constraint_name})"
    return f"{error.diag.message_primary or 'a constraint does not let it in'}"


def _waiting(run: _Run, parts: Sequence[Part]) -> None:
    """Rows that refer to rows that returned after them, again and again while that helps. The rest refers to what is gone."""
    by_number, progress = {p.number: p for p in parts}, True
    last: dict[tuple[int, int], psycopg.Error] = {}
    while progress:
        progress = False
        rows = run.live.execute(f"select part, n from {merge.SCHEMA}.waiting where refill = %s order by part, n", [run.job.id]).fetchall()
        for number, n in rows:
            try:
                _patiently(run, by_number[number], lambda p=by_number[number], n=n: _late(run, p, n, None))  # type: ignore[misc]
                progress = True
            except psycopg.errors.IntegrityError as error:
                last[number, n] = error
    for (number, n), objection in last.items():
        _patiently(run, by_number[number], lambda p=by_number[number], n=n, e=objection: _late(run, p, n, e))  # type: ignore[misc]


def _late(run: _Run, part: Part, n: int, error: psycopg.Error | None) -> None:
    gone = f"delete from {merge.SCHEMA}.waiting where refill = %s and part = %s and n = %s"
    if run.live.execute(gone, [run.job.id, part.number, n]).rowcount:
        if error is None:
            _batch(run, part, f"b.n = {n}", n)
        else:
            run.live.execute(merge.failed(run.job.id, part, f"b.n = {n}", _why(error)))


def _close(run: _Run, report: Report) -> None:
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


def _report(run: _Run, *, again: bool = False) -> Report:
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
