"""The ledger's truth table, and the table itself on a real server."""

import hashlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma.ledger import (
    LOCK,
    LedgerRow,
    MigrationState,
    delete_rows,
    deploy_lock,
    predict_deploy,
    predict_resolve,
    predict_status,
    read_ledger,
    states,
)
from unmigrate.prisma.migrations import Migration
from unmigrate.scratch.pool import Pool

Connection = psycopg.Connection[Any]
NOW = datetime(2024, 1, 1, tzinfo=UTC)
SQL = "SELECT 1;\n"
CHECKSUM = hashlib.sha256(SQL.encode()).hexdigest()
LEDGER = """CREATE TABLE {} (id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL, finished_at timestamptz,
migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(),
applied_steps_count integer NOT NULL DEFAULT 0)"""


def migration(name: str) -> Migration:
    return Migration(name, Path(name), SQL, CHECKSUM)


def row(name: str, kind: str, at: int = 0, checksum: str = CHECKSUM) -> LedgerRow:
    """kind: applied, failed, rolled-back (a failed one), undone (an applied one, by hand)."""
    finished = NOW if kind in ("applied", "undone") else None
    back = NOW if kind in ("rolled-back", "undone") else None
    return LedgerRow(f"{name}-{kind}-{at}", checksum, finished, name, None, back, NOW + timedelta(seconds=at), int(kind == "applied"))


def one(*kinds: str) -> MigrationState:
    (state,) = states([migration("1_a")], [row("1_a", kind, at) for at, kind in enumerate(kinds)])
    return state


# rows of a name, its state, what deploy does, what `resolve --rolled-back` answers
TABLE = [
    ((), "pending", "applies", "P3011"),
    (("applied",), "applied", "nothing", "P3012"),
    (("failed",), "failed", "P3009", ""),
    (("rolled-back",), "rolled-back", "applies", ""),
    (("undone",), "rolled-back", "applies", "P3012"),
    (("rolled-back", "applied"), "applied", "nothing", ""),
    (("undone", "applied"), "applied", "nothing", "P3012"),
    (("rolled-back", "failed"), "failed", "P3009", ""),
    (("applied", "failed"), "failed", "P3009", ""),
    (("failed", "applied"), "failed", "P3009", ""),
    (("applied", "applied"), "applied", "nothing", "P3012"),
    (("rolled-back", "rolled-back"), "rolled-back", "applies", ""),
]


@pytest.mark.parametrize(("kinds", "state", "deploy", "resolve"), TABLE)
def test_the_truth_table(kinds: tuple[str, ...], state: str, deploy: str, resolve: str) -> None:
    found = one(*kinds)
    assert found.state == state
    said = predict_deploy([found])
    assert (said.exit_code, said.code) == ((1, "P3009") if deploy == "P3009" else (0, ""))
    assert (said.names == ("1_a",)) == (deploy != "nothing")
    answer = predict_resolve([found], "1_a")
    assert (answer.exit_code, answer.code) == (int(bool(resolve)), resolve)


@pytest.mark.parametrize(("kinds", "state"), [(kinds, state) for kinds, state, *_ in TABLE])
@pytest.mark.parametrize("minor", [(6, 19), (7, 8), (7, 9), (7, 10)])
def test_status_by_version(kinds: tuple[str, ...], state: str, minor: tuple[int, int]) -> None:
    quiet = state == "applied" or (state == "rolled-back" and minor < (7, 9))
    assert predict_status([one(*kinds)], minor=minor).exit_code == int(not quiet)


def test_several_rows_are_one_migration() -> None:
    assert one("applied", "applied").duplicate
    assert not one("undone", "applied").duplicate


def test_a_failed_one_hides_behind_a_pending_one() -> None:
    found = states([migration("1_a"), migration("2_b")], [row("1_a", "failed")])
    assert predict_status(found).names == ("2_b",)
    assert predict_deploy(found).code == "P3009"


def test_a_database_ahead_of_the_folder() -> None:
    found = states([migration("1_a")], [row("1_a", "applied"), row("2_b", "applied", 1), row("3_c", "undone", 2)])
    assert [(s.name, s.missing_folder) for s in found] == [("1_a", False), ("2_b", True), ("3_c", True)]
    assert predict_status(found).exit_code == 0
    assert predict_deploy(found).names == ()


def test_a_failed_migration_without_folder_blocks_still() -> None:
    found = states([migration("1_a")], [row("1_a", "applied"), row("2_b", "failed", 1)])
    assert predict_deploy(found).code == "P3009"
    assert predict_status(found).exit_code == 1


def test_a_name_that_nobody_knows() -> None:
    assert predict_resolve([], "9_x").code == "P3011"


def test_no_ledger_at_all() -> None:
    assert predict_status(states([migration("1_a")], []), ledger=False).names == ("1_a",)
    assert predict_status([], ledger=False).exit_code == 1
    assert predict_status([]).exit_code == 0


def test_edited_is_said_of_what_counts() -> None:
    assert not one("applied").edited
    (edited,) = states([migration("1_a")], [row("1_a", "applied", checksum="0" * 64)])
    assert edited.edited
    (later,) = states([migration("1_a")], [row("1_a", "undone", checksum="0" * 64), row("1_a", "applied", 1)])
    assert not later.edited
    (gone,) = states([], [row("1_a", "applied", checksum="0" * 64)])
    assert not gone.edited


def test_names_stand_in_prismas_order() -> None:
    found = states([migration("10_b"), migration("9_c")], [row("1_a", "applied")])
    assert [s.name for s in found] == ["1_a", "10_b", "9_c"]


# ------------------------------------------------------------------------------------------------------------------ on a server


@pytest.fixture
def connection(pool: Pool, database: str) -> Iterator[Connection]:
    with pool.connect(database) as opened:
        yield opened


def insert(connection: Connection, table: str, name: str, *, finished: bool = True) -> None:
    statement = (
        f"INSERT INTO {table} (id, checksum, finished_at, migration_name) VALUES (gen_random_uuid(), 'x', CASE WHEN %s THEN now() END, %s)"
    )
    connection.execute(statement, [finished, name])


def test_no_table(connection: Connection) -> None:
    assert read_ledger(connection, "public") is None
    assert read_ledger(connection, "no such schema") is None


def test_rows_come_oldest_first(connection: Connection) -> None:
    connection.execute(LEDGER.format("_prisma_migrations"))
    assert read_ledger(connection, "public") == ()
    for name in ("2_b", "1_a"):
        insert(connection, "_prisma_migrations", name, finished=name == "2_b")
    rows = read_ledger(connection, "public")
    assert rows is not None
    assert [(r.migration_name, r.finished_at is not None, r.applied_steps_count) for r in rows] == [("2_b", True, 0), ("1_a", False, 0)]


def test_the_ledger_lives_in_the_urls_schema(connection: Connection) -> None:
    connection.execute('CREATE SCHEMA "My ""App"""')
    connection.execute(LEDGER.format('"My ""App""". _prisma_migrations'))
    insert(connection, '"My ""App"""._prisma_migrations', "1_a")
    assert read_ledger(connection, "public") is None
    assert len(read_ledger(connection, 'My "App"') or ()) == 1
    assert delete_rows(connection, 'My "App"', ["1_a"]) == 1


def test_all_rows_of_a_name_are_deleted(connection: Connection) -> None:
    connection.execute(LEDGER.format("_prisma_migrations"))
    for name in ("1_a", "2_b", "2_b", "3_c"):
        insert(connection, "_prisma_migrations", name)
    assert delete_rows(connection, "public", ["2_b", "9_none"]) == 2
    assert [r.migration_name for r in read_ledger(connection, "public") or ()] == ["1_a", "3_c"]


def test_a_table_that_is_no_ledger(connection: Connection) -> None:
    connection.execute("CREATE TABLE _prisma_migrations (id int)")
    with pytest.raises(EnvironmentProblem) as caught:
        read_ledger(connection, "public")
    assert caught.value.code == "ledger"


@pytest.mark.parametrize("hidden", ["table", "schema"])
def test_a_ledger_that_may_not_be_read(pool: Pool, database: str, connection: Connection, hidden: str) -> None:
    with pool.connect_superuser(database) as boss:
        boss.execute("CREATE SCHEMA theirs")
        boss.execute(LEDGER.format("theirs._prisma_migrations"))
        if hidden == "table":
            boss.execute("GRANT USAGE ON SCHEMA theirs TO PUBLIC")
    with pytest.raises(EnvironmentProblem) as caught:
        read_ledger(connection, "theirs")
    assert (caught.value.code, caught.value.exit_status) == ("privilege", 4)
    assert "GRANT" in caught.value.remedy


def test_a_ledger_that_may_not_be_changed(pool: Pool, database: str, connection: Connection) -> None:
    with pool.connect_superuser(database) as boss:
        boss.execute(LEDGER.format("public._prisma_migrations"))
        boss.execute("GRANT SELECT ON public._prisma_migrations TO PUBLIC")
    assert read_ledger(connection, "public") == ()
    with pytest.raises(EnvironmentProblem, match="changed"):
        delete_rows(connection, "public", ["1_a"])


def test_the_deploy_lock_keeps_others_out(pool: Pool, database: str, connection: Connection) -> None:
    with pool.connect(database) as other, deploy_lock(connection):
        with pytest.raises(EnvironmentProblem) as caught, deploy_lock(other, seconds=0.3):
            pass
        assert caught.value.code == "deploy-lock"
    with deploy_lock(connection, seconds=0):
        pass  # it was given back


def test_the_deploy_lock_is_given_back_after_an_error(pool: Pool, database: str, connection: Connection) -> None:
    with pytest.raises(ZeroDivisionError), deploy_lock(connection):
        raise ZeroDivisionError
    with pool.connect(database) as other, deploy_lock(other, seconds=0):
        pass


def test_the_deploy_lock_waits(pool: Pool, database: str, connection: Connection) -> None:
    with pool.connect(database) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        timer = threading.Timer(0.3, lambda: other.execute("SELECT pg_advisory_unlock(%s)", [LOCK]))
        timer.start()
        with deploy_lock(connection, seconds=5):
            pass
        timer.join()
