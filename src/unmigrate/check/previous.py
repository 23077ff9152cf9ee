"""What the previous version of the app knows of the database: its schema.prisma, or, without one, every column there was."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.sqltext import ident
from unmigrate.prisma.schema import Field, Model, Schema
from unmigrate.prisma.syntax import Call

_BY_CLIENT = re.compile(r"CURRENT_TIMESTAMP|now\(\)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AppColumn:
    """A column as the client sends it. name: quoted; optional: it may be left out of an INSERT; written: it can be written at all.

    enum: the type's qualified name, which the client puts into its SQL; labels: that the client knows.
    """

    name: str
    optional: bool
    written: bool = True
    enum: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppTable:
    """A model. said: how a person calls it; table: as in the catalog (format %I.%I); sql: as the client writes it.

    declared: a schema.prisma says what the app writes; else it may leave out whatever it can.
    """

    said: str
    table: str
    sql: str
    columns: tuple[AppColumn, ...]
    declared: bool = False


def from_schema(schema: Schema, default_schema: str, before: Catalog) -> tuple[AppTable, ...]:
    """The models of a schema.prisma that have a table."""
    tables = {(_plain(o.facts["schema"]), _plain(o.facts["label"])): o for o in before.of_kind("table").values()}
    found = []
    for model in schema.models:
        place = (model.schema or default_schema, model.table)
        if not model.ignored and place in tables:
            columns = tuple(_columns(model, schema, default_schema, before, tables[place]))
            found.append(AppTable(f"model {model.name}", tables[place].name, ".".join(ident(p) for p in place), columns, True))
    return tuple(found)


def _columns(model: Model, schema: Schema, default_schema: str, before: Catalog, table: Object) -> Iterable[AppColumn]:
    there = {_plain(c.facts["label"]): c for c in before.columns(table.key)}
    for field in model.fields:
        column = there.get(field.column)
        if column is None or schema.is_relation(field) or field.ignored or field.unsupported is not None:
            continue
        enum = schema.enum(field.type)
        type_ = f"{ident(enum.schema or default_schema)}.{ident(enum.type)}" if enum else ""
        yield AppColumn(
            ident(field.column),
            _may_be_left_out(field),
            _writable(column),
            type_ + "[]" * (field.list and bool(enum)),
            enum.labels if enum else (),
        )


def _may_be_left_out(field: Field) -> bool:
    """The client itself sends @updatedAt, now(), uuid() and constants; the database fills in dbgenerated() and autoincrement()."""
    if isinstance(field.default, Call):
        return field.default.name in ("dbgenerated", "autoincrement", "sequence")
    return field.default is None and not field.updated_at and (field.optional or field.list)


def from_catalog(before: Catalog) -> tuple[AppTable, ...]:
    """Every table with every column, as if introspected."""
    enums = {o.name: o for o in before.of_kind("enum").values()}
    found = []
    for table in before.of_kind("table").values():
        columns = []
        for column in before.columns(table.key):
            facts = column.facts
            enum = enums.get(facts["type"].removesuffix("[]"))
            by_database = facts["default"] is not None and "(" in facts["default"] and not _BY_CLIENT.search(facts["default"])
            optional = bool((not facts["notnull"] and facts["default"] is None) or by_database or facts["identity"])
            labels = tuple(enum.facts["labels"] or ()) if enum else ()
            columns.append(AppColumn(ident(_plain(facts["label"])), optional, _writable(column), facts["type"] if enum else "", labels))
        sql = ".".join(ident(_plain(table.facts[key])) for key in ("schema", "label"))
        found.append(AppTable(table.name, table.name, sql, tuple(columns)))
    return tuple(found)


def _writable(column: Object) -> bool:
    return not column.facts["generated"] and column.facts["identity"] != "a"


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
