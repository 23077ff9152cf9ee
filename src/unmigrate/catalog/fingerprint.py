"""Fingerprints: a digest per object by name, to tell whether two databases hold the same thing."""

import hashlib
import json
from collections.abc import Iterable

from unmigrate.catalog.model import Object

# Owners and what depends on who connected differ between scratch and target without meaning drift.
NOT_COMPARED = frozenset({"owner", "owner_role", "populated", "remark"})
# Facts that speak of others by oid: they tell whether an object changed, nothing of another one of its name.
BY_OID = frozenset({"content"})
# Grants of these are the operator's own: they are never rebuilt, so a rollback leaves them as they are.
OWN_GRANTS = frozenset({"table", "column", "sequence", "schema", "enum", "domain", "composite"})


def label(o: Object) -> str:
    """How an object is called in plans: kind and name."""
    return f"{o.kind} {o.name}"


def digest(o: Object) -> str:
    """Digest of one object's facts, as names."""
    left_out = NOT_COMPARED | BY_OID | ({"acl"} if o.kind in OWN_GRANTS else frozenset())
    facts = {name: value for name, value in o.facts.items() if name not in left_out}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def fingerprint(objects: Iterable[Object]) -> dict[str, str]:
    return {label(o): digest(o) for o in objects}
