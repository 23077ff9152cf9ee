"""Fingerprints: a digest per object by name, to tell whether two databases hold the same thing."""

import hashlib
import json
from collections.abc import Iterable

from unmigrate.catalog.model import Object

# Owners and what depends on who connected differ between scratch and target without meaning drift.
NOT_COMPARED = frozenset({"owner", "populated", "late"})


def label(o: Object) -> str:
    """How an object is called in plans: kind and name."""
    return f"{o.kind} {o.name}"


def digest(o: Object) -> str:
    """Digest of one object's facts, as names."""
    facts = {name: value for name, value in o.facts.items() if name not in NOT_COMPARED}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint(objects: Iterable[Object]) -> dict[str, str]:
    return {label(o): digest(o) for o in objects}
