"""What happens in the middle: lost connections, failing steps before and after the switch, time running out, a ledger that moves."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.execute.conftest import Live
from unmigrate.errors import EnvironmentProblem, FailedError, PartialError, RefusedError
from unmigrate.execute.rollback import execute, finish_pending, history, pending
from unmigrate.plan.model import Plan, Step

Run = Callable[..., Any]
VALID = "select indisvalid from pg_index where indexrelid = to_regclass('\"User_nick_idx\"')"
END = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"


def test_the_connection_may_end_anywhere(live: Live, concurrent_plan: Plan) -> None:
    names: list[str] = []
    template = live.pool.clone(live.name)
    execute(live.connect, concurrent_plan, accept_loss=True, on_step=names.append)
    assert len(names) >= 30
    ends = set()
    for number, name in enumerate(names):
        victim = Live(live.pool, live.pool.clone(template))
        ends.add(_end_connection_at(victim, concurrent_plan, number, name))
        live.pool.drop(victim.name)
    live.pool.drop(template)
    assert ends == {"EnvironmentProblem", "FailedError", "PartialError", "Outcome"} - ({"Outcome"} - ends)


def _end_connection_at(victim: Live, plan: Plan, number: int, name: str) -> str:
    count = iter(range(1000))

    def step(_: str) -> None:
        if next(count) == number:
            victim.value(END)

    try:
        end = type(execute(victim.connect, plan, accept_loss=True, on_step=step)).__name__
    except (EnvironmentProblem, FailedError, PartialError) as error:
        end = type(error).__name__
    state = victim.state()
    assert state == ("new" if end in ("PartialError", "Outcome") else "old"), (name, end)
    with victim.connect() as connection:
        waiting = pending(connection)
    if waiting:
        finish_pending(victim.connect, waiting[0].id)
    elif state == "old":
        execute(victim.connect, plan, accept_loss=True)
    assert victim.state() == "new" and victim.value(VALID) is True, name
    return end


def test_a_commit_whose_answer_was_lost_is_looked_up(live: Live, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    import psycopg

    import unmigrate.execute.switch as module

    once = module._once

    def committed_but_unheard(run: Any, *rest: Any) -> None:
        once(run, *rest)
        run.connection.close()
        raise psycopg.OperationalError("the answer was lost")

    monkeypatch.setattr(module, "_once", committed_but_unheard)
    outcome = execute(live.connect, plan, accept_loss=True)
    assert outcome.ledger_rows == 1
    assert live.state() == "new"


def test_a_step_after_the_switch_that_fails_is_done_by_a_rerun(live: Live, concurrent_plan: Plan) -> None:
    finish = next(s for s in concurrent_plan.steps if s.phase == "finish")
    broken = replace(finish, sql=finish.sql.replace("(nick)", "((1 / (id - id)))"))
    plan = replace(concurrent_plan, steps=tuple(broken if s is finish else s for s in concurrent_plan.steps))
    with pytest.raises(PartialError, match="division by zero") as partial:
        execute(live.connect, plan, accept_loss=True)
    assert partial.value.exit_status == 6 and "rollback again" in partial.value.remedy
    assert live.state() == "new" and live.value(VALID) is False
    with pytest.raises(RefusedError) as refusal:
        execute(live.connect, concurrent_plan, accept_loss=True)
    assert refusal.value.code == "unfinished"
    live.run("update unmigrate.journal set sql = '" + finish.sql + "' where phase = 'finish'")
    with live.connect() as connection:
        (waiting,) = pending(connection)
    finish_pending(live.connect, waiting.id)
    assert live.value(VALID) is True
    with live.connect() as connection:
        assert [o.state for o in history(connection)] == ["done"]


def test_an_index_of_that_name_that_is_another_is_not_taken_for_ours(live: Live, concurrent_plan: Plan) -> None:
    def step(name: str) -> None:
        if name == "committed":
            live.run('create index "User_nick_idx" on "User" (id)')

    with pytest.raises(PartialError, match="different"):
        execute(live.connect, concurrent_plan, accept_loss=True, on_step=step)
    live.run('drop index "User_nick_idx"')
    execute(live.connect, concurrent_plan, accept_loss=True)  # the same plan once more goes on where it stopped
    assert "(nick)" in live.value("select pg_get_indexdef('\"User_nick_idx\"'::regclass)")


def _prepared(plan: Plan, sql: str) -> Plan:
    return replace(plan, steps=(Step("prepare", "2_change", sql, "table public.ready"), *plan.steps))


def test_prepare_steps_run_before_the_switch_once(live: Live, plan: Plan) -> None:
    prepared = _prepared(plan, "CREATE TABLE ready (id int)")

    def step(name: str) -> None:
        if name == 'locked public."User"':
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(live.connect, prepared, accept_loss=True, on_step=step)
    assert live.state() == "old" and live.value("select to_regclass('ready') is not null")
    with live.connect() as connection:
        (waiting,) = pending(connection)
    assert waiting.state == "preparing"
    assert finish_pending(live.connect, waiting.id).ledger_rows == 1
    assert live.state() == "new"


def test_a_refusal_after_prepare_steps_leaves_the_way_free(live: Live, plan: Plan) -> None:
    prepared, said = _prepared(plan, "CREATE TABLE ready (id int)"), list[str]()

    def step(name: str) -> None:
        if name == "prepare 0 journalled":
            live.run('update "User" set nick = null where id = 1')

    with pytest.raises(RefusedError):
        execute(live.connect, prepared, accept_loss=True, on_step=step, on_progress=said.append)
    assert any("public.ready" in text for text in said)
    live.run("update \"User\" set nick = '' where id = 1")
    execute(live.connect, plan, accept_loss=True)
    assert live.state() == "new"


def _idle(seconds: float) -> str:
    """A statement that takes so long; databases made from scratch's have no pg_sleep that sleeps."""
    return f"DO $$ BEGIN WHILE clock_timestamp() < statement_timestamp() + interval '{seconds} s' LOOP PERFORM 1; END LOOP; END $$"


def test_max_lock_is_kept_while_locks_are_held(live: Live, plan: Plan, rollback: Run) -> None:
    slow = replace(plan, steps=(*plan.steps, Step("switch", "2_change", _idle(30), "nothing")))
    began = time.monotonic()
    with pytest.raises(FailedError, match="for more than 2 s"):
        rollback(live, slow, max_lock_seconds=2.0)
    assert time.monotonic() - began < 10
    assert live.state() == "old"


def test_a_step_longer_than_a_counts_timeout_goes_through(live: Live, plan: Plan, rollback: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unmigrate.execute.asking.COUNT_TIMEOUT", "1s")
    live.run(f"alter database {live.name} set statement_timeout = '1s'")
    slow = replace(plan, steps=(*plan.steps, Step("switch", "2_change", _idle(1.5), "nothing")))
    rollback(live, slow)
    assert live.state() == "new"


def test_a_deploy_that_came_first_is_noticed(live: Live, plan: Plan, rollback: Run) -> None:
    live.run(
        "insert into _prisma_migrations (id, checksum, finished_at, migration_name, applied_steps_count) "
        "values ('x', 'x', now(), '3_later', 1) returning id"
    )
    with pytest.raises(RefusedError, match="3_later") as refusal:
        rollback(live, plan)
    assert refusal.value.code == "moved-on"
    assert live.state() == "old"


def test_a_ledger_that_changes_meanwhile_is_noticed(live: Live, plan: Plan, rollback: Run) -> None:
    def step(name: str) -> None:
        if name == "begun":
            live.run(
                "insert into _prisma_migrations (id, checksum, migration_name, applied_steps_count) "
                "values ('x', 'x', '2_change', 0) returning id"
            )

    with pytest.raises(FailedError) as failure:
        rollback(live, plan, on_step=step)
    assert failure.value.code == "ledger"
    assert live.state() == "old"
    assert live.value("select count(*) from unmigrate.ledger_row") == 0


@pytest.mark.parametrize("sql", ["COMMIT", "BEGIN; SELECT 1; END", "not sql; ROLLBACK"])
def test_a_step_that_ends_the_transaction_is_refused(live: Live, plan: Plan, rollback: Run, sql: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        rollback(live, replace(plan, steps=(*plan.steps, Step("switch", "2_change", sql, "nothing"))))
    assert refusal.value.code == "transaction"


def test_another_major_version_is_refused(live: Live, plan: Plan, rollback: Run) -> None:
    with pytest.raises(RefusedError) as refusal:
        rollback(live, replace(plan, server_major=plan.server_major - 1))
    assert refusal.value.code == "major"


def test_writers_wait_one_lock_timeout_even_with_several_tables(live: Live, plan: Plan, rollback: Run) -> None:
    """The first table is had at once, the second is held for 10 s: nobody queues at the first for longer than one try."""
    stop, waits = threading.Event(), list[float]()

    def write() -> None:
        with live.connect() as connection:
            while not stop.is_set():
                began = time.monotonic()
                if not live_insert(connection):
                    return
                waits.append(time.monotonic() - began)
                time.sleep(0.005)

    def read() -> None:
        with live.connect() as connection:
            connection.execute("BEGIN")
            connection.execute('SELECT count(*) FROM "User"')
            time.sleep(10.0)
            connection.execute("COMMIT")

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    said: list[str] = []
    outcome = rollback(live, plan, on_progress=said.append)
    stop.set()
    for thread in threads:
        thread.join()
    assert live.state() == "new"
    assert outcome.tries > 1 and outcome.waited > 8
    assert any("held by pid" in text for text in said)
    assert max(waits) < 0.2 + outcome.held + 0.3  # lock_timeout, the switch, and what a busy machine adds
    (posts,) = [c for c in outcome.copies if live.value(f"select count(*) from {c}") not in (200,)]
    assert live.value(f"select count(*) from {posts}") == 50 + len(waits)


def live_insert(connection: Any) -> bool:
    import psycopg

    try:
        connection.execute('INSERT INTO "Post" ("userId") VALUES (1)')
    except psycopg.errors.UndefinedTable:  # rolled back: the table is gone
        return False
    return True
