"""What is at stake in a migration that somebody else will run: tables, and which of their columns, whose values it destroys or changes."""

from collections.abc import Callable
from dataclasses import dataclass

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.inverse.losses import structure, written
from unmigrate.inverse.unseen import sets_time_zone, shifted, trimmed


@dataclass(frozen=True, slots=True)
class AtStake:
    """Of one table. columns: names (SQL) of those concerned, None for all of them; rewritten: those that go or change with the table's
    shape, which no trigger sees.
    """

    columns: frozenset[str] | None
    rewritten: frozenset[str] = frozenset()


ALL = AtStake(None)
Stake = dict[Key, AtStake]
"""By table, as it was before."""


def at_stake(migration: str, sql: str, delta: Delta, worth: Callable[[Object], bool]) -> Stake:
    """Never less than what may change. worth: whether an object holds something that must be kept."""
    tables = {o.name: o for o in delta.before.of_kind("table").values() if worth(o)}
    columns = {o.name: o for o in delta.before.of_kind("column").values() if worth(o)}
    found: Stake = {}
    losses = (*structure(migration, delta), *written(migration, sql, delta))
    unsure = (*(o for o in shifted(delta) if sets_time_zone(sql)), *(old for old, _ in trimmed(delta)))
    for name in (*(loss.object for loss in losses), *(o.name for o in unsure)):
        if name in tables:
            key = tables[name].key
            found[key] = AtStake(None, found.get(key, ALL).rewritten)
        elif (column := columns.get(name)) is not None and column.parent is not None:
            label, already = column.facts["label"], found.get(column.parent, AtStake(frozenset()))
            more = None if already.columns is None else already.columns | {label}
            found[column.parent] = AtStake(more, already.rewritten | {label})
    return found
