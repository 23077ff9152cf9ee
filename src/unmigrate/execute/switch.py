"""The switch: one transaction that takes its locks up front, checks again, moves, verifies, corrects the ledger, and commits."""

import random
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.observer import Observer
from unmigrate.catalog.parked import is_parked
from unmigrate.catalog.sqltext import UNCHECKED_BODIES, ident
from unmigrate.errors import FailedError
from unmigrate.execute import copies
from unmigrate.execute.blocking import Watch
from unmigrate.execute.inspect import recheck
from unmigrate.execute.refuse import or_concurrently, refuse_blocked, refuse_drift, refuse_loss
from unmigrate.park import vault
from unmigrate.park.publications import follow
from unmigrate.plan.model import Lock, Loss, Plan
from unmigrate.prisma.ledger import TABLE, record_applied

Hook = Callable[[str], None]
BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
DISTURBANCES = 3  # so often we try again when somebody else changes the schema during the switch
_MODES = (
    "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
)  # fmt: skip
_OPENING = """
SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
SET LOCAL statement_timeout = 0;
SET LOCAL unmigrate.operating = 'on'"""
# Not around a migration: it runs as Prisma would run it.
_OUR_BLOCK = "DO $unmigrate$"
_OURS = f"SET LOCAL row_security = off; {UNCHECKED_BODIES}; SET LOCAL plan_cache_mode = force_generic_plan"
_PARKED = re.compile(r"\b_?unmigrate_[0-9a-f]+_(old|new)")
_WRITTEN = """
select relid::int8, format('%I.%I', schemaname, relname), (n_tup_ins + n_tup_upd + n_tup_del)::int8 from pg_stat_xact_user_tables
where relname <> '_prisma_migrations' and schemaname !~ '^unmigrate'"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the caller allows. lock_timeout_ms: for all locks of one try together, so that nobody queues behind us for longer.

    returning: what the migration had destroyed and the caller brings back afterwards (a refill): no consent to its loss is needed.
    """

    accept_loss: bool
    lock_timeout_ms: int = 200
    max_lock_seconds: float = 5.0
    tries: int = 50
    returning: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Run:
    """One plan on its way. ledger_rows: as counted under Prisma's lock; prepared: labels of what prepare steps made or changed.

    observer: follows the catalog since everything was checked.
    record: called inside the transaction, with what is to be kept in the vault along with it.
    """

    connection: psycopg.Connection[Any]
    plan: Plan
    operation: str
    limits: Limits
    ledger_rows: int
    observer: Observer
    watch: Watch
    on_step: Hook
    on_progress: Hook
    prepared: frozenset[str] = frozenset()
    record: Callable[[psycopg.Connection[Any]], None] = lambda _: None


@dataclass(slots=True)
class Switched:
    """What the switch did. waited and held: seconds until all locks were had, over all tries, and seconds holding them."""

    ledger_rows: int = 0
    copies: dict[str, str] = field(default_factory=dict)
    tries: int = 0
    waited: float = 0.0
    held: float = 0.0


class ConnectionLost(Exception):
    """The connection ended during the switch: whether it was committed must be looked up."""


class _Unnamed(Exception):
    """The way back takes something that the plan does not name: to be copied, or refused, in the next try."""

    def __init__(self, losses: tuple[Loss, ...]) -> None:
        super().__init__()
        self.losses = losses


class _Disturbed(Exception):
    """Something that is not the plan's changed during the switch."""


class _Deadline:
    """Keeps every statement, and all of them together, within the time for which locks may be held."""

    def __init__(self, connection: psycopg.Connection[Any], seconds: float, plan: Plan) -> None:
        self._connection, self._end, self._seconds, self._plan = connection, time.monotonic() + seconds, seconds, plan
        self._set = float("inf")

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._end - 0.01

    def keep(self) -> None:
        """Call before each piece of work; speaks to the server only when the time left has halved."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        if left < self._set / 2:
            self._connection.execute(f"SET LOCAL statement_timeout = {max(1, int(left * 1000))}")
            self._set = left

    def passed(self) -> FailedError:
        message = f"the locks would have been held for more than {self._seconds:g} s: rolled back, the old state stands"
        return FailedError(message, code="lock", remedy=f"raise --max-lock{or_concurrently(self._plan)}")


def switch(run: Run) -> Switched:
    """Try until the locks are had. Raises FailedError (rolled back), RefusedError (found under the locks), ConnectionLost."""
    result, extra, disturbed = Switched(), tuple[Loss, ...](), 0
    began = time.monotonic()
    while result.tries < run.limits.tries:
        result.tries += 1
        result.copies.clear()
        try:
            with run.watch.looking():
                _once(run, result, extra, began)
            return result
        except BUSY:
            if result.tries % 10 == 1:
                run.on_progress(f"waiting for locks{_held_by(run)}")
            time.sleep(min(1.0, 0.02 * 1.5 ** min(result.tries, 20)) * random.uniform(0.5, 1.5))
        except _Unnamed as found:
            extra += found.losses
        except _Disturbed as reason:
            disturbed += 1
            if disturbed == DISTURBANCES:
                raise _wrong(str(reason)) from reason
        except psycopg.Error as error:
            if run.connection.closed:
                raise ConnectionLost from error
            raise _failed(error) from error
    message = f"the locks could not be had in {result.tries} tries{_held_by(run)}: nothing was changed"
    raise FailedError(message, code="locks", remedy="end these sessions, or raise --lock-timeout, and run it again")


def _once(run: Run, result: Switched, extra: tuple[Loss, ...], began: float) -> None:
    observer = run.observer
    with run.connection.transaction():
        run.connection.execute(_OPENING)
        if run.plan.kind != "deploy":
            run.connection.execute(_OURS)
        run.on_step("begun")
        observer.warm({kind for kind in KINDS for name in run.plan.before if name.startswith(f"{kind} ")})
        observer.join()
        _take_locks(run)
        locked = time.monotonic()
        result.waited = locked - began
        deadline = _Deadline(run.connection, run.limits.max_lock_seconds, run.plan)
        try:
            _inside(run, result, extra, deadline)
        except psycopg.errors.QueryCanceled as error:
            raise (deadline.passed() if deadline.over else _failed(error)) from error
        run.on_step("before commit")
    result.held = time.monotonic() - locked


def _take_locks(run: Run) -> None:
    """All of them, in the plan's order and the strongest mode of each; tables that are not there are skipped."""
    end = time.monotonic() + run.limits.lock_timeout_ms / 1000
    strongest: dict[str, Lock] = {}
    for lock in run.plan.locks:
        if lock.table not in strongest or _MODES.index(lock.mode) > _MODES.index(strongest[lock.table].mode):
            strongest[lock.table] = lock
    there = run.connection.execute("select t from unnest(%s::text[]) t where to_regclass(t) is not null", [list(strongest)]).fetchall()
    present = {name for (name,) in there}
    for table, lock in strongest.items():
        if table in present:
            run.connection.execute(f"SET LOCAL lock_timeout = {_left(end)}; LOCK TABLE {table} IN {lock.mode} MODE")
            run.on_step(f"locked {table}")
    run.connection.execute(f"SET LOCAL lock_timeout = {max(10, _left(end))}")


def _left(end: float) -> int:
    return max(1, int((end - time.monotonic()) * 1000))


def _inside(run: Run, result: Switched, extra: tuple[Loss, ...], deadline: _Deadline) -> None:
    connection, plan, observer = run.connection, run.plan, run.observer
    deadline.keep()
    before = observer.join()
    refuse_drift(plan, before, run.prepared)
    run.on_step("drift checked under locks")
    vault.open_operation(connection, run.operation, plan.kind, plan.to_json(), state="switched", consent=run.limits.accept_loss)
    run.on_step("operation opened")
    _ways_out(run, result, deadline)
    deadline.keep()
    refuse_blocked(recheck(connection, plan))
    run.on_step("rows checked under locks")
    _keep(run, result, extra, before, deadline)
    written = _written(run)
    _steps(run, deadline)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    run.on_step("constraints checked")
    _refuse_unrecorded(run, written)
    published = follow(connection, must=plan.kind == "deploy") if plan.guard else ()
    observer.refresh()
    after = observer.catalog
    _verify(plan, before, after, run.prepared | {f"publication {name}" for name in published})
    if plan.kind != "deploy" and (found := copies.unnamed(plan, extra, before, after)):
        raise _Unnamed(found)
    run.on_step("verified")
    run.record(connection)
    _ledger(run, result)
    _journal(run)


def _ways_out(run: Run, result: Switched, deadline: _Deadline) -> None:
    """What was decided about rows that block; rows that go are kept in the vault."""
    schema = ""
    for out in (each for each in run.plan.ways_out if not each.before):
        deadline.keep()
        if out.keep:
            copies.refuse_following(run.connection, out.table)
            schema = schema or vault.copy_schema(run.connection, run.operation)
            number, what = len(result.copies) + 1, f"rows of {out.table} that stood in the way of {out.object}"
            result.copies[vault.copy_rows(run.connection, schema, number, what, copies.rows_of(run.connection, out))] = what
        _execute(run, out.sql)
        run.on_step(f"way out for {out.object}")
    if schema:
        vault.seal(run.connection, schema)


def _keep(run: Run, result: Switched, extra: tuple[Loss, ...], before: Catalog, deadline: _Deadline) -> None:
    """What is there now and will not be afterwards goes to the vault first; without consent it must still be nothing."""
    schema, seen = "", set()
    for loss in (*run.plan.losses, *extra):
        found = copies.find(before, loss)
        if found is None or found.key in seen or not copies.takes_away(run.plan, loss, found.kind):
            continue
        deadline.keep()
        if not copies.holds_rows(run.connection, found):
            continue
        if not run.limits.accept_loss:
            refuse_loss([replace(loss, rows=None)])
        seen.add(found.key)
        schema = schema or vault.copy_schema(run.connection, run.operation)
        result.copies[copies.copy(run.connection, schema, len(result.copies) + 1, loss, found)] = found.name
        run.on_step(f"copied {len(result.copies)}")
    if schema:
        vault.seal(run.connection, schema)


def _steps(run: Run, deadline: _Deadline) -> None:
    for number, step in enumerate(run.plan.steps):
        if step.phase != "switch":
            continue
        for out in run.plan.ways_out:
            if out.before == step.sql:
                _execute(run, out.sql)
        deadline.keep()
        _execute(run, step.sql)
        run.on_step(f"step {number}")


def _execute(run: Run, sql: str) -> None:
    try:
        run.connection.execute(sql)
    except (*BUSY, psycopg.errors.QueryCanceled):
        raise
    except psycopg.Error as error:
        if run.connection.closed:
            raise
        raise _failed(error, sql) from error


def _written(run: Run) -> dict[int, tuple[str, int]]:
    """By oid each table's name now, and its rows written as this session has counted so far; earlier transactions may be among them."""
    return {} if run.plan.writes is None else {oid: (name, count) for oid, name, count in run.connection.execute(_WRITTEN)}


def _refuse_unrecorded(run: Run, before: dict[int, tuple[str, int]]) -> None:
    """Rows that changed where nobody took an image could not be brought back: better not deployed."""
    if run.plan.writes is None:
        return
    now = {oid: found for oid, found in _written(run).items() if oid in before}  # not what the migration made, whatever its name
    surprising = [name for oid, (name, count) in now.items() if count != before[oid][1] and name not in run.plan.writes]
    if surprising:
        message = (
            f"the migration writes to {', '.join(sorted(surprising)[:3])}, which was not seen on scratch: rolled back, nothing was changed"
        )
        raise FailedError(message, code="unrecorded", remedy='deploy it unguarded: mode = "off" in [park] of unmigrate.toml')


def _ledger(run: Run, result: Switched) -> None:
    table = f"{ident(run.plan.schema)}.{ident(TABLE)}"
    if run.plan.kind != "rollback":
        for name in run.plan.migrations:
            record_applied(run.connection, run.plan.schema, name, run.plan.checksums[name])
        run.on_step("ledger corrected")
        return
    result.ledger_rows = vault.archive_ledger(run.connection, run.operation, table, list(run.plan.migrations))
    if result.ledger_rows != run.ledger_rows:
        counts = f"{run.ledger_rows} rows of these migrations, and now has {result.ledger_rows}"
        message = f"the ledger had {counts}: something else changed it; rolled back, the old state stands"
        raise FailedError(message, code="ledger", remedy="unmigrate status")
    run.on_step("ledger corrected")


def _journal(run: Run) -> None:
    pending = journalled(run.plan, "finish")
    vault.journal(run.connection, run.operation, journalled(run.plan, "switch"), done=True)
    vault.journal(run.connection, run.operation, pending, done=False)
    if not pending:
        vault.set_state(run.connection, run.operation, "done")
    run.on_step("journalled")


def journalled(plan: Plan, phase: str) -> list[vault.Journalled]:
    """The steps of a phase as the journal keeps them."""
    return [vault.Journalled(n, s.phase, s.object, s.sql, s.transactional) for n, s in enumerate(plan.steps) if s.phase == phase]


def _verify(plan: Plan, before: Catalog, after: Catalog, prepared: frozenset[str]) -> None:
    """Everything concerned as planned, everything else as it was; else the transaction is rolled back."""
    found = {label(o): o for o in after}
    pending = {step.object for step in plan.steps if step.phase == "finish"}
    wrong = []
    for name, wanted in plan.after.items():
        if name not in pending and (digest(found[name]) if name in found else "") != wanted:
            wrong.append(f"{name} is {'missing' if name not in found else 'left over' if not wanted else 'different'}")
    if wrong:
        raise _wrong("; ".join(wrong[:3]))
    mine = plan.after.keys() | plan.before.keys() | prepared | pending
    along = {o.key for o in before if _goes_along(o, before, after, mine)}
    for o in before:
        now = found.get(label(o))
        if now is o or label(o) in mine or o.key in along:
            continue
        if now is None or (digest(now) != digest(o) and (now.key != o.key or o.changes(now))):
            wrong.append(f"{label(o)}, which the migration never touched, is {'gone' if now is None else 'changed'}")
    known = {label(o) for o in before} | mine
    wrong += [f"{name} appeared" for name, o in found.items() if name not in known and o.key not in along]
    if wrong:
        raise _Disturbed("; ".join(wrong[:3]))


def _goes_along(o: Object, before: Catalog, after: Catalog, mine: Collection[str]) -> bool:
    """Whether it is parked by another operation, which plans do not name: it moves with its table, and goes with one that goes."""
    owner = before.get(o.parent)
    if not is_parked(o) and (owner is None or not is_parked(owner)):
        return False
    return o.key in after.objects or (owner is not None and owner.key not in after.objects and label(owner) in mine)


def _wrong(what: str) -> FailedError:
    return FailedError(f"after the switch {what}: rolled back", code="verify", remedy="unmigrate verify; the old state stands")


def _failed(error: psycopg.Error, sql: str = "") -> FailedError:
    message = " ".join(str(error.diag.message_primary or error).split())
    if sql.startswith(_OUR_BLOCK):  # what it says is meant for people
        return FailedError(f"{message}: rolled back, the old state stands", code="switch", remedy="put that right, and run it again")
    at = f" at: {' '.join(sql.split())[:200]}" if sql else ""
    remedy = "unmigrate verify shows whether the database is as the migrations left it"
    if isinstance(error, psycopg.errors.DependentObjectsStillExist) and _PARKED.search(error.diag.message_detail or ""):
        message += ", which another migration has parked"
        remedy = "unmigrate purge --now really drops what is parked (and what was kept of rows, for good), then run it again"
    return FailedError(f"{message}{at}: rolled back, the old state stands", code="switch", remedy=remedy)


def _held_by(run: Run) -> str:
    return f", held by {'; '.join(run.watch.last[:3])}" if run.watch.last else ""
