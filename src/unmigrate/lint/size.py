"""How much one migration does: statements, tables that were there before, and phases."""

from dataclasses import dataclass
from typing import Any

from unmigrate.lint.model import Subject
from unmigrate.sql.script import ScriptError, split
from unmigrate.sql.writes import writes

EXPAND, DATA, CONTRACT = "expand", "data", "contract"


@dataclass(frozen=True, slots=True)
class Size:
    """statements: without transaction control. tables: those there before that it changes. phases: of expand, data, contract."""

    statements: int
    tables: tuple[str, ...]
    phases: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"statements": self.statements, "tables": list(self.tables), "phases": list(self.phases)}


def size(subject: Subject) -> Size:
    """The size of a migration; what could not be observed counts as nothing."""
    sql = subject.migration.sql
    try:
        count = sum(not s.control for s in split(sql))
    except ScriptError:
        count = 0
    if subject.proof is None:
        return Size(count, (), ())
    delta = subject.proof.delta
    before = {o.key.oid: o.name for o in delta.before.of_kind("table").values()}
    touched = {before[key.oid] for key in delta.keys if key.catalog == "pg_class" and key.oid in before}
    found = set()
    if any(o.kind in ("table", "column", "enum", "index", "constraint", "view", "routine") for o in delta.created):
        found.add(EXPAND)
    if any(o.kind in ("table", "column", "enum") for o in delta.dropped):
        found.add(CONTRACT)
    if writes(sql).tables:
        found.add(DATA)
    return Size(count, tuple(sorted(touched)), tuple(p for p in (EXPAND, DATA, CONTRACT) if p in found))
