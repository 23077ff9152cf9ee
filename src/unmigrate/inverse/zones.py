"""Timestamps that a migration's own USING moves between the two timestamp types in a zone of fixed offset: the same zone brings them back.

`AT TIME ZONE 'UTC'` says what a session's TimeZone leaves open. Zones with summer time have hours twice, or not at all.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from unmigrate.catalog.model import Key, Object
from unmigrate.catalog.observer import Delta
from unmigrate.catalog.sqltext import bare, literal
from unmigrate.inverse import fits
from unmigrate.inverse.model import InverseStep
from unmigrate.sql.script import ScriptError, split
from unmigrate.sql.words import says

_FIXED = re.compile(r"^(etc/)?(utc|uct|gmt|zulu|universal|greenwich)$", re.IGNORECASE)


def by_zone(sql: str, delta: Delta) -> dict[Key, str]:
    """The zone, by column."""
    given = _given(sql)
    if not given:
        return {}
    return {new.key: zone for old, new in delta.altered if (zone := _zone(given, old, new))}


def with_zones(steps: Iterable[InverseStep], zones: Mapping[Key, str], delta: Delta) -> list[InverseStep]:
    """The steps, where a column's type goes back in its zone."""
    return [_in_zone(step, zones, delta) for step in steps] if zones else list(steps)


def _in_zone(step: InverseStep, zones: Mapping[Key, str], delta: Delta) -> InverseStep:
    key = next((k for k in step.keys if k in zones), None)
    head, using, _ = step.sql.partition(" USING ")
    if key is None or not using or " TYPE " not in head:
        return step
    return replace(step, sql=f"{head} USING {delta.before.objects[key].facts['label']} AT TIME ZONE {literal(zones[key])}")


def _zone(given: Mapping[tuple[str, str], str], old: Object, new: Object) -> str:
    if new.kind != "column" or "type" not in new.changes(old):
        return ""
    types = (old.facts["type"], new.facts["type"])
    if {re.sub(r"\(\d+\)", "", t) for t in types} != set(fits.ZONED) or not fits.exact(*types):
        return ""
    named = {(_table(o), bare(o.facts["label"])) for o in (old, new)}
    return next((zone for name, zone in given.items() if name in named), "")


def _table(column: Object) -> str:
    return bare(re.split(r'\.(?=(?:[^"]*"[^"]*")*[^"]*$)', column.facts["table"])[-1])


@lru_cache(maxsize=64)
def _given(sql: str) -> dict[tuple[str, str], str]:
    """(table, column) converted once, by AT TIME ZONE and a name for UTC, and the zone."""
    if not (says(sql, ("zone",)) and re.search(r"\bat\s+time\s+zone\b", sql, re.IGNORECASE)):
        return {}
    from pglast import parse_sql
    from pglast.enums import AlterTableType

    try:
        nodes: list[Any] = [parse_sql(s.text)[0].stmt for s in split(sql) if s.node == "AlterTableStmt"]
    except ScriptError:
        return {}
    found: dict[tuple[str, str], list[str]] = {}
    for node in nodes:
        for command in node.cmds:
            if command.subtype == AlterTableType.AT_AlterColumnType:
                zone = _spoken(command.def_.raw_default, command.name)
                found.setdefault((node.relation.relname, command.name), []).append(zone)
    return {name: zones[0] for name, zones in found.items() if len(zones) == 1 and zones[0]}


def _spoken(expression: Any, column: str) -> str:
    if type(expression).__name__ != "FuncCall" or expression.funcname[-1].sval != "timezone" or len(expression.args) != 2:
        return ""
    zone, value = expression.args
    name = getattr(getattr(zone, "val", None), "sval", "")
    plain = type(value).__name__ == "ColumnRef" and getattr(value.fields[-1], "sval", None) == column
    return name if plain and _FIXED.match(name) else ""
