"""What a migration makes under a name that it took away: what the application writes there is never silently out of sight."""

from collections.abc import Callable

import pytest

from tests.guard import around
from tests.guard.conftest import Live
from unmigrate.config.park import Park
from unmigrate.errors import RefusedError
from unmigrate.execute.rollback import execute
from unmigrate.execute.ways import refuse_namesakes, rollback_plans
from unmigrate.plan.ways_out import Decisions, decided

T = "CREATE TABLE t (id int PRIMARY KEY, a text, b int)"
ROWS = "INSERT INTO t SELECT g, 'a' || g, g FROM generate_series(1, 4) g"
ANEW = "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text"
COPIED = "CREATE TABLE n (LIKE t INCLUDING ALL); INSERT INTO n SELECT * FROM t; DROP TABLE t; ALTER TABLE n RENAME TO t"
OLD = [(g, f"a{g}") for g in range(1, 5)]
Make = Callable[[str, str], Live]
SIDE = Park(mode="side-table")


def rows(it: Live) -> list[tuple[int, str]]:
    return it.rows("SELECT id, a FROM t ORDER BY id")


@pytest.mark.parametrize("park", [Park(), SIDE], ids=["on the row", "side table"])
@pytest.mark.parametrize(
    "anew",
    [
        ANEW,
        "ALTER TABLE t DROP COLUMN a, ADD COLUMN a text",
        "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT 'x'",
        "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a timestamptz DEFAULT now()",
        "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a serial",
        "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a json",
        "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a int; UPDATE t SET a = b",
        COPIED,
    ],
)
def test_nothing_written_since_stops_nothing(live: Make, anew: str, park: Park) -> None:
    it = live(T, ROWS)
    it.park = park
    it.deploy(anew, accept_loss=anew == COPIED and park is SIDE)
    if it.guarded[0].back is None:
        assert (anew, park) == (COPIED, SIDE)
        return
    it.rollback()
    assert rows(it) == OLD
    if it.guarded[0].again is not None:
        it.redo()
        it.rollback()
        assert rows(it) == OLD


@pytest.mark.parametrize(
    "written",
    ["UPDATE t SET a = 'new' WHERE id = 1", "INSERT INTO t (id, a) VALUES (5, 'new')", "UPDATE t SET a = 'new', id = 9 WHERE id = 1"],
)
@pytest.mark.parametrize("park", [Park(), SIDE], ids=["on the row", "side table"])
def test_a_column_of_that_name_that_was_written_to_stops_the_way(live: Make, park: Park, written: str) -> None:
    it = live(T, ROWS)
    it.park = park
    it.deploy(ANEW)
    it.run(written)
    with pytest.raises(RefusedError, match=r"^1 row blocks: public\.t\.a: .*another column of that name") as refusal:
        it.rollback()
    assert "DELETE FROM unmigrate_" in str(refusal.value.remedy)
    assert it.value("SELECT count(*) FROM t WHERE a = 'new'") == 1


@pytest.mark.parametrize(
    "written", ["UPDATE t SET a = 'new' WHERE id = 1", "INSERT INTO t VALUES (5, 'new')", "DELETE FROM t WHERE id = 1", "TRUNCATE t"]
)
def test_a_table_of_that_name_that_was_written_to_stops_the_way(live: Make, written: str) -> None:
    it = live(T, ROWS)
    it.deploy(COPIED)
    it.run(written)
    with pytest.raises(RefusedError, match=r"^\d rows? blocks?: public\.t: .*another table of that name"):
        it.rollback()


def test_a_row_of_its_own_since_counts_though_its_value_is_the_default(live: Make) -> None:
    it = live(T, ROWS)
    it.deploy("ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text NOT NULL DEFAULT 'x'")
    it.run("INSERT INTO t (id) VALUES (5); UPDATE t SET b = 7 WHERE id = 1")
    with pytest.raises(RefusedError, match=r"^1 row blocks: public\.t\.a: .*id = 5"):
        it.rollback()
    assert any("put back to NULL or to the default" in note for note in (it.guarded[0].back or it.guarded[0].up).notes)


def test_other_writes_stop_nothing(live: Make) -> None:
    it = live(T, ROWS)
    it.deploy(ANEW)
    it.run("UPDATE t SET b = 7; UPDATE t SET a = 'a1' WHERE id = 1; INSERT INTO t (id) VALUES (5); DELETE FROM t WHERE id = 2")
    it.rollback()
    assert rows(it) == [(1, "a1"), (3, "a3"), (4, "a4"), (5, None)]


def test_a_person_says_which_value_follows(live: Make) -> None:
    it = live(T, ROWS)
    it.deploy(ANEW)
    it.run("UPDATE t SET a = 'new' WHERE id = 1; INSERT INTO t (id, a) VALUES (5, 'five')")
    with it.connect() as connection:
        plans = decided(rollback_plans(connection, [it.history[-1].name]), Decisions(fill={"t.a": "upper(a)"}))
    execute(it.connect, plans[0], accept_loss=False)
    assert rows(it) == [(1, "NEW"), *OLD[1:], (5, "FIVE")]


@pytest.mark.parametrize(("anew", "name"), [(ANEW, "public.t.a"), (COPIED, "public.t")])
def test_a_person_leaves_it_as_it_was(live: Make, anew: str, name: str) -> None:
    it = live(T, ROWS)
    it.deploy(anew)
    it.run("UPDATE t SET a = 'new' WHERE id = 1")
    with pytest.raises(RefusedError) as refusal:
        it.rollback()
    (statement,) = {line.partition(": it then")[0].strip() for line in str(refusal.value.remedy).split("; ") if "DELETE FROM" in line}
    it.run(statement[statement.index("DELETE") :])
    it.rollback()
    assert rows(it) == OLD


@pytest.mark.parametrize(("anew", "name"), [(ANEW, "public.t.a"), (COPIED, "public.t")])
def test_the_way_forward_again_is_stopped_alike(live: Make, anew: str, name: str) -> None:
    it = live(T, ROWS)
    it.deploy(anew)
    it.rollback()
    it.run("UPDATE t SET a = 'between' WHERE id = 1")
    with pytest.raises(RefusedError, match=rf"^1 row blocks: {name}: "):
        it.redo()
    assert rows(it)[0] == (1, "between")


def test_in_a_database_restored_elsewhere_every_value_counts(live: Make) -> None:
    it = live(T, ROWS)
    it.deploy(COPIED)
    it.run(f"UPDATE unmigrate_{it.guarded[0].up.guard}.deployed SET place = 'elsewhere'")
    with pytest.raises(RefusedError, match=r"^4 rows block: public\.t: "):
        it.rollback()


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize(("type_", "value"), [("int", "7"), ("text", "'new'")])
def test_around_a_deploy_of_somebody_else(live: Make, type_: str, value: str, written: bool) -> None:
    it = live(T, ROWS)
    around.arm(it, f"ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a {type_}")
    it.run("UPDATE t SET a = 'late' WHERE id = 2")
    around.prisma_deploy(it)
    if written:
        it.run(f"UPDATE t SET a = {value} WHERE id = 1")
    around.finish(it)
    if written:
        with pytest.raises(RefusedError, match=r"^1 row blocks: public\.t\.a: .*another column of that name"):
            it.rollback()
        it.run("UPDATE t SET a = NULL WHERE id = 1")
    it.rollback()
    assert rows(it) == [OLD[0], (2, "late"), *OLD[2:]]


def test_a_name_that_a_later_migration_gave_to_another_is_not_rolled_back_along_with_it(live: Make) -> None:
    it = live(T, ROWS)
    it.deploy("ALTER TABLE t DROP COLUMN a")
    it.deploy("ALTER TABLE t ADD COLUMN a text")
    it.deploy("ALTER TABLE t ADD COLUMN c text")
    names = [m.name for m in it.history]
    with it.connect() as connection:
        refuse_namesakes(rollback_plans(connection, [names[3], names[2]]) or [])
        with pytest.raises(RefusedError, match=rf"^{names[1]} brings column public\.t\.a back, and {names[2]} made another"):
            refuse_namesakes(rollback_plans(connection, names[:0:-1]) or [])
