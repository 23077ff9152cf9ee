"""Processes forked from one that has imported everything: a second of work less for each of hundreds that are only there to be killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from typing import Any

# Not kubernetes, which reads KUBECONFIG when it is imported.
_LIBRARIES = (
    "dbos", "psycopg", "unmigrate.cli.run", "unmigrate.cli.resume", "unmigrate.cli.abort", "unmigrate.execute.deploy",
    "unmigrate.execute.rollback", "unmigrate.park.purge",
)  # fmt: skip
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload([__name__, *_LIBRARIES])


def exit_of(target: Callable[..., None], *given: Any, seconds: float = 180.0) -> int:
    """Exit status of a function of a module, run in a process of its own (negative: the signal that ended it). Raises TimeoutError."""
    process = context.Process(target=target, args=given)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"it took longer than {seconds:.0f} s")
    return process.exitcode


def dying(victim: int) -> Callable[[str], None]:
    """A hook for boundaries that ends this process by SIGKILL at the one of this number, from 0 on."""
    left = victim

    def step(_: str) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    return step
