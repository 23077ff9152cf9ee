"""Words for people: counts of things, spans of time."""


def amount(count: int, noun: str, plural: str = "") -> str:
    """ "1 row", "2,000 rows"; plural: where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def span(seconds: float) -> str:
    """ "3 days", "5 hours", "12 seconds", "1.5 seconds"."""
    for size, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:.1f} seconds"
