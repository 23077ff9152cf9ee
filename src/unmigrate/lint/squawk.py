"""squawk's findings, exactly as it gives them: its own configuration (.squawk.toml) and its own comments (`-- squawk-ignore`) count.

It is a program of its own (PyPI squawk-cli, extra `check`); started early, it runs beside our own work.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unmigrate.config.lint import Level
from unmigrate.errors import EnvironmentProblem
from unmigrate.lint.model import Finding

_LEVELS: Mapping[str, Level] = {"Error": "error", "Warning": "warning"}
PAGES = "https://squawkhq.com/docs/"
PREFIX = "squawk/"


def program() -> str | None:
    """Where squawk is: beside our own Python, else on the PATH; None where it is not."""
    beside = Path(sys.executable).parent / "squawk"
    return str(beside) if beside.is_file() else shutil.which("squawk")


@dataclass(frozen=True, slots=True)
class Running:
    """squawk at work on files (paths relative to `folder`)."""

    process: "subprocess.Popen[bytes]"

    def findings(self, names: Mapping[str, str]) -> list[Finding]:
        """What it found; names: {file: migration}. Raises EnvironmentProblem where it failed to run."""
        output, errors = self.process.communicate()
        try:
            found = json.loads(output or b"[]")
        except ValueError as error:
            message = f"squawk failed: {errors.decode(errors='replace').strip()[:300] or error}"
            raise EnvironmentProblem(message, code="squawk", remedy="run squawk itself to see, or set squawk = false in [lint]") from error
        if self.process.returncode not in (0, 1):
            message = f"squawk failed: {errors.decode(errors='replace').strip()[:300]}"
            raise EnvironmentProblem(message, code="squawk", remedy="run squawk itself to see, or set squawk = false in [lint]")
        return [_finding(each, names) for each in found]


def start(folder: Path, files: Sequence[str]) -> Running | None:
    """Begin to look at files; None where squawk is not installed, or there is nothing to look at."""
    where = program()
    if where is None or not files:
        return None
    # Files come from the command line one by one: a name with special characters would be a pattern.
    command = [where, "--reporter", "json", *files]
    return Running(subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE))


def _finding(raw: Mapping[str, object], names: Mapping[str, str]) -> Finding:
    file = str(raw["file"])
    return Finding(
        rule=f"{PREFIX}{raw['rule_name']}",
        level=_LEVELS.get(str(raw["level"]), "warning"),
        migration=names.get(file, ""),
        message=str(raw["message"]),
        file=file,
        line=int(str(raw["line"])) + 1,
        column=int(str(raw["column"])) + 1,
        help=str(raw["help"] or ""),
    )
