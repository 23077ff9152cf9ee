"""kill -9 at every boundary of a run: resume ends right, and no effect is doubled; abort takes the safe way out."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.disk import resize, server_on
from tests.runbook.shop import BAD_NAME, Shop, shop, some
from tests.snapshot.kit import SECRET
from unmigrate.scratch.pool import Pool

TOML = """
[announce]
webhook_env = "HOOK"
[maintenance]
quiet = 0.2
wait = 20
[maintenance.database]
mode = "revoke-connect"
[maintenance.command]
on = "echo on >> maintenance.log"
off = "echo off >> maintenance.log"
[app]
deploy = "echo $UNMIGRATE_TAG >> deploys.log; echo $UNMIGRATE_TAG > deployed.log"
[app.deployed]
command = "cat deployed.log"
[[checks.sql]]
name = "orders are there"
sql = 'select count(*) = 3 from "Order"'
[[flags]]
name = "discounts"
off_command = "echo off >> flags.log"
on_command = "echo on >> flags.log"
"""
STEPS = ("preflight", "flags", "announce-begin", "maintenance-on", "quiet", "reverse", "app", "gate", "inside-checks", "maintenance-off",
         "announce-end", "report")  # fmt: skip
POINTS = [
    *(f"{step}.prepare done" for step in STEPS),
    *(f"{step}.apply begins" for step in STEPS),
    *(f"{step}.apply done" for step in STEPS),
    "flags: discounts", "announce-begin: begun", "announce-begin: told", "maintenance-on: command", "maintenance-on: database",
    "reverse: vault made", "reverse: drift checked under locks", "reverse: verified", "reverse: committed", "reverse: closed", "app: deployed",
    "maintenance-off: database", "maintenance-off: command", "announce-end: begun", "announce-end: told",
]  # fmt: skip


@pytest.fixture
def made(tmp_path: Path, pool: Pool) -> Iterator[Shop]:
    with shop(tmp_path, pool, toml=TOML, app=False) as opened:
        (opened.root / "deployed.log").write_text("v2\n")
        (opened.root / "deploys.log").write_text("")
        yield opened


def lines(made: Shop, name: str) -> list[str]:
    path = made.root / name
    return path.read_text().split() if path.exists() else []


def start(made: Shop, at: str) -> None:
    said = made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss", kill=at)
    assert said.exit_code == -9, f"{at} was not met: {said.text}"


def at_most_twice(made: Shop, name: str, word: str, *, there: bool) -> None:
    """A shell command may run again when the process was killed between its end and its record, never more."""
    count = lines(made, name).count(word)
    assert 1 <= count <= (2 if there else 1), (name, word, count)


@pytest.mark.parametrize("at", some(POINTS))
def test_resume_ends_right_and_nothing_is_doubled(made: Shop, at: str) -> None:
    start(made, at)
    said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    step = at.partition(".")[0].partition(":")[0]
    assert made.ledger() == ["20240101000000_init"]
    with made.connect() as connection:
        operations = connection.execute("select kind, state from unmigrate.operation").fetchall()
        assert [o for o in operations if o[1] != "abandoned"] == [("rollback", "done")], operations
        assert connection.execute("select count(*) from unmigrate.ledger_row").fetchone() == (1,)
        assert connection.execute('select count(*) from "Order"').fetchone() == (3,)
        assert connection.execute("select has_database_privilege('public', current_database(), 'CONNECT')").fetchone() == (True,)
    at_most_twice(made, "flags.log", "off", there=step == "flags")
    at_most_twice(made, "maintenance.log", "on", there=step == "maintenance-on")
    at_most_twice(made, "maintenance.log", "off", there=step == "maintenance-off")
    at_most_twice(made, "deploys.log", "v1", there=step == "app")
    keys = [t["key"] for t in made.hook.told]
    assert len(keys) == len(set(keys)), keys
    silent = {"announce-begin: begun", "announce-end: begun"}
    assert len(keys) == (1 if at in silent else 2), keys
    report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
    for word in (BAD_NAME, "writers are gone", "orders are there", "has rolled back" if at not in silent else "Rolled back"):
        assert word in report, report
    assert made.unmigrate("resume").exit_code == 2  # it has ended


@pytest.mark.parametrize(
    "at",
    ["preflight.apply done", "flags: discounts", "announce-begin: told", "maintenance-on.prepare done", "maintenance-on: command",
     "maintenance-on: database", "quiet.apply begins", "quiet.apply done", "reverse.prepare done", "reverse: vault made", "reverse: drift checked under locks"],
)  # fmt: skip
def test_abort_after_a_kill_before_the_switch_leaves_all_as_it_was(made: Shop, at: str) -> None:
    start(made, at)
    said = made.unmigrate("abort", "--yes")
    assert said.exit_code == 0, said.text
    assert made.ledger()[-1] == BAD_NAME
    with made.connect() as connection:
        assert connection.execute("select has_database_privilege('public', current_database(), 'CONNECT')").fetchone() == (True,)
        assert connection.execute('select count(*), sum(discount) from "Order"').fetchone() == (3, 5)
    assert not lines(made, "deploys.log")
    if lines(made, "flags.log"):
        assert lines(made, "flags.log")[-1] == "on"
    if lines(made, "maintenance.log"):
        assert lines(made, "maintenance.log")[-1] == "off"
    assert made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss").exit_code == 0


@pytest.mark.parametrize("at", ["reverse: committed", "reverse.apply done", "app.apply done"])
def test_abort_after_the_switch_refuses_with_the_way_out_and_undoes_nothing(made: Shop, at: str) -> None:
    start(made, at)
    before = (lines(made, "maintenance.log"), lines(made, "flags.log"), lines(made, "deploys.log"))
    said = made.unmigrate("abort", "--yes")
    assert said.exit_code == 3, said.text
    assert "resume" in said.text
    assert (lines(made, "maintenance.log"), lines(made, "flags.log"), lines(made, "deploys.log")) == before
    assert made.unmigrate("resume").exit_code == 0


def test_abort_between_the_switch_and_its_last_steps_says_what_stands(made: Shop) -> None:
    """Steps after the switch are left (an index to build): it is rolled back all the same."""
    start(made, "reverse: committed")
    with made.connect() as connection:
        connection.execute("update unmigrate.operation set state = 'switched', finished_at = null")
    said = made.unmigrate("abort", "--yes")
    assert said.exit_code == 3, said.text
    assert "is rolled back already" in said.text
    assert lines(made, "maintenance.log") == ["on"]
    assert made.unmigrate("resume").exit_code == 0


@pytest.mark.parametrize("at", ["maintenance-on.undo begins", "maintenance-off: database", "announce-begin.undo done", "flags.undo begins"])
def test_an_abort_that_is_killed_goes_on(made: Shop, at: str) -> None:
    start(made, "reverse.prepare done")
    assert made.unmigrate("abort", "--yes", kill=at).exit_code == -9
    said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    assert lines(made, "maintenance.log")[-1] == "off"
    assert lines(made, "flags.log")[-1] == "on"
    assert made.ledger()[-1] == BAD_NAME
    assert len([t for t in made.told() if "gave up" in t]) == 1


def test_two_at_once(made: Shop) -> None:
    """A second process does not touch a run that is being worked at."""
    import subprocess
    import sys

    waits = "touch begun; until [ -e asked ]; do sleep 0.1; done; echo off"
    (made.root / "unmigrate.toml").write_text(TOML.replace('off_command = "echo off', f'off_command = "{waits}'))
    line = [sys.executable, "-m", "unmigrate", "run", "rollback", "--yes", "--maintenance", "--accept-loss"]
    with subprocess.Popen(line, cwd=made.root, env=made.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as first:
        from tests.runbook.shop import wait_for

        wait_for(lambda: (made.root / "begun").stat(), 60)
        said = made.unmigrate("resume")
        (made.root / "asked").touch()
        assert said.exit_code == 3, said.text
        assert "another" in said.text
        first.communicate()
        assert first.returncode == 0
    assert lines(made, "flags.log") == ["off"]


@pytest.mark.parametrize("way", ["resume", "abort"])
def test_a_bug_in_the_flow_is_told_and_survived(made: Shop, way: str) -> None:
    said = made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss", kill="broken")
    assert said.exit_code == 6, said.text
    assert "a bug" in said.text
    assert "Traceback" not in said.text
    said = made.unmigrate(*(["resume"] if way == "resume" else ["abort", "--yes"]))
    assert said.exit_code == 0, said.text
    assert len(made.told()) == 2
    assert made.ledger() == (["20240101000000_init"] if way == "resume" else ["20240101000000_init", BAD_NAME])


def test_a_disk_that_is_full_stops_it_and_resume_goes_on(made: Shop) -> None:
    """The file with the state cannot grow any more, from the moment that maintenance is on."""
    full = 'on = "prlimit --pid $PPID --fsize=4096; echo on'
    (made.root / "unmigrate.toml").write_text(TOML.replace('on = "echo on', full))
    said = made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss", kill="never")
    assert (said.exit_code, "state cannot be written" in said.text, "make room" in said.text) == (6, True, True), said.text
    assert made.ledger()[-1] == BAD_NAME
    (made.root / "unmigrate.toml").write_text(TOML)
    said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    assert made.ledger() == ["20240101000000_init"]
    assert lines(made, "maintenance.log")[-1] == "off"


def test_while_the_disk_with_the_state_is_full_every_command_ends_and_says_so(made: Shop, small_disk: Path) -> None:
    resize(small_disk, 4)
    made.state = small_disk
    fill = f'on = "cat /dev/zero > {small_disk}/ballast; echo on'
    (made.root / "unmigrate.toml").write_text(TOML.replace('on = "echo on', fill))
    told = [made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss", kill="never")]
    (made.root / "unmigrate.toml").write_text(TOML)
    told += [made.unmigrate(*words, kill="never") for words in (("resume",), ("abort", "--yes"), ("resume",))]
    for said in told:
        assert said.exit_code in (4, 6), said.text
        assert "make room" in said.text, said.text
        assert "Traceback" not in said.text
    assert made.ledger()[-1] == BAD_NAME
    (small_disk / "ballast").unlink()
    said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    assert made.ledger() == ["20240101000000_init"]
    assert lines(made, "maintenance.log")[-1] == "off"


@pytest.mark.parametrize("when", ["before it", "meanwhile"])
def test_while_the_server_with_the_state_is_full_every_command_ends_and_says_so(made: Shop, small_disk: Path, when: str) -> None:
    resize(small_disk, 120)
    with server_on(small_disk, password=SECRET) as url:
        fill = f"dd if=/dev/zero of={small_disk}/ballast bs=8k 2>/dev/null"
        toml = TOML + '[run]\nstate_env = "RUNS"\n'
        (made.root / "unmigrate.toml").write_text(toml.replace('on = "echo on', f'on = "{fill}; echo on') if when == "meanwhile" else toml)
        if when == "before it":
            assert (
                made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss", kill="quiet.apply done", RUNS=url).exit_code
                == -9
            )
            subprocess.run(fill, shell=True, check=False)
            told = []
        else:
            told = [made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss", RUNS=url)]
        (made.root / "unmigrate.toml").write_text(toml)
        told += [made.unmigrate(*words, RUNS=url) for words in (("resume",), ("abort", "--yes"), ("resume",))]
        for said in told:  # how far it comes is up to the room that is left in the pages of the state's tables
            assert said.exit_code in (3, 4, 6), said.text
            assert "make room" in said.text or (said.exit_code == 3 and "rolled back already" in said.text), said.text
            assert "Traceback" not in said.text
        (small_disk / "ballast").unlink()
        said = made.unmigrate("resume", RUNS=url)
        assert said.exit_code == 0, said.text
        assert made.ledger() == ["20240101000000_init"]
        assert lines(made, "maintenance.log")[-1] == "off"
