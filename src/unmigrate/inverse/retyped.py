"""Columns whose type changed: whether their values come back, in the terms of `fits`."""

from unmigrate.catalog.model import Object
from unmigrate.catalog.observer import Delta
from unmigrate.inverse import fits


def exact(delta: Delta, old: Object, new: Object) -> bool:
    """Whether every old value survives the change of type or collation and comes back bit by bit."""
    if "collation" in new.changes(old) and "type" not in new.changes(old):
        return True
    before, after = old.facts["type"], new.facts["type"]
    labels = {o.name for o in delta.before.of_kind("enum").values()}
    new_labels = {o.name for o in delta.after.of_kind("enum").values()}
    if base(before) in labels or base(after) in new_labels:  # by label, or the migration itself would have failed
        return all(base(t) in (*labels, *new_labels, "text", "character varying") for t in (before, after))
    return fits.exact(*_types(delta, old, new))


def coarser(delta: Delta, old: Object, new: Object) -> bool:
    """Whether old values are all there, and those written since lose digits where the type goes back."""
    return _changed(old, new) and exact(delta, old, new) and fits.rounded(*reversed(_types(delta, old, new)))


def cut(delta: Delta, old: Object, new: Object) -> bool:
    """Whether the change of type leaves text as it was, but for spaces at the end."""
    return _changed(old, new) and fits.trimmed(*_types(delta, old, new))


def base(type_: str) -> str:
    return type_.removesuffix("[]")


def _changed(old: Object, new: Object) -> bool:
    return new.kind == "column" and "type" in new.changes(old)


def _types(delta: Delta, old: Object, new: Object) -> tuple[str, str]:
    return fits.plain(old.facts["type"], delta.before), fits.plain(new.facts["type"], delta.after)
