"""Every kind of change with `[park] mode = "side-table"`: back to the same catalog and rows, forward again where that is offered, no trace."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.conftest import Live
from tests.guard.shop import CHANGES, INIT, NO_REDO, ROWS, contents, plainly
from unmigrate.config.park import Park
from unmigrate.errors import FailedError, RefusedError
from unmigrate.execute.deploy import deploy
from unmigrate.park.purge import kept, purge

KEYS = [name for name in CHANGES if name.startswith("drop the primary key")]
DROPS = [name for name in CHANGES if name.startswith(("drop", "change", "enum", "truncate", "update, then")) and name not in KEYS]


@pytest.mark.parametrize("name", DROPS)
def test_back_and_forth(live: Callable[..., Live], name: str) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode="side-table")
    shape, rows = it.shape(), contents(it)
    it.deploy(CHANGES[name])
    one = it.guarded[-1]
    assert one.back is not None and not one.losses, one.why
    assert (
        it.rows(
            "SELECT attname FROM pg_attribute WHERE attname ~ '^_unmigrate_' AND NOT attisdropped AND attrelid::regclass::text !~ 'unmigrate'"
        )
        == []
    )
    assert (it.shape(), contents(it)) == plainly(live, CHANGES[name])
    it.rollback()
    assert (it.shape(), contents(it)) == (shape, rows)
    assert (one.again is None) == (name in NO_REDO)
    if one.again is not None:
        it.redo()
        assert (it.shape(), contents(it)) == plainly(live, CHANGES[name])
        it.rollback()
        assert (it.shape(), contents(it)) == (shape, rows)
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)
    assert it.rows("SELECT tgname FROM pg_trigger WHERE tgname ~ 'unmigrate'") == []
    assert (it.shape(), contents(it)) == (shape, rows)


@pytest.mark.parametrize("name", KEYS)
def test_without_its_key_no_row_can_be_told_from_another(live: Callable[..., Live], name: str) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode="side-table")
    with pytest.raises(RefusedError) as refusal:
        it.deploy(CHANGES[name])
    assert refusal.value.code == "loss"


def test_rows_that_refer_to_none_of_those_that_return_stop_the_rollback(live: Callable[..., Live]) -> None:
    """Nothing but the foreign key itself sees that, in the switch: everything is as it was then."""
    it = live(INIT, ROWS)
    it.park = Park(mode="side-table")
    it.deploy(CHANGES["drop a table that others refer to"])
    it.run("INSERT INTO \"Post\" VALUES (99, 99, 'orphan')")
    state = (it.shape(), contents(it))
    with pytest.raises(FailedError, match="Post_userId_fkey"):
        it.rollback()
    assert (it.shape(), contents(it)) == state


WRITTEN: dict[str, tuple[str, str, str, list[Any]]] = {
    "a column": (
        "DROP COLUMN a",
        "INSERT INTO t (id, a, b) VALUES (8, 8, 'h')",
        "UPDATE t SET b = 'z' WHERE id = 2",
        [("1",), ("7",), ("3",), ("8",)],
    ),
    "a type": (
        "ALTER COLUMN a TYPE int USING (round(a))",
        "INSERT INTO t (id, a, b) VALUES (8, 8.5, 'h')",
        "UPDATE t SET a = 5 WHERE id = 1",
        [("5",), ("7",), ("3",), ("8.5",)],
    ),
    "a type and then a column": (
        "ALTER COLUMN a TYPE int USING (round(a)); ALTER TABLE t DROP COLUMN b; ALTER TABLE t ADD COLUMN c text",
        "INSERT INTO t (id, a, b) VALUES (8, 8.5, 'h')",
        "UPDATE t SET a = 5, c = 'x' WHERE id = 1",
        [("5",), ("7",), ("3",), ("8.5",)],
    ),
    "a column and one that is added": (
        "DROP COLUMN a, ADD COLUMN c text",
        "INSERT INTO t (id, a, b) VALUES (8, 8, 'h')",
        "UPDATE t SET c = 'c' || id",
        [("1",), ("7",), ("3",), ("8",)],
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_between_is_there_after_every_way(live: Callable[..., Live], name: str) -> None:
    """Rolled back, redone, rolled back, redone: with rows written and edited each time, nobody loses a value."""
    change, written, edited, expected = WRITTEN[name]
    it = live("CREATE TABLE t (id int PRIMARY KEY, a numeric, b text)", "INSERT INTO t VALUES (1, 1, 'a'), (2, 2.5, 'b'), (3, 3, 'c')")
    it.park = Park(mode="side-table")
    shape = it.shape()
    it.deploy(f"ALTER TABLE t {change}")
    assert it.guarded[-1].again is not None
    above = it.shape()
    it.rollback()
    it.run(written)
    it.run("UPDATE t SET a = 7 WHERE id = 2")
    it.redo()
    assert it.shape() == above
    it.run(edited)
    seen = it.rows("SELECT * FROM t ORDER BY id")
    it.rollback()
    assert it.shape() == shape
    assert it.rows("SELECT a::text FROM t ORDER BY id") == expected
    it.redo()
    assert (it.shape(), it.rows("SELECT * FROM t ORDER BY id")) == (above, seen)
    it.rollback()
    assert it.rows("SELECT a::text FROM t ORDER BY id") == expected


def test_a_redo_takes_no_column_along_that_it_does_not_keep(live: Callable[..., Live]) -> None:
    """Somebody added a column by hand to a table that goes again."""
    it = live(INIT, ROWS)
    it.park = Park(mode="side-table")
    it.deploy(CHANGES["drop a table"])
    it.rollback()
    it.run("ALTER TABLE tag ADD COLUMN mine text DEFAULT 'x'")
    state = (it.shape(), contents(it))
    with pytest.raises(FailedError, match=r"public\.tag\.mine"):
        it.redo()
    assert (it.shape(), contents(it)) == state


def test_a_deploy_takes_no_column_along_that_it_does_not_know(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode="side-table")
    one = it.guard(CHANGES["drop a table"])
    it.run("ALTER TABLE tag ADD COLUMN mine text DEFAULT 'x'")
    state = (it.shape(), contents(it))
    with pytest.raises(FailedError, match=r"public\.tag\.mine"):
        deploy(it.connect, one.up, [way for way in (one.back, one.again) if way], accept_loss=False)
    assert (it.shape(), contents(it)) == state
