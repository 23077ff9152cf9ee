"""How much one migration does: statements, tables that were there before, and phases."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from unmigrate.catalog.model import Object
from unmigrate.catalog.observer import Delta
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
    found = {DATA} if writes(sql).tables else set()
    found |= {EXPAND} if _adds(delta.created, delta.dropped) or any(_more(new, old) for old, new in _enums(delta)) else set()
    found |= {CONTRACT} if _adds(delta.dropped, delta.created) or any(_more(old, new) for old, new in _enums(delta)) else set()
    return Size(count, tuple(sorted(touched)), tuple(p for p in (EXPAND, DATA, CONTRACT) if p in found))


def _adds(these: Iterable[Object], others: Iterable[Object]) -> bool:
    """Whether there is something among these that an app may use. A view or routine made anew is none, an enum is judged by its labels."""
    again = {(o.kind, o.name) for o in others if o.kind in ("enum", "view", "routine")}
    return any(o.kind in ("table", "column", "enum", "view", "routine") and (o.kind, o.name) not in again for o in these)


def _enums(delta: Delta) -> list[tuple[Object, Object]]:
    """Enums that changed, before and after, those that were made anew included."""
    created = {o.name: o for o in delta.created if o.kind == "enum"}
    anew = [(o, created[o.name]) for o in delta.dropped if o.kind == "enum" and o.name in created]
    return [*((old, new) for old, new in delta.altered if new.kind == "enum"), *anew]


def _more(one: Object, other: Object) -> bool:
    return not set(one.facts["labels"] or ()) <= set(other.facts["labels"] or ())
