"""The live catalog against what the history says it should be.

Left aside: owners and grants; what an operator adds beside the schema (extensions and their versions, publications, event triggers,
settings, default privileges); schemas that the history does not know. A difference that is only one of wording, as a restored dump
has it, is settled by loading the history's own text once more on scratch.
"""

from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.catalog.fingerprint import NOT_COMPARED, OWN_GRANTS
from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.read import read_catalog
from unmigrate.catalog.sqltext import loadable
from unmigrate.prove.schema import Difference, differences
from unmigrate.verify.observed import unquoted

OPERATORS = frozenset({"extension", "publication", "event trigger", "default privileges", "setting"})
_RELOADED = frozenset({"constraint", "index", "view", "materialized view", "policy", "trigger", "column"})


def live_differences(expected: Catalog, live: Catalog, scratch: psycopg.Connection[Any] | None = None) -> tuple[str, ...]:
    """Every object that is missing, not from the history, or different, by name; what falls with a named table is not repeated.

    scratch: a connection to the history on scratch, where differences of wording are settled.
    """
    known = {unquoted(o.name) for o in expected if o.kind == "schema"} | {"public"}
    compared = [d for d in map(_compared, differences(expected, live, one_database=False)) if d is not None and _concerns(d, known)]
    gone = {o.key for d in compared if (o := d.wanted) is not None and d.found is None}
    extra = {o.key for d in compared if (o := d.found) is not None and d.wanted is None}
    lines = []
    for difference in compared:
        if _falls_with(difference.wanted if difference.found is None else None, gone):
            continue
        if _falls_with(difference.found if difference.wanted is None else None, extra):
            continue
        if scratch is not None and difference.derived_only and _settles(scratch, difference, expected):
            continue
        lines.append(_line(difference))
    return tuple(lines)


def _compared(difference: Difference) -> Difference | None:
    """The difference without the facts that are not compared; None where nothing remains."""
    if difference.wanted is None or difference.found is None:
        return difference
    aside = NOT_COMPARED | ({"acl"} if difference.wanted.kind in OWN_GRANTS else set()) | {"version"}
    facts = difference.facts - aside
    return replace(difference, facts=facts) if facts else None


def _concerns(difference: Difference, schemas: set[str]) -> bool:
    o = difference.wanted or difference.found
    assert o is not None
    if o.kind in OPERATORS or o.kind == "schema":
        return difference.wanted is not None and (o.kind != "schema" or o.name != "public")
    return _schema(o) in schemas


def _schema(o: Object) -> str:
    name = str(o.facts.get("schema") or o.facts.get("table") or o.facts.get("owner") or o.name)
    if name.startswith('"'):
        return name[1:].replace('""', "\0").partition('"')[0].replace("\0", '"')
    return name.partition(".")[0]


def _falls_with(o: Object | None, keys: set[Key]) -> bool:
    return o is not None and o.parent is not None and o.parent in keys


def _line(difference: Difference) -> str:
    o = difference.wanted or difference.found
    assert o is not None
    label = f"{o.kind} {o.name}"
    if difference.found is None:
        return f"{label} is missing: the history has it"
    if difference.wanted is None:
        return f"{label} is not from the history"
    wanted, found = difference.wanted.facts, difference.found.facts
    details = (f"{fact} is {_shown(found.get(fact))}, the history says {_shown(wanted.get(fact))}" for fact in sorted(difference.facts))
    return f"{label}: {'; '.join(details)}"


def _shown(value: Any) -> str:
    text = "none" if value is None or value == "" else str(value)
    return " ".join(text.split())[:200]


def _settles(scratch: psycopg.Connection[Any], difference: Difference, expected: Catalog) -> bool:
    """Whether the history's text, loaded once more as a restored dump would, reads as the live one."""
    wanted, found = difference.wanted, difference.found
    if wanted is None or found is None or wanted.kind not in _RELOADED:
        return False
    try:
        with scratch.transaction(force_rollback=True):
            for sql in _reload(wanted, expected):
                scratch.execute(sql)
            again = read_catalog(scratch).by_name().get((wanted.kind, wanted.name))
    except (psycopg.Error, CannotInvert):
        return False
    return again is not None and all(again.facts.get(fact) == found.facts.get(fact) for fact in difference.facts)


def _reload(o: Object, catalog: Catalog) -> list[str]:
    if o.kind == "column":
        bare = replace(o, key=Key(o.key.catalog, 0), facts={**o.facts, "default": None}, raw={})
        return KINDS["column"].alter(bare, o, frozenset({"default"})) or []
    statements = [*KINDS[o.kind].drop(o), *KINDS[o.kind].create(o, catalog)]
    deparsed = [text for fact in ("definition", "using", "check") if isinstance(text := o.facts.get(fact), str)]
    for text in deparsed:  # word for word, as a dump has it
        statements = [sql.replace(loadable(text), text) for sql in statements]
    return statements
