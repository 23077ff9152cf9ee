"""Telling what is parked: things that a guarded deploy, or its way back, moved aside instead of dropping them."""

import re

from unmigrate.catalog.model import Catalog, Key, Object

ASIDE = re.compile(r"^_unmigrate_[0-9a-f]+_(old|new)_")
_WAS = re.compile(r"^parked by unmigrate [0-9a-f]+: was (.+)$", re.DOTALL)


def plain(label: str) -> str:
    """An identifier without its quotes."""
    return label[1:-1].replace('""', '"') if label.startswith('"') else label


def is_parked(o: Object) -> bool:
    """Whether an object by itself is parked: by its name, or by the schema it stands in."""
    return bool(ASIDE.match(plain(str(o.facts.get("label", ""))))) or plain(str(o.facts.get("schema", ""))).startswith("unmigrate_")


def own_name(o: Object) -> str:
    """What a parked thing was called, without quotes: as its comment says, as its name tells only what is short and alone of its name."""
    said = _WAS.match(o.facts.get("comment") or "")
    return plain(said[1]) if said and is_parked(o) else ASIDE.sub("", plain(str(o.facts["label"])))


def without_parked(catalog: Catalog) -> Catalog:
    """The catalog as it would be had the parked objects been dropped."""
    parked: set[Key] = {o.key for o in catalog if is_parked(o)}
    return Catalog.of(o for o in catalog if o.key not in parked and o.parent not in parked)
