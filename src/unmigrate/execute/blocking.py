"""Who is in the way: of locks, asked on a second connection while the first one waits, and of a table that is rewritten."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg

POLL_SECONDS = 0.03
# Without the text of their queries: it may hold what is not ours to print.
_WHO = """a.pid, concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state,
  'for ' || extract(epoch from date_trunc('second', clock_timestamp() - a.xact_start))::int || ' s')"""
_BLOCKING = f"select {_WHO} from unnest(pg_blocking_pids(%s)) b join pg_stat_activity a on a.pid = b order by a.xact_start"
# A snapshot held between statements: REPEATABLE READ or stricter, or an open cursor.
_SNAPSHOTS = f"""
select {_WHO} from pg_stat_activity a where a.datname = current_database() and a.pid <> pg_backend_pid()
and a.state like 'idle in transaction%%' and a.backend_xmin is not null order by a.xact_start"""
SNAPSHOT_SECONDS = 10.0
TOLD_AFTER, TOLD_AGAIN_AFTER = 1.0, 15.0  # seconds


def backend(connection: psycopg.Connection[Any]) -> int:
    """The server's own process: behind a pooler, what the connection was told is another."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def wait_for_snapshots(connection: psycopg.Connection[Any], tables: Collection[str], say: Callable[[str], None]) -> None:
    """A table that is rewritten is empty for older snapshots: transactions that hold one are waited for, a while, and then told."""
    end, told = time.monotonic() + SNAPSHOT_SECONDS, False
    while tables and (holders := _named(connection.execute(_SNAPSHOTS, []))):
        if time.monotonic() > end:
            say(f"{', '.join(holders[:3])}: what they have not read yet of {', '.join(tables)} will be empty for them")
            return
        if not told:
            say(f"waiting up to {SNAPSHOT_SECONDS:.0f} s for older snapshots: {', '.join(holders[:3])}")
        told = True
        time.sleep(POLL_SECONDS)


def _named(rows: Iterable[tuple[Any, ...]]) -> tuple[str, ...]:
    return tuple(f"pid {pid} ({what})" for pid, what in rows)


@contextmanager
def told_waits(
    connection: psycopg.Connection[Any], connect: Callable[[], psycopg.Connection[Any]], say: Callable[[str], None]
) -> Iterator[None]:
    """Say who is in the way of what this connection asks, wherever an answer takes long. Best effort.

    connect: for a second connection, made when there is something to ask.
    """
    try:
        pid = backend(connection)
    except psycopg.Error:  # a connection that is lost is told by what is asked next
        yield
        return
    with _beside(lambda stop: _tell_waits(connection, pid, connect, say, stop)):
        yield


@contextmanager
def _beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Work in another thread, until it is told to stop at the end of the body."""
    stop = threading.Event()
    thread = threading.Thread(target=work, args=[stop], daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _tell_waits(
    connection: psycopg.Connection[Any], pid: int, connect: Callable[[], psycopg.Connection[Any]], say: Callable[[str], None],
    stop: threading.Event,
) -> None:  # fmt: skip
    due = time.monotonic() + TOLD_AFTER
    while not stop.wait(TOLD_AFTER / 5):
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
            due = time.monotonic() + TOLD_AFTER
        elif time.monotonic() > due:
            due = time.monotonic() + TOLD_AGAIN_AFTER
            try:
                with closing(connect()) as other:
                    found = _named(other.execute(_BLOCKING, [pid]))
            except Exception:  # whatever it is, the work goes on without these names
                return
            if found:
                say(f"waiting for {', '.join(found[:3])}")


class Watch:
    """Looks at one backend's waits. Best effort: where no second connection is to be had, it knows nothing."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], pid: int) -> None:
        self._connect, self._pid = connect, pid
        self._connection: psycopg.Connection[Any] | None = None
        self.last: tuple[str, ...] = ()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Remember in `last` who blocks while the body runs."""
        with _beside(self._look):
            yield

    def _look(self, stop: threading.Event) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            while not stop.wait(POLL_SECONDS):
                now = _named(self._connection.execute(_BLOCKING, [self._pid]))
                self.last = now or self.last
        except Exception:  # whatever it is, the rollback goes on without these names
            stop.wait()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
