"""A command at a terminal, answered when it shows certain words."""

import fcntl
import os
import pty
import select
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path


def at_terminal(
    words: list[str], sees: str, answer: bytes, *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """(exit status, what stood on the terminal)."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=_take_terminal, cwd=cwd, env=env
    )  # fmt: skip
    os.close(slave)
    shown, answered = "", False
    while select.select([master], [], [], 120)[0]:
        try:
            shown += os.read(master, 65536).decode(errors="replace")
        except OSError:  # nobody holds the other end any more
            break
        if not answered and sees in shown:
            os.write(master, answer)
            answered = True
    os.close(master)
    process.kill()  # unless it has ended, which it should have
    return process.wait(120), shown


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
