"""[run] and [announce]: how a run of the runbook is kept, approved, told and reported."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Run:
    """state_env: the environment variable with the PostgreSQL URL where runs are kept, so that a colleague can go on with one; without it
    they are kept in a SQLite file of this machine. approve: steps that wait for a person; report: folder for reports;
    snapshot: one is made for protection, by [snapshot], before anything is undone;
    timeout: seconds per step, but for those named in `timeouts`."""

    state_env: str | None = None
    approve: tuple[str, ...] = ()
    report: str = "unmigrate-reports"
    snapshot: bool = False
    timeout: float = 600.0
    timeouts: dict[str, float] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.timeout <= 0:
            yield "timeout", f"timeout is {self.timeout}", "give seconds, more than 0"
        for step, seconds in self.timeouts.items():
            if seconds <= 0:
                yield "timeouts", f"the timeout of {step} is {seconds}", "give seconds, more than 0"


@dataclass(frozen=True, slots=True)
class Announce:
    """webhook_env: the environment variable with the URL of a Slack-compatible webhook; command: gets the text in UNMIGRATE_TEXT."""

    webhook_env: str | None = None
    command: str | None = None
