"""The ledger: Prisma's table _prisma_migrations, and what its rows mean."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma.migrations import Migration, checksum_matches, locale_key
from unmigrate.prisma.url import quoted

TABLE = "_prisma_migrations"
LOCK = 72707369  # Prisma Migrate's advisory lock
LOCK_SECONDS = 10.0
State = Literal["pending", "failed", "applied", "rolled-back"]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One row, column by column."""

    id: str
    checksum: str
    finished_at: datetime | None
    migration_name: str
    logs: str | None
    rolled_back_at: datetime | None
    started_at: datetime
    applied_steps_count: int


@dataclass(frozen=True, slots=True)
class MigrationState:
    """What folder and ledger together say of one name. edited: the file is not what was applied. missing_folder: ledger only."""

    name: str
    state: State
    edited: bool
    missing_folder: bool
    rows: tuple[LedgerRow, ...]

    @property
    def duplicate(self) -> bool:
        """More than one row says that it is applied."""
        return sum(r.finished_at is not None and r.rolled_back_at is None for r in self.rows) > 1


@dataclass(frozen=True, slots=True)
class Prediction:
    """What `prisma migrate status` will say: its exit code, and the gist in our words."""

    exit_code: int
    text: str


def read_ledger(connection: psycopg.Connection[Any], schema: str) -> tuple[LedgerRow, ...] | None:
    """All rows, oldest first; None where there is no ledger table in this schema."""
    table = f"{quoted(schema)}.{quoted(TABLE)}"
    found = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
    if not found or not found[0]:
        return None
    try:
        rows = connection.execute(
            "select id, checksum, finished_at, migration_name, logs, rolled_back_at, started_at, applied_steps_count "
            f"from {table} order by started_at, id"
        )
    except psycopg.errors.InsufficientPrivilege as error:
        remedy = f"GRANT SELECT, DELETE ON {table} to the role that connects"
        raise EnvironmentProblem("the ledger may not be read", code="privilege", remedy=remedy) from error
    return tuple(LedgerRow(*row) for row in rows)


def states(migrations: Sequence[Migration], rows: Sequence[LedgerRow]) -> tuple[MigrationState, ...]:
    """The state of every name that folder or ledger know, in Prisma's order."""
    folder = {m.name: m for m in migrations}
    names = sorted(folder.keys() | {r.migration_name for r in rows}, key=locale_key)
    return tuple(_state(name, folder.get(name), tuple(r for r in rows if r.migration_name == name)) for name in names)


def _state(name: str, migration: Migration | None, rows: tuple[LedgerRow, ...]) -> MigrationState:
    live = [r for r in rows if r.rolled_back_at is None]
    if any(r.finished_at is None for r in live):
        state: State = "failed"
    elif live:
        state = "applied"
    else:
        state = "rolled-back" if rows else "pending"
    edited = False
    if migration is not None and live:
        raw = (migration.folder / "migration.sql").read_bytes()
        edited = not any(checksum_matches(r.checksum, raw) for r in live)
    return MigrationState(name, state, edited, migration is None, rows)


def predict_status(found: Sequence[MigrationState], *, minor: tuple[int, int] = (7, 9)) -> Prediction:
    """What `prisma migrate status` will say. minor: Prisma's version; up to 7.8 a rolled-back migration hides as up to date."""
    pending = [s.name for s in found if s.state == "pending" or (s.state == "rolled-back" and not s.missing_folder and minor >= (7, 9))]
    failed = [s.name for s in found if s.state == "failed"]
    if pending:
        return Prediction(1, f"not yet applied: {', '.join(pending)}")
    if failed:
        return Prediction(1, f"failed: {', '.join(failed)}")
    return Prediction(0, "database schema is up to date")


def delete_rows(connection: psycopg.Connection[Any], schema: str, names: Sequence[str]) -> int:
    """Take the rows of these names out: the one correction that every version of Prisma reads right. Archive them first."""
    table = f"{quoted(schema)}.{quoted(TABLE)}"
    return connection.execute(f"delete from {table} where migration_name = any (%s)", [list(names)]).rowcount


@contextmanager
def deploy_lock(connection: psycopg.Connection[Any], seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Prisma's own lock, held as it holds it. Raises EnvironmentProblem after `seconds`, as its P1002."""
    until = time.monotonic() + seconds
    while not _try(connection):
        if time.monotonic() > until:
            remedy = "wait for the other deploy or rollback to end"
            raise EnvironmentProblem("another migration holds Prisma's lock (72707369)", code="deploy-lock", remedy=remedy)
        time.sleep(0.1)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("select pg_advisory_unlock(%s)", [LOCK])


def _try(connection: psycopg.Connection[Any]) -> bool:
    row = connection.execute("select pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    return bool(row and row[0])
