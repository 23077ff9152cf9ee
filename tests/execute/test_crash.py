"""kill -9 at every boundary of a rollback: the old state, the new state, or a journalled one that a rerun finishes."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.execute.conftest import Live
from tests.forked import dying, exit_of
from unmigrate.execute.rollback import execute, finish_pending, pending
from unmigrate.plan.model import Plan, from_json


def child(conninfo: str, file: Path, victim: int) -> None:
    """The rollback, until it is killed."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)

    execute(connect, from_json(json.loads(file.read_text())), accept_loss=True, on_step=dying(victim))


def _boundaries(live: Live, plan: Plan) -> list[str]:
    names: list[str] = []
    execute(live.connect, plan, accept_loss=True, on_step=names.append)
    return names


@pytest.mark.parametrize("kind", ["plan", "concurrent_plan"])
def test_kill_at_every_boundary(kind: str, live: Live, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    plan: Plan = request.getfixturevalue(kind)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan.to_json()))
    template = live.pool.clone(live.name)
    names = _boundaries(live, plan)
    assert len(names) >= 30 and len(set(names)) == len(names)
    ends = set()
    for number, name in enumerate(names):
        victim = Live(live.pool, live.pool.clone(template))
        assert exit_of(child, live.pool.conninfo(victim.name), file, number) == -9, name
        _settle(victim)
        ends.add(_after(victim, plan, name))
        live.pool.drop(victim.name)
    live.pool.drop(template)
    assert ends == {"old", "new"}


def _settle(victim: Live) -> None:
    """Wait until the server has noticed that the killed client is gone."""
    for _ in range(200):
        if victim.value("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()") == 0:
            return


def _after(victim: Live, plan: Plan, name: str) -> str:
    """The state found; then the next command must bring it to the new state."""
    state = victim.state()
    assert state in ("old", "new"), f"killed at {name}: {state}"
    with victim.connect() as connection:
        unfinished = pending(connection)
    if unfinished:
        assert state == "new", name
        finish_pending(victim.connect, unfinished[0].id)
    elif state == "old":
        execute(victim.connect, plan, accept_loss=True)
    assert victim.state() == "new", name
    assert victim.value("select indisvalid from pg_index where indexrelid = '\"User_nick_idx\"'::regclass") is True, name
    assert victim.value('select count(*) from "User"') == 200, name
    return state
