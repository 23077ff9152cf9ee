"""Checks from inside: what counts as a yes."""

from typing import Any

import pytest

from unmigrate.config import Config
from unmigrate.config.checks import Checks, Sql
from unmigrate.runbook.steps import checks
from unmigrate.scratch.pool import Pool


@pytest.mark.parametrize(
    ("sql", "equals", "ok"),
    [
        ("select true", None, True), ("select 3", None, True), ("select 0.5::numeric", None, True), ("select count(*) from pg_class", None, True),
        ("select false", None, False), ("select 0", None, False), ("select 0::numeric", None, False), ("select null", None, False),
        ("select 'false'", None, False), ("select 'no rows'", None, False), ("select 1 where false", None, False),
        ("select 'yes'", "yes", True), ("select 'no'", "yes", False), ("select 0", 0, True), ("create table x (i int)", None, False),
    ],
)  # fmt: skip
def test_what_counts_as_a_yes(pool: Pool, database: str, sql: str, equals: Any, ok: bool) -> None:
    config = Config(checks=Checks(sql=(Sql("one", sql, equals),)))
    with pool.connect(database) as connection:
        (found,) = checks.run_sql(config, connection)
        assert found.ok is ok, found
        assert connection.execute("select to_regclass('x')").fetchone() == (None,), "checks write nothing"


def test_a_check_that_was_not_made_is_not_counted_as_passed() -> None:
    made = checks._judged(
        [checks.Outcome("a", "sql", True, "it is 1", 0.1), checks.Outcome("schema", "schema", True, f"{checks._NOT}: no tag", 0.0)]
    )
    assert made["said"] == ["1 check passed", "schema: not compared: no tag"]
