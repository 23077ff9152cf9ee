"""[scratch]: what every replay of the history on a scratch server begins with."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scratch:
    """setup: a file of SQL, relative to unmigrate.toml, for what the history expects to find (a provider's schemas); "" for none. It is
    run like a migration, without a superuser's rights."""

    setup: str = ""
