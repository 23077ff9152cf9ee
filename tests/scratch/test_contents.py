"""Hashes of contents: what they depend on, and what they must not depend on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from unmigrate.scratch.contents import SMALL, column_hashes, contents, row_counts

Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(pool: Any, database: str) -> Iterator[Connection]:
    with pool.connect(database) as opened:
        yield opened


def oid(connection: Connection, table: str) -> int:
    row = connection.execute("SELECT %s::regclass::oid::int8", (table,)).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture(params=[2, SMALL + 8], ids=["small", "large"])
def table(request: pytest.FixtureRequest, connection: Connection) -> int:
    """A table of either size: small ones are hashed here, large ones by the server."""
    connection.execute(b"CREATE TABLE t (id integer, name text, at timestamptz, f float8, b bytea, i interval, m money)")
    connection.execute(
        f"INSERT INTO t SELECT n, 'x' || n % 5, '2024-01-01Z'::timestamptz + n * '1 hour'::interval, n / 3.0::float8, 'a\\001', "
        f"'1 mon 2 days'::interval * n, n FROM generate_series(1, {request.param}) n".encode()
    )
    return oid(connection, "t")


COLUMNS = ("id", "name", "at", "f", "b", "i", "m")


def test_the_order_of_rows_does_not_count(connection: Connection, table: int) -> None:
    before = contents(connection, {table: COLUMNS})
    connection.execute(b"UPDATE t SET name = name WHERE id = 1")
    connection.execute(b"CREATE TABLE u AS SELECT * FROM t ORDER BY id DESC; TRUNCATE t; INSERT INTO t SELECT * FROM u")
    assert contents(connection, {table: COLUMNS}) == before
    assert before[table].rows == row_counts(connection, [table])[table]


def test_names_and_places_of_columns_do_not_count(connection: Connection, table: int) -> None:
    before = contents(connection, {table: ["id", "name"]})[table]
    connection.execute(b"ALTER TABLE t RENAME COLUMN id TO old_id")
    connection.execute(b"ALTER TABLE t ADD COLUMN id bigint; UPDATE t SET id = old_id; ALTER TABLE t DROP COLUMN old_id")
    after = contents(connection, {table: ["id", "name"]})[table]
    assert (after.rows, after.row_hash, after.columns) == (before.rows, before.row_hash, before.columns)


def test_the_association_of_columns_counts(connection: Connection, table: int) -> None:
    before = contents(connection, {table: ["id", "name"]})[table]
    connection.execute(b"UPDATE t SET id = 3 - id WHERE id IN (1, 2)")
    after = contents(connection, {table: ["id", "name"]})[table]
    assert after.columns == before.columns
    assert after.row_hash != before.row_hash


def test_each_value_counts(connection: Connection, table: int) -> None:
    before = contents(connection, {table: COLUMNS})[table]
    connection.execute(b"UPDATE t SET name = '' WHERE id = 2")
    empty = contents(connection, {table: COLUMNS})[table]
    connection.execute(b"UPDATE t SET name = NULL WHERE id = 2")
    null = contents(connection, {table: COLUMNS})[table]
    assert len({before.row_hash, empty.row_hash, null.row_hash}) == 3
    assert len({before.columns["name"], empty.columns["name"], null.columns["name"]}) == 3
    assert before.columns["at"] == null.columns["at"]
    connection.execute(b"INSERT INTO t SELECT * FROM t WHERE id = 1")
    assert contents(connection, {table: COLUMNS})[table].row_hash != null.row_hash


@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
def test_settings_do_not_count_and_are_kept(connection: Connection, table: int, transaction: bool) -> None:
    before = contents(connection, {table: COLUMNS})
    settings = {
        "datestyle": "German, DMY", "timezone": "Asia/Tokyo", "extra_float_digits": "-5", "bytea_output": "escape",
        "intervalstyle": "iso_8601", "search_path": "nowhere",
    }  # fmt: skip
    if transaction:
        connection.execute(b"BEGIN")
    for name, value in settings.items():
        connection.execute("SELECT set_config(%s, %s, %s)", (name, value, transaction))
    assert contents(connection, {table: COLUMNS}) == before
    for name, value in settings.items():
        assert connection.execute("SELECT current_setting(%s)", (name,)).fetchone() == (value,)


def test_values_with_every_special_character(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE t (a text, b text, c text[], d text)")
    connection.execute(b"""
        INSERT INTO t VALUES ('x,y', '"(a)" \\', '{a,"b\\"c"}', NULL), ('', NULL, NULL, ' '), (NULL, 'x,y', '{}', '')""")
    found = contents(connection, {oid(connection, "t"): ["a", "b", "c", "d"]})[oid(connection, "t")]
    assert [found.columns[name][0] for name in "abcd"] == ["2", "2", "2", "2"]
    connection.execute(b"""CREATE TABLE u AS SELECT b AS b2, c AS c2, a AS a2, d AS d2 FROM t""")
    other = contents(connection, {oid(connection, "u"): ["a2", "b2", "c2", "d2"]})[oid(connection, "u")]
    assert (other.row_hash, list(other.columns.values())) == (found.row_hash, list(found.columns.values()))


def test_unreadable_tables_say_so(pool: Any, database: str, connection: Connection) -> None:
    connection.execute(b"CREATE ROLE unmigrate_test_bound NOBYPASSRLS")  # the migration role may pass over policies
    connection.execute(b"GRANT CREATE, USAGE ON SCHEMA public TO unmigrate_test_bound; GRANT unmigrate_test_bound TO CURRENT_USER")
    connection.execute(b"SET ROLE unmigrate_test_bound")
    connection.execute(b"""
        CREATE TABLE forced (a integer); ALTER TABLE forced ENABLE ROW LEVEL SECURITY; ALTER TABLE forced FORCE ROW LEVEL SECURITY;
        CREATE TABLE fine (a integer); INSERT INTO fine VALUES (1)""")
    with pool.connect_superuser(database) as superuser:
        superuser.execute(b"CREATE SCHEMA hidden; CREATE TABLE hidden.t (a integer)")
        hidden = oid(superuser, "hidden.t")
    forced, fine = oid(connection, "forced"), oid(connection, "fine")
    shape = {forced: ["a"], fine: ["a"], hidden: ["a"], 1: ["a"]}
    for nested in (False, True):
        if nested:
            connection.execute(b"BEGIN")
        found = contents(connection, shape)
        assert "row-level security" in found[forced].problem
        assert "permission denied" in found[hidden].problem
        assert found[1].problem == "no such table"
        assert (found[fine].rows, found[fine].problem) == (1, "")
    assert row_counts(connection, shape) == {fine: 1}


def test_inheritance_and_partitions(connection: Connection) -> None:
    connection.execute(b"""
        CREATE TABLE parent (a integer); CREATE TABLE child () INHERITS (parent);
        INSERT INTO child VALUES (1); INSERT INTO parent VALUES (2);
        CREATE TABLE p (a integer) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES (1)""")
    names = ("parent", "child", "p", "p1")
    counts = row_counts(connection, [oid(connection, name) for name in names])
    assert counts == {oid(connection, name): 1 for name in names}


def test_hashes_by_attribute_number(connection: Connection, table: int) -> None:
    hashes = column_hashes(connection, {table: [1, 2]})
    assert list(hashes) == [(table, 1), (table, 2)]
    connection.execute(b"ALTER TABLE t RENAME COLUMN name TO label")
    assert column_hashes(connection, {table: [1, 2]}) == hashes


def test_tables_without_columns_or_rows(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE none (); INSERT INTO none DEFAULT VALUES; CREATE TABLE empty (a integer)")
    none, empty = oid(connection, "none"), oid(connection, "empty")
    found = contents(connection, {none: [], empty: ["a"]})
    assert (found[none].rows, found[empty].rows) == (1, 0)
    assert contents(connection, {}) == {}
