"""Ctrl-C while a run is at work, and at its question: it ends at once, says what to do, and goes on."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runbook.shop import TOML, Shop, shop
from tests.terminal import at_terminal
from unmigrate.scratch.pool import Pool


@pytest.fixture
def made(tmp_path: Path, pool: Pool) -> Iterator[Shop]:
    with shop(tmp_path, pool) as opened:
        yield opened


def answered(made: Shop, sees: str, *words: str) -> tuple[int, str]:
    return at_terminal([sys.executable, "-m", "unmigrate", *words], sees, b"\x03", cwd=made.root, env=made.environ)


def test_at_the_question(made: Shop) -> None:
    (made.root / "unmigrate.toml").write_text('[run]\napprove = ["reverse"]\n' + TOML)
    status, shown = answered(made, "Go on with", "run", "rollback", "--yes", "--maintenance", "--accept-loss")
    assert status == 6, shown
    assert "--approve reverse" in shown and "unmigrate abort" in shown
    assert (made.root / "maintenance.log").read_text() == "on\n"
    assert made.unmigrate("abort", "--yes").exit_code == 0
    assert (made.root / "maintenance.log").read_text() == "on\noff\n"


def test_in_the_middle(made: Shop) -> None:
    (made.root / "unmigrate.toml").write_text(TOML.replace("quiet = 0.3", "quiet = 6"))
    status, shown = answered(made, "maintenance on", "run", "rollback", "--yes", "--maintenance", "--accept-loss")
    assert status == 130, shown
    assert shown.splitlines()[-1].endswith("unmigrate resume goes on, unmigrate abort goes back.")
    assert made.unmigrate("resume").exit_code == 0
    assert (made.root / "maintenance.log").read_text().endswith("on\noff\n")  # it may be put on twice, where that was not recorded yet
