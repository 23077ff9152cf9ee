"""What is said of type changes, held against what the server does, for every pair of types: values that are said to come back do, and
values that are said to fit do."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from unmigrate.catalog.kinds.column import conversion
from unmigrate.catalog.model import Key, Object
from unmigrate.inverse.fits import exact, misfit, rounded, trimmed
from unmigrate.scratch.pool import Pool

VALUES = {
    "smallint": ["-32768", "0", "7"], "integer": ["-2147483648", "40000", "1"], "bigint": ["9223372036854775807", "-5000000000", "0"],
    "numeric": ["1.50", "-0.001", "1e40", "NaN", "40000.6"], "numeric(5,2)": ["1.50", "-999.99", "NaN"], "numeric(9,4)": ["1.5000", "12345.6789"],
    "numeric(7,2)": ["1.50", "99999.99", "NaN"], "numeric(12,0)": ["40000", "-7"], "character varying(40)": ["ab  ", "x" * 40, "-2147483648"],
    "real": ["1.1", "-3.4e38", "Infinity", "NaN"], "double precision": ["1.1", "1e300", "1e-300", "NaN", "70000"],
    "boolean": ["true", "false"], "text": ["", " ä ", "1", "true", "2024-02-03", "x" * 300, "2147483648", "1e5", "00000000-0000-0000-0000-000000000001"],
    "character varying(5)": ["", "a b  ", "12345", "yes"], "character varying": ["long enough", ""], "character(4)": ["ab", "abcd", ""],
    "date": ["2024-02-29", "infinity", "0044-03-15 BC"], "timestamp(3) without time zone": ["2024-02-29 12:34:56.789", "-infinity"],
    "timestamp without time zone": ["2024-02-29 12:34:56.789012", "0044-03-15 00:00:00 BC"], "time without time zone": ["23:59:59.999999"],
    "uuid": ["00000000-0000-0000-0000-000000000001"], "json": ['{"b": 1, "a": [1.10]}', '"x"', "null"], "jsonb": ['{"a": [1.10], "b": 1}', '"x"'],
    "inet": ["10.0.0.1", "::1/64"], "integer[]": ["{1,NULL,3}", "{}"], "text[]": ["{1,2}", "{a,NULL}"], "jsonb[]": ['{"{\\"a\\": 1}",NULL}'], "smallint[]": ["{1,2}"],
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(pool: Pool) -> Iterator[psycopg.Connection[Any]]:
    name = pool.create()
    opened = pool.connect(name)
    opened.execute("SET TimeZone = 'UTC'")
    yield opened
    opened.close()
    pool.drop(name)


def column(type_: str) -> Object:
    facts = {"label": "v", "type": type_, "default": None, "generated": "", "collation": None, "table": "t"}
    return Object(Key("pg_class", 1, 1), "column", "t.v", None, facts, {})


def there_and_back(connection: psycopg.Connection[Any], before: str, after: str, value: str) -> tuple[str, str] | None:
    """(as it was, as it came back); None where there is no way there."""
    connection.execute("BEGIN")
    try:
        connection.execute(f"CREATE TEMP TABLE t (v {before}) ON COMMIT DROP")
        connection.execute("INSERT INTO t VALUES (%s)", [value])
        was = connection.execute("SELECT v::text, pg_column_size(v) > 0 FROM t").fetchone()
        try:
            connection.execute(f"ALTER TABLE t ALTER v TYPE {after} USING v::{after}")
        except psycopg.Error:
            return None
        connection.execute(f"ALTER TABLE t ALTER v TYPE {before} USING {conversion(column(after), column(before))}")
        now = connection.execute("SELECT v::text, pg_column_size(v) > 0 FROM t").fetchone()
        return str(was), str(now)
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("before", VALUES)
def test_what_is_exact_comes_back(connection: psycopg.Connection[Any], before: str) -> None:
    others = [after for after in VALUES if exact(before, after) and after != before]
    differing = [
        (after, seen)
        for after in others
        for value in VALUES[before]
        if (seen := there_and_back(connection, before, after, value)) is not None and seen[0] != seen[1]
    ]
    assert not differing


@pytest.mark.parametrize("now", [now for now in VALUES if not now.startswith(("text", "char", "json"))])
def test_what_was_written_since_comes_back_or_is_told(connection: psycopg.Connection[Any], now: str) -> None:
    """Where old values are said to be all there, nobody looks at the newer ones again. Text and JSON may say the same in many ways."""
    wrong = []
    for wanted in (w for w in VALUES if exact(w, now) and w != now and not rounded(now, w)):
        counted = misfit("v", now, wanted, {}, {})
        for value in VALUES[now] if counted is not None else ():
            sql = f"SELECT ({counted or 'false'}) OR v = v::{wanted}::{now} FROM (SELECT %s::{now} AS v OFFSET 0) t"
            if connection.execute(sql, [value]).fetchone() != (True,):
                wrong.append((wanted, value))
    assert not wrong


@pytest.mark.parametrize("before", VALUES)
def test_a_limit_cuts_off_spaces_and_nothing_else(connection: psycopg.Connection[Any], before: str) -> None:
    """Without USING, as Prisma writes it."""
    for after in (a for a in VALUES if trimmed(before, a)):
        for value in (*VALUES[before], "ab" + " " * 50):
            connection.execute("BEGIN")
            try:
                connection.execute(f"CREATE TEMP TABLE t (v {before}, w {before}) ON COMMIT DROP")
                connection.execute("INSERT INTO t VALUES (%s, %s)", [value, value])
                connection.execute(f"ALTER TABLE t ALTER v TYPE {after}")
                assert connection.execute("SELECT rtrim(v) = rtrim(w) FROM t").fetchone() == (True,)
            except psycopg.errors.StringDataRightTruncation:
                assert len(value.rstrip()) > 4
            finally:
                connection.execute("ROLLBACK")


def fits(connection: psycopg.Connection[Any], now: str, wanted: str, value: str) -> bool:
    """Whether the way back takes a value of the present type."""
    connection.execute("BEGIN")
    try:
        connection.execute(f"CREATE TEMP TABLE t (v {now}) ON COMMIT DROP")
        connection.execute("INSERT INTO t VALUES (%s)", [value])
        connection.execute(f"ALTER TABLE t ALTER v TYPE {wanted} USING {conversion(column(now), column(wanted))}")
        return True
    except (psycopg.errors.UndefinedFunction, psycopg.errors.CannotCoerce, psycopg.errors.DatatypeMismatch):
        return True  # no cast at all: then the way back says NULL
    except psycopg.Error:
        return False
    finally:
        connection.execute("ROLLBACK")


@pytest.mark.parametrize("now", VALUES)
def test_what_is_not_counted_fits(connection: psycopg.Connection[Any], now: str) -> None:
    wrong = []
    for wanted in VALUES:
        condition = misfit("v", now, wanted, {}, {})
        for value in VALUES[now] if condition is not None else ():
            counted = connection.execute(f"SELECT {condition or 'false'} FROM (SELECT %s::{now} AS v) t", [value]).fetchone()
            if not (counted and counted[0]) and not fits(connection, now, wanted, value):
                wrong.append((wanted, value, condition))
    assert not wrong


def test_one_element_of_its_own_type_fits() -> None:
    assert misfit("v", "jsonb", "jsonb[]", {}, {}) == "" != misfit("v", "text", "jsonb[]", {}, {})
