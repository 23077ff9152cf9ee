"""Around a `prisma migrate deploy`: what `unmigrate guard`, Prisma and `unmigrate guard finish` do, in this process."""

from collections.abc import Callable
from typing import Any

from tests.guard.conftest import Live
from tests.support import migration
from unmigrate.execute import pipeline
from unmigrate.execute.pipeline import Finished
from unmigrate.guard.ahead import guards, refusals
from unmigrate.guard.build import Guarded, guard
from unmigrate.prisma.ledger import deploy_lock, record_applied, record_finished

INIT = "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL DEFAULT 7, b text, c text)"
ROWS = "INSERT INTO t SELECT g, g * 10, 'b' || g, 'c' || g FROM generate_series(1, 20) g"


def prepared(it: Live, *scripts: str) -> list[Guarded]:
    """These migrations, pending, guarded on scratch."""
    new = [migration(str(len(it.history) + number), sql) for number, sql in enumerate(scripts, 1)]
    found = list(guard(it.work, it.history, new, lambda _: None, it.park, whole=True))
    it.history += new
    return found


def arm(it: Live, *scripts: str, **options: Any) -> None:
    found = prepared(it, *scripts)
    assert list(refusals(found)) == []
    with it.connect() as connection:
        ready = guards(connection, found, it.work.schema)
    pipeline.arm(it.connect, ready, **options)


def prisma_deploy(it: Live, *, between: Callable[[], None] = lambda: None, statements: bool = False, locked: bool = True) -> None:
    """What `prisma migrate deploy` does. statements: each in a transaction of its own, as newer engines do; between: called among them,
    or before the commit. locked: holding Prisma's advisory lock.
    """
    with it.connect() as connection:
        connection.autocommit = True
        names = {name for (name,) in connection.execute("SELECT migration_name FROM _prisma_migrations").fetchall()}
        for one in it.history:
            if one.name in names:
                continue
            lock = deploy_lock(connection)
            if locked:
                lock.__enter__()
            row = record_applied(connection, it.work.schema, one.name, one.checksum, finished=False)
            if statements:
                for sql in one.sql.split(";"):
                    connection.execute(sql)
                    between()
            else:
                with connection.transaction():
                    connection.execute(one.sql)
                    between()
            record_finished(connection, it.work.schema, row)
            if locked:
                lock.__exit__(None, None, None)


def finish(it: Live, **options: Any) -> tuple[Finished, ...]:
    return pipeline.finish(it.connect, **options)


def triggers(it: Live) -> int:
    """How many of guards are on the tables."""
    return int(it.value("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '!unmigrate%'"))


def leave_as_it_was(it: Live) -> None:
    """What a person does who does not want what was written since to a column made anew."""
    table = it.value("SELECT oid::regclass::text FROM pg_class WHERE relname = 'deployed'")
    it.run(f"DELETE FROM {table}")
