"""One part merged: its staged rows in batches, each in a transaction of its own; large parts in several sessions at once.

Staged rows are cut into lanes. A batch moves its lane's place in the journal in its own transaction, and only from where it took it up:
what was killed goes on there, and no two sessions do the same. Where a constraint objects to a batch, its halves are tried, down to the
row, which is listed.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from threading import Event, Lock
from typing import Any

import psycopg

from unmigrate.errors import EnvironmentProblem, PartialError
from unmigrate.snapshot import merge
from unmigrate.snapshot.job import Asked, Connect, Job
from unmigrate.snapshot.lost import Part
from unmigrate.words import amount

BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
TRIES = 50
ALONG = 10  # batches: what a session of its own is worth
VACUUM_EVERY = 100  # batches, and a tenth of the rows: keeps the table from doubling
WINDOW = 160_000  # rows: passes over it are far enough apart that what moved away may be cleaned up before the next


@dataclass(slots=True)
class Run:
    """A job being done. live: the session that holds the deploy lock; longest: seconds of the longest transaction; merged, cleaned: rows
    of the part that are, of `staged`, and were when its table was vacuumed last; halted: no session begins another batch."""

    connect: Connect
    live: psycopg.Connection[Any]
    job: Job
    asked: Asked
    longest: float = 0.0
    staged: int = 0
    merged: int = 0
    cleaned: int = 0
    halted: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Lane:
    """Staged rows above `low`, up to `high`; so many of them are merged, in the order of `batches`."""

    low: int
    high: int
    merged: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Staged rows `first`, `first` + `step`, …"""

    first: int
    count: int
    step: int = 1

    @property
    def where(self) -> str:
        some = f"b.n % {self.step} = {self.first % self.step} AND " if self.step > 1 else ""
        return f"{some}b.n >= {self.first} AND b.n <= {self.first + (self.count - 1) * self.step}"

    def halves(self) -> tuple["Batch", "Batch"]:
        half = self.count // 2
        return Batch(self.first, half, self.step), Batch(self.first + half * self.step, self.count - half, self.step)


@dataclass(frozen=True, slots=True)
class _At:
    """Where a session works. after: how many of the lane's rows are merged when the batch is."""

    live: psycopg.Connection[Any]
    part: Part
    lane: Lane
    after: int


def batches(lane: Lane, size: int, leap: int) -> Iterator[tuple[int, Batch]]:
    """What is left of a lane, and how many of its rows are merged after each. The order of rows is the same whatever `size` is."""
    before = 0
    for base in range(lane.low, lane.high, WINDOW):
        rows = min(WINDOW, lane.high - base)
        for k in range(min(leap, rows)):
            count = len(range(k, rows, leap))
            for j in range(max(0, lane.merged - before), count, size):
                some = min(size, count - j)
                yield before + j + some, Batch(base + 1 + k + j * leap, some, leap)
            before += count


def merge_part(run: Run, part: Part) -> None:
    """All of it, or what is left of it."""
    run.staged, lanes = _lanes(run, part)
    run.merged = run.cleaned = run.staged - sum(lane.high - lane.low - lane.merged for lane in lanes)
    if len(lanes) > 1:
        _side_by_side(run, part, lanes)
    for lane in lanes if len(lanes) == 1 else ():
        _walk(run, run.live, part, lane)
    run.live.execute(merge.SETTLED, {"refill": run.job.id, "part": part.number, "done": run.staged})


def _lanes(run: Run, part: Part) -> tuple[int, list[Lane]]:
    """How many rows are staged, and the lanes with what is left of them; made when the part is begun."""
    mine = [run.job.id, part.number]
    row = run.live.execute(f"select staged, done from {merge.SCHEMA}.part where refill = %s and number = %s", mine).fetchone()
    assert row is not None
    staged, done = int(row[0]), int(row[1])
    with run.live.transaction():
        left = f"select low, high, merged from {merge.SCHEMA}.lane where refill = %s and part = %s order by high"
        if done < staged and not run.live.execute(left, mine).fetchone():
            count = 1 if part.alone or part.triggers or part.kind in ("edits", "deletes") else (staged - done) // (run.asked.batch * ALONG)
            count = max(1, min(run.asked.jobs, count))
            cuts = [done + (staged - done) * i // count for i in range(count + 1)]
            for low, high in pairwise(cuts):
                run.live.execute(f"insert into {merge.SCHEMA}.lane (refill, part, low, high) values (%s, %s, %s, %s)", [*mine, low, high])
        rows = run.live.execute(left, mine).fetchall()
    return staged, [lane for row in rows if (lane := Lane(*row)).merged < lane.high - lane.low]


def _side_by_side(run: Run, part: Part, lanes: Sequence[Lane]) -> None:
    """Each session takes the next lane. What stops one stops the others after their batch."""
    waiting = deque(lanes)

    def work(live: psycopg.Connection[Any]) -> None:
        while waiting and not run.halted.is_set():
            try:
                _walk(run, live, part, waiting.popleft())
            except BaseException:
                run.halted.set()
                raise

    with ExitStack() as stack:
        sessions = [run.live, *_more(run, stack, len(lanes) - 1)]
        with ThreadPoolExecutor(len(sessions)) as pool:
            try:
                doing = [pool.submit(work, live) for live in sessions]
                wait(doing)
            except BaseException:  # of the person at the terminal
                run.halted.set()
                raise
        for each in doing:
            each.result()


def _more(run: Run, stack: ExitStack, count: int) -> Iterator[psycopg.Connection[Any]]:
    """More sessions, as far as the server has room for them."""
    for _ in range(count):
        try:
            live = stack.enter_context(closing(run.connect()))
        except (EnvironmentProblem, psycopg.OperationalError):
            return
        live.execute(merge.SETTINGS)
        yield live


def _walk(run: Run, live: psycopg.Connection[Any], part: Part, lane: Lane) -> None:
    size = lane.high - lane.low if part.alone else run.asked.batch
    for after, batch in batches(lane, size, merge.leap(part)):
        if run.halted.is_set():
            return
        _range(run, _At(live, part, lane, after), batch)
        if _counted(run, part, batch.count):
            live.execute(f"VACUUM {part.table}")


def _counted(run: Run, part: Part, count: int) -> bool:
    """Count what was merged; whether the table is to be vacuumed now."""
    with run.lock:
        run.merged += count
        run.asked.say(f"{part.table}: {run.merged:,} of {amount(run.staged, 'row')}")
        every = max(VACUUM_EVERY * run.asked.batch, run.staged // 10)
        if part.kind == "rows" or run.merged - run.cleaned < every:
            return False
        run.cleaned = run.merged
        return True


def _range(run: Run, at: _At, batch: Batch) -> None:
    """One batch; where a constraint objects, its halves, down to the row."""
    try:
        _patiently(run, at.live, at.part, lambda: _in_lane(run, at, batch))
        return
    except psycopg.errors.IntegrityError as error:
        objection = error
    if batch.count > 1:
        first, second = batch.halves()
        _range(run, replace(at, after=at.after - second.count), first)
        _range(run, at, second)
    else:
        _patiently(run, at.live, at.part, lambda: _refused(run, at, batch, objection))


def _patiently(run: Run, live: psycopg.Connection[Any], part: Part, work: Callable[[], None]) -> None:
    """In one transaction, which no writer waits for behind us longer than the lock timeout and the work take.

    It is not waited for until it is on disk: a crash of the server loses it whole, journal included, and the last one waits for all.
    """
    for attempt in range(TRIES):
        began = time.monotonic()
        try:
            with live.transaction():
                live.execute(
                    f"SET LOCAL lock_timeout = {max(1, run.asked.lock_timeout_ms)}; SET LOCAL synchronous_commit = off; "
                    "SET CONSTRAINTS ALL IMMEDIATE"
                )
                work()
            with run.lock:
                run.longest = max(run.longest, time.monotonic() - began)
            return
        except BUSY:
            time.sleep(min(1.0, 0.02 * 1.5 ** min(attempt, 20)))
    message = f"rows of {part.table} are locked by others: it is not finished, what it did stands"
    raise PartialError(message, code="locks", remedy="end the sessions that hold them, and run the same command again: it goes on")


def _in_lane(run: Run, at: _At, batch: Batch) -> None:
    step = f"part {at.part.number} to {at.lane.low + at.after}"
    filled, gone = _apply(run, at.live, at.part, batch, f"{step} applied")
    _advance(run, at, batch, filled, gone)
    run.asked.on_step(f"{step} merged")


def _apply(run: Run, live: psycopg.Connection[Any], part: Part, batch: Batch, step: str) -> tuple[int, int]:
    """How many rows were filled, and how many are not here any more."""
    id_, xid, touched, gone = run.job.id, run.job.xid, run.asked.touched, 0
    for sql in merge.quiet(part):
        live.execute(sql)
    filled = live.execute(merge.apply(id_, part, batch.where, xid, touched=touched)).rowcount
    run.asked.on_step(step)
    if part.key and (filled < batch.count or not merge.whole(part, xid, touched=touched)):
        live.execute(merge.conflicts(id_, part, batch.where))
        if part.kind in ("columns", "edits"):
            row = live.execute(merge.absent(id_, part, batch.where)).fetchone()
            gone = int(row[0]) if row else 0
    for sql in merge.loud(part):
        live.execute(sql)
    live.execute(merge.OURS)
    return filled, gone


def _advance(run: Run, at: _At, batch: Batch, filled: int = 0, gone: int = 0) -> None:
    """Raises PartialError where another session was here meanwhile: what this one did is rolled back."""
    moved = at.live.execute(
        f"update {merge.SCHEMA}.lane set merged = %s, filled = filled + %s, gone = gone + %s "
        "where refill = %s and part = %s and high = %s and merged = %s",
        [at.after, filled, gone, run.job.id, at.part.number, at.lane.high, at.after - batch.count],
    )
    if not moved.rowcount:
        remedy = "wait until the other one has ended, and run the same command again: it goes on"
        raise PartialError(f"another session brings back rows of {at.part.table}", code="busy", remedy=remedy)


def _refused(run: Run, at: _At, batch: Batch, error: psycopg.Error) -> None:
    """A row that cannot be: it may wait for another one to return, else it is listed."""
    mine = [run.job.id, at.part.number, batch.first]
    if at.part.kind == "rows" and isinstance(error, psycopg.errors.ForeignKeyViolation):
        at.live.execute(f"insert into {merge.SCHEMA}.waiting values (%s, %s, %s) on conflict do nothing", mine)
    else:
        at.live.execute(merge.failed(run.job.id, at.part, batch.where, _why(error)))
    _advance(run, at, batch)


def _why(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.ForeignKeyViolation):
        return f"what it refers to is gone ({error.diag.constraint_name})"
    return f"{error.diag.message_primary or 'a constraint does not let it in'}"


def merge_waiting(run: Run, parts: Sequence[Part]) -> None:
    """Rows that refer to rows that returned after them, again and again while that helps. The rest refers to what is gone."""
    by_number, progress = {p.number: p for p in parts}, True
    last: dict[tuple[int, int], psycopg.Error] = {}

    def one(number: int, n: int, error: psycopg.Error | None) -> None:
        _patiently(run, run.live, by_number[number], lambda: _late(run, by_number[number], n, error))

    while progress:
        progress = False
        rows = run.live.execute(f"select part, n from {merge.SCHEMA}.waiting where refill = %s order by part, n", [run.job.id]).fetchall()
        for number, n in rows:
            try:
                one(number, n, None)
                progress = True
            except psycopg.errors.IntegrityError as error:
                last[number, n] = error
    for (number, n), objection in last.items():
        one(number, n, objection)


def _late(run: Run, part: Part, n: int, error: psycopg.Error | None) -> None:
    mine, batch = [run.job.id, part.number, n], Batch(n, 1)
    if not run.live.execute(f"delete from {merge.SCHEMA}.waiting where refill = %s and part = %s and n = %s", mine).rowcount:
        return
    if error is None:
        filled, _ = _apply(run, run.live, part, batch, f"part {part.number} to {n} applied")
        run.live.execute(f"update {merge.SCHEMA}.part set filled = filled + %s where refill = %s and number = %s", [filled, *mine[:2]])
        run.asked.on_step(f"part {part.number} to {n} merged")
    else:
        run.live.execute(merge.failed(run.job.id, part, batch.where, _why(error)))
