"""guard, the real `prisma migrate deploy`, guard finish, rollback, of real migrations, with a writer: catalogs and rows must be as before.

    python -m bench.pipeline [--sample 5] FOLDER...

FOLDER: a folder of migrations. Needs the Prisma CLI that tests/oracle/install.sh installs. For each migration of the sample the history
before it is replayed and tables are filled; the writer updates every row of every table to itself, again and again, through all of it.
"not guarded" is refused with the reason shown, before anything is touched; anything else that is not "equal" is a fault.
"""

import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from bench.round_trip import arguments, judge, state, target
from tests.oracle.conftest import ROOT, Project
from tests.support import prisma_url, write_project
from unmigrate.execute import pipeline
from unmigrate.execute.rollback import execute
from unmigrate.execute.ways import rollback_plans
from unmigrate.guard.ahead import guards, refusals
from unmigrate.guard.build import guard
from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.workspace import Workspace

SCHEMA = 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'
# A column per table that may be set to itself, without changing anything that a person would notice.
TABLES = """
select format('UPDATE %s SET %I = %I', c.oid::regclass, a.attname, a.attname) from pg_class c
join lateral (select attname from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped and attgenerated = ''
  and attidentity = '' order by attnum limit 1) a on true
where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> '_prisma_migrations'"""


@contextmanager
def writing(work: Workspace, name: str) -> Iterator[list[int]]:
    """A writer, until the end; how many statements it ran."""
    stop, done = threading.Event(), [0]

    def write() -> None:
        with work.pool.connect(name) as connection:
            connection.execute("SET search_path = public")
            while not stop.is_set():
                for (sql,) in connection.execute(TABLES).fetchall():
                    with suppress(psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.DeadlockDetected):
                        connection.execute(sql)
                        done[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield done
    finally:
        stop.set()
        writer.join()


def one_migration(work: Workspace, applied: Sequence[Migration], migration: Migration) -> str:
    """The outcome in a word or a sentence."""
    try:
        found = list(guard(work, applied, [migration], lambda _: None, whole=True))
        if refused := list(refusals(found)):
            return f"not guarded: {refused[0][1]}"
        name = target(work, applied, migration.sql)
    except (ReplayError, psycopg.Error) as error:
        return f"not run: {' '.join(str(error).split())[:120]}"
    connect = lambda: work.pool.connect(name)  # noqa: E731
    try:
        wanted = state(work, name)
        with writing(work, name), tempfile.TemporaryDirectory() as folder:
            with connect() as connection:
                ready = guards(connection, found, work.schema)
            pipeline.arm(connect, ready)
            project = Project(Path(folder), "6", prisma_url(work.pool.conninfo(name)), work.pool, name)
            write_project(project.root, [(m.name, m.sql) for m in (*applied, migration)], SCHEMA)
            (project.root / "package.json").write_text("{}")
            (project.root / "node_modules").symlink_to(ROOT / "6" / "node_modules")
            said = project.prisma("migrate", "deploy")
            if said.exit_code:
                return f"FAILED: {said.text[-300:]}"
            pipeline.finish(connect)
            with connect() as connection:
                (plan,) = rollback_plans(connection, [migration.name]) or []
            execute(connect, plan, accept_loss=False, max_lock_seconds=600.0)
        equal = "equal, rows kept" if found[0].images else "equal, no rows to keep"
        return equal if state(work, name) == wanted else "DIFFERENT"
    except Exception as error:
        return f"FAILED: {' '.join(str(error).split())[:300]}"
    finally:
        work.pool.drop(name)


if __name__ == "__main__":
    a = arguments(__doc__, 5).parse_args()
    judge(a.folders, a.sample, one_migration)
