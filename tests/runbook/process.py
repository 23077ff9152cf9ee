"""The command line as a process of its own, forked from one that has imported everything: a second of work less for each of hundreds.

The entry `python -m unmigrate` itself is run by tests/oracle and tests/cli.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.forked import exit_of


def run(words: Sequence[str], *, cwd: Path, env: Mapping[str, str], kill: str = "", seconds: float = 180.0) -> tuple[int, str]:
    """Exit status (negative: the signal that ended it), and what it printed. kill: as in `killed`. Raises TimeoutError."""
    with TemporaryDirectory(prefix="unmigrate-said-") as folder:
        try:
            return exit_of(_enter, list(words), str(cwd), dict(env), kill, folder, seconds=seconds), _said(folder)
        except TimeoutError as error:
            raise TimeoutError(f"unmigrate {' '.join(words)}: {error}: {_said(folder)}") from error


def _said(folder: str) -> str:
    return "".join(path.read_text(errors="replace") for path in (Path(folder, "out"), Path(folder, "err")) if path.exists())


def _enter(words: list[str], cwd: str, env: dict[str, str], kill: str, folder: str) -> None:
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT, 0o600), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    from tests.runbook import killed
    from unmigrate.cli import main

    status = killed.end_at(kill, words) if kill else main.main(words)
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(status)
