"""[policy]: what a deploy refuses."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """lossy, unproved: "refuse" such a migration whatever the flags, or let --accept-loss and the person decide ("ask").

    max_lock_seconds: refuse a way up or back predicted to hold its locks longer; None leaves it to --max-lock.
    snapshot_hours: a migration whose guarded way back is not proved lossless needs a snapshot younger than this; None asks for none.
    """

    lossy: Literal["ask", "refuse"] = "ask"
    unproved: Literal["ask", "refuse"] = "ask"
    max_lock_seconds: float | None = None
    snapshot_hours: float | None = None

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.snapshot_hours is not None and self.snapshot_hours <= 0:
            yield "snapshot_hours", f"snapshot_hours is {self.snapshot_hours:g}", "give a number of hours, or leave it out"
        if self.max_lock_seconds is not None and self.max_lock_seconds <= 0:
            yield "max_lock_seconds", f"max_lock_seconds is {self.max_lock_seconds:g}", "give a number of seconds, or leave it out"
