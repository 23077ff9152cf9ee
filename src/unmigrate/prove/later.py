"""The schema half of a long history, or its later part, proved meanwhile by another process on a database of its own.

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
from dataclasses import dataclass
from multiprocessing.connection import Connection
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

WORTH_IT = 100  # migrations; below, starting the process takes longer than it saves
BEGINNING = 0.6  # of the migrations are proved here: the other process has them to replay
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


def worth_it(migrations: Sequence[Migration], jobs: int | None) -> bool:
    """Whether another process helps. jobs: processes that may be had; None: as many as the machine has processors.

    Roles belong to the server: two replays at once, in processes that know nothing of each other, would meet each other's.
    """
    many = (os.cpu_count() or 1) if jobs is None else jobs
    return many > 1 and len(migrations) >= WORTH_IT and not any(makes_roles(m.sql) for m in migrations)


def cut(migrations: Sequence[Migration]) -> int:
    """How many migrations to prove here, so that both end at the same time."""
    return round(len(migrations) * BEGINNING)


class Later:
    """The other process. stopped: the migration it stopped at, and why; finished: whether it came to its end, or there.

    entries: whether it gives entries, or else what `told.hear` makes proofs of.
    """

    def __init__(self, work: Workspace, beginning: Sequence[Migration], rest: Sequence[Migration], *, entries: bool = True) -> None:
        self.stopped: tuple[str, replay.ReplayError] | None = None
        self.finished = False
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
