"""Where one migration after the other is looked at: a scratch database with the history so far, and copies of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from unmigrate.prove.history import History
from unmigrate.prove.rows import RowsHistory
from unmigrate.prove.workspace import Workspace


class Stage:
    """The history so far, and its workspace. `history` is another object after each `copy`.

    Rows that the history itself writes refuse no way back here: they are asked for, as a plan asks.
    """

    def __init__(self, work: Workspace, history: History) -> None:
        self.work, self.history = work, history
        history.may_empty = True

    @contextmanager
    def copy(self) -> Iterator[History]:
        """A copy of the present state, dropped afterwards. Nothing may be open in `history`."""
        pool, database = self.work.pool, self.history.connection.info.dbname
        self.history.connection.close()
        name = pool.clone(database)
        self._reopen(database)
        copy = History(self.work.prepare(pool.connect(name)))
        try:
            yield copy
        finally:
            copy.connection.close()
            pool.drop(name)

    def rows(self) -> RowsHistory:
        """A database with the history so far and generated rows."""
        pool, database = self.work.pool, self.history.connection.info.dbname
        self.history.connection.close()
        name = pool.clone(database)
        self._reopen(database)
        rows = RowsHistory(self.work.prepare(pool.connect(name)))
        rows.begin()
        return rows

    def _reopen(self, database: str) -> None:
        self.history = History(self.work.prepare(self.work.pool.connect(database)), self.history.fill, may_empty=True)

    def close(self) -> None:
        self.history.connection.close()
