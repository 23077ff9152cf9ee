"""Literals of every PostgreSQL type, as text that the type's input function reads.

`Values.text(type, typmod, seed, n)` is the n-th literal of a column: the same for the same seed, and different for
different n as far as the type has that many values. Styles: ORDINARY values are what anybody would write; EDGE values
are what people forget (negative, empty, quoted, non-ASCII, large, ancient). Types without an edge give ordinary values.
"""

from __future__ import annotations

import datetime
import enum
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence

from unmigrate.scratch.shape import TypeInfo

Writer = Callable[[int, int], str]

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "jade", "kelp", "lotus")
EDGE_TEXTS = ("Zoë's “naïve” \\ café ☃ {0}", "", "  two  spaces\tand a\nnew line {0} ", "-{0}")
EDGE_DOCUMENTS: tuple[object, ...] = (
    {'kéy "quoted"': "☃ \\ '", "large": 12345678901234567890.5, "none": None, "list": [1, "two", {"three": 3}]},
    {},
)


class Style(enum.Enum):
    ORDINARY = "ordinary"
    EDGE = "edge"


def seed_of(*parts: object) -> int:
    return zlib.crc32("\x00".join(map(str, parts)).encode())


def quote_member(text: str) -> str:
    """One member of an array, composite or hstore literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


class Values:
    """Writes literals. `pools` gives domains their tried values (see checks.py); `guesses` types that nobody knows."""

    def __init__(self, types: Mapping[int, TypeInfo], pools: Mapping[int, Sequence[str]] | None = None) -> None:
        self.types = types
        self.pools: dict[int, Sequence[str]] = dict(pools or {})

    def text(self, oid: int, typmod: int, seed: int, n: int, style: Style = Style.ORDINARY) -> str:
        info = self.types[oid]
        if oid in self.pools:
            pool = self.pools[oid]
            return pool[n % len(pool)]
        if info.kind == "e":
            return info.labels[(seed + n) % len(info.labels)] if info.labels else ""
        if info.kind == "d":
            return self.text(info.base, info.base_typmod, seed, n, style)
        if info.kind == "c":
            members = [self.text(*part, seed + i, n, style) for i, part in enumerate(info.attributes)]
            return "(" + ",".join(map(quote_member, members)) + ")"
        if info.kind == "r":
            return self._range(info, seed, n, style)
        if info.kind == "m":
            first, second = (self._range(self.types[info.subtype], seed, 2 * n + i, Style.ORDINARY) for i in (0, 1))
            return "{}" if style is Style.EDGE else f"{{{first},{second}}}"
        if info.category == "A" and info.element and info.name not in ("int2vector", "oidvector"):
            return self._array(info, typmod, seed, n, style)
        return self._base(info, typmod, seed, n, style)

    def known(self, oid: int) -> bool:
        """Whether literals of this type can be written at all."""
        info = self.types.get(oid)
        if info is None:
            return False
        if oid in self.pools or info.kind == "e":
            return True
        if info.kind == "c":
            return all(self.known(part) for part, _ in info.attributes)
        if info.kind in "drm" or (info.category == "A" and info.element):
            return self.known(info.base or info.subtype or info.element)
        return info.name in ORDINARY or info.name in SIZED

    def unknown_bases(self, oid: int) -> set[int]:
        """The base types below this one of which no literal is known."""
        info = self.types.get(oid)
        if info is None or self.known(oid):
            return set()
        if info.kind == "b" and not (info.category == "A" and info.element):
            return {oid}
        parts = [info.base, info.subtype, info.element, *(part for part, _ in info.attributes)]
        return {base for part in parts if part for base in self.unknown_bases(part)}

    def _array(self, info: TypeInfo, typmod: int, seed: int, n: int, style: Style) -> str:
        if style is Style.EDGE and n % 2:
            return "{}"
        members = [quote_member(self.text(info.element, typmod, seed, 2 * n + i, style)) for i in (0, 1)]
        if style is Style.EDGE:
            members.insert(1, "NULL")
        return "{" + self.types[info.element].delimiter.join(members) + "}"

    def _range(self, info: TypeInfo, seed: int, n: int, style: Style) -> str:
        """Ranges of one column never overlap, so that exclusion constraints hold."""
        if style is Style.EDGE:
            return "empty"
        if self.types[info.subtype].name in ("int2", "int4", "int8", "numeric", "float4", "float8"):
            start = seed % 900 * 100 + 10 * n
            return f"[{start},{start + 5})"
        if self.types[info.subtype].name in ("date", "timestamp", "timestamptz"):
            low, high = (_day(seed, 3 * n + i) for i in (0, 1))
            return f"[{low},{high})"
        member = quote_member(self.text(info.subtype, -1, seed, n))
        return f"[{member},{member}]"

    def _base(self, info: TypeInfo, typmod: int, seed: int, n: int, style: Style) -> str:
        if sized := SIZED.get(info.name):
            return sized(typmod, seed, n, style)
        if style is Style.EDGE and (edge := EDGE.get(info.name)):
            return edge(seed, n)
        return ORDINARY[info.name](seed, n)


def _day(seed: int, n: int) -> str:
    return str(datetime.date(2024, 1, 1) + datetime.timedelta(days=seed % 300 + n))


def _time(seed: int, n: int) -> str:
    moment = seed % 40000 + 61 * n
    return f"{moment // 3600 % 24:02}:{moment // 60 % 60:02}:{moment % 60:02}"


def _digest(seed: int, n: int) -> str:
    return hashlib.md5(f"{seed} {n}".encode(), usedforsecurity=False).hexdigest()


def _uuid(seed: int, n: int) -> str:
    text = _digest(seed, n)
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _whole(seed: int, n: int) -> str:
    """The first few in the thousands, unlike rows that are there already; later ones, for further tries, small."""
    return str(seed % 900 * 10 + 1000 + n if n < 7 else n)


def _choice(*texts: str) -> Writer:
    """One of a few literals; {0} stands for the number of the row, for types with many values."""
    return lambda seed, n: texts[n % len(texts)].replace("{0}", str(n + 1))


def _document(seed: int, n: int) -> str:
    return json.dumps({"id": n + 1, "name": WORDS[seed % len(WORDS)], "tags": ["a", "b"], "nested": {"ok": n % 2 == 0}})


def _edge_document(seed: int, n: int) -> str:
    return json.dumps(EDGE_DOCUMENTS[(seed + n) % len(EDGE_DOCUMENTS)])


def _address(seed: int, n: int) -> str:
    return f"10.{seed % 250}.{n // 250}.{n % 250 + 1}"


def _hardware(groups: int) -> Writer:
    return lambda seed, n: ":".join(_digest(seed, n)[2 * i : 2 * i + 2] for i in range(groups))


def _checked(prefix: str, digits: int) -> Writer:
    """Product numbers (extension isn): the server works out the check digit for a question mark."""
    return lambda seed, n: f"{prefix}{(seed * 7 + n) % 10**digits:0{digits}}?"


# ---- types with a length or precision -------------------------------------------------------------------------------


def _text(typmod: int, seed: int, n: int, style: Style) -> str:
    limit = typmod - 4 if typmod >= 4 else 10**6
    pattern = EDGE_TEXTS[n % len(EDGE_TEXTS)] if style is Style.EDGE else WORDS[seed % len(WORDS)] + "-{0}"
    text = pattern.replace("{0}", str(n + 1))
    return text if len(text) <= limit else short_text(limit, seed, n)


def short_text(length: int, seed: int, n: int, alphabet: str = "abcdefghijklmnopqrstuvwxyz0123456789") -> str:
    """Text of exactly this length, different for different n as long as there are so many."""
    number, text = n if length < 3 else n + seed % 977 * 31, ""
    for _ in range(min(length, 12)):
        number, index = divmod(number, len(alphabet))
        text = alphabet[index] + text
    return text.rjust(length, alphabet[0])


def _numeric(typmod: int, seed: int, n: int, style: Style) -> str:
    if typmod < 4:
        return ("-0.000000001", "123456789.123456789")[n % 2] if style is Style.EDGE else f"{_whole(seed, n)}.5"
    precision, scale = (typmod - 4) >> 16 & 0xFFFF, (typmod - 4) & 0x7FF
    scale = scale - 2048 if scale > 1023 else scale
    whole = min(9, max(0, precision - max(scale, 0)))  # no larger: a later migration may make it an integer
    if scale <= 0:
        return ("9" * whole + "0" * -scale) if style is Style.EDGE else str((n + 1) % 10 ** min(whole, 9) * 10**-scale)
    digits = ("9" * whole or "0") + "." + "9" * scale
    if style is Style.EDGE:
        return ("-" if n % 2 == 0 else "") + digits
    if whole == 0:
        return f"0.{(n + 1) % 10 ** min(scale, 9):0{scale}}"
    return f"{(n + 1) % 10 ** min(whole, 4)}.5"


def _bits(typmod: int, seed: int, n: int, style: Style) -> str:
    length = max(typmod, 1)
    return format((seed + n) % 2 ** min(length, 30), f"0{length}b")


def _varying_bits(typmod: int, seed: int, n: int, style: Style) -> str:
    return "" if style is Style.EDGE else format(n + 2, "b")[-(typmod if typmod > 0 else 64) :]


def _vector(typmod: int, seed: int, n: int, style: Style) -> str:
    return "[" + ",".join(str((seed + n * 3 + i) % 19 / 8 + 0.125) for i in range(typmod if typmod > 0 else 3)) + "]"


def _sparse(typmod: int, seed: int, n: int, style: Style) -> str:
    size = typmod if typmod > 0 else 3
    return f"{{{n % size + 1}:{n + 0.5}}}/{size}"


_SHAPES = (
    "POINT(0 {0})", "POINT({0} 1)", "LINESTRING(0 0,1 {0})", "POLYGON((0 0,0 {0},1 1,0 0))", "MULTIPOINT(0 0,1 {0})",
    "MULTILINESTRING((0 0,1 {0}))", "MULTIPOLYGON(((0 0,0 {0},1 1,0 0)))", "GEOMETRYCOLLECTION(POINT(1 {0}))",
)  # fmt: skip


def _geometry(typmod: int, seed: int, n: int, style: Style) -> str:
    """PostGIS packs the reference system, the shape and the dimensions into the modifier."""
    if typmod < 0:
        return f"POINT({n} 1)"
    system, shape = (typmod & 0x0FFFFF00) >> 8, (typmod & 0xFC) >> 2
    text = _SHAPES[shape if shape < len(_SHAPES) else 0].replace("{0}", str(n + 1))
    for _ in range((typmod & 3 != 0) + (typmod & 3 == 3)):
        text = text.replace(",", " 0,").replace(")", " 0)").replace(") 0)", "))").replace(") 0)", "))")
    suffix = {1: " M", 2: " Z", 3: " ZM"}.get(typmod & 3, "")
    return (f"SRID={system};" if system else "") + text.replace("(", f"{suffix}(", 1)


SIZED: dict[str, Callable[[int, int, int, Style], str]] = {
    "text": _text, "varchar": _text, "bpchar": _text, "citext": _text, "numeric": _numeric, "bit": _bits,
    "varbit": _varying_bits, "vector": _vector, "halfvec": _vector, "sparsevec": _sparse,
    "geometry": _geometry, "geography": _geometry,
}  # fmt: skip

ORDINARY: dict[str, Writer] = {
    "bool": _choice("true", "false"),
    "int2": _whole, "int4": _whole, "int8": _whole, "oid": _whole, "xid": _whole, "xid8": _whole, "cid": _whole,
    "float4": lambda seed, n: f"{_whole(seed, n)}.5",
    "float8": lambda seed, n: f"{_whole(seed, n)}.25",
    "money": lambda seed, n: f"{n + 1}.25",
    "char": lambda seed, n: chr(97 + (seed + n) % 26),
    "name": lambda seed, n: f"{WORDS[seed % len(WORDS)]}_{n + 1}",
    "bytea": lambda seed, n: "\\x" + _digest(seed, n),
    "date": _day,
    "timestamp": lambda seed, n: f"{_day(seed, n)} {_time(seed, n)}.125",
    "timestamptz": lambda seed, n: f"{_day(seed, n)} {_time(seed, n)}.25+00",
    "time": _time,
    "timetz": lambda seed, n: f"{_time(seed, n)}+02",
    "interval": lambda seed, n: f"{n + 1} days 02:0{n % 10}:00",
    "uuid": _uuid,
    "json": _document, "jsonb": _document,
    "jsonpath": _choice("$.a[*] ? (@ > {0})"),
    "xml": _choice('<a n="{0}">text</a>'),
    "inet": _address,
    "cidr": lambda seed, n: f"{_address(seed, n)}/32",
    "macaddr": _hardware(6), "macaddr8": _hardware(8),
    "point": _choice("({0},1)"), "line": _choice("{1,2,{0}}"), "lseg": _choice("[({0},0),({0},1)]"),
    "box": _choice("({0}0,0),({0}5,5)"), "path": _choice("[({0},0),({0},1),(2,2)]"),
    "polygon": _choice("(({0}0,0),({0}5,0),({0}5,5))"), "circle": _choice("<({0}00,0),5>"),
    "tsvector": _choice("'word':1 'row{0}':2"), "tsquery": _choice("'word' & 'row{0}'"),
    "pg_lsn": _choice("0/16B37{0}"), "tid": _choice("(0,{0})"),
    "txid_snapshot": _choice("1{0}:20{0}:1{0}"), "pg_snapshot": _choice("1{0}:20{0}:1{0}"),
    "int2vector": _choice("1 2 {0}"), "oidvector": _choice("1 2 {0}"), "refcursor": _choice("cursor {0}"),
    "regclass": _whole, "regcollation": _whole, "regconfig": _whole, "regdictionary": _whole, "regnamespace": _whole,
    "regoper": _whole, "regoperator": _whole, "regproc": _whole, "regprocedure": _whole, "regrole": _whole,
    "regtype": _whole,
    # contrib and other extensions
    "hstore": _choice('"a"=>"{0}", "b"=>NULL'),
    "ltree": _choice("top.branch.n{0}"), "lquery": _choice("*.n{0}"), "ltxtquery": _choice("top & n{0}"),
    "cube": _choice("({0},0,1),({0}.5,2,3)"), "seg": _choice("{0}0..{0}5"), "query_int": _choice("1&{0}"),
    "ean13": _checked("460", 9), "isbn13": _checked("978", 9), "ismn13": _checked("9790", 8),
    "issn13": _checked("977", 9),
    "isbn": _checked("", 9), "ismn": _checked("M", 8), "issn": _checked("", 7), "upc": _checked("0", 10),
    "ip4": _address, "ip6": _choice("2001:db8::{0}"), "ipaddress": _address,
    "ip4r": lambda seed, n: f"{_address(seed, n)}/32", "ip6r": _choice("2001:db8:{0}::/48"),
    "iprange": lambda seed, n: f"{_address(seed, n)}/32",
    "box2d": _choice("BOX({0} 0,{0}1 1)"), "semver": _choice("1.0.{0}"),
}  # fmt: skip

# Beyond the ordinary, but not so far that a later migration's arithmetic overflows: moments fit into 32-bit seconds.
EDGE: dict[str, Writer] = {
    "int2": _choice("-{0}", "32000"), "int4": _choice("-{0}", "1000003"), "int8": _choice("-{0}", "9007199254740993"),
    "float4": _choice("-0.{0}25", "1e6"), "float8": _choice("-1.5e-07", "123456789.015625"),
    "money": _choice("-{0}.99"), "char": _choice(" "), "bytea": _choice("\\x", "\\x00ff5c27"),
    "date": _choice("1955-11-05", "2037-12-31"),
    "timestamp": _choice("1955-11-05 23:59:59.999999", "2037-12-31 00:00:00"),
    "timestamptz": _choice("1955-11-05 23:59:59.999999+05:30", "2037-12-31 00:00:00-11"),
    "time": _choice("24:00:00"), "timetz": _choice("23:59:59.999999-15:59"),
    "interval": _choice("-1 years -2 mons +3 days -04:05:06.789", "0"),
    "json": _edge_document, "jsonb": _edge_document,
    "xml": _choice('<ü t="&lt;&quot;"><!-- {0} -->☃</ü>'),
    "inet": _choice("::ffff:1.2.3.{0}/120", "0.0.0.0/0"), "cidr": _choice("2001:db8::/32", "0.0.0.0/0"),
    "point": _choice("(-1e-05,0)"), "path": _choice("((0,0),(1,1))"), "tsvector": _choice("", "'it''s':1A"),
    "hstore": _choice("", '"q\\"uote"=>"☃"'), "ltree": _choice(""),
}  # fmt: skip
