"""The connection string in a file like .env: one line is changed, the rest stays as it is, and so does the file's mode."""

import os
import re
from pathlib import Path

from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma import dotenv


def value(path: Path, variable: str) -> str:
    """What the file says now. Raises EnvironmentProblem."""
    if not path.is_file():
        raise EnvironmentProblem(f"there is no file {path}", code="env-file", remedy="correct connection.env_file.file in unmigrate.toml")
    found = dotenv.read(path).get(variable)
    if found is None:
        message = f"{path} has no {variable}"
        raise EnvironmentProblem(message, code="env-file", remedy="correct connection.env_file.variable in unmigrate.toml")
    return found


def may_write(path: Path) -> None:
    """Raises EnvironmentProblem where the file could not be replaced."""
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise EnvironmentProblem(f"{path} may not be written", code="env-file", remedy="run it as the owner of the file")


def put(path: Path, variable: str, text: str) -> None:
    """Change the last line that sets the variable. All or nothing: a new file takes the old one's place."""
    before = path.read_text(encoding="utf-8")
    pattern = re.compile(rf"^(\s*(?:export\s+)?{re.escape(variable)}\s*[=:]\s*)(.*)$", re.MULTILINE)
    matches = list(pattern.finditer(before))
    if not matches:
        raise EnvironmentProblem(f"{path} has no line that sets {variable}", code="env-file", remedy="write it on a line of its own")
    match = matches[-1]
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' if "'" in text else f"'{text}'"
    after = before[: match.start()] + match[1] + quoted + before[match.end() :]
    temporary = path.with_name(f"{path.name}.unmigrate-new")
    mode = path.stat().st_mode & 0o777
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w", encoding="utf-8") as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
    temporary.chmod(mode)
    temporary.replace(path)
    if value(path, variable) != text:
        raise EnvironmentProblem(f"{path} does not read back as written", code="env-file", remedy="set it by hand")
