"""[[flags]]: feature flags that a run switches off first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unmigrate.config.http import Request


@dataclass(frozen=True, slots=True)
class Flag:
    """migrations: names (or their ends, without the timestamp) whose rollback switches it off; none means every rollback.
    off and on: HTTP requests; off_command and on_command: shell commands. They may run twice after an interruption."""

    name: str
    migrations: tuple[str, ...] = ()
    off: Request | None = None
    on: Request | None = None
    off_command: str | None = None
    on_command: str | None = None

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.off is None and self.off_command is None:
            yield "name", f"nothing switches the flag {self.name} off", "give off (a request) or off_command"


def gating(flags: Iterable[Flag], names: Iterable[str]) -> tuple[Flag, ...]:
    """The flags that concern these migrations: those that name one, and those that name none."""
    listed = list(names)
    return tuple(f for f in flags if not f.migrations or any(n == m or n.endswith(f"_{m}") for m in f.migrations for n in listed))
