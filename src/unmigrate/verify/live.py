"""The live catalog against what the history says it should be."""

from unmigrate.catalog.fingerprint import NOT_COMPARED
from unmigrate.catalog.model import Catalog
from unmigrate.prove.schema import differences


def live_differences(expected: Catalog, live: Catalog) -> tuple[str, ...]:
    """Every object that is missing, left over or different, by name, owners and grants aside."""
    found = []
    for difference in differences(expected, live):
        if difference.facts and difference.facts <= NOT_COMPARED:
            continue
        found.append(str(difference))
    return tuple(found)
