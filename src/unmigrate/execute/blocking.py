"""Who is in the way: asked on a second connection while the first one waits for a lock."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

POLL_SECONDS = 0.03
# Without the text of their queries: it may hold what is not ours to print.
_BLOCKING = """
select a.pid, concat_ws(', ', a.usename, nullif(a.application_name, ''), a.state,
  'for ' || extract(epoch from date_trunc('second', clock_timestamp() - a.xact_start))::int || ' s')
from unnest(pg_blocking_pids(%s)) b join pg_stat_activity a on a.pid = b order by a.xact_start"""


class Watch:
    """Looks at one backend's waits. Best effort: where no second connection is to be had, it knows nothing."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], pid: int) -> None:
        self._connect, self._pid = connect, pid
        self._connection: psycopg.Connection[Any] | None = None
        self.last: tuple[str, ...] = ()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Remember in `last` who blocks while the body runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._look, args=[stop], daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _look(self, stop: threading.Event) -> None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            while not stop.wait(POLL_SECONDS):
                if rows := self._connection.execute(_BLOCKING, [self._pid]).fetchall():
                    self.last = tuple(f"pid {pid} ({what})" for pid, what in rows)
        except Exception:  # whatever it is, the rollback goes on without these names
            stop.wait()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
