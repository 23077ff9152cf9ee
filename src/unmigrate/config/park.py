"""[park]: what a guarded deploy keeps, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Park:
    """retention_days: how long the vault keeps what was parked; exclude: columns ("schema.table.column", "table.column") that are really
    dropped; mode: rename aside where that is safe ("auto"), always a side table ("side-table"), or nothing ("off")."""

    retention_days: int = 14
    exclude: tuple[str, ...] = ()
    mode: Literal["auto", "side-table", "off"] = "auto"

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.retention_days < 0:
            yield "retention_days", f"retention_days is {self.retention_days}", "give days, 0 or more"
