"""Guarded ways of one migration after the other, made and proved on scratch: up, back, and up again, as plans."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.catalog.parked import is_parked
from unmigrate.catalog.read import show_parked
from unmigrate.guard import names as naming
from unmigrate.guard.filling import Filling, stale
from unmigrate.guard.names import Names
from unmigrate.guard.observed import Watched
from unmigrate.guard.program import Program, Recorder
from unmigrate.guard.rows import rows_differ
from unmigrate.guard.way_back import Way, back, compared, forward
from unmigrate.inverse.losses import losses
from unmigrate.inverse.model import Loss
from unmigrate.inverse.replay import ReplayError
from unmigrate.park import vault
from unmigrate.plan.checks import checks
from unmigrate.plan.model import Check, Lock, Plan, Step, Verdict
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.beginning import replayed
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.rows import concerned_tables
from unmigrate.prove.workspace import Workspace
from unmigrate.sql import script

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Guarded:
    """One migration, ready to be deployed. back and again: None where there is none, with the reason in `why`.

    losses: what is lost even so; kept: what is parked or copied, in words.
    """

    migration: Migration
    up: Plan
    back: Plan | None
    again: Plan | None
    losses: tuple[Loss, ...]
    kept: tuple[str, ...]
    why: str = ""

    @property
    def verdict(self) -> str:
        """What is claimed of its rows: lossless, lossy or unknown."""
        return self.up.verdicts[0].data


class _Built(Exception):
    """The guarded way did not work out; the reason."""


def guard(work: Workspace, applied: Sequence[Migration], pending: Sequence[Migration], on_progress: Progress) -> Iterator[Guarded]:
    """A guarded migration for each pending one, in order. Raises ReplayError where history or migration fail on scratch."""
    on_progress(f"replaying {len(applied)} migrations on scratch")
    history = replayed(work, applied)
    base = history.connection.info.dbname
    history.connection.close()
    yield from _each(work, base, pending, on_progress)


def _each(work: Workspace, base: str, pending: Sequence[Migration], on_progress: Progress) -> Iterator[Guarded]:
    plain = History(work.prepare(work.pool.connect(work.pool.clone(base))))
    database = base
    for migration in pending:
        on_progress(f"guarding {migration.name}")
        proof = plain.prove(migration)
        predicted = losses(migration.name, migration.sql, proof.delta)
        attempt, reason = None, ""
        if proof.mode == "transaction":
            for fine in (False, True):
                try:
                    attempt = _Attempt(work, database, migration, plain.observer.catalog, fine=fine)
                    yield attempt.guarded(concerned_tables(proof, predicted))
                    break
                except (_Built, CannotInvert, psycopg.Error, script.ScriptError) as error:
                    reason = reason or " ".join(str(error).split())
                    if attempt is not None:
                        attempt.close()
                    attempt = None
        else:
            reason = "it manages its transactions itself"
        if attempt is None:
            database, guarded = _unguarded(work, database, migration, proof, predicted, reason)
            yield guarded
        else:
            attempt.close()
            database = attempt.database


class _Attempt:
    """One try on a clone of the database before the migration; `database` is left with the guarded migration committed."""

    def __init__(self, work: Workspace, base: str, migration: Migration, wanted: Catalog, *, fine: bool) -> None:
        self._work, self._migration, self._base = work, migration, base
        self.id = secrets.token_hex(3)
        self.database = work.pool.clone(base)
        self._connection = work.prepare(work.pool.connect(self.database))
        vault.make_guard(self._connection, self.id)
        show_parked(self._connection, vault.parked_schemas(self.id))
        self._observer = Observer(self._connection)
        self._start = self._observer.catalog
        self._observer.begin()
        watched = Watched(self._connection)
        self._program = self._recorded(fine)
        self._up_locks = watched.locks()
        self._connection.execute("COMMIT")
        verdict, reason = compared(wanted, self._observer.catalog, one_database=False)
        if verdict not in ("exact", "equivalent"):
            raise _Built(f"guarded, it leads elsewhere: {reason}")

    def close(self) -> None:
        self._connection.close()

    def _names(self, side: naming.Side) -> Names:
        return Names(self.id, side, self._connection.info.server_version >= 180000)

    def _recorded(self, fine: bool) -> Program:
        recorder = Recorder(self._connection, self._observer, self._names("old"), self._migration.name, fine=fine)
        return recorder.record(script.split(self._migration.sql))

    def guarded(self, concerned: set[str]) -> Guarded:
        """The plans. concerned: tables that the migration touches, without whose rows nothing is claimed. Raises _Built, psycopg.Error."""
        up = Way(tuple(self._program.statements), self._start, self._observer.catalog, "exact")
        down, down_locks, again, again_locks = self._ways(up)
        taken = [Loss(self._migration.name, name, "values", "the way back cannot keep it") for name in down.destroys]
        lost = (*self._program.unkept, *taken)
        verdict = self._verdict(up, down, lost, concerned)
        plans = self._plan("deploy", up, self._up_locks, verdict, lost), self._plan("rollback", down, down_locks, verdict, ())
        redo = None
        if again is not None and not again.destroys and not any(s.images for s in self._program.segments):
            redo = self._plan("redo", again, again_locks, verdict, ())
        return Guarded(self._migration, plans[0], plans[1], redo, lost, self._kept())

    def _verdict(self, up: Way, down: Way, lost: tuple[Loss, ...], concerned: set[str]) -> Verdict:
        """With rows: what differs afterwards although nothing was said to be lost means that the guard does not hold."""
        text = script.without_control(self._migration.sql) or self._migration.sql
        ways = (up.statements, (sql for _, sql in down.prepare), down.statements)
        differing, uncovered = rows_differ(self._work, self._base, text, self.id, ways, concerned)
        named = {loss.object for loss in lost}
        if unexplained := [t for t in differing if not any(n == t or n.startswith(f"{t}.") for n in named)]:
            raise _Built(f"its way back does not bring back the rows of {', '.join(unexplained)}")
        data = "lossy" if lost else "unknown" if uncovered else "lossless"
        return Verdict(self._migration.name, down.verdict, down.reason, data, tuple(sorted(named)), uncovered)

    def _ways(self, up: Way) -> tuple[Way, tuple[Lock, ...], Way | None, tuple[Lock, ...]]:
        """Back and forward, tried and rolled back."""
        connection, observer = self._connection, self._observer
        observer.begin()
        watched = Watched(connection)
        names = self._names("new")
        try:
            down = back(connection, observer, names, self._program, self._start)
            locks = watched.locks()
            if down.verdict == "refused":
                raise _Built(f"its way back leaves: {down.reason}")
            return down, locks, *self._again(names, up)
        finally:
            connection.execute("ROLLBACK")
            observer.restore(up.after)

    def _again(self, names: Names, up: Way) -> tuple[Way | None, tuple[Lock, ...]]:
        watched = Watched(self._connection)
        try:
            again = forward(self._connection, self._observer, names, self._program, up.after)
        except (CannotInvert, psycopg.Error):
            return None, ()
        return (again, watched.locks()) if again.verdict != "refused" else (None, ())

    def _plan(self, kind: Any, way: Way, locks: tuple[Lock, ...], verdict: Verdict, lost: tuple[Loss, ...]) -> Plan:
        before, after = _fingerprints(way.before, way.after)
        name = self._migration.name
        names = {o.key: o.name for o in way.after if o.kind == "table"}
        return Plan(
            migrations=(name,), checksums={name: self._migration.checksum}, schema=self._work.schema,
            server_major=self._work.pool.server.version // 10000,
            steps=(
                *(Step("prepare", name, sql, what) for what, sql in way.prepare),
                *(Step("switch", name, sql, "") for sql in way.statements),
            ),
            losses=lost, checks=self._checks(way) if kind != "deploy" else (), locks=locks, verdicts=(verdict,),
            before=before, after=after, kind=kind, guard=self.id,
            writes=tuple(sorted(names[k] for k in self._program.writes if k in names)) if kind == "deploy" else None,
        )  # fmt: skip

    def _checks(self, way: Way) -> tuple[Check, ...]:
        """Rows that would make the way fail. Those of tables with images are not asked: they change back first."""
        delta = Delta.between(way.after, way.before)
        imaged = {i.table for s in self._program.segments for i in s.images}
        filled = {what.removeprefix("column ") for what, sql in way.prepare if sql.startswith("UPDATE ")}
        converted = {c.name for conversion in self._program.conversions for c in (conversion.parked, conversion.now)}
        found = []
        for check in checks(self._migration.name, delta):
            about = check.object
            if about in filled | converted or any(about.startswith(f"{table}.") for table in imaged):
                continue
            found.append(check)
        return (*found, *(_stale_rows(self._migration.name, f) for f in way.unknown))

    def _kept(self) -> tuple[str, ...]:
        after = self._observer.catalog
        found = []
        for o in self._start:
            now = after.get(o.key)
            if o.kind in ("table", "column") and now is not None and now.name != o.name and is_parked(now):
                found.append(f"{o.kind} {o.name}, parked as {now.name}")
        return (*found, *(f"rows of {i.table}, as {i.name}" for s in self._program.segments for i in s.images))


def _stale_rows(migration: str, f: Filling) -> Check:
    """Rows written or edited since, whose old value nobody can work out: never silently the stale one."""
    where = f"from {f.table} t where {stale(f)}"
    reason = f"rows were written or edited since, and nobody knows which value follows from {f.source}"
    ways = (f"UPDATE {f.table} SET {f.column} = <value> for these rows, and then make {f.source} agree with it",)
    return Check(migration, f.wanted, reason, f"select count(*) {where}", f"select left(t::text, 120) {where} limit 5", ways)


def _fingerprints(before: Catalog, after: Catalog) -> tuple[dict[str, str], dict[str, str]]:
    keys = Delta.between(before, after).keys
    now = {label(o): digest(o) for k in keys if (o := before.objects.get(k))}
    then = {label(o): digest(o) for k in keys if (o := after.objects.get(k))}
    listed = sorted(now.keys() | then.keys())
    return {n: now.get(n, "") for n in listed}, {n: then.get(n, "") for n in listed}


def _unguarded(
    work: Workspace, base: str, migration: Migration, proof: SchemaProof, predicted: Sequence[Loss], reason: str
) -> tuple[str, Guarded]:
    """The migration as it is: what it destroys is gone, and its way back is the plain one."""
    database = work.pool.clone(base)
    history = History(work.prepare(work.pool.connect(database)))
    start = history.observer.catalog
    try:
        history.skip(migration)
    except ReplayError:
        history.connection.close()
        raise
    before, after = _fingerprints(start, history.observer.catalog)
    history.connection.close()
    text = script.without_control(migration.sql) if proof.mode == "transaction" else None
    lost = tuple(predicted)
    outcome, data = proof.outcome, "lossy" if lost else "unknown"
    verdict = Verdict(migration.name, outcome.verdict, outcome.reason, data, tuple(x.object for x in lost))
    up = Plan(
        migrations=(migration.name,), checksums={migration.name: migration.checksum}, schema=work.schema,
        server_major=work.pool.server.version // 10000,
        steps=(Step("switch", migration.name, text or migration.sql, "", transactional=text is not None),),
        losses=lost, checks=(), locks=(),
        verdicts=(verdict,), before=before, after=after, kind="deploy",
    )  # fmt: skip
    return database, Guarded(migration, up, None, None, lost, (), reason)
