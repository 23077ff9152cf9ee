"""The way back of a whole file drops functions before the views and tables whose rows they take, views before the functions in them and
the views they read, however old they are, and makes them in the other order."""

import pytest

from tests.inverse.cases_code import CROSSED, MADE_OF_V, OF_ROWS, T, V
from unmigrate.catalog.observer import Observer
from unmigrate.inverse.dependents import castable_on, dependents_on
from unmigrate.inverse.invert import invert
from unmigrate.scratch.pool import Pool

ROWS_OF_T = "CREATE FUNCTION g(n) RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM t WHERE id = $1.id'"
CASES = {
    "created": (T, f"CREATE VIEW v AS SELECT id FROM t; {OF_ROWS}"),
    "created, with a view upon it": (T, f"CREATE VIEW v AS SELECT id FROM t; {OF_ROWS}; CREATE VIEW w AS SELECT f(v) AS n FROM v"),
    "created with its table": (T, f"CREATE TABLE n (id int); {ROWS_OF_T}"),
    "of a column that is added": (T, "ALTER TABLE t ADD COLUMN c int; CREATE FUNCTION h() RETURNS int BEGIN ATOMIC SELECT c FROM t; END"),
    "created, an older one reads a newer one": (T, CROSSED.removeprefix(T)),
    "dropped, an older one reads a newer one": (CROSSED, "DROP VIEW v; DROP VIEW w"),
    "dropped with what is made of its rows": (
        V + MADE_OF_V,
        "DROP VIEW y; DROP TABLE o; DROP TABLE n; DROP DOMAIN d; DROP TYPE k; DROP VIEW v",
    ),
    "replaced": (V + OF_ROWS, f"DROP FUNCTION f(v); DROP VIEW v; CREATE VIEW v AS SELECT id, b FROM t; {OF_ROWS.replace('$1.id', '$1.b')}"),
}


@pytest.mark.parametrize("name", CASES)
def test_whole_file(name: str, pool: Pool) -> None:
    setup, migration = CASES[name]
    database = pool.create()
    with pool.connect(database) as connection:
        connection.execute(setup)
        observer = Observer(connection)
        before = observer.catalog
        observer.begin()
        connection.execute(migration)
        steps = invert(observer.refresh(), dependents_on(connection), castable_on(connection))
        for step in steps:
            connection.execute(step.sql)
        observer.refresh()
        assert {o.name for o in observer.catalog} == {o.name for o in before}
        connection.execute("ROLLBACK")
    pool.drop(database)
