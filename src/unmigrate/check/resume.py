"""Whether a file that no transaction holds together can be run again after it was interrupted: tried on copies.

Stopped after each point at which something is committed, and, for concurrent commands, cancelled in the middle.
"""

from collections.abc import Sequence

import psycopg

from unmigrate.check.impact import Watch
from unmigrate.check.observe import interrupted
from unmigrate.check.stage import Stage
from unmigrate.inverse import replay
from unmigrate.inverse.replay import ReplayError
from unmigrate.lint.model import Interrupted
from unmigrate.prove.history import History
from unmigrate.sql import script
from unmigrate.sql.script import Statement

MOST = 6  # points at which a file is stopped
INVALID = "select indexrelid::regclass::text from pg_catalog.pg_index where not indisvalid and indexrelid >= 16384"


def second_run(stage: Stage, sql: str) -> Interrupted | None:
    """What a second run answers after the first point at which it cannot be run again; None where it always can."""
    try:
        statements = script.split(sql)
    except script.ScriptError:
        return None
    for done in _points(statements)[:MOST]:
        with stage.copy() as copy:
            if found := _stopped(copy, statements, done, sql):
                return found
    for number, statement in enumerate(statements):
        if _concurrent(statement):
            with stage.copy() as copy:
                if found := _cancelled(stage, copy, statements, number, sql):
                    return found
    return None


def _points(statements: Sequence[Statement]) -> list[int]:
    """After how many statements something is committed and something is still to come."""
    points, open_ = [], False
    for number, statement in enumerate(statements, 1):
        open_ = (open_ or statement.control == script.BEGIN) and statement.control not in (script.COMMIT, script.ROLLBACK)
        if not open_ and any(not s.control for s in statements[:number]) and any(not s.control for s in statements[number:]):
            points.append(number)
    return points


def _stopped(copy: History, statements: Sequence[Statement], done: int, sql: str) -> Interrupted | None:
    try:
        for statement in statements[:done]:
            copy.connection.execute(statement.text)
    except psycopg.Error:
        return None  # it does not get that far in any case
    return _again(copy, sql, sum(not s.control for s in statements[:done]), statements[done].start)


def _cancelled(stage: Stage, copy: History, statements: Sequence[Statement], number: int, sql: str) -> Interrupted | None:
    connection = copy.connection
    try:
        for statement in statements[:number]:
            connection.execute(statement.text)
        if not interrupted(stage, connection, statements[number], Watch(connection).known):
            return None
    except psycopg.Error:
        return None
    found = _again(copy, sql, number, statements[number].start)
    left = [name for (name,) in connection.execute(INVALID)]
    if found is None and left:
        return Interrupted(number, statements[number].start, f"it goes through, and leaves the index {left[0]} invalid")
    return found


def _again(copy: History, sql: str, done: int, at: int) -> Interrupted | None:
    try:
        replay.run(copy.connection, sql)
    except ReplayError as error:
        return Interrupted(done, at, str(error))
    return None


def _concurrent(statement: Statement) -> bool:
    return statement.node in ("IndexStmt", "ReindexStmt") and "concurrently" in statement.text.lower()
