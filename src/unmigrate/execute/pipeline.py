"""Guards around a migration that somebody else runs: armed before `prisma migrate deploy`, finished or abandoned after it.

Nothing is lost when any of these is killed: arming anew begins with taking away what an earlier one left, finishing goes on.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.read import read_catalog
from unmigrate.errors import RefusedError
from unmigrate.execute.switch import Hook
from unmigrate.park import restore_points, vault
from unmigrate.park.armed import Guard, Logged, armed, expected, store
from unmigrate.park.purge import leftovers, patiently, statements
from unmigrate.prisma.ledger import LedgerRow, deploy_lock, read_ledger

Connect = Callable[[], psycopg.Connection[Any]]
_OURS = "^(logged|emptied)_"  # the functions of our triggers
_LATER = """
select format('DROP TABLE %%s', c.oid::regclass) from pg_class c where c.relnamespace = to_regnamespace(%s) and c.relkind = 'r'
and c.relname !~ '^((log|base)_|deployed$)'
union all select format('DROP FUNCTION %%s', p.oid::regprocedure) from pg_proc p where p.pronamespace = to_regnamespace(%s)
and p.proname !~ '^(logged_|emptied_|who$)'"""
_ARMED = """
select count(*) from pg_trigger g join pg_proc p on p.oid = g.tgfoid
where p.pronamespace = to_regnamespace(%s) and p.proname ~ %s and not g.tgisinternal and g.tgenabled = 'A'"""


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of one guard. rows: kept, by image; state: "done", or "armed" where the migration was not deployed yet."""

    migration: str
    guard: str
    state: str
    rows: dict[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"migration": self.migration, "guard": self.guard, "state": self.state, "rows": self.rows}


@dataclass(frozen=True, slots=True)
class _At:
    connection: psycopg.Connection[Any]
    lock_timeout_ms: int
    on_progress: Hook
    on_step: Hook

    def run(self, sql: Sequence[str], step: str) -> None:
        """In one transaction, under the lock timeout, again and again. Raises FailedError."""
        if sql:
            patiently(self.connection, ";\n".join(sql), self.lock_timeout_ms)
        self.on_step(step)


@contextmanager
def _session(connect: Connect, lock_timeout_ms: int, on_progress: Hook, on_step: Hook) -> Iterator[_At]:
    """A connection that holds Prisma's lock: no migration runs meanwhile."""
    with closing(connect()) as connection:
        connection.autocommit = True
        connection.execute("SET statement_timeout = 0")
        with deploy_lock(connection):
            yield _At(connection, lock_timeout_ms, on_progress, on_step)


def arm(
    connect: Connect, guards: Sequence[Guard], *, app: str | None = None, lock_timeout_ms: int = 200,
    on_progress: Hook = lambda _: None, on_step: Hook = lambda _: None,
) -> None:  # fmt: skip
    """Put these guards in place, oldest migration first; older ones that wait are taken away.

    app: what git calls the version to be deployed, for the restore point. Raises RefusedError where the database is not as the history
    says, EnvironmentProblem without privileges, FailedError where a lock cannot be had (run it again).
    """
    with _session(connect, lock_timeout_ms, on_progress, on_step) as at:
        _refuse_not_pending(at.connection, guards)
        _refuse_different(at.connection, expected(guards, applied=False), "the guard was proved on another database than this one is")
        vault.create(at.connection)
        waiting = armed(at.connection)
        if run := [old.migration for old in waiting if _run(at.connection, old)]:
            raise RefusedError(f"the guard of {run[0]} waits to be finished", code="unfinished", remedy="unmigrate guard finish")
        for old in waiting:
            _take_away(at, old)
        for guard in guards:
            vault.make_guard(at.connection, guard.id)
            named = replace(guard, operation=f"{datetime.now(UTC):%Y%m%d%H%M%S}_{guard.id}")
            store(at.connection, named, "preparing")
            on_step(f"{guard.migration} stored")
            _arm(at, named)
            with at.connection.transaction():
                restore_points.record_now(at.connection, [guard.migration], app=app)
                vault.set_state(at.connection, named.operation, "armed")
            on_step(f"{guard.migration} armed")


def _arm(at: _At, guard: Guard) -> None:
    schema = vault.guard_schemas(guard.id)[0]
    at.run(guard.first, f"{guard.migration} begun")
    for table in guard.tables:
        at.on_progress(f"following {table.table} for {guard.migration}")
        at.run(table.arm, f"{table.table} followed")
        if table.copy:
            at.on_progress(f"copying {table.table}{_size(at.connection, table.table)}")
            at.run(table.copy, f"{table.table} copied")
    with at.connection.transaction():
        vault.seal(at.connection, schema)


def _size(connection: psycopg.Connection[Any], table: str) -> str:
    row = connection.execute("select pg_table_size(to_regclass(%s))", [table]).fetchone()
    return f" ({row[0] / 1e6:.0f} MB)" if row and row[0] else ""


def _refuse_not_pending(connection: psycopg.Connection[Any], guards: Sequence[Guard]) -> None:
    for guard in guards:
        if _run(connection, guard):
            raise RefusedError(f"{guard.migration} is no longer pending", code="moved-on", remedy="unmigrate status")


def _rows(connection: psycopg.Connection[Any], guard: Guard) -> list[LedgerRow]:
    return [row for row in read_ledger(connection, guard.schema) or () if row.migration_name == guard.migration]


def _run(connection: psycopg.Connection[Any], guard: Guard) -> bool:
    """Whether its migration was run, to its end or not."""
    return any(row.rolled_back_at is None for row in _rows(connection, guard))


def _refuse_different(connection: psycopg.Connection[Any], wanted: dict[str, str], why: str) -> None:
    found = {label(o): digest(o) for o in read_catalog(connection)}
    wrong = [name for name, value in wanted.items() if found.get(name, "") != value]
    if wrong:
        message = f"{why}: {', '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}"
        raise RefusedError(message, code="drift", remedy="unmigrate verify shows every difference")


def finish(
    connect: Connect, *, lock_timeout_ms: int = 200, on_progress: Hook = lambda _: None, on_step: Hook = lambda _: None
) -> tuple[Finished, ...]:
    """Make the images, put the ways back into the vault, and take the guards away, of all whose migration was deployed since.

    Raises RefusedError where what was kept cannot be vouched for (it stays where it is), FailedError where a lock cannot be had.
    """
    with _session(connect, lock_timeout_ms, on_progress, on_step) as at:
        waiting = armed(at.connection)
        deployed = [guard for guard in waiting if guard.state != "preparing" and _deployed(at.connection, guard)]
        if fresh := [guard for guard in deployed if guard.state == "armed"]:
            _refuse_different(at.connection, expected(deployed, applied=True), "the database is not as these migrations leave it")
        for guard in fresh:
            _refuse_unsure(at.connection, guard)
        done = [_finish(at, guard) for guard in deployed]
        return (*done, *(Finished(g.migration, g.id, g.state, {}) for g in waiting if g not in deployed))


def _deployed(connection: psycopg.Connection[Any], guard: Guard) -> bool:
    rows = [row for row in _rows(connection, guard) if row.rolled_back_at is None]
    if not rows:
        return False
    if any(row.finished_at is None for row in rows):
        remedy = f"unmigrate rollback {guard.migration} undoes what it did; then unmigrate guard anew"
        raise RefusedError(f"{guard.migration} failed half-way (P3009)", code="failed", remedy=remedy)
    if any(row.checksum != guard.checksum for row in rows):
        raise _void(guard, "another text of it was deployed than the one that was guarded")
    if not any(row.applied_steps_count for row in rows):
        raise _void(guard, "it was marked as applied, not deployed: nobody can tell its writes from the application's")
    return True


def _refuse_unsure(connection: psycopg.Connection[Any], guard: Guard) -> None:
    wanted = sum(table.triggers for table in guard.tables)
    row = connection.execute(_ARMED, [vault.guard_schemas(guard.id)[0], _OURS]).fetchone()
    if row is None or row[0] != wanted:
        raise _void(guard, f"{wanted} triggers were to follow its tables, and {row[0] if row else 0} do")
    for table in guard.tables:
        row = connection.execute(table.unsure).fetchone()
        if row and row[0]:
            why = f"{row[0]} writes to {table.table} were made while it ran and nobody held Prisma's lock: they may be its own"
            raise _void(guard, why)


def _void(guard: Guard, why: str) -> RefusedError:
    schema = vault.guard_schemas(guard.id)[0]
    remedy = f"what was kept stays in schema {schema} for you to look at; unmigrate guard abandon --accept-loss takes it away"
    return RefusedError(f"the guard of {guard.migration} is void: {why}", code="guard-void", remedy=remedy)


def _finish(at: _At, guard: Guard) -> Finished:
    if guard.state != "switched":
        _images(at, guard)
        with at.connection.transaction():
            vault.forget_ways(at.connection, migrations=[guard.migration])
            for way in guard.ways:
                vault.store_way(at.connection, way)
            vault.seal(at.connection, vault.guard_schemas(guard.id)[0])
            vault.set_state(at.connection, guard.operation, "switched")
        at.on_step(f"{guard.migration} switched")
    for sql in leftovers(at.connection, guard.id, functions=_OURS):
        at.run([sql], "trigger dropped")
    at.run([sql for table in guard.tables for sql in table.drop] + list(guard.last), f"{guard.migration} cleaned")
    rows = {table.table: _count(at.connection, table) for table in guard.tables}
    vault.set_state(at.connection, guard.operation, "done")
    at.on_step(f"{guard.migration} done")
    return Finished(guard.migration, guard.id, "done", rows)


def _images(at: _At, guard: Guard) -> None:
    """From log and copy, which go on meanwhile: what an interrupted try has made is made again."""
    schema = vault.guard_schemas(guard.id)[0]
    for sql in leftovers(at.connection, guard.id, functions="^follow_"):
        at.run([sql], "begun again")
    at.run([sql for (sql,) in at.connection.execute(_LATER, [schema, schema]).fetchall()], "begun anew")
    at.run([sql for table in guard.tables for sql in table.empty], "images made")
    at.run(guard.following, "keys followed")
    for table in guard.tables:
        at.on_progress(f"keeping what {guard.migration} did to {table.table}")
        at.run(table.fill, f"{table.name} filled")
        at.run(table.settle, f"{table.name} settled")


def _count(connection: psycopg.Connection[Any], table: Logged) -> int:
    row = connection.execute(f"select count(*) from {table.name}").fetchone()
    return int(row[0]) if row else 0


def abandon(
    connect: Connect, *, accept_loss: bool, lock_timeout_ms: int = 200, on_progress: Hook = lambda _: None, on_step: Hook = lambda _: None
) -> tuple[str, ...]:
    """Take all waiting guards away: the names of their migrations.

    Raises RefusedError where one was deployed since and what it destroyed is nowhere else, unless accept_loss.
    """
    with _session(connect, lock_timeout_ms, on_progress, on_step) as at:
        waiting = armed(at.connection)
        for guard in waiting:
            if guard.state == "switched":
                raise RefusedError(f"the guard of {guard.migration} is being finished", code="unfinished", remedy="unmigrate guard finish")
            if guard.state == "armed" and not accept_loss and _run(at.connection, guard):
                message = f"{guard.migration} was run since: what it destroyed is kept by this guard alone"
                raise RefusedError(message, code="loss", remedy="unmigrate guard finish; or add --accept-loss")
        for guard in waiting:
            _take_away(at, guard)
        return tuple(guard.migration for guard in waiting)


def _take_away(at: _At, guard: Guard) -> None:
    for sql in statements(at.connection, guard.id):
        at.run([sql], "taken away")
    vault.set_state(at.connection, guard.operation, "abandoned")
    at.on_step(f"{guard.migration} abandoned")
