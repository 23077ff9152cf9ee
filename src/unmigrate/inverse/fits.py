"""Which values of one type have a place in another, as a condition in SQL that finds those that have none; and which types' values all come
back from another bit by bit."""

import re
from collections.abc import Mapping, Sequence

from unmigrate.catalog.model import Catalog
from unmigrate.catalog.sqltext import literal

_TIMES = frozenset({"timestamp without time zone", "timestamp with time zone", "date"})
_CLOCKS = frozenset({"time without time zone", "time with time zone"})
_WHOLE = {"smallint": 32767, "integer": 2147483647, "bigint": 9223372036854775807}
_NUMBERS = frozenset({*_WHOLE, "numeric", "double precision", "real"})
_TEXTS = frozenset({"text", "character varying", "character", "citext"})
_SIZE = re.compile(r"\((\d+)(?:,(-?\d+))?\)")
# type before -> types whose values all came from it and go back to the same value (both casts are exact); what a size or a smaller range
# leaves no place for stops the migration itself
_WIDENINGS = {
    "smallint": {*_WHOLE, "numeric", "real", "double precision", "text", "character varying"},
    "integer": {*_WHOLE, "numeric", "double precision", "text", "character varying"},
    "bigint": {*_WHOLE, "numeric", "text", "character varying"},
    "boolean": {"text", "character varying"},
    "uuid": {"text", "character varying"},
    "real": {"double precision"},
    "date": {"text", "timestamp without time zone"},
    "inet": {"text"},
    "text": {"character varying", "citext"},
    "citext": {"text", "character varying"},
    "character varying": {"text", "character varying", "citext"},
    "character": {"text", "character", "character varying", "citext"},
    "numeric": {"text", "numeric"},
    "jsonb": {"text", "json"},
    "json": {"text"},
}
# of types that are not text already: what their longest value takes
_LONGEST = {"smallint": 6, "integer": 11, "bigint": 20, "boolean": 5, "uuid": 36}
_SIZED = frozenset({"character varying", "bit varying", "time without time zone", "time with time zone"})
ZONED = ("timestamp without time zone", "timestamp with time zone")
_ROUNDS = frozenset(
    {("double precision", "real"), ("numeric", "real"), ("numeric", "double precision"), *((zoned, "date") for zoned in ZONED)}
)  # fmt: skip
_UUID = r"^\s*([0-9a-fA-F]{4}-?){7}[0-9a-fA-F]{4}\s*$"
_DECIMAL = r"^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,3})?\s*$"

Enums = Mapping[str, Sequence[str]]


def plain(type_: str, catalog: Catalog) -> str:
    """What a domain is made of, and citext by its own name, wherever it lives."""
    base, array = type_.removesuffix("[]"), "[]" if type_.endswith("[]") else ""
    domain = catalog.named("domain", base)
    if domain is not None:
        return plain(domain.facts["type"] + array, catalog)
    return f"citext{array}" if base.rpartition(".")[2] == "citext" else type_


def exact(before: str, after: str) -> bool:
    """Whether every value survives the change of its type and comes back bit by bit; of types that are no enums.

    What is written since is another matter: `misfit` counts what has no place, `rounded` tells of the rest.
    """
    if before == after:
        return True
    before, after = _elements(before, after)
    name, now = _SIZE.sub("", before), _SIZE.sub("", after)
    was, size = _size(before), _size(after)
    if name in ZONED and now in ZONED:
        return (size or (6,))[0] >= (was or (6,))[0]
    if name == now and name in _SIZED:
        return size is None or (was is not None and size[0] >= was[0])
    if now not in _WIDENINGS.get(name, ()):
        return False
    if now == "numeric":
        places = was[1] if was else 0 if name in _WHOLE else None
        return size is None or (places is not None and size[1] >= places)
    if size is None or now not in _TEXTS:
        return True
    return size[0] >= (was[0] if was else _LONGEST.get(name, size[0] + 1))


def trimmed(before: str, after: str) -> bool:
    """Whether text got a limit: the migration fails on what is longer, but for spaces at the end, which it cuts off."""
    before, after = _elements(before, after)
    return {_SIZE.sub("", before), _SIZE.sub("", after)} <= _TEXTS and _size(after) is not None and not exact(before, after)


def rounded(now: str, wanted: str) -> bool:
    """Whether values can lose digits on the way to another type, or their time of day, without `misfit` counting them."""
    now, wanted = _elements(now, wanted)
    name, back = _SIZE.sub("", now), _SIZE.sub("", wanted)
    if (name in ZONED and back in ZONED) or (name == back and name in _CLOCKS):
        return (_size(wanted) or (6,))[0] < (_size(now) or (6,))[0]
    return (name, back) in _ROUNDS


def _elements(one: str, other: str) -> tuple[str, str]:
    """Of two arrays the types of their elements."""
    return (one[:-2], other[:-2]) if one.endswith("[]") and other.endswith("[]") else (one, other)


def misfit(value: str, now: str, wanted: str, before: Enums, after: Enums) -> str | None:
    """ "" where every value has a place in `wanted`, None where SQL cannot tell.

    value: an expression of type `now`. before, after: labels of the enums before the migration and after it, by name.
    """
    if now == wanted:  # of an enum made anew other checks ask
        return ""
    if now.endswith("[]") and wanted.endswith("[]"):
        inner = misfit("e", now[:-2], wanted[:-2], before, after)
        return inner and f"EXISTS (SELECT FROM unnest({value}) e WHERE {inner})"
    if now.endswith("[]"):
        value, now = f"({value})[1]", now[:-2]  # as the way back takes it
    if wanted.endswith("[]") and now == wanted[:-2]:  # one element of its own type
        return ""
    if now in after or wanted.endswith("[]"):  # by way of its text
        value, now = f"{value}::text", "text"
    wanted = wanted.removesuffix("[]")
    if wanted in before:
        return _no_label(value, now, before[wanted])
    return _of_base(value, _SIZE.sub("", now), _SIZE.sub("", wanted), _size(wanted), _size(now))


def _size(type_: str) -> tuple[int, int] | None:
    match = _SIZE.search(type_)
    return (int(match[1]), int(match[2] or 0)) if match else None


def _no_label(value: str, now: str, labels: Sequence[str]) -> str | None:
    if _SIZE.sub("", now) not in _TEXTS:
        return None
    return f"{value}::text <> ALL (ARRAY[{', '.join(map(literal, labels))}]::text[])"


def _of_base(value: str, now: str, wanted: str, size: tuple[int, int] | None, was: tuple[int, int] | None) -> str | None:
    if wanted in _TEXTS:
        return f"length({value}::text) > {size[0]}" if size and not (now == wanted and was and was[0] <= size[0]) else ""
    if (now == "boolean" and wanted in _NUMBERS) or (wanted == "boolean" and now in _NUMBERS):
        return ""
    known = {now, wanted} <= _NUMBERS | _TIMES | _CLOCKS | {"boolean"}
    if known and (now in _NUMBERS or now == "boolean" or wanted in _NUMBERS or wanted == "boolean"):
        return _number(value, now, wanted, size, was) if {now, wanted} <= _NUMBERS else f"{value} IS NOT NULL"  # nothing is ever both
    if {now, wanted} <= _TIMES or {now, wanted} <= _CLOCKS or (now == wanted and size is None):
        return ""
    if wanted in _CLOCKS and now in _TIMES - {"date"}:
        return ""
    if now in _TEXTS:
        return _spoken(value, wanted, size)
    if (now, wanted) == ("jsonb", "json"):
        return ""
    if (now, wanted) == ("json", "jsonb"):
        return f"position('\\u0000' in {value}::text) > 0"
    return None


def _number(value: str, now: str, wanted: str, size: tuple[int, int] | None, was: tuple[int, int] | None) -> str:
    if wanted in _WHOLE:
        if now in _WHOLE and _WHOLE[now] <= _WHOLE[wanted]:
            return ""
        fraction = "" if now in _WHOLE else f"{value} <> round({value}) OR "
        return f"{fraction}{value} > {_WHOLE[wanted]} OR {value} < {-_WHOLE[wanted] - 1}"
    if wanted == "real" and now in ("double precision", "numeric"):
        listed = "('Infinity', '-Infinity', 'NaN')" if now == "double precision" else "('NaN')"
        return f"{value}::text NOT IN {listed} AND {value} <> 0 AND (abs({value}) > 3.4e38 OR abs({value}) < 1.2e-38)"
    if wanted == "double precision" and now == "numeric" and not was:
        return f"{value} <> 'NaN' AND {value} <> 0 AND (abs({value}) > 1.7e308 OR abs({value}) < 1e-307)"
    if size:
        whole, places = size
        if was and now == "numeric" and was[1] <= places and was[0] - was[1] <= whole - places:
            return ""
        number = f"{value}::numeric"
        return f"{number} <> 'NaN' AND (abs({number}) >= 1e{whole - places} OR {number} <> round({number}, {places}))"
    return ""


def _spoken(value: str, wanted: str, size: tuple[int, int] | None) -> str | None:
    """Text that does not read as a value of the type."""
    if wanted in _TIMES:
        return f"{value} !~ '^\\s*[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}'"
    if wanted == "boolean":
        return f"lower(trim({value})) <> ALL ('{{t,true,y,yes,on,1,f,false,n,no,off,0}}')"
    if wanted == "uuid":
        return f"{value} !~ '{_UUID}'"
    if wanted in _NUMBERS:
        pattern = "^\\s*[-+]?[0-9]+\\s*$" if wanted in _WHOLE else _DECIMAL
        inner = _number(f"{value}::numeric", "numeric", wanted, size, None)
        return f"CASE WHEN {value} ~ '{pattern}' THEN {inner or 'false'} ELSE {value} IS NOT NULL END"
    return None
