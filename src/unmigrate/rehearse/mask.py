"""How a column is read so that nothing personal leaves the source: text of the same shape, made there from a hash with a salt of this run.

Equal values stay equal and, with all likelihood, different ones different, so that keys and references hold. Pure: expressions only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from unmigrate.config.sample import Sample
from unmigrate.scratch.shape import Column, TypeInfo, literal, quoted

ROW = "unmigrate_row"  # what the table is called in the query
LONGEST = 2000  # characters of a text that are read
HASHED = 64  # characters that take part in the shape; what follows is repeated
_PLAIN = frozenset({"uuid", "money", "pg_lsn", "txid_snapshot", "xid", "xid8", "tid"})
_TEXT = frozenset({"text", "varchar", "bpchar", "citext", "name", "char"})
# Types that may hold text and take no shape: a value of theirs that says nothing, from a hash d where they are likely to be keys.
_NEUTRAL = {
    "inet": "concat_ws('.', 240, get_byte(d, 0), get_byte(d, 1), get_byte(d, 2))", "macaddr": "'02' || left(encode(d, 'hex'), 10)",
    "macaddr8": "'02' || left(encode(d, 'hex'), 14)", "ltree": "'m' || left(encode(d, 'hex'), 12)", "xml": "'<masked/>'", "hstore": "''",
    "tsvector": "''", "tsquery": "''",
}  # fmt: skip
_NEUTRAL["cidr"] = _NEUTRAL["inet"]
# {0} is the value as text, {1} the salt. Digits for digits, letters for letters, the rest as it is.
_SHAPE = """(SELECT pg_catalog.string_agg(CASE
  WHEN c BETWEEN '0' AND '9' THEN pg_catalog.chr(48 + h % 10) WHEN c BETWEEN 'A' AND 'Z' THEN pg_catalog.chr(65 + h % 26)
  WHEN c BETWEEN 'a' AND 'z' OR c > '~' THEN pg_catalog.chr(97 + h % 26) ELSE c END, '' ORDER BY i)
 FROM (SELECT i, pg_catalog.substr({0}, i, 1) COLLATE "C" AS c,
   pg_catalog.get_byte(d, (2 * i) % 64) + 256 * pg_catalog.get_byte(d, (2 * i + 1) % 64) AS h
   FROM pg_catalog.generate_series(1, least(pg_catalog.length({0}), {2})) AS i,
     (SELECT pg_catalog.sha256(pg_catalog.convert_to({1} || {0}, 'UTF8')) || pg_catalog.sha256(pg_catalog.convert_to({0} || {1}, 'UTF8'))
       AS d) AS hashed OFFSET 0) AS signs)"""


@dataclass(frozen=True, slots=True)
class Reading:
    """A column and the expression that is read for it, as text. masked: it is not the value."""

    column: Column
    sql: str
    masked: bool


def readings(table: str, columns: Sequence[Column], types: dict[int, TypeInfo], rules: Sample, salt: str) -> list[Reading]:
    """What to read of a table (named schema.table); generated columns are left out."""
    return [_reading(table, c, types, rules, salt) for c in columns if not c.generated]


def _reading(table: str, column: Column, types: dict[int, TypeInfo], rules: Sample, salt: str) -> Reading:
    name = f"{table}.{column.name}".replace('"', "")
    own = f"{ROW}.{quoted(column.name)}"
    for pattern, sql in rules.mask.items():
        if fnmatchcase(name, pattern):
            return Reading(column, f"({sql})::text", True)
    if any(fnmatchcase(name, pattern) for pattern in rules.keep):
        return Reading(column, f"{own}::text", False)
    sql = _masked(own, types[column.type], types, literal(salt))
    return Reading(column, sql or f"{own}::text", bool(sql))


def _masked(own: str, info: TypeInfo, types: dict[int, TypeInfo], salt: str) -> str:
    """The expression that masks, "" for types that hold no text."""
    while info.kind == "d" and info.base in types:
        info = types[info.base]
    if info.kind == "e":
        return ""
    if info.category == "A" and info.element in types:
        inner = _masked("e", types[info.element], types, salt)
        each = f"(SELECT pg_catalog.array_agg({inner} ORDER BY o) FROM pg_catalog.unnest({own}) WITH ORDINALITY AS u(e, o))"
        return f"CASE WHEN {own} IS NOT NULL THEN coalesce({each}, '{{}}')::text END" if inner else ""
    if info.name in _TEXT:
        return shaped(own, salt)
    if info.name in ("json", "jsonb"):
        kind = f"pg_catalog.{info.name}_typeof({own})"
        empty = f"CASE {kind} WHEN 'object' THEN '{{}}' WHEN 'array' THEN '[]' WHEN 'string' THEN '\"masked\"' ELSE {own}::text END"
        return f"CASE WHEN {own} IS NOT NULL THEN {empty} END"
    if info.name == "bytea":
        return f"CASE WHEN {own} IS NOT NULL THEN '\\x' || pg_catalog.repeat('00', least(pg_catalog.octet_length({own}), 256)) END"
    if info.kind == "b" and info.category in ("S", "U", "I") and info.name not in _PLAIN:
        return _neutral(own, info.name, salt)  # it may hold text: nothing of it is read
    parts = [types[oid] for oid in (*(oid for oid, _ in info.attributes), *([info.subtype] if info.subtype else [])) if oid in types]
    if not any(_masked("x", part, types, salt) for part in parts):
        return ""
    empty = {"c": f"({',' * (len(info.attributes) - 1)})", "r": "empty", "m": "{}"}[info.kind]
    return f"CASE WHEN {own} IS NOT NULL THEN {literal(empty)} END"


def _neutral(own: str, name: str, salt: str) -> str:
    """NULL where no value is known that says nothing."""
    if name not in _NEUTRAL:
        return "NULL::text"
    value = re.sub(r"\b(concat_ws|get_byte|left|encode)\(", r"pg_catalog.\1(", _NEUTRAL[name])
    hashed = f"SELECT pg_catalog.sha256(pg_catalog.convert_to({salt} || {own}::text, 'UTF8')) AS d OFFSET 0"
    return f"CASE WHEN {own} IS NOT NULL THEN (SELECT {value} FROM ({hashed}) AS hashed) END"


def shaped(value: str, salt: str) -> str:
    """Text of the same length (up to 2,000 characters) and shape."""
    text = f"pg_catalog.left({value}::text, {LONGEST})"
    shape = _SHAPE.format("t", salt, HASHED)
    full = f"pg_catalog.left(pg_catalog.repeat({shape}, 1 + pg_catalog.length(t) / {HASHED}), pg_catalog.length(t))"
    return f"(SELECT CASE WHEN t = '' THEN '' ELSE {full} END FROM (SELECT {text} AS t OFFSET 0) AS one)"
