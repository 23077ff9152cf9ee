"""Proving histories: verdicts are what independent looks show, and lies are found out."""

import pytest

from tests.support import migration
from unmigrate.inverse.replay import ReplayError
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.workspace import Workspace

INIT = migration(
    "1_init", "CREATE TYPE \"Role\" AS ENUM ('A', 'B'); CREATE TABLE \"User\" (id int PRIMARY KEY, email text, role \"Role\" DEFAULT 'A');"
)


def prove(work: Workspace, sql: str, down: str | None = None) -> SchemaProof:
    history = History(work.fresh())
    history.skip(INIT)
    proof = history.prove(migration("2_change", sql, down))
    assert history.observer.check() == []
    history.connection.close()
    return proof


def test_a_rename_is_a_rename(work: Workspace) -> None:
    proof = prove(work, 'ALTER TABLE "User" RENAME COLUMN email TO mail')
    assert proof.outcome.verdict == "exact"
    assert proof.statements == ('ALTER TABLE public."User" RENAME COLUMN mail TO email',)


def test_an_added_label_goes_by_a_type_swap(work: Workspace) -> None:
    proof = prove(work, "ALTER TYPE \"Role\" ADD VALUE 'C'")
    assert proof.outcome.verdict == "exact"
    assert any("AS ENUM ('A', 'B')" in sql for sql in proof.statements)


def test_prismas_enum_swap_dance(work: Workspace) -> None:
    sql = """BEGIN; CREATE TYPE "Role_new" AS ENUM ('A'); ALTER TABLE "User" ALTER COLUMN role DROP DEFAULT;
      ALTER TABLE "User" ALTER COLUMN role TYPE "Role_new" USING (role::text::"Role_new");
      ALTER TYPE "Role" RENAME TO "Role_old"; ALTER TYPE "Role_new" RENAME TO "Role"; DROP TYPE "Role_old";
      ALTER TABLE "User" ALTER COLUMN role SET DEFAULT 'A'; COMMIT;"""
    assert prove(work, sql).outcome.verdict == "exact"


def test_a_dropped_column_in_the_middle_returns_at_the_end(work: Workspace) -> None:
    assert prove(work, 'ALTER TABLE "User" DROP COLUMN email').outcome.verdict == "column-order"


def test_if_exists_that_does_nothing_needs_no_inverse(work: Workspace) -> None:
    assert prove(work, 'DROP TABLE IF EXISTS "Nothing"').statements == ()


def test_what_a_do_block_does_is_seen(work: Workspace) -> None:
    proof = prove(work, "DO $$ BEGIN EXECUTE 'CREATE TABLE hidden (id int)'; END $$")
    assert proof.statements == ("DROP TABLE public.hidden",)


def test_a_name_reused_for_another_table(work: Workspace) -> None:
    sql = 'CREATE TABLE old_one (id int PRIMARY KEY); ALTER TABLE "User" RENAME TO kept; ALTER TABLE old_one RENAME TO "User";'
    assert prove(work, sql).outcome.verdict == "exact"


@pytest.mark.parametrize(
    "swap",
    [
        "ALTER TABLE x RENAME a TO t; ALTER TABLE x RENAME b TO a; ALTER TABLE x RENAME t TO b; CREATE INDEX i ON x (a)",
        "ALTER TABLE x RENAME a TO t; ALTER TABLE x RENAME b TO a; ALTER TABLE x RENAME id TO b; ALTER TABLE x RENAME t TO id",
        "ALTER TABLE x RENAME TO t; ALTER TABLE y RENAME TO x; ALTER TABLE t RENAME TO y",
        "ALTER TABLE x RENAME TO t; ALTER VIEW v RENAME TO x; ALTER TABLE t RENAME TO v",
        "ALTER TABLE x RENAME TO t; ALTER INDEX yi RENAME TO x; ALTER TABLE t RENAME TO yi",
        "ALTER TABLE x RENAME CONSTRAINT x_pkey TO t; ALTER TABLE x RENAME CONSTRAINT xu TO x_pkey; ALTER TABLE x RENAME CONSTRAINT t TO xu",
        "ALTER TYPE e RENAME TO t; ALTER TYPE f RENAME TO e; ALTER TYPE t RENAME TO f",
        "ALTER FUNCTION g(int) RENAME TO t; ALTER FUNCTION h(int) RENAME TO g; ALTER FUNCTION t(int) RENAME TO h",
    ],
)
def test_names_are_exchanged_at_once(work: Workspace, swap: str) -> None:
    """As a whole: statement by statement is the last resort."""
    history = History(work.fresh())
    history.skip(INIT)
    made = """CREATE TABLE x (id int PRIMARY KEY, a int, b int, CONSTRAINT xu UNIQUE (a)); CREATE TABLE y (id int); CREATE INDEX yi ON y (id);
      CREATE VIEW v AS SELECT id FROM y; CREATE TYPE e AS ENUM ('a'); CREATE TYPE f AS ENUM ('b');
      CREATE FUNCTION g(int) RETURNS int LANGUAGE sql AS 'select 1'; CREATE FUNCTION h(int) RETURNS int LANGUAGE sql AS 'select 2'"""
    history.skip(migration("2", made))
    proof = history.prove(migration("3", swap))
    assert (proof.source, proof.outcome.verdict) == ("net", "exact"), proof.outcome.reason
    history.connection.close()


def test_a_lying_down_sql_is_not_believed(work: Workspace) -> None:
    proof = prove(work, "CREATE TABLE extra (id int)", down="SELECT 1")
    assert proof.handwritten is not None
    assert proof.handwritten.verdict == "refused"
    assert "extra is left over" in proof.handwritten.reason
    assert proof.source == "net"


def test_a_down_sql_that_proves_better_is_used(work: Workspace) -> None:
    down = """CREATE TABLE n (id int NOT NULL, email text, role "Role" DEFAULT 'A'); DROP TABLE "User"; ALTER TABLE n RENAME TO "User";
      ALTER TABLE "User" ADD CONSTRAINT "User_pkey" PRIMARY KEY (id);
      DO $$ BEGIN IF current_setting('server_version_num')::int >= 180000 THEN
        ALTER TABLE "User" RENAME CONSTRAINT n_id_not_null TO "User_id_not_null"; END IF; END $$"""
    proof = prove(work, 'ALTER TABLE "User" DROP COLUMN email', down)
    assert (proof.source, proof.outcome.verdict) == ("hand-written", "exact")  # ours is only column-order


@pytest.mark.parametrize(
    ("down", "verdict", "reason"),
    [
        ("BEGIN; DROP INDEX i; COMMIT; begin; DROP TABLE extra; end;", "exact", ""),
        ("START TRANSACTION; DROP TABLE extra; COMMIT", "exact", ""),
        ("BEGIN; SAVEPOINT a; DROP TABLE extra; COMMIT", "refused", "it has SAVEPOINT a; write it for one transaction"),
        ("BEGIN; DROP TABLE extra", "refused", "its BEGIN and COMMIT do not pair; write it for one transaction"),
        ("COMMIT; DROP TABLE extra; BEGIN", "refused", "do not pair"),
        ("DROP TABLE extra; ROLLBACK", "refused", "it has ROLLBACK; write it"),
        ("BEGIN; SELECT 1; COMMIT AND CHAIN; DROP TABLE extra; COMMIT", "refused", "it has COMMIT AND CHAIN; write it"),
        ("PREPARE TRANSACTION 'x'; DROP TABLE extra", "refused", "it has PREPARE TRANSACTION 'x'; write it"),
        ("DROP INDEX CONCURRENTLY i; DROP TABLE extra", "refused", "; write it for one transaction"),
        ("VACUUM; DROP TABLE extra", "refused", "; write it for one transaction"),
        ("DO $$ BEGIN DROP TABLE extra; COMMIT; END $$", "refused", "invalid transaction termination"),
        ("BEGIN; DROP TABEL extra; COMMIT", "refused", "it does not parse: syntax error"),
    ],
)  # fmt: skip
def test_a_down_sql_with_transactions_of_its_own(work: Workspace, down: str, verdict: str, reason: str) -> None:
    proof = prove(work, "CREATE TABLE extra (id int); CREATE INDEX i ON extra (id)", down)
    assert proof.handwritten is not None
    assert proof.handwritten.verdict == verdict
    assert reason in proof.handwritten.reason
    assert [reason in note and "its down.sql is not used" in note for note in proof.notes] == [True] * (verdict == "refused")


def test_a_dropped_operator_is_refused_with_its_reason(work: Workspace) -> None:
    history = History(work.fresh())
    create = "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"
    assert history.prove(migration("1", create)).outcome.verdict == "exact"
    proof = history.prove(migration("2", "DROP OPERATOR === (int, int)"))
    assert proof.refused
    assert "cannot re-create" in proof.outcome.reason
    history.connection.close()


def test_a_check_that_reads_differently_is_equivalent(work: Workspace) -> None:
    history = History(work.fresh())
    history.skip(migration("1", "CREATE TABLE t (kind varchar(9) CONSTRAINT k CHECK (coalesce(kind, 'x') IN ('a', 'b')))"))
    proof = history.prove(migration("2", "ALTER TABLE t DROP CONSTRAINT k"))
    assert proof.outcome.verdict == "equivalent"
    history.connection.close()


def test_a_check_for_some_values_returns_exactly(work: Workspace) -> None:
    history = History(work.fresh())
    history.skip(
        migration("1", "CREATE TABLE t (kind varchar(9) CONSTRAINT k CHECK (kind IN ('a', 'it''s')), CHECK (kind NOT IN ('c', 'd')))")
    )
    assert history.prove(migration("2", "ALTER TABLE t DROP CONSTRAINT k, DROP CONSTRAINT t_kind_check")).outcome.verdict == "exact"
    history.connection.close()


def test_rows_of_the_history_that_block_are_a_refusal(work: Workspace) -> None:
    history = History(work.fresh())
    history.skip(migration("1", "CREATE TABLE t (v int NOT NULL); INSERT INTO t VALUES (1)"))
    proof = history.prove(migration("2", "ALTER TABLE t ALTER v DROP NOT NULL; UPDATE t SET v = NULL"))
    assert proof.refused
    assert "null values" in proof.outcome.reason
    history.connection.close()


def test_begin_without_commit_is_told(work: Workspace) -> None:
    history = History(work.fresh())
    with pytest.raises(ReplayError, match="never commits"):
        history.prove(migration("1", "BEGIN; CREATE TABLE t (id int)"))
    history.connection.close()


def test_concurrently_alone_in_its_file(work: Workspace) -> None:
    proof = prove(work, 'CREATE INDEX CONCURRENTLY i ON "User" (email)')
    assert (proof.mode, proof.outcome.verdict) == ("committed", "exact")


SETUP = """CREATE SCHEMA s; CREATE TABLE w (id int); CREATE TABLE p (id int, note text); CREATE TABLE c () INHERITS (p); CREATE TABLE d (id serial, x int);
  COMMENT ON COLUMN p.note IS 'a note'; COMMENT ON TABLE d IS 'a table'; CREATE VIEW v AS SELECT id, note FROM p;
  CREATE MATERIALIZED VIEW m AS SELECT 1 AS one; CREATE TYPE e AS ENUM ('A'); CREATE DOMAIN o AS int CHECK (VALUE > 0);
  CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE PUBLICATION b FOR TABLE p, d;
  CREATE TRIGGER g AFTER INSERT ON d FOR EACH ROW EXECUTE FUNCTION f(); CREATE INDEX i ON d (x); CREATE AGGREGATE a (int) (SFUNC = int4pl, STYPE = int)"""


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE c NO INHERIT p",
        "COMMENT ON COLUMN p.note IS NULL; COMMENT ON TABLE d IS NULL; COMMENT ON COLUMN v.note IS 'x'",
        "ALTER TABLE p RENAME TO q; ALTER TABLE d SET SCHEMA s",
        "ALTER SCHEMA s RENAME TO z; ALTER TABLE d ALTER x SET NOT NULL, ALTER x SET DEFAULT 1, DROP COLUMN id",
        "DROP VIEW v; DROP MATERIALIZED VIEW m; DROP TYPE e; DROP DOMAIN o; DROP TRIGGER g ON d; DROP INDEX i; DROP AGGREGATE a (int)",
        "ALTER PUBLICATION b DROP TABLE d; ALTER TYPE e ADD VALUE 'B'; ALTER DOMAIN o ADD CHECK (VALUE < 9); ALTER TABLE d ADD PRIMARY KEY (x)",
        "ALTER SEQUENCE d_id_seq OWNED BY NONE; ALTER TABLE d DISABLE TRIGGER g; CREATE UNIQUE INDEX k ON d (id)",
        "CREATE TABLE n (LIKE d INCLUDING ALL); ALTER TABLE n ADD PRIMARY KEY (x), ADD FOREIGN KEY (id) REFERENCES n; DROP TABLE c, d CASCADE",
    ],
)
@pytest.mark.parametrize("committed", [False, True])
def test_the_model_is_what_a_full_read_finds(work: Workspace, sql: str, committed: bool) -> None:
    history = History(work.fresh())
    history.skip(migration("1", SETUP))
    history.skip(migration("2", f"{sql}; CREATE INDEX CONCURRENTLY j ON w (id)" if committed else sql))
    assert history.observer.check() == []
    history.connection.close()


def test_an_index_that_took_anothers_place_returns_with_its_view(work: Workspace) -> None:
    history = History(work.fresh())
    history.skip(migration("1", "CREATE TABLE t (id int, n int); CREATE MATERIALIZED VIEW m AS SELECT id FROM t; CREATE INDEX i ON m (id)"))
    replaced = "CREATE MATERIALIZED VIEW x AS SELECT id, n FROM t; DROP MATERIALIZED VIEW m; ALTER MATERIALIZED VIEW x RENAME TO m;"
    proof = history.prove(migration("2", f"{replaced} CREATE INDEX i ON m (id)"))
    assert (proof.source, proof.outcome.verdict) == ("net", "exact")
    history.connection.close()


def test_rows_that_the_history_writes_refuse_a_script(work: Workspace) -> None:
    """A script cannot ask for them; a plan does."""
    seeded = "BEGIN; ALTER TYPE \"Role\" ADD VALUE 'C'; COMMIT; INSERT INTO \"User\" VALUES (1, 'x', 'C')"
    proof = prove(work, seeded)
    assert (proof.outcome.verdict, proof.statements, proof.emptied) == ("refused", (), False)
    assert proof.outcome.reason.startswith("rows stop the way back: invalid input value for enum")
