"""A run back from the vault of a guarded deploy, and its abort by redo; with everything that a team shares: state in PostgreSQL, a flag of
the app's for maintenance, people told by a command, checks that log in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.runbook.shop import BAD_NAME, TOML, Shop, shop, some, wait_for
from unmigrate.scratch.pool import Pool

SHARED = (
    TOML.replace('webhook_env = "HOOK"', 'command = "echo $UNMIGRATE_STEP: $UNMIGRATE_TEXT >> told.log"')
    + """
[maintenance.http]
on = { url = "http://127.0.0.1:${PORT}/flag", method = "POST", json = { closed = true } }
off = { url = "http://127.0.0.1:${PORT}/flag", method = "POST", json = { closed = false } }
[run]
state_env = "RUNS"
timeouts = { quiet = 60.0 }
[[checks.http]]
name = "ann logs in"
requests = [
  { url = "http://127.0.0.1:${PORT}/login", method = "POST", json = { user = "ann", password = "${ANN}" }, capture = { token = "data.token" } },
  { url = "http://127.0.0.1:${PORT}/me", headers = { authorization = "Bearer ${token}" }, expect = { "user.name" = "ann" } },
]
"""
)
NOTES = [("a", "note of a"), ("b", "note of b"), ("c", None)]
COMMAND = ("run", "rollback", "--maintenance", "--accept-loss", "--yes")


@contextmanager
def guarded(folder: Path, pool: Pool) -> Iterator[tuple[Shop, dict[str, str]]]:
    state = pool.create()
    try:
        with shop(folder, pool, toml=SHARED, destroys=True, guarded=True) as made:
            url = made.url.replace(f"/{made.database}?", f"/{state}?")
            yield made, {"RUNS": url, "ANN": "pa55-of-ann"}
    finally:
        pool.drop(state)


def notes(made: Shop) -> list[tuple[str, str | None]]:
    with made.connect() as connection:
        return connection.execute('select item, note from "Order" where id <= 3 order by id').fetchall()


def test_back_from_the_vault_nothing_is_lost(tmp_path: Path, pool: Pool) -> None:
    with guarded(tmp_path, pool) as (made, extra):
        said = made.unmigrate(*COMMAND, kill="reverse: committed", **extra)
        assert said.exit_code == -9, said.text
        said = made.unmigrate("resume", **extra)
        assert said.exit_code == 0, said.text
        failing = made.unmigrate("checks", **{**extra, "ANN": "wr0ng"})
        assert (failing.exit_code, "401" in failing.text, "wr0ng" in failing.text) == (1, True, False), failing.text
        assert notes(made) == NOTES, "what the migration dropped is there, without any snapshot"
        assert made.ask("/version") == {"version": "v1"}
        assert not (made.state / "state.sqlite").exists(), "state is in PostgreSQL"
        told = (made.root / "told.log").read_text().splitlines()
        assert [line.partition(":")[0] for line in told] == ["announce-begin", "announce-end"]
        report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
        for word in ("/flag → 200", "ann logs in", "note"):
            assert word in report, report
        for secret in ("pa55-of-ann", "t0ken-of-ann", "s3ssion-of-ann"):
            assert secret not in report + said.text


@pytest.mark.parametrize("at", some(["app.apply done", "reverse: committed", "redo: committed"], 3))
def test_abort_after_the_switch_goes_forward_again(tmp_path: Path, pool: Pool, at: str) -> None:
    with guarded(tmp_path, pool) as (made, extra):
        redo = at.startswith("redo")
        assert made.unmigrate(*COMMAND, kill="app.apply done" if redo else at, **extra).exit_code == -9
        if redo:  # the abort itself is killed
            assert made.unmigrate("abort", "--yes", kill=at, **extra).exit_code == -9
        said = made.unmigrate(*(("resume",) if redo else ("abort", "--yes")), **extra)
        assert said.exit_code == 0, said.text
        assert made.ledger()[-1] == BAD_NAME
        assert made.ask("/version") == {"version": "v2"}
        with made.connect() as connection:
            assert connection.execute('select item, discount from "Order" where id <= 3 order by id').fetchall() == [
                ("a", 0),
                ("b", 0),
                ("c", 5),
            ]
        wait_for(lambda: made.ask("/orders", {"item": "as before"}))  # its connection was ended
