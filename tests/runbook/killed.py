"""The command line, ended by SIGKILL at a boundary: python -m tests.runbook.killed "reverse: committed" run rollback …

"list" in place of a boundary writes every boundary to $BOUNDARIES instead; "broken" lets the flow itself fail after two steps.
"""

import os
import signal
import sys
from pathlib import Path

from unmigrate.cli import main, run, run_common


def _trace(wanted: str):  # type: ignore[no-untyped-def]
    boundary, _, count = wanted.partition("#")
    left = int(count or 1)

    def trace(at: str) -> None:
        nonlocal left
        if wanted == "list":
            with Path(os.environ["BOUNDARIES"]).open("a") as file:
                file.write(at + "\n")
        elif at == boundary:
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    return trace


def _break() -> None:
    from unmigrate.runbook import flow

    missing, met = flow._missing, []

    def broken(step, tale):  # type: ignore[no-untyped-def]
        met.append(step)
        if len(met) > 3:
            raise KeyError("a bug")
        return missing(step, tale)

    flow._missing = broken


def end_at(wanted: str, words: list[str]) -> int:
    """The command line, in this process."""
    if wanted == "broken":
        _break()
    made = run_common.scene_of

    def scene_of(*args, **kwargs):  # type: ignore[no-untyped-def]
        scene = made(*args, **kwargs)
        scene.trace = _trace(wanted)
        return scene

    run_common.scene_of = run.scene_of = scene_of
    return main.main(words)


if __name__ == "__main__":
    sys.exit(end_at(sys.argv[1], sys.argv[2:]))
