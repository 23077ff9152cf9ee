"""Names of what is parked: short, unique to one guarded migration, and telling a person what the thing was.

What a migration drops is parked as `_unmigrate_<id>_old_<name>`, what its way back takes away as `_unmigrate_<id>_new_<name>`;
tables keep their names, in the schemas `unmigrate_<id>_old` and `unmigrate_<id>_new`. Images of rows stand in `unmigrate_<id>`.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Literal

from unmigrate.catalog.parked import plain
from unmigrate.catalog.sqltext import ident

Side = Literal["old", "new"]
LONGEST = 63  # NAMEDATALEN - 1, in bytes


@dataclass(slots=True)
class Names:
    """Names for one guarded migration and one side; the same thing never gets two, and two things never get one.

    not_null_is_named: NOT NULL is a constraint with a name, as it is since PostgreSQL 18.
    """

    id: str
    side: Side
    not_null_is_named: bool = False
    _given: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> str:
        return f"unmigrate_{self.id}"

    @property
    def schema(self) -> str:
        """Where tables are parked."""
        return f"unmigrate_{self.id}_{self.side}"

    def aside(self, label: str, of: str = "") -> str:
        """The name under which a thing called `label` (an identifier, maybe quoted) is parked, quoted. of: what it belongs to."""
        bare = f"_unmigrate_{self.id}_{self.side}_{plain(label)}"
        name = _fitting(bare, of)
        if self._given.setdefault(name, f"{of}.{label}") != f"{of}.{label}":
            name = _fitting(bare.ljust(LONGEST + 1), f"{of}.{label}")
            self._given[name] = f"{of}.{label}"
        return ident(name)


def _fitting(name: str, of: str) -> str:
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(f"{of}.{name}".encode()).hexdigest()[:6]
    return f"{name.rstrip().encode()[: LONGEST - 7].decode(errors='ignore')}_{digest}"
