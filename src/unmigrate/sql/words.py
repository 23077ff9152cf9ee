"""The words of a script, found once: a cheap look before anything is searched for or parsed."""

import re
from collections.abc import Iterable
from functools import lru_cache

_WORD = re.compile(r"[a-z_]\w*", re.ASCII)


@lru_cache(maxsize=64)
def words(sql: str) -> frozenset[str]:
    """All words in lower case, those in comments, quotes and names included."""
    return frozenset(_WORD.findall(sql.lower()))


def says(sql: str, any_of: Iterable[str]) -> bool:
    """Whether one of these words (in lower case) stands somewhere in the text."""
    return not words(sql).isdisjoint(any_of)
