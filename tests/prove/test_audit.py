"""Audits: losses named, rows compared, the rest of a broken history said to be unproved."""

from collections.abc import Sequence

from tests.support import migration
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.audit import audit
from unmigrate.prove.entry import Entry
from unmigrate.prove.workspace import Workspace

TABLE = migration(
    "1", "CREATE TABLE t (id int PRIMARY KEY, a text, n int NOT NULL DEFAULT 0); CREATE TABLE u (id int REFERENCES t ON DELETE CASCADE)"
)


def run(work: Workspace, *migrations: Migration) -> Sequence[Entry]:
    return list(audit(work, migrations, rows=True))


def data(work: Workspace, *sql: str) -> dict[str, object]:
    entries = run(work, TABLE, *(migration(str(n), text) for n, text in enumerate(sql, 2)))
    return dict(entries[-1].report["data"]["plain"])


def test_adding_loses_nothing(work: Workspace) -> None:
    assert data(work, "ALTER TABLE t ADD COLUMN b text")["verdict"] == "lossless"


def test_a_dropped_column_is_named(work: Workspace) -> None:
    plain = data(work, "ALTER TABLE t DROP COLUMN a")
    assert (plain["verdict"], plain["lost"]) == ("lossy", ["public.t.a"])


def test_a_dropped_table_is_named(work: Workspace) -> None:
    assert data(work, "DROP TABLE u")["lost"] == ["public.u"]


def test_filling_a_new_column_loses_nothing(work: Workspace) -> None:
    assert data(work, "ALTER TABLE t ADD COLUMN b text; UPDATE t SET b = a")["verdict"] == "lossless"


def test_an_update_is_named_though_no_row_matched(work: Workspace) -> None:
    assert data(work, "UPDATE t SET a = 'x' WHERE id = -77777")["lost"] == ["public.t"]


def test_a_delete_carries_along_the_foreign_key(work: Workspace) -> None:
    assert data(work, "DELETE FROM t WHERE id = -77777")["lost"] == ["public.t", "public.u"]


def test_a_do_block_that_may_write_is_named(work: Workspace) -> None:
    assert "public.t" in data(work, "DO $$ BEGIN UPDATE t SET n = 1; END $$")["lost"]  # type: ignore[operator]


def test_a_function_called_is_looked_into(work: Workspace) -> None:
    function = "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'UPDATE t SET n = n + 1'"
    assert "public.t" in data(work, function, "SELECT f()")["lost"]  # type: ignore[operator]


def test_a_trigger_is_looked_into(work: Workspace) -> None:
    trigger = """CREATE TABLE log (n int);
      CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO log VALUES (1); RETURN NEW; END';
      CREATE TRIGGER g AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"""
    assert "public.log" in data(work, trigger, "ALTER TABLE t ADD COLUMN b text; UPDATE t SET b = a")["lost"]  # type: ignore[operator]


def test_widening_loses_nothing_and_narrowing_is_named(work: Workspace) -> None:
    assert data(work, "ALTER TABLE t ALTER n TYPE bigint")["verdict"] == "lossless"
    assert data(work, "ALTER TABLE t ALTER a TYPE jsonb USING to_jsonb(a)")["lost"] == ["public.t.a"]


def test_a_conversion_by_expression_is_named(work: Workspace) -> None:
    assert data(work, "ALTER TABLE t ALTER a TYPE text USING lower(a)")["lost"] == ["public.t.a"]


def test_a_renamed_table_was_not_written_to(work: Workspace) -> None:
    assert data(work, "ALTER TABLE t RENAME TO renamed")["verdict"] == "lossless"


def test_a_renamed_label_comes_back_beside_one_that_goes(work: Workspace) -> None:
    enum = "CREATE TYPE e AS ENUM ('a', 'b', 'c'); CREATE TABLE r (id int PRIMARY KEY, e e DEFAULT 'a', l e[])"
    change = "ALTER TYPE e RENAME VALUE 'a' TO 'd'; ALTER TYPE e RENAME VALUE 'b' TO 'a'; ALTER TYPE e RENAME VALUE 'd' TO 'b'; "
    assert data(work, enum, change)["verdict"] == "lossless"
    assert data(work, enum, f"{change} ALTER TYPE e ADD VALUE 'f'; ALTER TYPE e RENAME VALUE 'c' TO 'g'")["verdict"] == "lossless"


def test_a_table_without_rows_is_never_called_lossless(work: Workspace) -> None:
    impossible = "CREATE TABLE v (id int CHECK (id IS NULL AND id > 1 AND id < 0 AND (id IS NOT NULL)))"
    plain = data(work, impossible, "ALTER TABLE v ADD COLUMN b text")
    assert plain["verdict"] == "unknown"


def test_after_a_migration_that_does_not_replay_nothing_is_claimed(work: Workspace) -> None:
    entries = run(work, TABLE, migration("2", "ALTER TABLE missing ADD COLUMN x int"), migration("3", "SELECT 1"))
    verdicts = [e.report["schema"]["verdict"] for e in entries]
    assert verdicts == ["exact", "refused", "refused"]
    assert "missing" in entries[1].report["schema"]["reason"]
    assert entries[2].down is None


def test_rows_written_before_a_rename_are_not_its_own(work: Workspace) -> None:
    """Counts of earlier transactions that were not reported yet stand under the table's new name."""
    for _ in range(3):
        assert data(work, "ALTER TABLE t RENAME TO s")["verdict"] == "lossless"
