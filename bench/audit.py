"""How much an audit costs beside replaying the history: ratios in one run. See bench/README.md."""

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prove import later
from unmigrate.prove.audit import audit
from unmigrate.prove.cache import AuditCache
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server
from unmigrate.sql.extensions import wanted_extensions

ROUNDS = 3


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


def measure(folder: Path, schema: str) -> tuple[int, int, float, float, float, float]:
    """(migrations, processes that share them, plain, schema, rows, second run) for one history, in seconds: medians of rounds in which
    all take turns."""
    migrations = read_migrations(folder)
    needed = wanted_extensions(m.sql for m in migrations)
    with open_server(None, extensions=needed, environ=os.environ, persistent=True) as server, Pool(server) as pool:
        work = Workspace(pool, schema)
        reached = sum(e.report["schema"]["source"] is not None for e in audit(work, migrations, rows=False))
        migrations = migrations[:reached]
        rounds = [
            (
                plain(work, migrations),
                timed(lambda: list(audit(work, migrations, rows=False))),
                timed(lambda: list(audit(work, migrations, rows=True))),
            )
            for _ in range(ROUNDS)
        ]
        replay, schema_seconds, rows_seconds = (statistics.median(times) for times in zip(*rounds, strict=True))
        list(audit(work, migrations[:-1], rows=True, cache=AuditCache(work, migrations[:-1], rows=True)))
        again = timed(lambda: list(audit(work, migrations, rows=True, cache=AuditCache(work, migrations, rows=True))))
    return reached, later.processes(migrations, None), replay, schema_seconds, rows_seconds, again


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(word) for word in sys.argv[1:]] or [generated(Path(scratch) / "generated")]
        rows = [(str(f)[-50:], *measure(f, "public")) for f in folders]
    count, *seconds = (sum(row[i] for row in rows) for i in (1, 3, 4, 5))  # type: ignore[call-overload]
    rows.append(("together", count, max(row[2] for row in rows), *seconds, max(row[6] for row in rows)))
    print(f"{'history':50} {'migr.':>6} {'proc.':>6} {'plain s':>8} {'schema':>8} {'rows':>8} {'one more s':>11}")
    for name, count, processes, replay, schema, with_rows, again in rows:
        print(f"{name:50} {count:6} {processes:6} {replay:8.2f} {schema / replay:7.1f}x {with_rows / replay:7.1f}x {again:11.2f}")
    own, other = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak memory {own:.0f} MB, of the largest other process {other:.0f} MB")


if __name__ == "__main__":
    main()
