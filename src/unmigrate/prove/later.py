"""The schema half of a long history, or a later part of it, proved meanwhile by another process on a database of its own.

What comes before is only replayed there, which costs little beside proving it. Entries (or proofs, for who has more to do with them)
come back through a pipe. Where the process cannot be had, or ends early, the caller goes on by itself.
"""

import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.errors import UnmigrateError
from unmigrate.inverse import replay
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.entry import entry
from unmigrate.prove.history import History
from unmigrate.prove.told import tell
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import connect_migrations
from unmigrate.scratch.roles import MadeRoles, makes_roles

WORTH_IT = 100  # migrations for two processes; below, starting the other takes longer than it saves
MOST = 4  # processes: each has what comes before its part to replay, and needs memory
# Beside proving a migration at the beginning of a history: replaying one, and what proving costs more at its end. Roughly: only who
# waits for whom at the end depends on it.
REPLAYING, GROWING = 0.16, 0.6
# A fork has everything imported already; elsewhere libraries do not survive one.
START = "fork" if sys.platform == "linux" else "spawn"


@dataclass(frozen=True, slots=True)
class Task:
    """conninfo, helped: how to connect to a prepared database; first: what to run there; beginning: scripts to replay."""

    conninfo: str
    helped: bool
    first: tuple[str, ...]
    beginning: tuple[str, ...]
    rest: tuple[Migration, ...]
    entries: bool


def processes(migrations: Sequence[Migration], jobs: int | None) -> int:
    """How many processes should share this. jobs: how many may be had; None: as many as there are processors for us.

    Roles belong to the server: two replays at once, in processes that know nothing of each other, would meet each other's.
    """
    if any(makes_roles(m.sql) for m in migrations):
        return 1
    return max(1, min(_processors() if jobs is None else jobs, MOST, 2 * len(migrations) // WORTH_IT))


def _processors() -> int:
    """That we may use: a container may have fewer than the machine."""
    found = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # ValueError: "max", no limit
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
        found = max(1, min(found, quota // period))
    return found


def shares(count: int, parts: int) -> list[int]:
    """How many of so many migrations each part has, so that all end at the same time."""
    low, high, ends = 0.0, 1.0 + GROWING, [1.0]
    while high - low > 0.5 / count:
        time = (low + high) / 2
        ends = [0.0]
        for _ in range(parts):
            ends.append(_end(ends[-1], time))
        low, high = (low, time) if ends[-1] > 1 else (time, high)
    places = [0, *(round(end * count) for end in ends[1:-1]), count]
    return [after - before for before, after in pairwise(places)]


def _end(begin: float, time: float) -> float:
    """Where a part that begins there ends after this time: it replays `begin`, and proves from there to its end."""
    half = GROWING / 2
    proved = begin + half * begin**2 + time - REPLAYING * begin
    return (sqrt(1 + 4 * half * proved) - 1) / (2 * half)


class Later:
    """The other process. stopped: the migration it stopped at, and why; finished: whether it came to its end, or there.

    beginning: what it replays; rest: what it proves; entries: whether it gives entries, or else what `told.hear` makes proofs of.
    """

    def __init__(self, work: Workspace, beginning: Sequence[Migration], rest: Sequence[Migration], *, entries: bool = True) -> None:
        self.stopped: tuple[str, replay.ReplayError] | None = None
        self.finished = False
        self.beginning, self.rest = beginning, rest
        self._work = work
        with work.fresh() as connection:
            self._database = connection.info.dbname
        conninfo = work.pool.conninfo(self._database)
        task = Task(conninfo, work.pool.helped, work.on_connecting(), tuple(m.sql for m in beginning), tuple(rest), entries)
        self._queue: queue.Queue[Any] = queue.Queue()
        context: Any = multiprocessing.get_context(START)
        self._heard, told = context.Pipe(duplex=False)
        self._process = context.Process(target=prove_there, args=(task, told), daemon=True)
        self._process.start()
        told.close()  # so that its end is heard
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            while True:
                self._queue.put(self._heard.recv())
        except Exception:  # its end, or whatever reading something else than a pickle raises; the caller goes on by itself
            self._queue.put(None)

    def messages(self) -> Iterator[Any]:
        """What it has to say of the rest, in order, until it is done or the process ends."""
        while (message := self._queue.get()) is not None:
            if isinstance(message, tuple):
                self.finished = True
                if message:
                    name, reason, sqlstate = message
                    self.stopped = (name, replay.ReplayError(reason, sqlstate))
                return
            yield message

    def connection(self) -> psycopg.Connection[Any]:
        """A connection to its database, once it has ended."""
        self.close()
        return self._work.prepare(self._work.pool.connect(self._database))

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()


def prove_there(task: Task, out: Connection) -> None:
    """The other process: messages, then () at the end, or (migration, reason, SQLSTATE) where the history does not replay."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both; our parent ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = connect_migrations(task.conninfo, MadeRoles(), helped=task.helped)
    for sql in task.first:
        connection.execute(sql)
    try:
        for sql in task.beginning:
            replay.run(connection, sql)
        history = History(connection)
        proofs = history.prove_all(task.rest)
        for message in map(entry, proofs) if task.entries else tell(history.observer.catalog, proofs):
            out.send(message)
    except (replay.ReplayError, UnmigrateError):
        return  # our parent meets it too, and tells it
    name, error = history.stopped or ("", None)
    out.send((name, str(error), error.sqlstate) if error else ())
    connection.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
