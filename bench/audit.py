"""How much an audit costs beside replaying the history: ratios in one run. See bench/README.md."""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prove.audit import audit
from unmigrate.prove.cache import AuditCache
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server
from unmigrate.sql.extensions import wanted_extensions


def generated(folder: Path, count: int = 300) -> Path:
    """A history of tables, columns, indexes, enums and foreign keys, made by rule."""
    for number in range(count):
        table = f'"T{number // 6}"'
        scripts = (
            f'CREATE TABLE {table} ("id" TEXT NOT NULL, "name" TEXT, CONSTRAINT "T{number // 6}_pkey" PRIMARY KEY ("id"));',
            f'ALTER TABLE {table} ADD COLUMN "count" INTEGER NOT NULL DEFAULT 0;',
            f'CREATE INDEX "T{number // 6}_name_idx" ON {table}("name");',
            f'CREATE TYPE "E{number}" AS ENUM (\'A\', \'B\'); ALTER TABLE {table} ADD COLUMN "kind" "E{number}";',
            f'ALTER TABLE {table} ADD COLUMN "other" TEXT REFERENCES {table}("id");',
            f'ALTER TABLE {table} ALTER COLUMN "name" SET NOT NULL, ALTER COLUMN "name" SET DEFAULT \'\';',
        )
        (folder / f"{number:04}_step").mkdir(parents=True)
        (folder / f"{number:04}_step" / "migration.sql").write_text(scripts[number % 6])
    return folder


def timed(run: Callable[[], object]) -> float:
    began = time.monotonic()
    run()
    return time.monotonic() - began


def plain(work: Workspace, migrations: tuple[Migration, ...]) -> float:
    """Seconds to execute and commit every file that the audit can replay."""
    connection = work.fresh()

    def replay() -> None:
        for migration in migrations:
            connection.execute(migration.sql)

    seconds = timed(replay)
    connection.close()
    return seconds


def measure(folder: Path, schema: str) -> tuple[int, float, float, float, float]:
    """(migrations, plain, schema, rows, second run) in seconds for one history."""
    migrations = read_migrations(folder)
    needed = wanted_extensions(m.sql for m in migrations)
    with open_server(None, extensions=needed, environ=os.environ, persistent=True) as server, Pool(server) as pool:
        work = Workspace(pool, schema)
        reached = sum(e.report["schema"]["source"] is not None for e in audit(work, migrations, rows=False))
        migrations = migrations[:reached]
        replay = plain(work, migrations)
        schema_seconds = timed(lambda: list(audit(work, migrations, rows=False)))
        rows_seconds = timed(lambda: list(audit(work, migrations, rows=True)))
        list(audit(work, migrations[:-1], rows=True, cache=AuditCache(work, migrations[:-1], rows=True)))
        again = timed(lambda: list(audit(work, migrations, rows=True, cache=AuditCache(work, migrations, rows=True))))
    return reached, replay, schema_seconds, rows_seconds, again


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(word) for word in sys.argv[1:]] or [generated(Path(scratch) / "generated")]
        rows = [(str(f)[-50:], *measure(f, "public")) for f in folders]
    rows.append(("together", *(sum(row[i] for row in rows) for i in range(1, 5)), max(row[5] for row in rows)))  # type: ignore[call-overload]
    print(f"{'history':50} {'migr.':>6} {'plain s':>8} {'schema':>8} {'rows':>8} {'one more s':>11}")
    for name, count, replay, schema, with_rows, again in rows:
        print(f"{name:50} {count:6} {replay:8.2f} {schema / replay:7.1f}x {with_rows / replay:7.1f}x {again:11.2f}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
