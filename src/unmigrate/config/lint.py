"""[lint]: which rules count, how much, and how large a migration may be."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["error", "warning", "note", "off"]


@dataclass(frozen=True, slots=True)
class Lint:
    """rules: {rule: level} for ours and, as "squawk/<rule>", for squawk's. fail_on: the lowest level that makes `check` exit 1.

    max_statements, max_tables (that were there before), max_phases (of expand, data, contract): in one migration; 0 is no limit.
    """

    squawk: bool = True
    fail_on: Literal["error", "warning", "note", "never"] = "error"
    rules: dict[str, Level] = field(default_factory=dict)
    max_statements: int = 100
    max_tables: int = 10
    max_phases: int = 2

    def problems(self) -> Iterator[tuple[str, str, str]]:
        for key in ("max_statements", "max_tables", "max_phases"):
            if (value := getattr(self, key)) < 0:
                yield key, f"{key} is {value}", "give a number, or 0 for no limit"
