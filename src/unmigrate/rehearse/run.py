"""Pending migrations proved on a sample of a database that is only read: up, back, what is lost, what blocks, how long it may take."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from typing import Any

import psycopg

from unmigrate.check.observe import observe_down, observe_up
from unmigrate.check.stage import Stage
from unmigrate.config.sample import Sample
from unmigrate.inverse.checks import checks
from unmigrate.inverse.losses import losses
from unmigrate.lint.model import Effect
from unmigrate.plan.model import Lock
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.beginning import replayed
from unmigrate.prove.history import SchemaProof
from unmigrate.prove.rows import DataProof, RowsHistory, concerned_tables
from unmigrate.prove.workspace import Workspace
from unmigrate.rehearse.expect import Expected, Rates, expected, held, measured
from unmigrate.rehearse.load import Loaded, load
from unmigrate.rehearse.questions import Asked, ask
from unmigrate.rehearse.sample import Sampled, sample
from unmigrate.rehearse.source import Source
from unmigrate.sql import script
from unmigrate.sql.writes import writes

VERSION = 1
Open = Callable[[], AbstractContextManager[Source]]


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """One migration on the sample. fails: why it cannot be applied to the sampled rows ("" where it can), and at which statement; blocked:
    (question, rows of the sample) that would stop the way back right after it; up and down: what to expect on the real sizes."""

    proof: SchemaProof
    data: DataProof | None
    fails: str = ""
    at: str = ""
    blocked: tuple[tuple[str, int], ...] = ()
    up: tuple[Expected, ...] = ()
    down: tuple[Expected, ...] = ()

    @property
    def refused(self) -> bool:
        return bool(self.fails) or self.proof.refused or bool(self.data and self.data.blocked)

    def to_json(self) -> dict[str, Any]:
        data = self.data
        return {
            "name": self.proof.migration.name,
            "schema": {"verdict": self.proof.outcome.verdict, "reason": self.proof.outcome.reason},
            "data": {"verdict": data.verdict if data else "unknown", "lost": list(data.lost) if data else []},
            "fails": self.fails,
            "at": self.at,
            "blocked": [{"reason": reason, "rows": rows} for reason, rows in self.blocked] + _stopped(data),
            "not_covered": list(data.not_covered) if data else [],
            "up": _expected(self.up),
            "down": _expected(self.down),
        }


def _stopped(data: DataProof | None) -> list[dict[str, Any]]:
    return [{"reason": data.blocked, "rows": None}] if data and data.blocked else []


def _expected(parts: Sequence[Expected]) -> dict[str, Any]:
    locks = [{"table": table, "mode": mode, "seconds": round(seconds, 3)} for table, (mode, seconds) in sorted(held(parts).items())]
    return {"seconds": round(sum(p.seconds for p in parts), 3), "statements": [asdict(p) for p in parts], "locks": locks}


@dataclass(slots=True)
class Report:
    """held: seconds that the source's snapshot was held; rows: sampled, by table; masked: columns whose values were not read; told: what
    of the source was not read or not taken; asked: what would stop the way up on the real rows."""

    held: float
    rows: dict[str, int]
    masked: int
    told: list[str]
    asked: list[Asked]
    migrations: list[Rehearsed] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        return any(m.refused for m in self.migrations)

    @property
    def fine(self) -> bool:
        shown = all(m.data is not None and m.data.verdict == "lossless" and not m.blocked for m in self.migrations)
        return shown and not any(a.rows is None or not a.settles for a in self.asked)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "held": round(self.held, 3),
            "rows": self.rows,
            "masked_columns": self.masked,
            "told": self.told,
            "would_block": [asdict(a) for a in self.asked],
            "migrations": [m.to_json() for m in self.migrations],
        }


def rehearse(
    work: Workspace, kept: Sequence[Migration], pending: Sequence[Migration], source: Open, rules: Sample, say: Callable[[str], None]
) -> Report:
    """kept: what the source has; pending: what is proved on it. Raises ReplayError where they do not replay, and what `source` raises."""
    say("proving on scratch")
    proofs, effects, downs = _proofs(work, kept, pending)
    concerned = {name for p in proofs for name in concerned_tables(p, losses(p.migration.name, p.migration.sql, p.delta))}
    say("reading the source")
    with source() as opened:
        asked = ask(opened, proofs)
        sampled = sample(opened, concerned, rules, secrets.token_hex(16))
    connection = replayed(work, kept).connection
    say("loading the sample")
    loaded = load(connection, sampled)
    rates = measured(connection)
    report = _report(sampled, loaded, asked)
    rows = _SampleRows(connection, _why_empty(sampled, loaded))
    for number, proof in enumerate(proofs):
        say(f"trying {proof.migration.name} on the sample")
        one = _one(rows, proof, effects[number], downs[number], sampled, rates)
        report.migrations.append(one)
        if one.fails or rows.stopped:
            break
    connection.close()
    return report


def _proofs(
    work: Workspace, kept: Sequence[Migration], pending: Sequence[Migration]
) -> tuple[list[SchemaProof], list[tuple[Effect, ...]], list[tuple[Lock, ...]]]:
    stage = Stage(work, replayed(work, kept))
    proofs, effects, downs = [], [], []
    try:
        for migration in pending:
            effects.append(observe_up(stage, migration.sql))
            proofs.append(stage.history.prove(migration))
            stage.history.require_exact()
            downs.append(observe_down(stage, proofs[-1]))
    finally:
        stage.close()
    return proofs, effects, downs


def _report(sampled: Sampled, loaded: Loaded, asked: list[Asked]) -> Report:
    told = [f"{name}: not everything was read: {t.missed}" for name, t in sampled.tables.items() if t.missed]
    masked = sum(c.masked for t in sampled.tables.values() for c in t.columns)
    return Report(sampled.held, {n: c for n, c in loaded.rows.items() if c}, masked, [*told, *loaded.told], asked)


def _why_empty(sampled: Sampled, loaded: Loaded) -> dict[str, str]:
    """Tables without rows on scratch, and why."""
    found = {}
    for name, count in loaded.rows.items():
        if not count:
            there = sampled.tables.get(name)
            found[name] = (
                "the source lacks it"
                if there is None
                else there.missed or ("its rows are left out" if there.rows else "the source has none")
            )
    return found


class _SampleRows(RowsHistory):
    """As RowsHistory, but the rows are the sample's: none is made up, none is changed to please a migration."""

    def __init__(self, connection: psycopg.Connection[Any], empty: dict[str, str]) -> None:
        super().__init__(connection)
        self._empty = empty

    def _up(self, sql: str, text: str | None, before: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        content = self._contents(before)
        self._run(sql, text)
        return content, []

    def _fill(self, oids: list[int] | None) -> None:
        pass


def _one(
    rows: RowsHistory, proof: SchemaProof, effects: tuple[Effect, ...], down: tuple[Lock, ...], sampled: Sampled, rates: Rates
) -> Rehearsed:
    counts, failure, at = _counted(rows.connection, proof)
    up = tuple(
        expected(
            e.statement.text,
            e.locks,
            counts.get(e.statement.start, 0),
            _target(e, proof),
            builds=_builds(e),
            tables=sampled.tables,
            rates=rates,
        )
        for e in effects
    )
    back = tuple(
        expected(f"(the way back, on {k.table})", [k], 0, "", builds=k.mode == "SHARE", tables=_renamed(sampled, proof), rates=rates)
        for k in down
    )
    if failure:
        return Rehearsed(proof, None, failure, at, (), up, back)
    data = rows.prove(proof)
    if rows.stopped:
        return Rehearsed(proof, data, rows.stopped.replace("on generated rows", "on the sample"), "", (), up, back)
    return Rehearsed(proof, data, "", "", _blocked(rows.connection, proof), up, back)


def _counted(connection: psycopg.Connection[Any], proof: SchemaProof) -> tuple[dict[int, int], str, str]:
    """({offset of a statement: rows it writes}, why it fails on the sample, at what). The database is left as it was."""
    text = script.without_control(proof.migration.sql) if proof.mode == "transaction" else None
    if text is None:
        return {}, "", ""
    found: dict[int, int] = {}
    running = ""
    connection.execute("BEGIN")
    try:
        for statement in script.split(text):
            running = statement.text
            cursor = connection.execute(statement.text)
            if statement.node in ("UpdateStmt", "DeleteStmt", "InsertStmt", "MergeStmt"):
                found[statement.start] = max(0, cursor.rowcount)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.Error as error:
        return found, " ".join(str(error.diag.message_primary or error).split()), " ".join(running.split())[:160]
    except script.ScriptError:
        return {}, "", ""
    finally:
        connection.execute("ROLLBACK")
    return found, "", ""


def _target(effect: Effect, proof: SchemaProof) -> str:
    """The table of before that a statement writes to, "" where that is none."""
    from unmigrate.inverse.losses import resolve

    tables = proof.delta.before.of_kind("table")
    for write in writes(effect.statement.text).tables[:1]:
        found = resolve(write, proof.delta, tables)
        return found[0].name if found else ""
    return ""


def _builds(effect: Effect) -> bool:
    return effect.statement.node == "IndexStmt" or any(kind == "index" for kind, _ in effect.touched)


def _renamed(sampled: Sampled, proof: SchemaProof) -> dict[str, Any]:
    """Tables by the names they have after the migration."""
    names = {old.name: new.name for old, new in proof.delta.altered if new.kind == "table"}
    return {names.get(name, name): t for name, t in sampled.tables.items()}


def _blocked(connection: psycopg.Connection[Any], proof: SchemaProof) -> tuple[tuple[str, int], ...]:
    found = []
    for check in checks(proof.migration.name, proof.delta):
        try:
            (count,) = connection.execute(check.count).fetchone() or (0,)
        except psycopg.Error:
            continue
        if count:
            found.append((check.reason, int(count)))
    return tuple(found)
