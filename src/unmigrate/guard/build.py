"""Guarded ways of one migration after the other, made and proved on scratch: up, back, and up again, as plans."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import psycopg

from unmigrate.catalog.fingerprint import digest, label
from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.catalog.parked import is_parked
from unmigrate.catalog.read import show_parked
from unmigrate.config.park import Park
from unmigrate.guard import names as naming
from unmigrate.guard import namesakes
from unmigrate.guard.checks import Questions
from unmigrate.guard.images import Image
from unmigrate.guard.keeping import forgotten, unknown
from unmigrate.guard.names import Names
from unmigrate.guard.namesakes import Namesake
from unmigrate.guard.observed import Watched
from unmigrate.guard.program import Program
from unmigrate.guard.recorder import Recorder
from unmigrate.guard.rows import rows_shown
from unmigrate.guard.way_back import Way, back, compared, forward
from unmigrate.inverse import server, unseen
from unmigrate.inverse.losses import losses
from unmigrate.inverse.model import Loss
from unmigrate.inverse.replay import ReplayError
from unmigrate.park import vault
from unmigrate.plan.model import Check, Lock, Plan, Step, Verdict
from unmigrate.plan.pools import remarks, rewritten
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import SYSTEM
from unmigrate.prove.beginning import replayed
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.rows import concerned_tables
from unmigrate.prove.workspace import Workspace
from unmigrate.sql import script

Progress = Callable[[str], None]
Grain = Literal["rewriting", "coarse", "fine", "whole"]
"""How much of a migration is one step of the way back: what has no rows between it, each statement, or all of it.

rewriting: as coarse, with columns kept beside their new type wherever that rewrites their table.
"""


@dataclass(frozen=True, slots=True)
class Guarded:
    """One migration, ready to be deployed. back and again: None where there is none, with the reason in `why`.

    losses: what is lost even so; kept: what is parked or copied, in words; forgets: what is not kept because the configuration says so.
    images: of rows that it changes, as its way back wants them in the vault; following: statements that see to their keys from then on;
    marks: statements that remember the moment from which on rows are the application's.
    """

    migration: Migration
    up: Plan
    back: Plan | None
    again: Plan | None
    losses: tuple[Loss, ...]
    kept: tuple[str, ...]
    why: str = ""
    forgets: tuple[Loss, ...] = ()
    images: tuple[Image, ...] = ()
    following: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """What is claimed of its rows: lossless, lossy or unknown."""
        return self.up.verdicts[0].data


class _Built(Exception):
    """The guarded way did not work out; the reason."""


def guard(
    work: Workspace, applied: Sequence[Migration], pending: Sequence[Migration], on_progress: Progress, park: Park | None = None, *,
    whole: bool = False,
) -> Iterator[Guarded]:  # fmt: skip
    """A guarded migration for each pending one, in order. Raises ReplayError where history or migration fail on scratch.

    park: what [park] of unmigrate.toml says; None for its defaults. whole: the migration stays as it stands, as somebody else runs it;
    what it destroys is in images alone.
    """
    on_progress(f"replaying {len(applied)} migrations on scratch")
    history = replayed(work, applied)
    base = history.connection.info.dbname
    history.connection.close()
    yield from _each(work, base, pending, on_progress, park or Park(), ("whole",) if whole else ("rewriting", "coarse", "fine"))


def _each(
    work: Workspace, base: str, pending: Sequence[Migration], on_progress: Progress, park: Park, grains: Sequence[Grain]
) -> Iterator[Guarded]:  # fmt: skip
    plain = History(work.prepare(work.pool.connect(work.pool.clone(base))))
    database = base
    for migration in pending:
        on_progress(f"guarding {migration.name}")
        asked = server.checks(migration.name, server.answers(plain.connection, server.asks(migration.sql, plain.observer.catalog)))
        proof = plain.prove(migration)
        plain.require_exact()
        predicted = losses(migration.name, migration.sql, proof.delta)
        attempt, reason = None, ""
        for slip in unknown(park, (proof.delta.before, proof.delta.after)):
            on_progress(f"note: {slip}")
        if park.mode == "off":
            reason = "park.mode is off"
        elif proof.delta.system:
            reason = SYSTEM
        elif proof.mode == "transaction":
            for grain in grains:
                try:
                    attempt = _Attempt(work, database, migration, proof.delta, park, grain)
                    yield _asking(attempt.guarded(concerned_tables(proof, predicted)), asked)
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
            yield _asking(guarded, asked)
        else:
            attempt.close()
            database = attempt.database


def _asking(guarded: Guarded, asked: tuple[Check, ...]) -> Guarded:
    """Deployed only where the server answers as scratch did."""
    return replace(guarded, up=replace(guarded.up, checks=(*guarded.up.checks, *asked)))


class _Attempt:
    """One try on a clone of the database before the migration; `database` is left with the guarded migration committed.

    plain: what the migration does unguarded.
    """

    def __init__(self, work: Workspace, base: str, migration: Migration, plain: Delta, park: Park, grain: Grain) -> None:
        self._work, self._migration, self._base, self._park, self._plain = work, migration, base, park, plain
        self.id = secrets.token_hex(3)
        self.database = work.pool.clone(base)
        self._connection = work.prepare(work.pool.connect(self.database))
        vault.make_guard(self._connection, self.id)
        show_parked(self._connection, vault.parked_schemas(self.id))
        self._observer = Observer(self._connection)
        self._start = self._observer.catalog
        self._observer.begin()
        watched = Watched(self._connection)
        self._program = self._recorded(grain)
        self._up_locks = watched.locks()
        self._connection.execute("COMMIT")
        verdict, reason = compared(plain.after, self._observer.catalog, one_database=False)
        if verdict not in ("exact", "equivalent"):
            raise _Built(f"guarded, it leads elsewhere: {reason}")

    def close(self) -> None:
        self._connection.close()

    def _names(self, side: naming.Side) -> Names:
        return Names(self.id, side, self._connection.info.server_version >= 180000)

    def _recorded(self, grain: Grain) -> Program:
        names = self._names("old")
        fine, rewriting = grain == "fine", grain == "rewriting"
        recorder = Recorder(self._connection, self._observer, names, self._migration.name, self._park, fine=fine, rewriting=rewriting)
        if grain == "whole":
            return recorder.whole(script.without_control(self._migration.sql) or self._migration.sql)
        return recorder.record(script.split(self._migration.sql))

    def guarded(self, concerned: set[str]) -> Guarded:
        """The plans. concerned: tables that the migration touches, without whose rows nothing is claimed. Raises _Built, psycopg.Error."""
        end = self._observer.catalog
        deployed = self._marks("deployed", end, self._start)
        up = Way((*self._program.statements, *deployed), self._start, end, "exact")
        down, again = self._ways(up)
        down = replace(down, statements=(*down.statements, *self._marks("undone", down.after, end)))
        again = again and replace(again, statements=(*again.statements, *deployed))
        taken = [Loss(self._migration.name, name, "values", "the way back cannot keep it") for name in down.destroys]
        undone = Delta.between(down.after, down.before)
        unkept = unseen.lost(self._migration.name, self._migration.sql, undone)
        lost = tuple({loss.object: loss for loss in (*unkept, *self._program.unkept, *taken)}.values())
        forgot = tuple(self._forgotten())
        verdict, forth = self._verdict(up, down, again, (*lost, *forgot), concerned, undone)
        plans = self._plan("deploy", up, self._up_locks, verdict, lost), self._plan("rollback", down, down.locks, verdict, ())
        redo = None
        if again is not None and forth:
            redo = self._plan("redo", again, again.locks, verdict, ())
        imaged = tuple(i for s in self._program.segments for i in s.images)
        return Guarded(
            self._migration,
            plans[0],
            plans[1],
            redo,
            lost,
            self._kept(),
            forgets=forgot,
            images=imaged,
            following=self._program.following,
            marks=tuple(deployed),
        )

    def _namesakes(self, now: Catalog, then: Catalog) -> list[Namesake]:
        return namesakes.namesakes(now, then, self._program.conversions)

    def _marks(self, name: str, now: Catalog, then: Catalog) -> list[str]:
        return namesakes.marks(vault.guard_schemas(self.id)[0], name, self._namesakes(now, then))

    def _forgotten(self) -> Iterator[Loss]:
        """What is not kept because the configuration says so."""
        end, imaged = self._observer.catalog, {i.oid for s in self._program.segments for i in s.images}
        for o in forgotten(self._park, self._start):
            now = end.get(o.key)
            if now is None or "type" in now.changes(o) or o.key.oid in imaged:
                yield Loss(self._migration.name, o.name, "values" if now else "column", "park.exclude wants it forgotten")

    def _verdict(
        self, up: Way, down: Way, again: Way | None, lost: tuple[Loss, ...], concerned: set[str], undone: Delta
    ) -> tuple[Verdict, bool]:
        """With rows: what differs afterwards although nothing was said to be lost means that the guard does not hold. And whether the
        way forward again gives the same rows.
        """
        text = script.without_control(self._migration.sql) or self._migration.sql
        shown = rows_shown(self._work, self._base, text, self.id, (up.all, down.all), again.all if again else (), concerned)
        named = {loss.object for loss in lost}
        if unexplained := [t for t in shown.differing if not any(n == t or n.startswith(f"{t}.") for n in named)]:
            raise _Built(f"its way back does not bring back the rows of {', '.join(unexplained)}")
        data = "lossy" if lost else "unknown" if shown.uncovered or not unseen.sure(text, undone) else "lossless"
        gaps = tuple(dict.fromkeys((*shown.uncovered, *unseen.told(text, undone), *unseen.rounded(self._plain))))
        return Verdict(self._migration.name, down.verdict, down.reason, data, tuple(sorted(named)), gaps), shown.again

    def _ways(self, up: Way) -> tuple[Way, Way | None]:
        """Back and forward, tried and rolled back."""
        connection, observer = self._connection, self._observer
        observer.begin()
        names = self._names("new")
        try:
            down = back(connection, observer, names, self._program, self._start)
            if down.verdict == "refused":
                raise _Built(f"its way back leaves: {down.reason}")
            return down, self._again(names, up)
        finally:
            connection.execute("ROLLBACK")
            observer.restore(up.after)

    def _again(self, names: Names, up: Way) -> Way | None:
        images = [s for s in self._program.segments if s.images]
        if any(s.reads is None for s in images):
            return None  # nobody can tell which rows written since it would have changed too
        try:
            again = forward(self._connection, self._observer, names, self._program, up.after)
        except (CannotInvert, psycopg.Error):
            return None
        return again if again.verdict != "refused" and not again.destroys else None

    def _plan(self, kind: Any, way: Way, locks: tuple[Lock, ...], verdict: Verdict, lost: tuple[Loss, ...]) -> Plan:
        before, after = _fingerprints(way.before, way.after)
        name = self._migration.name
        names = {o.key: o.name for o in way.after if o.kind == "table"}
        same = self._namesakes(way.before, self._start if kind == "rollback" else way.after) if kind != "deploy" else []
        asked = () if kind == "deploy" else Questions(name, self.id, self._program, self._start).of(way, kind)
        return Plan(
            migrations=(name,), checksums={name: self._migration.checksum}, schema=self._work.schema,
            server_major=self._work.pool.server.version // 10000,
            steps=(
                *(_prepared(name, what, sql) for what, sql in way.prepare),
                *(Step("switch", name, sql, "") for sql in way.statements),
                *(Step("finish", name, sql, what) for what, sql in way.finish),
            ),
            losses=lost, checks=asked, locks=locks, verdicts=(verdict,),
            before=before, after=after, kind=kind, guard=self.id, 
            notes=(*(remarks(way.before, way.after, ()) if kind != "deploy" else ()), *rewritten(locks), *namesakes.told(same)),
            writes=tuple(sorted(names[k] for k in self._program.writes if k in names)) if kind == "deploy" else None, kept=way.kept,
        )  # fmt: skip

    def _kept(self) -> tuple[str, ...]:
        after = self._observer.catalog
        found = []
        for o in self._start:
            now = after.get(o.key)
            if o.kind in ("table", "column") and now is not None and now.name != o.name and is_parked(now):
                found.append(f"{o.kind} {o.name}, parked as {now.name}")
        return (*found, *(f"rows of {i.table}, as {i.name}" for s in self._program.segments for i in s.images))


def _prepared(migration: str, what: str, sql: str) -> Step:
    online = script.concurrently(sql)
    return Step("prepare", migration, online or sql, what, transactional=not online)


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
    gaps = unseen.told(migration.sql, proof.delta)
    verdict = Verdict(migration.name, outcome.verdict, outcome.reason, data, tuple(x.object for x in lost), gaps)
    up = Plan(
        migrations=(migration.name,), checksums={migration.name: migration.checksum}, schema=work.schema,
        server_major=work.pool.server.version // 10000,
        steps=(Step("switch", migration.name, text or migration.sql, "", transactional=text is not None),),
        losses=lost, checks=(), locks=(),
        verdicts=(verdict,), before=before, after=after, kind="deploy",
    )  # fmt: skip
    return database, Guarded(migration, up, None, None, lost, (), reason)
