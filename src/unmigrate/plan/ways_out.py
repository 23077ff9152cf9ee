"""Ways out for rows that block, as a person chose them: a value, NULL, another label, or deletion into the vault.

They are no part of the proof; what they lead to is verified before the switch commits, as everything is.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from unmigrate.catalog.sqltext import literal
from unmigrate.errors import UsageError
from unmigrate.plan.model import VALUES_OF, Check, Plan, WayOut

_UPDATE = re.compile(r'^UPDATE ((?:"[^"]+"|\w+)\.(?:"[^"]+"|\w+)) SET ("[^"]+"|\w+) = ')


@dataclass(frozen=True, slots=True)
class Decisions:
    """fill: {object: SQL}; labels: {enum: {label: label instead}}; set_null, delete: objects. Objects as blockers name them."""

    fill: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    set_null: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.fill or self.labels or self.set_null or self.delete)


def decided(plans: Sequence[Plan], decisions: Decisions) -> list[Plan]:
    """The plans with these ways out. Raises UsageError for an object that no plan asks about, or that a step fills already."""
    checks = [c for plan in plans for c in plan.checks]
    outs = list(_all(checks, decisions, _filled(plans)))
    return [_with(plan, tuple(o for o in outs if any(c.object == o.object for c in plan.checks))) for plan in plans]


def _with(plan: Plan, outs: tuple[WayOut, ...]) -> Plan:
    """What is decided under the locks is not missed before them."""
    answered = {f"{VALUES_OF}{out.object}" for out in outs}
    return replace(plan, ways_out=outs, steps=tuple(s for s in plan.steps if s.phase != "prepare" or s.object not in answered))


def _filled(plans: Iterable[Plan]) -> frozenset[str]:
    """Columns, "schema.table.column", that steps of the plans fill with what a person gave."""
    updates = (_UPDATE.match(step.sql) for plan in plans for step in plan.steps)
    return frozenset(f"{match[1]}.{match[2]}" for match in updates if match)


def _all(checks: Collection[Check], decisions: Decisions, filled: Collection[str]) -> Iterator[WayOut]:
    for name, expression in decisions.fill.items():
        for c in _named(checks, name, late=True) if name not in filled else ():
            yield WayOut(c.object, f"UPDATE {c.table} t SET {_set(c, f'({expression})')} WHERE {c.where}", before=c.before)
    for name in decisions.set_null:
        for c in _named(checks, name):
            yield WayOut(c.object, f"UPDATE {c.table} t SET {_set(c, 'NULL')} WHERE {c.where}")
    for name in decisions.delete:
        for c in _named(checks, name, whole=True):
            yield WayOut(c.object, f"DELETE FROM {c.table} t WHERE {c.where}", f"SELECT t.* FROM {c.table} t WHERE {c.where}", c.table)
    for enum, labels in decisions.labels.items():
        yield from _mapped(checks, enum, labels)


def _mapped(checks: Collection[Check], enum: str, labels: Mapping[str, str]) -> Iterator[WayOut]:
    found = [c for c in checks if c.columns and _plain(enum) in (_plain(c.enum), _plain(c.enum).rpartition(".")[2])]
    if not found:
        raise _unknown(enum, {c.enum for c in checks if c.enum})
    for c in found:
        (column,) = c.columns
        for old, new in labels.items():
            change = f"array_replace({column}, {literal(old)}, {literal(new)})" if c.array else literal(new)
            where = f"{column}::text[] @> ARRAY[{literal(old)}]" if c.array else f"{column}::text = {literal(old)}"
            yield WayOut(c.object, f"UPDATE {c.table} t SET {column} = {change} WHERE {where}")


def _set(check: Check, value: str) -> str:
    return ", ".join(f"{column} = {value}" for column in check.columns)


def _named(checks: Collection[Check], name: str, *, whole: bool = False, late: bool = False) -> list[Check]:
    """The checks of an object; its name may be given without quotes, and without its schema. whole: rows, not columns of them; late: also
    those that are answered before a step.
    """
    possible = [c for c in checks if c.where and (c.columns or whole) and (late or not c.before)]
    named = [c for c in possible if _plain(c.object) == _plain(name)]
    named = named or [c for c in possible if _plain(c.object).endswith(f".{_plain(name)}")]
    if len({c.object for c in named}) != 1:
        raise _unknown(name, {c.object for c in possible})
    return named


def _plain(name: str) -> str:
    return name.replace('"', "")


def _unknown(name: str, known: Iterable[str]) -> UsageError:
    listed = ", ".join(sorted(known)) or "none"
    return UsageError(f"{name} is not what rows could block", code="way-out", remedy=f"these could: {listed}")
