"""[snapshot]: who makes snapshots, and how."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """No settings yet: the section is there for them."""
