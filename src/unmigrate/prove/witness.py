"""pg_dump as the second witness of an audit: what it sees before a migration, and after it was applied, committed and undone.

The history is applied once more, to a database of its own; each migration looked at is tried on a copy of it. That costs one more plain
replay, and for each one looked at a copy and two dumps.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import UNCHECKED_BODIES
from unmigrate.errors import EnvironmentProblem
from unmigrate.inverse import replay
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import Attempt
from unmigrate.prove.dump import dump, first_difference, statements
from unmigrate.prove.history import SchemaProof
from unmigrate.prove.workspace import Workspace

EVERY = 25  # of a sample, besides the first of each kind


class DumpWitness:
    """Follows a history in order. sample: look only at migrations with a kind of statement not seen before, and at every 25th."""

    def __init__(self, work: Workspace, *, sample: bool = False) -> None:
        """Raises EnvironmentProblem without a pg_dump for the scratch server."""
        if work.pool.server.bin_dir is None:
            message = f"there is no pg_dump of version {work.pool.server.major} for {work.pool.server.label}"
            remedy = "install that version's client programs, or leave --dump out"
            raise EnvironmentProblem(message, code="no-pg-dump", remedy=remedy)
        self._work, self._sample = work, sample
        self._seen: set[str] = set()
        self._count = 0
        self._connection = work.fresh()
        self._database = self._connection.info.dbname
        self.stopped = ""  # why it cannot go on, with the migration's name

    def look(self, proof: SchemaProof) -> tuple[SchemaProof, bool]:
        """The proof, refused where pg_dump sees a difference; and whether it was asked. Call for each migration, in order."""
        wanted = self._wanted(proof.migration)
        if self.stopped:
            return proof, False
        try:
            reason = self._differs(proof) if wanted and not proof.refused and proof.outcome.verdict != "equivalent" else None
            replay.run(self._connection, proof.migration.sql)
        except (psycopg.Error, replay.ReplayError, EnvironmentProblem) as error:
            self.stopped = f"{proof.migration.name}: {error}"
            return proof, False
        if not reason:
            return proof, reason is not None
        return replace(proof, outcome=Attempt("refused", reason), steps=()), True

    def close(self) -> None:
        self._connection.close()
        self._work.pool.drop(self._database)

    def _wanted(self, migration: Migration) -> bool:
        self._count += 1
        if not self._sample:
            return True
        kinds = _kinds(migration.sql)
        new = not kinds or not kinds <= self._seen
        self._seen |= kinds
        return new or self._count % EVERY == 0

    def _differs(self, proof: SchemaProof) -> str:
        """What pg_dump sees different after the way back, or ""."""
        before = dump(self._work, self._database)
        self._connection.close()
        copy = self._work.pool.clone(self._database)
        try:
            with self._work.prepare(self._work.pool.connect(copy)) as connection:
                replay.run(connection, proof.migration.sql)
                if failure := _undo(connection, proof.statements):
                    return failure
            exact = proof.outcome.verdict == "exact"
            after = dump(self._work, copy)
            return "" if statements(before, exact) == statements(after, exact) else first_difference(before, after)
        finally:
            self._work.pool.drop(copy)
            self._connection = self._work.prepare(self._work.pool.connect(self._database))


def _undo(connection: psycopg.Connection[Any], way_back: Sequence[str]) -> str:
    try:
        with connection.transaction():
            connection.execute(UNCHECKED_BODIES)
            for sql in way_back:
                connection.execute(sql)
    except psycopg.Error as error:
        return f"committed for pg_dump to see, the way back fails: {error.diag.message_primary or error}"
    return ""


def _kinds(sql: str) -> set[str]:
    """Kinds of its statements; of ALTER TABLE, its commands. Empty where it does not parse."""
    from pglast import parse_sql
    from pglast.parser import ParseError

    try:
        nodes: list[Any] = [raw.stmt for raw in parse_sql(sql)]
    except ParseError:
        return set()
    found = set()
    for node in nodes:
        name = type(node).__name__
        found |= {f"{name} {int(command.subtype)}" for command in node.cmds} if name == "AlterTableStmt" else {name}
    return found
