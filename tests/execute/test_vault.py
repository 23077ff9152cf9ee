"""The vault: whose it is, who may read it, what stands in its way."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.execute.conftest import Live, as_role
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.execute.rollback import history, pending
from unmigrate.park import vault
from unmigrate.plan.model import Plan

Run = Callable[..., Any]
OTHERS = """
select count(*) from pg_namespace n left join pg_class c on c.relnamespace = n.oid and c.relkind in ('r', 'p'),
  aclexplode(coalesce(c.relacl, acldefault('r', n.nspowner)) || coalesce(n.nspacl, acldefault('n', n.nspowner))) a
where n.nspname ~ '^unmigrate' and n.nspname <> 'unmigrate_scratch' and a.grantee <> n.nspowner"""


def test_default_privileges_do_not_open_it(live: Live, plan: Plan, rollback: Run, stranger: str) -> None:
    live.run(
        "alter default privileges grant select on tables to public; alter default privileges grant usage on schemas to public;"
        f"alter default privileges grant all on tables to {stranger}; alter default privileges grant all on schemas to {stranger}"
    )
    assert rollback(live, plan).copies
    assert live.value(OTHERS) == 0


def test_missing_privileges_are_named_with_the_grant(live: Live, plan: Plan, rollback: Run, stranger: str) -> None:
    from unmigrate.execute.rollback import execute

    with live.pool.connect_superuser(live.name) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA public TO {stranger}; GRANT SELECT ON public._prisma_migrations TO {stranger}")
    wanted = [
        ("GRANT CREATE ON DATABASE", f'GRANT CREATE ON DATABASE "{live.name}" TO {stranger}'),
        ("GRANT SELECT, DELETE ON", f"GRANT DELETE ON public._prisma_migrations TO {stranger}"),
        ("connect as", ""),
    ]
    for remedy, cure in wanted:
        with pytest.raises(EnvironmentProblem) as problem:
            execute(as_role(live, stranger), plan, accept_loss=True)
        assert problem.value.code == "privilege"
        assert problem.value.remedy.startswith(remedy)
        with live.pool.connect_superuser(live.name) as connection:
            connection.execute(cure or "select 1")
    assert live.state() == "old"


def test_another_roles_vault_is_named(live: Live, plan: Plan, rollback: Run, stranger: str) -> None:
    with live.pool.connect_superuser(live.name) as connection:
        connection.execute(f'GRANT CREATE ON DATABASE "{live.name}" TO {stranger}')
    with as_role(live, stranger)() as connection:
        vault.create(connection)
    with pytest.raises(EnvironmentProblem, match=stranger):
        rollback(live, plan)
    with live.connect() as connection:
        assert pending(connection) == history(connection) == ()
    assert live.state() == "old"


def test_a_schema_of_that_name_that_is_not_ours_is_left_alone(live: Live, plan: Plan, rollback: Run) -> None:
    live.run("create schema unmigrate; create table unmigrate.precious (id int)")
    with pytest.raises(RefusedError) as refusal:
        rollback(live, plan)
    assert refusal.value.code == "foreign-vault"
    assert live.state() == "old"


def test_it_is_made_once_by_many(live: Live) -> None:
    problems: list[BaseException] = []

    def make() -> None:
        try:
            with live.connect() as connection:
                vault.create(connection)
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=make) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert live.value("select count(*) from unmigrate.meta") == 1


def test_it_remembers_plan_steps_and_who(live: Live, plan: Plan, rollback: Run) -> None:
    outcome = rollback(live, plan)
    with live.connect() as connection:
        (operation,) = history(connection)
        stored, consent = vault.stored_plan(connection, outcome.operation)
    assert operation.actor
    assert stored["id"] == plan.id and consent
    assert live.value("select count(*) from unmigrate.journal where done_at is not null") == outcome.steps == len(plan.steps)
