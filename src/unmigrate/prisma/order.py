"""The order in which Prisma applies migrations: JavaScript's `localeCompare`, not the order of bytes.

Prisma sorts folder names with `a.localeCompare(b)`, which compares by ICU's root collation: spaces and punctuation before digits before
letters; first the letters themselves over the whole name, then accents, then case (small before capital). So `1_b` comes before `10_a`,
and `20240101_Add` after `20240101_add`, where bytes would say otherwise. Digits are compared one by one: `10_x` before `9_x`.
"""

import unicodedata
from functools import lru_cache

# ICU's order of printable ASCII that is neither digit nor letter. Everything else falls into groups by Unicode category below.
_PUNCTUATION = {char: rank for rank, char in enumerate(" _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$")}
# ICU's order of the accents that European languages use; unknown ones come last, by code point.
_ACCENTS = {char: rank for rank, char in enumerate("\u0301\u0300\u0306\u0302\u030c\u030a\u0308\u030b\u0303\u0307\u0327\u0335\u0328\u0304")}
# Letters that sort as others, a little later: what NFD does not take apart.
_LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o\u0335", "đ": "d\u0335", "ð": "d\u0335", "ł": "l\u0335", "\u017f": "s"}
_LATER = frozenset("ßæœ\u017f")

OrderKey = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, ...], ...], tuple[int, ...], str]


@lru_cache(maxsize=4096)
def order_key(name: str) -> OrderKey:
    """A sort key for names of migrations: letters, then accents, then case, then the name itself."""
    if name.isascii():
        found = [(weight, char) for char in name if (weight := _ascii_weight(char)) is not None]
        return tuple(w for w, _ in found), ((),) * len(found), tuple(int(char.isupper()) for _, char in found), name
    primary: list[tuple[int, int]] = []
    accents: list[tuple[int, ...]] = []
    case: list[int] = []
    for original in unicodedata.normalize("NFD", name):
        for char in _LETTERS.get(original.lower(), original.lower()) or original:
            if unicodedata.combining(char):
                if accents:
                    accents[-1] += (_ACCENTS.get(char, len(_ACCENTS) + ord(char)),)
                continue
            weight = _weight(char)
            if weight is None:
                continue
            primary.append(weight)
            accents.append(() if original.lower() not in _LATER else (len(_ACCENTS),))
            case.append(int(original != original.lower()))
    return tuple(primary), tuple(accents), tuple(case), name


@lru_cache(maxsize=128)
def _ascii_weight(char: str) -> tuple[int, int] | None:
    return _weight(char.lower())


def _weight(char: str) -> tuple[int, int] | None:
    """Group and rank of one letter; None for what ICU ignores."""
    if char in _PUNCTUATION:
        return (1, _PUNCTUATION[char]) if char != " " else (0, ord(char))
    if char.isspace():
        return 0, ord(char)
    category = unicodedata.category(char)
    if category in ("Cc", "Cf", "Cn"):
        return None
    if category == "Nd":
        return 3, unicodedata.decimal(char)
    return (2, ord(char)) if category[0] in "PSZ" else (4, ord(char))
