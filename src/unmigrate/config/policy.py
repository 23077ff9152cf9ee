"""[policy]: what a deploy refuses."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """No rules yet: the section is there for them."""
