"""Writers that never stop, before, during and after deploy, rollback, redo and rollback: each row is what its last writer made of it."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.guard.conftest import Live

SEEDED = 400
INIT = """CREATE TABLE w (id bigint PRIMARY KEY, a numeric NOT NULL, note text, nick text NOT NULL DEFAULT lower('X'));
CREATE TABLE child (id bigint PRIMARY KEY, "wId" bigint NOT NULL REFERENCES w ON DELETE CASCADE, body text);"""
ROWS = (
    f"INSERT INTO w SELECT g, g + 0.25, 'seed', 'n' || g FROM generate_series(1, {SEEDED}) g; "
    "INSERT INTO child SELECT id, id, 'c' || id FROM w WHERE id % 3 = 0"
)
CHANGE = """ALTER TABLE w ALTER COLUMN a TYPE int USING (round(a)); ALTER TABLE w DROP COLUMN nick; DROP TABLE child;
CREATE TYPE mood AS ENUM ('GOOD'); CREATE TABLE fresh (id int PRIMARY KEY, mood mood);"""
COPY = "ALTER TABLE w ADD COLUMN b numeric; UPDATE w SET b = a; ALTER TABLE w DROP COLUMN a; ALTER TABLE w RENAME COLUMN b TO a;"


@dataclass
class Row:
    """What a row must be once it is rolled back: a as stored by whoever wrote it last."""

    a: Decimal
    note: str
    nick: str


@dataclass
class Writer:
    """One connection that inserts, edits and deletes rows of its own share of the keys, and remembers what the server answered."""

    live: Live
    share: int
    rows: dict[int, Row] = field(default_factory=dict)
    done: int = 0
    errors: list[str] = field(default_factory=list)
    edited: set[int] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        for key in range(1, SEEDED + 1):
            if key % 2 == self.share:
                self.rows[key] = Row(key + Decimal("0.25"), "seed", f"n{key}")

    def run(self) -> None:
        chance, new = random.Random(self.share), 1_000_000 + self.share
        with self.live.connect() as connection:
            while not self.stop.is_set():
                try:
                    new = self._one(connection, chance, new)
                    self.done += 1
                except Exception as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                    return

    def _one(self, connection: Any, chance: random.Random, new: int) -> int:
        what, key, value = (
            chance.choice(["insert", "edit", "touch", "delete"]),
            chance.choice(list(self.rows)),
            Decimal(self.done * 20 + 5000),
        )
        value += Decimal("0.5")  # an int column stores another value than a numeric one: RETURNING tells which
        if what == "insert" or len(self.rows) < 60:
            new += 2
            (stored,) = connection.execute("INSERT INTO w (id, a, note) VALUES (%s, %s, 'new') RETURNING a", [new, value]).fetchone()
            self.rows[new] = Row(Decimal(stored), "new", "x")
        elif what == "edit":
            (stored,) = connection.execute("UPDATE w SET a = %s WHERE id = %s RETURNING a", [value, key]).fetchone()
            self.rows[key].a = Decimal(stored)
        elif what == "touch":
            self.rows[key].note = f"t{self.done}"
            connection.execute("UPDATE w SET note = %s WHERE id = %s", [self.rows[key].note, key])
            self.edited.add(key)
        else:
            connection.execute("DELETE FROM w WHERE id = %s", [key])
            del self.rows[key]
        return new


@contextmanager
def writing(live: Live) -> Iterator[tuple[Writer, ...]]:
    writers = (Writer(live, 0), Writer(live, 1))
    threads = [threading.Thread(target=w.run) for w in writers]
    for thread in threads:
        thread.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.stop.set()
        for thread in threads:
            thread.join()


def more(writers: tuple[Writer, ...], count: int = 150) -> None:
    """Wait until each has written so many times more."""
    wanted = [w.done + count for w in writers]
    pause = threading.Event()
    while any(w.done < n for w, n in zip(writers, wanted, strict=True)):
        assert not [e for w in writers for e in w.errors]
        pause.wait(0.01)


def must_be(writers: tuple[Writer, ...]) -> dict[int, Row]:
    assert not [e for w in writers for e in w.errors]
    return {key: row for w in writers for key, row in w.rows.items()}


def found(live: Live) -> dict[int, Row]:
    return {key: Row(*rest) for key, *rest in live.rows("SELECT id, a, note, nick FROM w")}


def test_no_row_is_lost_or_stale(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    shape = it.shape()
    with writing(it) as writers:
        more(writers)
        it.deploy(CHANGE, max_lock_seconds=60)
        more(writers)
        it.rollback()
        more(writers)
        it.redo()
        more(writers)
        it.rollback()
        more(writers)
    wanted = must_be(writers)
    rows = found(it)
    assert rows.keys() == wanted.keys()
    assert {k: (rows[k], wanted[k]) for k in wanted if rows[k] != wanted[k]} == {}
    alive = [key for key in sorted(wanted) if key <= SEEDED and key % 3 == 0]
    assert it.rows('SELECT id, "wId", body FROM child ORDER BY id') == [(k, k, f"c{k}") for k in alive]
    assert it.shape() == shape


@pytest.mark.parametrize("change", [COPY], ids=["copied by an UPDATE"])
def test_a_copied_column_neither(live: Callable[..., Live], change: str) -> None:
    it = live(INIT, ROWS)
    with writing(it) as writers:
        more(writers)
        it.deploy(change, max_lock_seconds=60)
        more(writers)
        it.rollback()
        more(writers)
    wanted, rows = must_be(writers), found(it)
    assert {k: (rows.get(k), wanted.get(k)) for k in wanted.keys() | rows.keys() if rows.get(k) != wanted.get(k)} == {}


def test_images_return_only_where_nobody_wrote_since(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    with writing(it) as writers:
        more(writers)
        it.deploy("UPDATE w SET note = 'migrated'", max_lock_seconds=60)
        more(writers)
        it.rollback()
        more(writers)
    wanted, rows = must_be(writers), found(it)
    assert {k: (rows.get(k), wanted.get(k)) for k in wanted.keys() | rows.keys() if rows.get(k) != wanted.get(k)} == {}


def test_what_was_changed_since_is_listed(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    it.deploy("UPDATE w SET note = 'migrated', a = a + 1; DELETE FROM w WHERE id > 390")
    schema = f"unmigrate_{it.guarded[-1].up.guard}"
    it.run("UPDATE w SET note = 'edited' WHERE id = 1; UPDATE w SET a = 7 WHERE id = 2; DELETE FROM w WHERE id = 3")
    it.run("INSERT INTO w (id, a, note) VALUES (391, 1, 'taken'), (1000, 2, 'new'); UPDATE w SET note = note WHERE id = 4")
    it.rollback()
    rows = found(it)
    assert rows[1] == Row(Decimal("1.25"), "edited", "n1")
    assert rows[2] == Row(Decimal(7), "seed", "n2")
    assert rows[4] == Row(Decimal("4.25"), "seed", "n4")
    assert rows[391] == Row(Decimal(1), "taken", "x")
    assert rows[1000].note == "new"
    assert 3 not in rows
    untouched = set(range(5, SEEDED + 1)) - {391}
    assert {k: rows.get(k) for k in untouched} == {k: Row(k + Decimal("0.25"), "seed", f"n{k}") for k in untouched}
    tables = [
        t for (t,) in it.rows(f"SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relname ~ '^restored_'")
    ]
    asked = "SELECT op::text, coalesce(o1, w1), there FROM {}.{} r WHERE to_jsonb(r) @? '$.keyvalue() ? (@.key like_regex \"^f\" && @.value == false)'"
    listed = {row for t in tables for row in it.rows(asked.format(schema, t))}
    assert {("U", 1, True), ("U", 2, True)} <= listed
    assert 3 not in {key for _, key, _ in listed}  # who is deleted is forgotten


@pytest.mark.parametrize(
    "change", ["UPDATE w SET note = 'migrated'", "DO $$ BEGIN UPDATE w SET note = 'migrated'; END $$"], ids=["update", "block"]
)
def test_nobody_writes_between_the_image_and_the_change(live: Callable[..., Live], change: str) -> None:
    """An edit from between would be overwritten by a value that was compared before it."""
    it = live(INIT, ROWS)
    tried = []

    def write(step: str) -> None:
        if step == "operation opened":  # the locks are had, no step was taken
            with it.connect() as connection, pytest.raises(psycopg.errors.LockNotAvailable):
                connection.execute("SET lock_timeout = 50")
                connection.execute("UPDATE w SET note = 'between' WHERE id = 1")
            tried.append(step)

    it.deploy(change, on_step=write)
    it.rollback(on_step=write)
    assert len(tried) == 2
