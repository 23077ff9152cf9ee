"""[sample]: what `prove --on` reads of a database, and how what it reads is masked."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Sample:
    """rows: of each table that the migrations concern, a tenth of that of others; hold: seconds after which the source is let go of;
    statement: seconds for one query there. keep: columns ("schema.table.column", * for any) whose text is read as it is. mask: {column:
    SQL expression that is read instead}, for columns that are not text, or to mask text in another way."""

    rows: int = 1000
    hold: float = 60.0
    statement: float = 10.0
    keep: tuple[str, ...] = ()
    mask: dict[str, str] = field(default_factory=dict)

    def problems(self) -> Iterator[tuple[str, str, str]]:
        for key in ("rows", "hold", "statement"):
            if (value := getattr(self, key)) <= 0:
                yield key, f"{key} is {value}", "give a number above 0"
