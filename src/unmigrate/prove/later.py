"""The schema half of a long history, or its later part, proved meanwhile by another process on a database of its own.

What comes before is only replayed there, which costs little beside proving it. What is to be done comes pickled on standard input,
entries (or proofs, for who has more to do with them) go back pickled on standard output. Where the process cannot be had, or ends
early, the caller goes on by itself.
"""

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.inverse import replay
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import History
from unmigrate.prove.told import tell
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import connect_migrations
from unmigrate.scratch.roles import MadeRoles, makes_roles

WORTH_IT = 100  # migrations; below, starting the process takes longer than it saves
BEGINNING = 0.55  # of the migrations are proved here: the other process has them to replay
START = "from unmigrate.prove.later import main; main()"


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
        path = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
        )
        threading.Thread(target=self._talk, args=(task,), daemon=True).start()

    def _talk(self, task: Task) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()  # it stays open: its end tells the process that nobody waits any more
            while True:
                self._queue.put(pickle.load(self._process.stdout))
        except Exception:  # whatever reading something else than a pickle raises; the caller goes on by itself
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
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def main() -> None:
    """The other process: messages, then () at the end, or (migration, reason, SQLSTATE) where the history does not replay."""
    from unmigrate.prove.audit import entry

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed does not belong there
    task: Task = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection = connect_migrations(task.conninfo, MadeRoles(), helped=task.helped)
    for sql in task.first:
        connection.execute(sql)
    for sql in task.beginning:
        replay.run(connection, sql)
    history = History(connection)
    proofs = history.prove_all(task.rest)
    for message in map(entry, proofs) if task.entries else tell(history.observer.catalog, proofs):
        pickle.dump(message, out)
        out.flush()
    name, error = history.stopped or ("", None)
    pickle.dump((name, str(error), error.sqlstate) if error else (), out)
    out.flush()
    connection.close()
    os._exit(0)  # the other thread holds standard input, for which the interpreter would wait in vain


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)
