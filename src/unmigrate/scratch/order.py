"""In which order tables are filled: parents first, and where foreign keys go in circles, which of them must wait."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unmigrate.scratch.shape import ForeignKey, Table


@dataclass(frozen=True, slots=True)
class Batch:
    """Tables to fill now: one, or several whose required keys point at each other."""

    tables: tuple[Table, ...]
    late: Mapping[int, frozenset[str]]  # of each table: foreign keys that stay NULL until their parents have rows
    circular: bool


def in_order(tables: Iterable[Table]) -> list[Batch]:
    """Every table once; nobody waits for a parent that is not among them."""
    pending = {table.oid: table for table in tables}
    batches: list[Batch] = []
    waits = {oid: {k.parent for k in table.foreign_keys if k.parent in pending} - {oid} for oid, table in pending.items()}
    while pending:
        ready = [oid for oid in pending if not waits[oid]]
        for oid in ready:
            batches.append(_single(pending.pop(oid), frozenset()))
        if not ready:
            group = _cheapest_cut(pending, waits) or _circle(pending, waits)
            ready = [table.oid for table in group]
            late = {table.oid: frozenset(_waiting_keys(table, pending)) for table in group}
            if len(group) == 1:
                batches.append(_single(group[0], late[group[0].oid]))
            else:
                batches.append(Batch(tuple(group), late, circular=True))
            for oid in ready:
                del pending[oid]
        for waiting in waits.values():
            waiting.difference_update(ready)
    return batches


def _waiting_keys(table: Table, pending: Mapping[int, Table]) -> Iterable[str]:
    """The keys to tables without rows that a row can do without for a while."""
    for key in table.foreign_keys:
        if key.parent in pending and key.parent != table.oid and breakable(table, key):
            yield key.name


def breakable(table: Table, key: ForeignKey) -> bool:
    """Whether a row can do without this key for a while: one NULL among its columns is enough."""
    return any(c.number in key.columns and not c.not_null and not c.generated for c in table.columns)


def automatic(table: Table, numbers: Iterable[int]) -> bool:
    """Whether any of these columns is numbered by the server, so that its values are unknown before the INSERT."""
    return any(column.automatic for column in table.columns if column.number in set(numbers))


def _single(table: Table, late: frozenset[str]) -> Batch:
    """One table. A key to itself waits too where the rows' own keys are not known beforehand."""
    unknown = [k for k in table.foreign_keys if k.parent == table.oid and automatic(table, k.parent_columns)]
    late = late | {k.name for k in unknown if breakable(table, k)}
    return Batch((table,), {table.oid: late}, circular=any(not breakable(table, k) for k in unknown))


def _cheapest_cut(pending: Mapping[int, Table], waits: Mapping[int, set[int]]) -> list[Table]:
    """The table that waits for the fewest others, all of them through keys that may be NULL."""
    free = [table for oid, table in pending.items() if not _required(table, waits[oid])]
    return [min(free, key=lambda table: len(waits[table.oid]))] if free else []


def _circle(pending: Mapping[int, Table], waits: Mapping[int, set[int]]) -> list[Table]:
    """Tables that require each other and nobody else: follow required keys until nothing new is reached."""
    reach: dict[int, set[int]] = {}
    for oid in pending:
        found, heads = set[int](), [oid]
        while heads:
            for parent in _required(pending[heads.pop()], waits[oid] | pending.keys()):
                if parent not in found:
                    found.add(parent)
                    heads.append(parent)
        reach[oid] = found | {oid}
    smallest: set[int] = min(reach.values(), key=lambda oids: len(oids))
    return [pending[oid] for oid in sorted(smallest)]


def _required(table: Table, among: Iterable[int]) -> set[int]:
    wanted = set(among) - {table.oid}
    return {k.parent for k in table.foreign_keys if k.parent in wanted and not breakable(table, k)}
