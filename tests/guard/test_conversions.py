"""Columns that get another type and are written to again by the same migration; and values written since, for which there is no cast back."""

from collections.abc import Callable

import pytest

from tests.guard.conftest import Live
from unmigrate.errors import PartialError

Make = Callable[[str, str], Live]
UNWRAPPED = """ALTER TABLE t ALTER COLUMN b TYPE jsonb USING to_json(b);
UPDATE t SET b = '[]' WHERE b IS NULL;
ALTER TABLE t ALTER COLUMN b SET NOT NULL"""
ROWS = """INSERT INTO t (id, b) VALUES (1, ARRAY['{"a": 1}'::jsonb]), (2, NULL), (3, '{}')"""
ALL = "SELECT id, b::text FROM t ORDER BY id"


def unwrapped(live: Make, sql: str = UNWRAPPED) -> Live:
    it = live("CREATE TABLE t (id int PRIMARY KEY, b jsonb[], n int)", ROWS)
    it.deploy(sql)
    return it


@pytest.mark.parametrize(
    "more",
    [
        "",
        "; UPDATE t SET n = 7",
        "; UPDATE t SET b = b || '[2]' WHERE id < 3",
        "; DO $$ BEGIN UPDATE t SET b = b || '[2]'; END $$; UPDATE t SET b = b || '[3]', n = id",
    ],
)
def test_what_the_migration_writes_to_a_converted_column_is_no_edit(live: Make, more: str) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, b jsonb[], n int)", ROWS)
    before, shape = it.rows(ALL), it.shape()
    guarded = it.guard(UNWRAPPED + more)
    assert (guarded.verdict, guarded.losses, guarded.why) == ("lossless", (), "")
    it.history.pop()
    it.deploy(UNWRAPPED + more)
    after = it.rows(ALL)
    assert after[1][1].startswith("[")
    it.rollback()
    assert (it.rows(ALL), it.shape()) == (before, shape)
    if "DO" not in more:  # which has no redo
        it.redo()
        assert it.rows(ALL) == after
        it.rollback()
        assert it.rows(ALL) == before


def test_an_edit_of_what_the_migration_wrote_is_none_that_it_made(live: Make) -> None:
    """[] is no literal of an array: nobody knows what it was before."""
    it = unwrapped(live)
    it.run("""UPDATE t SET b = '[4]' WHERE id = 2""")
    with pytest.raises(PartialError, match=r"no value for public\.t\.b can be worked out where b is \[4\]"):
        it.rollback()
    it.run("""UPDATE t SET b = '[]' WHERE id = 2""")  # as the migration left it
    it.rollback()
    assert it.rows(ALL)[1] == (2, None)


def test_what_a_cast_back_reads_differently_is_refused(live: Make) -> None:
    """{} is an empty array as well as an empty object: forward again it would be []."""
    it = unwrapped(live)
    it.run("UPDATE t SET b = '{}' WHERE id = 1")
    with pytest.raises(PartialError, match="nobody knows from which value the migration makes it"):
        it.rollback()
    assert it.rows(ALL)[0] == (1, "{}")


def test_a_value_written_since_goes_back_only_where_the_migration_would_make_it_again(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, b int)", "INSERT INTO t VALUES (1, 1), (2, 2)")
    it.deploy("ALTER TABLE t ALTER COLUMN b TYPE text USING (b * 2)::text")
    it.run("UPDATE t SET b = '14' WHERE id = 2")
    with pytest.raises(PartialError, match="where b is 14: nobody knows from which value the migration makes it"):
        it.rollback()
    it.run("UPDATE t SET b = '4' WHERE id = 2")
    it.run("INSERT INTO t VALUES (3, '0')")
    it.rollback()
    assert it.rows(ALL) == [(1, "1"), (2, "2"), (3, "0")]


def test_booleans_of_numbers_that_are_one_of_two_come_back(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, b boolean)", "INSERT INTO t VALUES (1, true), (2, false)")
    it.deploy("ALTER TABLE t ALTER COLUMN b TYPE int USING CASE WHEN b THEN 1 ELSE 0 END")
    it.run("UPDATE t SET b = 1 - b; INSERT INTO t VALUES (3, 1), (4, NULL)")
    with pytest.raises(PartialError, match="nobody knows"):  # ELSE 0: NULL does not come from NULL
        it.rollback()
    it.run("DELETE FROM t WHERE id = 4")
    it.rollback()
    assert it.rows(ALL) == [(1, "false"), (2, "true"), (3, "true")]


def test_columns_of_one_name_in_two_tables_do_not_go_stale(live: Make) -> None:
    """Nor such with a name that is cut: what is parked is called otherwise then."""
    long = "a_column_with_a_name_of_sixty_three_characters_which_is_the_limit"[:63]
    it = live(
        f"CREATE TABLE t (id int PRIMARY KEY, b numeric, {long} numeric); CREATE TABLE u (id int PRIMARY KEY, b numeric)",
        "INSERT INTO t VALUES (1, 1.5, 1.5); INSERT INTO u VALUES (1, 1.5), (2, 2.5)",
    )
    changes = (f"ALTER TABLE {t} ALTER COLUMN {c} TYPE int USING round({c})" for t, c in (("t", "b"), ("u", "b"), ("t", long)))
    it.deploy(";".join(changes))
    it.run(f"UPDATE t SET b = 7, {long} = 8; UPDATE u SET b = NULL WHERE id = 1")
    it.rollback()
    assert it.rows(f"SELECT b, {long} FROM t") == [(7, 8)]
    assert it.rows("SELECT id, b::float8 FROM u ORDER BY id") == [(1, None), (2, 2.5)]
