"""A live catalog as the tables that schema.prisma could declare.

Left out is what Prisma cannot express: partitions, partial and expression indexes, exclusion and check constraints, access methods
it has no name for. A domain counts as its base type, as Prisma reads it.
"""

import re
from collections.abc import Collection

from unmigrate.catalog.model import Catalog, Object
from unmigrate.verify.shape import Column, Default, Enum, ForeignKey, Name, Shape, Table, same_time

METHODS = frozenset({"btree", "hash", "gist", "gin", "spgist", "brin"})
_IDENT = r'(?:"(?:[^"]|"")+"|[^\s".(),]+)'
_QUALIFIER = re.compile(rf"^{_IDENT}\.")
_LITERAL = re.compile(r"^\(?'((?:[^']|'')*)'(?:::[\w\s.\"]+(?:\([\d,]+\))?)?\)?$")
_NUMBER = re.compile(r"^\(?'?(-?\d+(?:\.\d+)?)'?\)?(?:::[\w\s]+(?:\([\d,]+\))?)?$")
_FOREIGN = re.compile(rf"^FOREIGN KEY \((.*?)\) REFERENCES ({_IDENT}\.{_IDENT})\((.*?)\)(.*)$")


def observed(catalog: Catalog, schemas: Collection[str]) -> Shape:
    """The tables, enums and views of these schemas."""
    return _Observed(catalog, schemas).shape()


def unquoted(label: str) -> str:
    """What quote_ident was given."""
    return label[1:-1].replace('""', '"') if label.startswith('"') else label


def split_name(text: str) -> Name:
    """schema.label, either of them quoted where needed."""
    schema, label = re.findall(_IDENT, text)[:2]
    return Name(unquoted(schema), unquoted(label))


class _Observed:
    def __init__(self, catalog: Catalog, schemas: Collection[str]) -> None:
        self.catalog = catalog
        self.schemas = schemas
        self.enums = {o.name: Name(unquoted(o.facts["schema"]), unquoted(o.facts["label"])) for o in catalog if o.kind == "enum"}
        self.domains = {o.name: o.facts["type"] for o in catalog if o.kind == "domain"}

    def shape(self) -> Shape:
        shape, by_text = Shape(), {}
        for o in self.catalog:
            if o.kind in ("table", "view", "materialized view", "enum") and unquoted(o.facts["schema"]) in self.schemas:
                name = Name(unquoted(o.facts["schema"]), unquoted(o.facts["label"]))
                if o.kind == "enum":
                    shape.enums[name] = Enum(name, "", tuple(o.facts["labels"] or ()))
                elif o.kind != "table":
                    shape.views[name] = tuple(unquoted(c[0]) for c in o.facts["columns"] or ())
                elif o.facts["partition_bound"] is None:
                    shape.tables[name] = by_text[o.name] = Table(name, "")
        for o in self.catalog:
            table = by_text.get(o.facts.get("table") or o.facts.get("owner") or "")
            if table is not None:
                self.add(table, o)
        return shape

    def add(self, table: Table, o: Object) -> None:
        if o.kind == "column":
            column = self.column(o)
            table.columns[column.name] = column
        elif o.kind == "constraint":
            self.constraint(table, o)
        elif o.kind == "index" and o.facts["table_kind"] in ("r", "p") and o.facts["valid"]:
            method, columns = index_columns(o.facts["definition"])
            if columns and o.facts["unique"]:
                table.uniques.add(columns)
            elif columns and method in METHODS:
                table.indexes.add((columns, method))

    def column(self, o: Object) -> Column:
        f = o.facts
        text = f["type"]
        while text in self.domains:
            text = self.domains[text]
        is_list = text.endswith("[]")
        element = text.removesuffix("[]")
        type_ = f"enum {self.enums[element]}" if element in self.enums else same_time(_QUALIFIER.sub("", element).replace('"', ""))
        return Column(unquoted(f["label"]), type_, is_list, not f["notnull"], _default(f))

    def constraint(self, table: Table, o: Object) -> None:
        f = o.facts
        if f["contype"] in ("p", "u"):
            columns = _list(re.sub(r"^[^(]*\((.*?)\)(?: INCLUDE .*| DEFERRABLE.*)?$", r"\1", f["definition"]))
            if f["contype"] == "p":
                table.primary = columns
            else:
                table.uniques.add(columns)
        elif f["contype"] == "f" and (match := _FOREIGN.match(f["definition"])):
            table.foreign.add(
                ForeignKey(_list(match[1]), split_name(match[2]), _list(match[3]), _action(match[4], "DELETE"), _action(match[4], "UPDATE"))
            )


def index_columns(definition: str) -> tuple[str, tuple[str, ...]]:
    """Method and plain columns of CREATE INDEX; no columns where it is partial or has an expression."""
    match = re.search(r" USING (\w+) \(", definition)
    if match is None:
        return "", ()
    parts, end = _parts(definition, match.end())
    if " WHERE " in definition[end:]:
        return match[1], ()
    columns = []
    for part in parts:
        found = re.match(rf"({_IDENT})(?:\s|$)", part)
        if found is None:
            return match[1], ()
        columns.append(unquoted(found[1]))
    return match[1], tuple(columns)


def _parts(text: str, start: int) -> tuple[list[str], int]:
    """The comma-separated parts up to the closing parenthesis, and where that is."""
    parts, depth, begin, quote = [], 0, start, ""
    for at in range(start, len(text)):
        char = text[at]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "(":
            depth += 1
        elif char == "," and depth == 0:
            parts.append(text[begin:at].strip())
            begin = at + 1
        elif char == ")":
            if depth == 0:
                return [*parts, text[begin:at].strip()], at
            depth -= 1
    return parts, len(text)


def _list(text: str) -> tuple[str, ...]:
    return tuple(unquoted(name) for name in re.findall(_IDENT, text))


def _action(text: str, event: str) -> str:
    match = re.search(rf"ON {event} (CASCADE|RESTRICT|NO ACTION|SET NULL|SET DEFAULT)", text)
    return match[1] if match else "NO ACTION"


def _default(facts: dict[str, object]) -> Default:
    text = str(facts["default"]) if facts["default"] is not None else ""
    if facts["generated"]:
        return Default("any")
    if facts["identity"] or text.startswith("nextval("):
        return Default("sequence")
    if not text:
        return Default()
    if match := _LITERAL.match(text):
        return Default("value", match[1].replace("''", "'"))
    if match := _NUMBER.match(text):
        return Default("value", match[1])
    return Default("value", text) if text in ("true", "false") else Default("expression", text)
