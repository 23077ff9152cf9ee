"""The ledger: Prisma's table _prisma_migrations, what its rows mean, and what Prisma's commands will say of them.

It lives in the schema of the URL's ?schema=. A name may have several rows, so all that is said here is said of a name, not of a row:

    rows of a name                                        state         prisma migrate deploy
    none                                                  pending       applies it
    one with neither finished_at nor rolled_back_at       failed        stops before anything else (P3009)
    one with finished_at and without rolled_back_at       applied       leaves it
    only such with rolled_back_at                         rolled-back   applies it, as a second row

The first line that holds counts, from `failed` on. Checksums play no part in it: only `migrate dev` looks at them.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import psycopg

from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma.migrations import Migration
from unmigrate.prisma.order import order_key
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
    """What a Prisma command will say: its exit code, the gist in our words, the names it speaks of, its error code if it has one."""

    exit_code: int
    text: str
    names: tuple[str, ...] = ()
    code: str = ""


def read_ledger(connection: psycopg.Connection[Any], schema: str) -> tuple[LedgerRow, ...] | None:
    """All rows, oldest first; None where there is no ledger table in this schema."""
    table = f"{quoted(schema)}.{quoted(TABLE)}"
    columns = ", ".join(LedgerRow.__dataclass_fields__)
    try:
        found = connection.execute("select to_regclass(%s) is not null", [table]).fetchone()
        if not found or not found[0]:
            return None
        # Binary: as text, times read differently under every DateStyle, and psycopg knows only one.
        rows = connection.execute(f"select {columns} from {table} order by started_at, id", binary=True).fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        remedy = f"GRANT USAGE ON SCHEMA {quoted(schema)}, and SELECT ON {table} (for rollbacks DELETE too), to the role that connects"
        raise EnvironmentProblem("the ledger may not be read", code="privilege", remedy=remedy) from error
    except psycopg.errors.UndefinedColumn as error:
        message = f"{table} is not a ledger of Prisma Migrate: {error.diag.message_primary}"
        raise EnvironmentProblem(message, code="ledger", remedy="check ?schema= in the URL") from error
    return tuple(LedgerRow(*row) for row in rows)


def states(migrations: Sequence[Migration], rows: Sequence[LedgerRow]) -> tuple[MigrationState, ...]:
    """The state of every name that folder or ledger know, in Prisma's order."""
    folder = {m.name: m for m in migrations}
    grouped: dict[str, list[LedgerRow]] = {name: [] for name in folder}
    for row in rows:
        grouped.setdefault(row.migration_name, []).append(row)
    return tuple(_state(name, folder.get(name), tuple(grouped[name])) for name in sorted(grouped, key=order_key))


def _state(name: str, migration: Migration | None, rows: tuple[LedgerRow, ...]) -> MigrationState:
    live = [row for row in rows if row.rolled_back_at is None]
    state: State
    if any(row.finished_at is None for row in live):
        state = "failed"
    elif live:
        state = "applied"
    else:
        state = "rolled-back" if rows else "pending"
    edited = migration is not None and bool(live) and not any(migration.matches(row.checksum) for row in live)
    return MigrationState(name, state, edited, migration is None, rows)


def predict_status(found: Sequence[MigrationState], *, minor: tuple[int, int] = (7, 9), ledger: bool = True) -> Prediction:
    """What `prisma migrate status` will say.

    minor: Prisma's version, as up to 7.8 a rolled-back migration passes for applied; ledger: whether there is a ledger table. It is
    silent about edited files, and about names that the folder lacks unless something is pending; a failed one hides behind a pending.
    """
    waiting = ("pending", "rolled-back") if minor >= (7, 9) else ("pending",)
    pending = _names(s for s in found if s.state in waiting and not s.missing_folder)
    if pending:
        return Prediction(1, f"not yet applied: {', '.join(pending)}", pending)
    if not ledger:
        return Prediction(1, "the database is not managed by Prisma Migrate")
    if failed := _names(s for s in found if s.state == "failed"):
        return Prediction(1, f"failed: {', '.join(failed)}", failed)
    return Prediction(0, "database schema is up to date")


def predict_deploy(found: Sequence[MigrationState]) -> Prediction:
    """What `prisma migrate deploy` will do, if the migrations themselves succeed: P3009, apply these names, or nothing."""
    if failed := _names(s for s in found if s.state == "failed"):
        return Prediction(1, f"refuses because of failed migrations (P3009): {', '.join(failed)}", failed, "P3009")
    if pending := _names(s for s in found if s.state in ("pending", "rolled-back") and not s.missing_folder):
        return Prediction(0, f"applies {', '.join(pending)}", pending)
    return Prediction(0, "has nothing to apply")


def predict_resolve(found: Sequence[MigrationState], name: str) -> Prediction:
    """What `prisma migrate resolve --rolled-back NAME` will say: the step of the usual runbook, which works for failed migrations only."""
    state = next((s for s in found if s.name == name), None)
    if state is None or not state.rows:
        return Prediction(1, f"{name} was never applied to the database (P3011)", (name,), "P3011")
    if state.state == "failed":
        return Prediction(0, f"marks {name} as rolled back", (name,))
    if all(row.finished_at is not None for row in state.rows):
        return Prediction(1, f"{name} cannot be rolled back because it is not in a failed state (P3012)", (name,), "P3012")
    return Prediction(0, f"says that {name} is marked as rolled back, and changes nothing", (name,))


def _names(found: Iterable[MigrationState]) -> tuple[str, ...]:
    return tuple(s.name for s in found)


def delete_rows(connection: psycopg.Connection[Any], schema: str, names: Sequence[str]) -> int:
    """Take all rows of these names out: the one correction that every version of Prisma reads right. Archive them first."""
    table = f"{quoted(schema)}.{quoted(TABLE)}"
    try:
        return connection.execute(f"delete from {table} where migration_name = any (%s)", [list(names)]).rowcount
    except psycopg.errors.InsufficientPrivilege as error:
        remedy = f"GRANT DELETE ON {table} to the role that connects"
        raise EnvironmentProblem("the ledger may not be changed", code="privilege", remedy=remedy) from error


def record_applied(connection: psycopg.Connection[Any], schema: str, name: str, checksum: str, *, finished: bool = True) -> str:
    """Write the row that `prisma migrate deploy` writes; its id. finished=False: as it stands while the migration runs."""
    table, row = f"{quoted(schema)}.{quoted(TABLE)}", str(uuid.uuid4())
    connection.execute(
        f"insert into {table} (id, checksum, started_at, migration_name, finished_at, applied_steps_count) "
        "values (%s, %s, now(), %s, case when %s then clock_timestamp() end, %s)",
        [row, checksum, name, finished, int(finished)],
    )
    return row


def record_finished(connection: psycopg.Connection[Any], schema: str, row: str) -> None:
    """Complete a row that was written unfinished."""
    table = f"{quoted(schema)}.{quoted(TABLE)}"
    connection.execute(f"update {table} set finished_at = clock_timestamp(), applied_steps_count = 1 where id = %s", [row])


def create_ledger(connection: psycopg.Connection[Any], schema: str) -> None:
    """The table as Prisma makes it, where it is not there yet."""
    table = f"{quoted(schema)}.{quoted(TABLE)}"
    connection.execute(
        f"CREATE TABLE IF NOT EXISTS {table} (id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL, "
        "finished_at timestamptz, migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, "
        "started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0)"
    )


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
