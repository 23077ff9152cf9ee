"""[lint]: which rules count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lint:
    """No rules yet: the section is there for them."""
