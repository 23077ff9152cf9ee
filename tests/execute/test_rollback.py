"""Rolling back a live database: what must hold, and what tries to break it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.execute.conftest import Live
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError
from unmigrate.execute.inspect import inspect
from unmigrate.execute.rollback import history
from unmigrate.plan.model import Check, Plan, Step, from_json

Run = Callable[..., Any]


def test_the_way_back(live: Live, plan: Plan, rollback: Run) -> None:
    outcome = rollback(live, plan)
    assert live.state() == "new"
    assert live.value('select count(*) from "User"') == 200
    assert outcome.ledger_rows == 1
    assert live.value("select row ->> 'migration_name' from unmigrate.ledger_row") == "2_change"
    with live.connect() as connection:
        assert [o.state for o in history(connection)] == ["done"]


def test_what_is_taken_away_is_in_the_vault(live: Live, plan: Plan, rollback: Run) -> None:
    outcome = rollback(live, plan)
    counts = {live.value(f"select count(*) from {name}") for name in outcome.copies}
    assert counts == {50, 200}


def test_nothing_of_the_vault_is_readable_by_public(live: Live, plan: Plan, rollback: Run) -> None:
    rollback(live, plan)
    open_to_all = """select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname ~ '^unmigrate' and n.nspname <> 'unmigrate_scratch' and (has_schema_privilege('public', n.oid, 'USAGE')
      or (c.relkind = 'r' and has_table_privilege('public', c.oid, 'SELECT')))"""
    assert live.value(open_to_all) == 0


def test_a_loss_needs_consent(live: Live, plan: Plan, rollback: Run) -> None:
    with pytest.raises(RefusedError, match=r"loses .*Post") as refusal:
        rollback(live, plan, accept_loss=False)
    assert refusal.value.code == "loss"
    assert live.state() == "old"


def test_drift_is_refused_and_named(live: Live, plan: Plan, rollback: Run) -> None:
    with live.connect() as connection:
        connection.execute("ALTER TABLE \"User\" ALTER COLUMN name SET DEFAULT 'x'")
    with pytest.raises(RefusedError, match=r'column public."User".name is different'):
        rollback(live, plan)
    assert live.state() == "old"


def test_drift_of_others_stays_as_it_is(live: Live, plan: Plan, rollback: Run) -> None:
    with live.connect() as connection:
        connection.execute('CREATE TABLE aside (id int); ALTER TABLE "User" ADD COLUMN extra int')
    rollback(live, plan)
    assert live.value("select to_regclass('aside') is not null")
    assert live.value("select count(*) from pg_attribute where attname = 'extra' and attrelid = '\"User\"'::regclass") == 1


def test_rows_that_block_are_counted_and_named(live: Live, plan: Plan, rollback: Run) -> None:
    with live.connect() as connection:
        connection.execute('UPDATE "User" SET role = \'OWNER\' WHERE id < 4; UPDATE "User" SET nick = NULL WHERE id = 9')
    with pytest.raises(RefusedError) as refusal:
        rollback(live, plan)
    assert refusal.value.code == "blocked"
    assert "3 rows block" in str(refusal.value) or "1 row blocks" in str(refusal.value)
    assert refusal.value.remedy
    assert live.state() == "old"


def test_a_dry_run_changes_nothing(live: Live, plan: Plan, rollback: Run) -> None:
    rollback(live, plan, dry_run=True)
    assert live.state() == "old"
    assert live.value("select to_regclass('unmigrate.meta') is null")


def test_long_locks_are_refused(live: Live, plan: Plan, rollback: Run) -> None:
    with pytest.raises(RefusedError, match="locks would be held"):
        rollback(live, plan, max_lock_seconds=0.001)
    assert live.state() == "old"


def test_predicted_holds_count_every_build_and_copy(live: Live, plan: Plan) -> None:
    live.run('insert into "User" (mail, nick) select repeat(md5(g::text), 10), g::text from generate_series(1, 30000) g')
    build = Step("switch", "2_change", 'CREATE INDEX again ON public."User" (id)', "index public.again")
    with live.connect() as connection:
        once, twice, nothing = (
            sum(
                lock.seconds or 0
                for lock in inspect(connection, replace(plan, steps=steps, losses=losses)).locks
                if lock.table == 'public."User"'
            )
            for steps, losses in ((plan.steps, plan.losses), ((*plan.steps, build), plan.losses), (plan.steps, ()))
        )
    assert nothing < once < twice


def test_a_failing_step_leaves_the_old_state(live: Live, plan: Plan, rollback: Run) -> None:
    broken = replace(plan, steps=(*plan.steps, Step("switch", "2_change", "SELECT 1 / 0", "nothing")))
    with pytest.raises(FailedError, match="division by zero"):
        rollback(live, broken)
    assert live.state() == "old"


def test_a_step_that_does_more_than_planned_is_rolled_back(live: Live, plan: Plan, rollback: Run) -> None:
    greedy = replace(plan, steps=(*plan.steps, Step("switch", "2_change", "CREATE TABLE surprise (id int)", "table public.surprise")))
    with pytest.raises(FailedError, match="surprise appeared"):
        rollback(live, greedy)
    assert live.state() == "old"


def test_an_unproved_plan_is_refused(live: Live, plan: Plan, rollback: Run) -> None:
    unproved = replace(plan, verdicts=tuple(replace(v, schema="refused") for v in plan.verdicts))
    with pytest.raises(RefusedError, match="not proved"):
        rollback(live, unproved)


@pytest.mark.parametrize("part", ["steps", "losses", "locks", "checks", "verdicts"])
def test_a_plan_with_anything_taken_out_is_found_out(part: str, plan: Plan) -> None:
    value = plan.to_json()
    assert value[part]
    value[part] = value[part][1:]
    with pytest.raises(ValueError, match="edited"):
        from_json(value)


def test_measuring_a_plan_does_not_change_its_id(live: Live, plan: Plan) -> None:
    with live.connect() as connection:
        measured = inspect(connection, plan)
    assert measured != plan
    assert measured.id == plan.id
    assert from_json(measured.to_json()) == measured


def test_an_edited_plan_file_is_found_out(plan: Plan) -> None:
    value = plan.to_json()
    value["steps"] = value["steps"][:-1]
    with pytest.raises(ValueError, match="edited"):
        from_json(value)
    assert from_json(plan.to_json()) == plan


def test_a_newer_vault_is_refused(live: Live, plan: Plan, rollback: Run) -> None:
    with live.connect() as connection:
        connection.execute("CREATE SCHEMA unmigrate; CREATE TABLE unmigrate.meta (version int); INSERT INTO unmigrate.meta VALUES (99)")
    with pytest.raises(RefusedError, match="version 99"):
        rollback(live, plan)
    assert live.state() == "old"


def test_prismas_lock_is_respected(live: Live, plan: Plan, rollback: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import unmigrate.execute.rollback as module
    from unmigrate.prisma.ledger import deploy_lock

    monkeypatch.setattr(module, "deploy_lock", lambda connection: deploy_lock(connection, 0.3))
    with live.connect() as other:
        other.execute("select pg_advisory_lock(72707369)")
        with pytest.raises(EnvironmentProblem, match="72707369"):
            rollback(live, plan)
    assert live.state() == "old"


def test_a_check_that_cannot_be_counted_blocks(live: Live, plan: Plan, rollback: Run) -> None:
    unknown = replace(plan, checks=(Check("2_change", "x", "who knows", "select count(*) from nowhere", "select 1", ("ask",)),))
    with pytest.raises(RefusedError, match="unknown number"):
        rollback(live, unknown)


def test_a_lock_holder_is_named_and_nothing_changes(live: Live, plan: Plan, rollback: Run) -> None:
    with live.connect() as reader:
        reader.execute("BEGIN")
        reader.execute('SELECT count(*) FROM "User"')
        with pytest.raises(FailedError, match="held by pid"):
            rollback(live, plan, tries=2, lock_timeout_ms=50)
        reader.execute("ROLLBACK")
    assert live.state() == "old"


def test_a_writer_loses_nothing_and_hardly_waits(live: Live, plan: Plan, rollback: Run) -> None:
    """A reader holds the table for a while; a writer must not queue behind us longer than one lock_timeout and the switch."""
    stop, waiting, longest, written = threading.Event(), threading.Event(), [0.0], [0]

    def write() -> None:
        with live.connect() as connection:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    connection.execute('INSERT INTO "User" (nick, ' + _mail(connection) + ") VALUES ('w', 'w')")
                except psycopg.errors.UndefinedColumn:
                    continue  # renamed between the question and the insert: nothing was written
                longest[0] = max(longest[0], time.monotonic() - began)
                written[0] += 1

    def read() -> None:
        with live.connect() as connection:
            connection.execute("BEGIN")
            connection.execute('SELECT count(*) FROM "User"')
            assert waiting.wait(60)
            time.sleep(0.5)
            connection.execute("COMMIT")

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    outcome = rollback(live, plan, lock_timeout_ms=200, tries=100, on_progress=lambda text: waiting.set() if "waiting" in text else None)
    time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert live.state() == "new"
    assert live.value('select count(*) from "User"') == 200 + written[0]
    assert outcome.tries > 1
    assert longest[0] < 0.2 + outcome.held + 1.0  # a bound on queueing, not a time of the machine's


def _mail(connection: psycopg.Connection[Any]) -> str:
    while True:  # the column's name changes under the writer, as it would under an app
        row = connection.execute(
            "select attname from pg_attribute where attrelid = '\"User\"'::regclass and attname in ('mail', 'email')"
        ).fetchone()
        if row:
            return str(row[0])


def test_two_rollbacks_at_once_do_it_once(live: Live, plan: Plan, rollback: Run) -> None:
    results: list[BaseException | None] = []

    def run() -> None:
        try:
            rollback(live, plan)
            results.append(None)
        except RefusedError as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(r is None for r in results) == 1
    assert live.state() == "new"


@pytest.mark.parametrize("begun_before", [False, True], ids=["begun after we read the catalog", "begun before, committed after"])
def test_drift_that_comes_after_the_catalog_was_read_is_seen_under_the_locks(
    live: Live, plan: Plan, rollback: Run, begun_before: bool
) -> None:
    with live.connect() as other:
        other.autocommit = False
        change = "ALTER TABLE \"User\" ALTER COLUMN name SET DEFAULT 'x'; DROP SEQUENCE IF EXISTS nobodys"

        def step(name: str) -> None:
            if name == "privileges asked" and begun_before:
                other.execute("SELECT pg_current_xact_id(); CREATE TABLE early (id int)")
            if (name == "begun" and other.info.transaction_status != psycopg.pq.TransactionStatus.IDLE) or (
                name == "begun" and not begun_before
            ):
                other.execute(change)
                other.commit()

        with pytest.raises(RefusedError, match=r'column public."User".name is different'):
            rollback(live, plan, on_step=step)
    assert live.state() == "old"


def test_a_refused_try_leaves_nothing_to_the_next(live: Live, plan: Plan, rollback: Run) -> None:
    """What a try wrote and rolled back must not be taken for the state that the next one starts from."""
    tried = []

    def step(name: str) -> None:
        if name == "verified" and not tried:
            tried.append(name)
            raise psycopg.errors.LockNotAvailable("as if")

    outcome = rollback(live, plan, on_step=step)
    assert tried and outcome.tries == 2
    assert live.state() == "new"
