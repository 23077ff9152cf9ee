"""What `unmigrate guard` refuses to guard, and what `guard finish` refuses to vouch for."""

from collections.abc import Callable

import pytest

from tests.guard.around import INIT, ROWS, arm, finish, prepared, prisma_deploy, triggers
from tests.guard.conftest import Live
from tests.support import migration
from unmigrate.errors import RefusedError
from unmigrate.execute import pipeline
from unmigrate.guard.ahead import guards, refusals
from unmigrate.prisma.ledger import record_applied

Make = Callable[[str, str], Live]


def test_writes_that_nobody_can_place_make_it_void(live: Make) -> None:
    """Without Prisma's lock nobody can tell the migration's writes from the application's."""
    it = live(INIT, ROWS)
    arm(it, "UPDATE t SET b = upper(b)")
    prisma_deploy(it, locked=False)
    with pytest.raises(RefusedError, match="nobody held Prisma's lock"):
        finish(it)
    assert it.value("SELECT count(*) FROM t WHERE b LIKE 'B%'") == 20


def test_marked_as_applied_is_not_deployed(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "UPDATE t SET b = upper(b)")
    it.run(it.history[-1].sql)
    with it.connect() as connection:
        record_applied(connection, it.work.schema, it.history[-1].name, it.history[-1].checksum)
        connection.execute("UPDATE _prisma_migrations SET applied_steps_count = 0 WHERE migration_name = %s", [it.history[-1].name])
    with pytest.raises(RefusedError, match="marked as applied"):
        finish(it)


def test_another_text_than_the_guarded_one(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "ALTER TABLE t DROP COLUMN a")
    it.history[-1] = migration(it.history[-1].name, "ALTER TABLE t DROP COLUMN b")
    prisma_deploy(it)
    with pytest.raises(RefusedError, match="another text"):
        finish(it)


def test_our_triggers_switched_off(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "UPDATE t SET b = upper(b)")
    it.run("ALTER TABLE t DISABLE TRIGGER ALL; ALTER TABLE t ENABLE TRIGGER ALL")
    prisma_deploy(it)
    with pytest.raises(RefusedError, match="triggers were to follow"):
        finish(it)


def test_a_migration_that_failed(live: Make) -> None:
    it = live(INIT, ROWS)
    arm(it, "ALTER TABLE t DROP COLUMN a")
    with it.connect() as connection:
        record_applied(connection, it.work.schema, it.history[-1].name, it.history[-1].checksum, finished=False)
    with pytest.raises(RefusedError, match="failed half-way"):
        finish(it)


def test_somebody_changed_the_table_in_between(live: Make) -> None:
    it = live(INIT, ROWS)
    found = prepared(it, "ALTER TABLE t DROP COLUMN a")
    it.run("ALTER TABLE t ALTER COLUMN a TYPE bigint")
    with it.connect() as connection:
        ready = guards(connection, found, it.work.schema)
    with pytest.raises(RefusedError, match="another database"):
        pipeline.arm(it.connect, ready)
    assert triggers(it) == 0


@pytest.mark.parametrize(
    ("init", "script", "why"),
    [
        ("CREATE TABLE t (a int, b text)", "ALTER TABLE t DROP COLUMN a", "without a key"),
        ("CREATE TABLE t (a int, b text)", "DROP TABLE t", "without a key"),
        ("CREATE TABLE t (id int PRIMARY KEY, n numeric(10, 4))", "ALTER TABLE t ALTER COLUMN n TYPE numeric(10, 4) USING n + 1", "nothing tells"),
        (INIT, "ALTER TABLE t DISABLE TRIGGER USER; UPDATE t SET b = ''; ALTER TABLE t ENABLE TRIGGER USER", "switches triggers off"),
        ("CREATE TABLE t (id int PRIMARY KEY, b text) PARTITION BY RANGE (id); CREATE TABLE t1 PARTITION OF t DEFAULT",
         "UPDATE t SET b = ''", "partitions"),
        (INIT, "ALTER TABLE t ADD COLUMN d text; UPDATE t SET d = b; ALTER TABLE t DROP COLUMN b", "goes after it was copied"),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_named(live: Make, init: str, script: str, why: str) -> None:
    it = live(init, "")
    reasons = [reason for _, reason in refusals(prepared(it, script))]
    assert any(why in reason for reason in reasons), reasons


def test_two_migrations_on_one_column_are_not_guarded_together(live: Make) -> None:
    it = live(INIT, ROWS)
    found = prepared(it, "UPDATE t SET a = a + 1", "ALTER TABLE t DROP COLUMN a")
    assert any("pending along with it" in why for _, why in refusals(found))


def test_two_migrations_on_different_things_are(live: Make) -> None:
    it = live(INIT + "; CREATE TABLE u (id int PRIMARY KEY, x text)", ROWS + "; INSERT INTO u VALUES (1, 'x')")
    arm(it, "ALTER TABLE t DROP COLUMN a", "DROP TABLE u")
    it.run("UPDATE u SET x = 'y'")
    prisma_deploy(it)
    assert [one.state for one in finish(it)] == ["done", "done"]
    it.rollback()
    it.history.pop()
    it.rollback()
    assert it.rows("SELECT x FROM u") == [("y",)]
    assert it.value("SELECT a FROM t WHERE id = 9") == 90


# order and ends
