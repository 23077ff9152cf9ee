"""kill -9 at every boundary of deploy, rollback from the vault, redo and purge: the same command again ends in the new state, and the
rows are those of an undisturbed run."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from tests.forked import dying, exit_of
from tests.guard.conftest import Live
from tests.guard.shop import contents
from unmigrate.config.park import Park
from unmigrate.execute.deploy import deploy
from unmigrate.execute.rollback import execute, finish_pending, pending
from unmigrate.park.purge import kept, purge
from unmigrate.plan.model import Plan, from_json

INIT = """CREATE TYPE mood AS ENUM ('ok');
CREATE TABLE t (id int PRIMARY KEY, a numeric NOT NULL, nick text NOT NULL DEFAULT lower('X'), note text, m mood NOT NULL DEFAULT 'ok');
CREATE INDEX t_note ON t (note); CREATE TABLE old (id int PRIMARY KEY, body text);"""
ROWS = "INSERT INTO t SELECT g, g + 0.5, 'n' || g, 'x' FROM generate_series(1, 50) g; INSERT INTO old SELECT g, 'b' FROM generate_series(1, 20) g"
CHANGE = """ALTER TABLE t ALTER COLUMN a TYPE int USING (round(a)); ALTER TABLE t DROP COLUMN nick; DROP TABLE old; DROP INDEX t_note;
CREATE TABLE fresh (id int PRIMARY KEY); ALTER TABLE t ADD COLUMN more text; CREATE TYPE mood_new AS ENUM ('ok', 'sad');
ALTER TABLE t ALTER COLUMN m DROP DEFAULT, ALTER COLUMN m TYPE mood_new USING (m::text::mood_new); DROP TYPE mood;
ALTER TYPE mood_new RENAME TO mood; ALTER TABLE t ALTER COLUMN m SET DEFAULT 'ok'"""
SINCE = "INSERT INTO t (id, a) VALUES (99, 7); UPDATE t SET a = 3 WHERE id = 2; DELETE FROM t WHERE id = 5; INSERT INTO fresh VALUES (1)"


def child(conninfo: str, file: Path, kind: str, victim: int) -> None:
    """The command, until it is killed."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(conninfo, autocommit=True, prepare_threshold=None)

    plans, step = [from_json(p) for p in json.loads(file.read_text())], dying(victim)
    if kind == "purge":
        with connect() as connection:
            purge(connection, plans[0].guard, on_step=step)
    elif kind == "deploy":
        deploy(connect, plans[0], plans[1:], accept_loss=False, on_step=step)
    else:
        execute(connect, plans[0], accept_loss=False, on_step=step)


def walk(it: Live, kind: str, plans: list[Plan], on_step: Callable[[str], None] = lambda _: None) -> None:
    """The command, or what is left of it."""
    if kind == "purge":
        with it.connect() as connection:
            for each in kept(connection):
                purge(connection, each.guard, on_step=on_step)
        return
    with it.connect() as connection:
        unfinished = pending(connection)
    if unfinished:
        finish_pending(it.connect, unfinished[0].id, on_step=on_step)
    elif not done(it, kind):
        if kind == "deploy":
            deploy(it.connect, plans[0], plans[1:], accept_loss=False, on_step=on_step)
        else:
            execute(it.connect, plans[0], accept_loss=False, on_step=on_step)


def done(it: Live, kind: str) -> bool:
    applied = ("2",) in it.rows("SELECT migration_name FROM _prisma_migrations WHERE finished_at IS NOT NULL")
    return applied != (kind == "rollback")


KINDS = ("deploy", "rollback", "redo", "purge")
MODES = [(kind, "auto") for kind in KINDS] + [(kind, "side-table") for kind in KINDS]


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_kill_at_every_boundary(live: Callable[..., Live], kind: str, mode: Literal["auto", "side-table"], tmp_path: Path) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode=mode)
    one = it.guard(CHANGE if mode == "auto" or kind == "redo" else f"{CHANGE}; UPDATE t SET note = 'y' WHERE id > 40")
    assert one.back and one.again, one.why
    plans = {"deploy": [one.up, one.back, one.again], "rollback": [one.back], "redo": [one.again], "purge": [one.up]}
    for earlier in KINDS:
        if earlier == kind:
            break
        walk(it, earlier, plans[earlier])
        if earlier == "deploy":
            it.run(SINCE)
    file = tmp_path / "plans.json"
    file.write_text(json.dumps([p.to_json() for p in plans[kind]]))
    template, names = it.work.pool.clone(it.name), list[str]()
    walk(it, kind, plans[kind], names.append)
    assert len(names) >= (5 if kind == "purge" else 30)
    wanted = (it.shape(), contents(it))
    step = 1 if mode == "auto" or os.environ.get("UNMIGRATE_KILL") == "full" else 4
    for number, name in list(enumerate(names))[::step]:
        victim = replace(it, name=it.work.pool.clone(template))
        assert exit_of(child, it.work.pool.conninfo(victim.name), file, kind, number) == -9, name
        for _ in range(200):
            if victim.value("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()") == 0:
                break
        walk(victim, kind, plans[kind])
        assert (victim.shape(), contents(victim)) == wanted, f"killed at {name}"
        it.work.pool.drop(victim.name)
    it.work.pool.drop(template)
