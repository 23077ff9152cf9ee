"""[park]: what a guarded deploy keeps, and for how long."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class Park:
    """retention_days: how long the vault keeps what was parked; retention: {"schema.table" or "table": days}, for these; exclude: columns
    ("schema.table.column", "table.column") that are really dropped; mode: rename aside where that is safe ("auto"), always a side table
    ("side-table"), or nothing ("off")."""

    retention_days: int = 14
    retention: dict[str, float] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    mode: Literal["auto", "side-table", "off"] = "auto"

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if self.retention_days < 0:
            yield "retention_days", f"retention_days is {self.retention_days}", "give days, 0 or more"
        for table, days in self.retention.items():
            if days < 0:
                yield "retention", f"the retention of {table} is {days}", "give days, 0 or more"

    def days(self, tables: Iterable[str]) -> float:
        """How long what one migration keeps of these tables ("schema.table", or "table" where the schema is not known) stays.

        It goes together, as the way back needs all of it: the shortest period counts where a table has less than `retention_days`, else the
        longest.
        """
        named = [days for table in tables if (days := self._of(table)) is not None]
        shorter = [days for days in named if days < self.retention_days]
        return min(shorter) if shorter else max([float(self.retention_days), *named])

    def _of(self, table: str) -> float | None:
        schema, _, bare = table.rpartition(".")
        for name in (table, bare):
            if name in self.retention:
                return self.retention[name]
        other = (days for name, days in self.retention.items() if not schema and name.rpartition(".")[2] == bare)
        return min(other, default=None)
