"""Lines for people break between words on a terminal, and not at all in a file."""

import sys
from pathlib import Path

import pytest

from tests.command import run
from tests.support import write_project
from tests.terminal import at_terminal


@pytest.mark.parametrize("words", [["doctor"], ["status"]])
def test_80_columns(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    project = write_project(tmp_path / ("app of a long name " * 6).strip(), [("1_init", "CREATE TABLE t (id int)")])
    asked = [*words, "--project", str(project), "--url", "postgresql://somebody@127.0.0.1:1/a_database_of_quite_some_length"]
    _, shown = at_terminal([sys.executable, "-m", "unmigrate", *asked], "nothing is asked", b"")
    lines = [line for line in shown.splitlines() if "\x1b" not in line and line.strip()]
    assert lines and max(map(len, lines)) <= 80, lines
    assert max(map(len, run(*asked)[1].splitlines())) > 80
