"""Words for people."""


def amount(count: int, noun: str, plural: str = "") -> str:
    """ "1 row", "2,000 rows"; plural: where it is not the noun with an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"
