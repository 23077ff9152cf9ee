"""Running a migration statement by statement on scratch to see what each locks, reads, rewrites and touches.

In one transaction that is rolled back, as Prisma would run it. What PostgreSQL refuses there is run on a copy, each statement in a
transaction of its own; what it refuses in any transaction (CONCURRENTLY) is made to wait for a transaction of ours, and its locks are
read while it waits.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import psycopg

from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import UNCHECKED_BODIES
from unmigrate.check.impact import Watch
from unmigrate.check.stage import Stage
from unmigrate.inverse.replay import NOT_IN_TRANSACTION
from unmigrate.lint.model import Effect
from unmigrate.plan.model import Lock
from unmigrate.prove.attempt import emptying
from unmigrate.prove.history import History, SchemaProof
from unmigrate.scratch.sequences import left_as_they_were
from unmigrate.sql import script
from unmigrate.sql.script import Statement

ACTIVE_TRANSACTION = "25001"
PATIENCE = 5.0  # seconds until a concurrent command waits for us
_READS = ("IndexStmt", "ReindexStmt", "RefreshMatViewStmt")


def observe_up(stage: Stage, sql: str) -> tuple[Effect, ...]:
    """What each statement does; () where the text does not parse. The database is left as it was."""
    try:
        statements = script.split(sql)
    except script.ScriptError:
        return ()
    whole = script.without_control(sql) is not None
    with left_as_they_were(stage.history.connection):
        effects = _together(stage.history, [s for s in statements if not s.control]) if whole else []
    if whole and not (effects and effects[-1].sqlstate in NOT_IN_TRANSACTION):
        return tuple(effects)
    with stage.copy() as copy:
        apart = _apart(stage, copy, statements)
    states = {e.statement: e.sqlstate for e in effects if e.sqlstate}
    return tuple(Effect(e.statement, e.touched, e.locks, states.get(e.statement, e.sqlstate)) for e in apart)


def observe_down(stage: Stage, proof: SchemaProof) -> tuple[Lock, ...]:
    """Locks of a way back from the present state, which is left as it was; () where there is none."""
    if proof.refused:
        return ()
    if not proof.emptied:
        return _down(stage.history.connection, proof.statements)
    with stage.copy() as copy:
        copy.connection.execute(emptying(proof.delta.after))
        return _down(copy.connection, proof.statements)


def _down(connection: psycopg.Connection[Any], statements: Sequence[str]) -> tuple[Lock, ...]:
    """In a transaction of its own that is rolled back."""
    from unmigrate.check.impact import merged

    connection.execute("BEGIN")
    connection.execute(UNCHECKED_BODIES)
    parts = []
    try:
        watch = Watch(connection)
        for sql in statements:
            connection.execute(sql)
            parts.append(watch.news())
    except psycopg.Error:
        pass  # the proof says why it fails
    finally:
        connection.execute("ROLLBACK")
    return merged(tuple(parts))


def _together(history: History, statements: Sequence[Statement]) -> list[Effect]:
    """In one transaction, up to the first error."""
    connection, observer = history.connection, history.observer
    saved = observer.save()
    observer.begin()
    effects: list[Effect] = []
    try:
        watch = Watch(connection)
        for statement in statements:
            try:
                connection.execute(statement.text)
            except psycopg.Error as error:
                effects.append(Effect(statement, sqlstate=error.sqlstate or ""))
                break
            locks = watch.news(emptied=statement.node == "TruncateStmt")
            effects.append(Effect(statement, touched(observer.refresh()), locks))
    finally:
        connection.execute("ROLLBACK")
        observer.restore(saved)
    return effects


def touched(delta: Delta) -> frozenset[tuple[str, str]]:
    """(kind, name) of what changed, under its names before and after."""
    changed = [*delta.created, *delta.dropped, *(o for pair in delta.altered for o in pair)]
    return frozenset((o.kind, o.name) for o in changed)


def _apart(stage: Stage, copy: History, statements: Sequence[Statement]) -> list[Effect]:
    """On a copy, each in a transaction of its own unless the file says otherwise; up to the first error."""
    connection, observer = copy.connection, copy.observer
    known = Watch(connection).known
    watch: Watch | None = None
    effects: list[Effect] = []
    for statement in statements:
        mark = observer.mark() if watch is None else None
        if statement.control:
            connection.execute(statement.text)
            watch = Watch(connection, known=known) if _open(connection) else None
            if watch is None:
                observer.reset()
            continue
        try:
            if watch is not None:  # inside the file's own transaction
                connection.execute(statement.text)
                effects.append(Effect(statement, frozenset(), watch.news(emptied=statement.node == "TruncateStmt")))
                continue
            locks = _alone(stage, connection, statement, known)
        except psycopg.Error as error:
            effects.append(Effect(statement, sqlstate=error.sqlstate or ""))
            break
        assert mark is not None
        effects.append(Effect(statement, touched(observer.catch_up(mark)), locks))
    if _open(connection):
        connection.execute("ROLLBACK")
    return effects


def _alone(stage: Stage, connection: psycopg.Connection[Any], statement: Statement, known: frozenset[int]) -> tuple[Lock, ...]:
    connection.execute("BEGIN")
    watch = Watch(connection, known=known)
    try:
        connection.execute(statement.text)
        locks = watch.news(emptied=statement.node == "TruncateStmt")
        connection.execute("COMMIT")
        return locks
    except psycopg.Error as error:
        connection.execute("ROLLBACK")
        if error.sqlstate != ACTIVE_TRANSACTION:
            raise
    return held(stage, connection, statement, known)


def held(stage: Stage, connection: psycopg.Connection[Any], statement: Statement, known: frozenset[int]) -> tuple[Lock, ...]:
    """Run what waits for other transactions, with one of ours in its way; its locks while it waited. Raises psycopg.Error of it."""
    pool, database = stage.work.pool, connection.info.dbname
    with pool.connect(database) as other, pool.connect(database) as watcher:
        failure: list[psycopg.Error] = []

        def run() -> None:
            try:
                connection.execute(statement.text)
            except psycopg.Error as error:
                failure.append(error)

        watch = Watch(watcher, known=known, of=connection.info.backend_pid)
        other.execute("BEGIN")
        if watch.tables:
            other.execute(f"LOCK TABLE {', '.join(watch.tables)} IN ROW EXCLUSIVE MODE")
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        seen = watch.news() if _waits(watcher, connection.info.backend_pid, thread) else ()
        other.execute("ROLLBACK")
        thread.join()
    if failure:
        raise failure[0]
    return tuple(Lock(lock.table, lock.mode, "scan" if statement.node in _READS else "metadata") for lock in seen)


def interrupted(stage: Stage, connection: psycopg.Connection[Any], statement: Statement, known: frozenset[int]) -> bool:
    """Cancel a concurrent command while it waits; whether it was cancelled."""
    pool, database = stage.work.pool, connection.info.dbname
    with pool.connect(database) as other, pool.connect(database) as watcher:
        tables = Watch(watcher, known=known).tables
        other.execute("BEGIN")
        if tables:
            other.execute(f"LOCK TABLE {', '.join(tables)} IN ROW EXCLUSIVE MODE")
        cancelled: list[bool] = []

        def run() -> None:
            with suppress(psycopg.errors.QueryCanceled):
                connection.execute(statement.text)
                return
            cancelled.append(True)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        if _waits(watcher, connection.info.backend_pid, thread):
            watcher.execute("SELECT pg_catalog.pg_cancel_backend(%s)", [connection.info.backend_pid])
        thread.join(PATIENCE)
        other.execute("ROLLBACK")
        thread.join()
    return bool(cancelled)


def _waits(watcher: psycopg.Connection[Any], pid: int, thread: threading.Thread) -> bool:
    """Whether the backend comes to wait for a lock before it is done."""
    deadline = time.monotonic() + PATIENCE
    query = "SELECT wait_event_type = 'Lock' FROM pg_catalog.pg_stat_activity WHERE pid = %s"
    while thread.is_alive() and time.monotonic() < deadline:
        row = watcher.execute(query, [pid]).fetchone()
        if row is not None and row[0]:
            return True
        time.sleep(0.002)
    return False


def _open(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE
