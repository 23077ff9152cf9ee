"""pg_dump as the second witness of an audit: what it finds makes a migration refused, whatever the catalog said."""

from dataclasses import replace

import pytest

from tests.support import migration
from unmigrate.errors import EnvironmentProblem
from unmigrate.inverse.model import InverseStep
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.audit import audit
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.witness import DumpWitness
from unmigrate.prove.workspace import Workspace

HISTORY = [
    migration("1", "CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (id int PRIMARY KEY, a text, e e)"),
    migration("2", "ALTER TABLE t DROP COLUMN a"),
    migration("3", "ALTER TYPE e ADD VALUE 'b'; ALTER TABLE t ALTER COLUMN e SET DEFAULT 'b'"),
    migration("4", "CREATE INDEX CONCURRENTLY i ON t (e)"),
    migration("5", "BEGIN; ALTER TABLE t ADD COLUMN b int; COMMIT; ALTER TABLE t ADD COLUMN c int"),
]


def proofs(work: Workspace, migrations: list[Migration]) -> list[SchemaProof]:
    history = History(work.fresh())
    found = list(history.prove_all(migrations))
    history.connection.close()
    return found


def lying(proof: SchemaProof, *sql: str) -> SchemaProof:
    """The same claim for another way back."""
    return replace(proof, steps=tuple(InverseStep(text, "script", "lie", frozenset()) for text in sql))


def test_an_honest_history_is_seen_whole(work: Workspace) -> None:
    entries = list(audit(work, HISTORY, rows=True, witness=DumpWitness(work)))
    assert [e.report["schema"]["verdict"] for e in entries] == ["exact", "column-order", "exact", "exact", "exact"]
    assert all(e.report["schema"]["dumped"] for e in entries)


@pytest.mark.parametrize(
    ("way_back", "reason"),
    [
        ("SELECT 1", "pg_dump sees a difference"),
        ("ALTER TABLE t ADD COLUMN a varchar", "pg_dump sees a difference"),
        ("ALTER TABLE t ADD COLUMN a text; COMMENT ON TABLE t IS 'x'", "pg_dump sees a difference"),
        ("ALTER TABLE t ADD COLUMN id text", "the way back fails"),
    ],
)
def test_a_false_claim_is_refused(work: Workspace, way_back: str, reason: str) -> None:
    first, second = proofs(work, HISTORY[:2])
    witness = DumpWitness(work)
    assert witness.look(first) == (first, True)
    found, asked = witness.look(lying(second, way_back))
    assert asked and found.refused and found.statements == ()
    assert reason in found.outcome.reason
    witness.close()


def test_what_was_refused_stays_refused_and_the_history_goes_on(work: Workspace) -> None:
    listed = [migration("1", "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"),
              migration("2", "DROP OPERATOR === (int, int)"), migration("3", "CREATE TABLE t (id int)")]  # fmt: skip
    entries = list(audit(work, listed, rows=False, witness=DumpWitness(work)))
    assert [(e.report["schema"]["verdict"], e.report["schema"]["dumped"]) for e in entries] == [
        ("exact", True), ("refused", False), ("exact", True)]  # fmt: skip


def test_a_sample_takes_the_first_of_each_kind(work: Workspace) -> None:
    columns = [migration(f"9{n}", f"ALTER TABLE t ADD COLUMN n{n} int") for n in range(3)]
    entries = list(audit(work, [*HISTORY[:2], *columns], rows=False, witness=DumpWitness(work, sample=True)))
    assert [e.report["schema"]["dumped"] for e in entries] == [True, True, True, False, False]


def test_without_pg_dump_nothing_is_claimed(work: Workspace) -> None:
    pool = work.pool
    server, pool.server = pool.server, replace(pool.server, bin_dir=None)
    try:
        with pytest.raises(EnvironmentProblem, match="no pg_dump"):
            DumpWitness(work)
    finally:
        pool.server = server


def test_a_witness_without_rights_stops_and_says_so(work: Workspace) -> None:
    migrations = [
        migration("1", "CREATE TABLE t (id int)"),
        migration("2", "REVOKE ALL ON t FROM CURRENT_USER"),
        migration("3", "SELECT 1"),
    ]
    witness = DumpWitness(work)
    entries = list(audit(work, migrations, rows=False, witness=witness))
    assert [e.report["schema"]["dumped"] for e in entries] == [True, True, False]
    assert witness.stopped.startswith("3: pg_dump cannot look at the scratch database: ")
    assert witness.stopped.endswith("permission denied for table t")
