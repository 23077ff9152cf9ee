"""Guarded deploy, rollback, redo, rollback, redo of real migrations, each on rows: catalogs and rows must be equal each time.

    python bench/round_trip.py [--sample 15] [--mode side-table] FOLDER...

FOLDER: a folder of migrations. For each migration of the sample the history before it is replayed, tables are filled, and the five
moves are made as the commands make them, from what the vault holds. "no redo" is a migration whose redo is not in the vault, or is refused
for a reason that it says; anything else that is not "equal" is a fault.
"""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg

from unmigrate.catalog.fingerprint import fingerprint
from unmigrate.catalog.parked import without_parked
from unmigrate.catalog.read import read_catalog
from unmigrate.config.park import Park
from unmigrate.errors import RefusedError
from unmigrate.execute.deploy import deploy
from unmigrate.execute.rollback import execute
from unmigrate.execute.ways import redo_plan, rollback_plans
from unmigrate.guard.build import Guarded, guard
from unmigrate.guard.rows import contents_of, make_fit
from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prove.beginning import replayed
from unmigrate.prove.workspace import LEDGER, Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.rows import fill
from unmigrate.scratch.server import open_server
from unmigrate.sql import script
from unmigrate.sql.extensions import wanted_extensions

State = tuple[dict[str, str], dict[str, object]]


def sampled(migrations: Sequence[Migration], count: int) -> list[int]:
    """Numbers of migrations, evenly spread, the last one included."""
    last = len(migrations)
    return sorted({last - 1 - i * last // count for i in range(min(count, last))})


def state(work: Workspace, name: str) -> State:
    with work.pool.connect(name) as connection:
        return fingerprint(without_parked(read_catalog(connection))), {
            table: rows for table, (_, rows) in contents_of(connection, None).items()
        }


def target(work: Workspace, applied: Sequence[Migration], text: str) -> str:
    """A database with the history, its ledger, and rows that the migration can stand."""
    history = replayed(work, applied)
    name = work.pool.clone(history.connection.info.dbname)
    history.connection.close()
    with work.prepare(work.pool.connect(name)) as connection:
        fill(connection)
        make_fit(connection, script.without_control(text) or text)
        connection.execute(LEDGER)
        for m in applied:
            connection.execute(
                "INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES (%s, %s, clock_timestamp(), %s)",
                [m.name[:36], m.checksum, m.name],
            )
    return name


def moved(work: Workspace, name: str, one: Guarded) -> Iterator[tuple[str, State]]:
    """What was done, and the state it left."""
    limits = {"accept_loss": bool(one.losses), "max_lock_seconds": 600.0}
    connect = lambda: work.pool.connect(name)  # noqa: E731
    ways = [way for way in (one.back, one.again) if way is not None]
    deploy(connect, one.up, ways, **limits)  # type: ignore[arg-type]
    yield "deploy", state(work, name)
    for move in ("rollback", "redo", "rollback", "redo"):
        with connect() as connection:
            plans = rollback_plans(connection, [one.migration.name]) if move == "rollback" else [redo_plan(connection, None)]
        execute(connect, (plans or [])[0], **limits)  # type: ignore[arg-type]
        yield move, state(work, name)


def one_migration(work: Workspace, applied: Sequence[Migration], migration: Migration, park: Park) -> str:
    """The outcome in a word or a sentence."""
    try:
        (one,) = guard(work, applied, [migration], lambda _: None, park)
        if one.back is None:
            return f"not guarded: {one.why}"
        name = target(work, applied, migration.sql)
    except (ReplayError, psycopg.Error) as error:
        return f"not run: {' '.join(str(error).split())[:120]}"
    try:
        wanted = {"rollback": state(work, name)}
        for move, found in moved(work, name, one):
            if found != wanted.setdefault("redo" if move == "deploy" else move, found):
                return f"DIFFERENT after {move}"
        return "equal"
    except RefusedError as error:
        return f"no redo: {error}" if error.code in ("no-way", "blocked") else f"REFUSED: {error}"
    finally:
        work.pool.drop(name)


def judge(folders: Sequence[Path], sample: int, outcome_of: Callable[[Workspace, Sequence[Migration], Migration], str]) -> None:
    """Print what becomes of each migration of the samples that is not "equal", and how many of each."""
    total: Counter[str] = Counter()
    for folder in folders:
        migrations = read_migrations(folder)
        extensions = wanted_extensions(m.sql for m in migrations)
        with open_server(None, extensions=extensions, environ=os.environ) as server, Pool(server) as pool:
            for number in sampled(migrations, sample):
                outcome = outcome_of(Workspace(pool), migrations[:number], migrations[number])
                total[outcome.partition(":")[0]] += 1
                if not outcome.startswith("equal"):
                    print(f"{folder.parent.name} {migrations[number].name}: {outcome}", flush=True)
        print(f"{folder}: so far {dict(total)}", flush=True)


def arguments(doc: str | None, sample: int) -> argparse.ArgumentParser:
    """What a bench over samples of histories takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=sample)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    return parser


def main() -> None:
    parser = arguments(__doc__, 15)
    parser.add_argument("--mode", choices=("auto", "side-table"), default="auto", help="[park] mode")
    a = parser.parse_args()
    judge(a.folders, a.sample, lambda work, before, one: one_migration(work, before, one, Park(mode=a.mode)))


if __name__ == "__main__":
    main()
