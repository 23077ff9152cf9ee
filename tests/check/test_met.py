"""What a check predicts is what the rows meet: writes of a function that is gone again, of a renamed table, and deferred triggers."""

from tests.support import migration
from unmigrate.check.examine import examiner
from unmigrate.config.lint import Lint
from unmigrate.lint.model import Subject
from unmigrate.prove.workspace import Workspace

FUNCTION = """CREATE FUNCTION inner_one() RETURNS void AS $$ INSERT INTO logs VALUES (gen_random_uuid()::text) $$ LANGUAGE sql;
CREATE FUNCTION outer_one() RETURNS void AS $$ BEGIN PERFORM inner_one(); END $$ LANGUAGE plpgsql;
SELECT outer_one();
DROP FUNCTION outer_one; DROP FUNCTION inner_one;"""
DEFERRED = """CREATE TABLE a (id int PRIMARY KEY, n int);
CREATE FUNCTION look() RETURNS trigger AS $$ BEGIN RETURN NULL; END $$ LANGUAGE plpgsql;
CREATE CONSTRAINT TRIGGER looking AFTER INSERT ON a DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look();"""


def examined(work: Workspace, before: str, sql: str) -> Subject:
    looking = examiner(work, [migration("1_before", before)], Lint())
    try:
        return looking.examine(migration("2_change", sql), "2_change/migration.sql")
    finally:
        looking.close()


def test_writes_of_a_function_that_is_gone_again(work: Workspace) -> None:
    subject = examined(work, "CREATE TABLE logs (t text PRIMARY KEY); CREATE TABLE other (t text)", FUNCTION)
    assert [loss.object for loss in subject.losses] == ["public.logs"]


def test_a_function_that_nobody_calls_writes_nothing(work: Workspace) -> None:
    function = FUNCTION.replace("SELECT outer_one();", "SELECT 1;")
    assert examined(work, "CREATE TABLE logs (t text PRIMARY KEY)", function).losses == ()


def test_a_write_to_a_renamed_table_bears_its_old_name(work: Workspace) -> None:
    subject = examined(work, "CREATE TABLE old (a int, b int)", "ALTER TABLE old RENAME TO new; UPDATE new SET a = b")
    assert subject.data is not None and subject.data.lost == ("public.old",)


def test_triggers_still_waiting_do_not_stop_the_way_back(work: Workspace) -> None:
    """Rows written after the migration are another transaction's: what is deferred was asked when it ended."""
    subject = examined(work, DEFERRED, "ALTER TABLE a ADD COLUMN b int")
    assert subject.data is not None and subject.data.verdict == "lossless", subject.data


TREE = """CREATE TABLE a (id int PRIMARY KEY, n int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a ON DELETE SET NULL);
CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b ON DELETE CASCADE); CREATE TABLE d (a int REFERENCES a ON DELETE CASCADE, id int UNIQUE);
CREATE TABLE e (d int REFERENCES d (id) ON DELETE CASCADE); CREATE TABLE f (a int REFERENCES a ON UPDATE CASCADE);"""


def lost(work: Workspace, sql: str) -> list[str]:
    return sorted(loss.object for loss in examined(work, TREE, sql).losses)


def test_a_foreign_key_carries_what_it_says(work: Workspace) -> None:
    """Where a reference is set to NULL no row goes, so nothing goes with it."""
    assert lost(work, "DELETE FROM a") == ["public.a", "public.b", "public.d", "public.e"]
    assert lost(work, "UPDATE a SET id = id + 1") == ["public.a", "public.f"]
    assert lost(work, "UPDATE a SET n = 1") == ["public.a"]


def test_a_foreign_key_made_in_a_block_writes_nothing(work: Workspace) -> None:
    block = "DO $$ BEGIN ALTER TABLE c ADD CONSTRAINT k FOREIGN KEY (id) REFERENCES a ON DELETE SET NULL ON UPDATE CASCADE; END $$"
    assert lost(work, block) == []
    assert lost(work, "DO $$ BEGIN PERFORM 1 FROM a FOR UPDATE; END $$") == []
    assert lost(work, "DO $$ BEGIN UPDATE a SET n = 2; END $$") == ["public.a"]


def test_a_new_column_that_takes_anothers_name(work: Workspace) -> None:
    swap = "ALTER TABLE a ADD m int; UPDATE a SET m = 1; ALTER TABLE a DROP n; ALTER TABLE a RENAME m TO n"
    assert lost(work, swap) == ["public.a.n"]


def test_what_holds_on_under_another_name_cannot_fail(work: Workspace) -> None:
    init = "CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE u (a int, b text, t int CONSTRAINT k REFERENCES t); CREATE UNIQUE INDEX i ON u (a, b);"
    same = "ALTER TABLE u DROP CONSTRAINT k; DROP INDEX i; ALTER TABLE u RENAME a TO c; CREATE UNIQUE INDEX j ON u (c, b);"
    cascade = "ALTER TABLE u ADD CONSTRAINT k FOREIGN KEY (t) REFERENCES t ON DELETE CASCADE"
    assert examined(work, init, f"{same}{cascade}").checks == ()
    assert len(examined(work, init, f"{same}{cascade} NOT VALID").checks) == 1
    assert len(examined(work, init, "DROP INDEX i; CREATE UNIQUE INDEX j ON u (a, b, t)").checks) == 1
    assert (
        len(examined(work, init, 'DROP INDEX i; ALTER TABLE u ALTER b TYPE varchar COLLATE "C"; CREATE UNIQUE INDEX j ON u (a, b)').checks)
        == 1
    )


def test_what_code_only_reads_is_not_lost_and_what_it_may_write_is(work: Workspace) -> None:
    """A table that stands after FROM alone is read; the same text made at run time, or a DELETE in any spelling, may write."""
    before = 'CREATE TABLE "A" (i int); CREATE TABLE b (i int); CREATE TABLE c (i int);'
    read = 'DO $$ DECLARE r record; BEGIN FOR r IN SELECT i FROM "A" JOIN public.c USING (i) LOOP UPDATE b SET i = 1 WHERE false; END LOOP; END $$'
    assert {loss.object for loss in examined(work, before, read).losses} == {"public.b"}
    for delete in (
        'DELETE FROM "A"',
        'delete\n from  public."A"',
        'DELETE /* x */ FROM "A"',
        'DELETE FROM ONLY "A"',
        "EXECUTE 'DELETE FROM \"A\"'",
    ):
        body = f'DO $$ BEGIN IF false THEN PERFORM 1 FROM "A"; {delete}; END IF; END $$'
        assert 'public."A"' in {loss.object for loss in examined(work, before, body).losses}, delete


def test_a_new_column_is_filled_under_a_trigger(work: Workspace) -> None:
    """A trigger that runs afterwards leaves the row itself as it is."""
    trigger = "CREATE TRIGGER look {} UPDATE ON t FOR EACH ROW EXECUTE FUNCTION look();"
    before = "CREATE TABLE t (a int); CREATE FUNCTION look() RETURNS trigger AS $$ BEGIN RETURN NEW; END $$ LANGUAGE plpgsql;"
    fill_it = "ALTER TABLE t ADD b int; UPDATE t SET b = a"
    assert examined(work, before + trigger.format("AFTER INSERT OR"), fill_it).losses == ()
    assert [loss.object for loss in examined(work, before + trigger.format("BEFORE"), fill_it).losses] == ["public.t"]


def test_a_foreign_key_carries_while_it_is_there(work: Workspace) -> None:
    assert lost(work, "ALTER TABLE d DROP CONSTRAINT d_a_fkey; DELETE FROM a") == ["public.a", "public.b"]
    assert lost(work, "DELETE FROM a; ALTER TABLE d DROP CONSTRAINT d_a_fkey") == ["public.a", "public.b", "public.d", "public.e"]
    later = "ALTER TABLE f ADD CONSTRAINT more FOREIGN KEY (a) REFERENCES a ON DELETE CASCADE"
    assert lost(work, f"DELETE FROM a; {later}") == ["public.a", "public.b", "public.d", "public.e"]
    assert "public.f" in lost(work, f"{later}; DELETE FROM a")


def test_elements_that_come_back_bit_by_bit(work: Workspace) -> None:
    before = "CREATE TABLE t (a int[], b text[])"
    assert examined(work, before, "ALTER TABLE t ALTER a TYPE text[]").losses == ()
    assert [loss.object for loss in examined(work, before, "ALTER TABLE t ALTER b TYPE int[] USING b::int[]").losses] == ["public.t.b"]


def test_a_trigger_writes_when_it_fires(work: Workspace) -> None:
    before = """CREATE TABLE t (a int); CREATE TABLE log (a int);
        CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN INSERT INTO log VALUES (1); RETURN NULL; END $$ LANGUAGE plpgsql;
        CREATE TRIGGER noting AFTER INSERT OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION note();"""
    assert [loss.object for loss in examined(work, before, "UPDATE t SET a = 1").losses] == ["public.t"]
    for write in (
        "DELETE FROM t",
        "INSERT INTO t VALUES (1)",
        "MERGE INTO t USING (SELECT 1) q ON false WHEN NOT MATCHED THEN INSERT VALUES (1)",
    ):
        assert {loss.object for loss in examined(work, before, write).losses} == {"public.t", "public.log"}


def test_rows_get_the_numbers_that_they_would_get(work: Workspace) -> None:
    """What was tried before does not count."""
    numbered = (
        "INSERT INTO t (n) VALUES (1); DO $$ BEGIN IF NOT EXISTS (SELECT FROM t WHERE id = 1) THEN RAISE 'another number'; END IF; END $$"
    )
    assert examined(work, "CREATE TABLE t (id serial PRIMARY KEY, n int)", numbered).failure is None
