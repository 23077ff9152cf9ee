"""Shell commands of the configuration: run with a time limit, their output kept as evidence, secrets taken out of it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from unmigrate.errors import EnvironmentProblem, FailedError

_KEPT = 2000  # characters of output that are kept


def run(
    command: str, *, cwd: Path, environ: Mapping[str, str], seconds: float, extra: Mapping[str, str] | None = None,
    given: str | None = None, secrets: tuple[str, ...] = (), hush: bool = False,
) -> str:  # fmt: skip
    """Its standard output. given: its standard input; secrets: texts never to be shown; hush: its output is a secret.

    Raises FailedError when it ends with another status than 0, EnvironmentProblem when it takes too long; what it started is ended too.
    """
    process = subprocess.Popen(
        command, shell=True, cwd=cwd, env={**environ, **(extra or {})}, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.PIPE if given is not None else subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = process.communicate(given, timeout=max(seconds, 0.1))
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):  # what left its group may hold the pipes open for ever
            process.communicate(timeout=1)
        message = f"`{command}` took longer than {seconds:.0f} s"
        raise EnvironmentProblem(message, code="timeout", remedy="look why, or raise the timeout in unmigrate.toml") from error
    if process.returncode:
        said = "" if hush else masked(err.strip() or out.strip(), secrets)[-_KEPT:]
        message = f"`{command}` ended with {process.returncode}{f': {said}' if said else ''}"
        raise FailedError(message, code="command", remedy="run it by hand to see why")
    return out


def tail(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The end of an output, as evidence."""
    return masked(text.strip(), secrets)[-_KEPT:]


def masked(text: str, secrets: tuple[str, ...]) -> str:
    for secret in secrets:
        if secret:
            text = text.replace(secret, "•••")
    return text
