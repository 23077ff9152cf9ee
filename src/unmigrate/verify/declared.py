"""schema.prisma as the tables it stands for: Prisma's default types, native types, keys, foreign keys, implicit join tables."""

from __future__ import annotations

import re

from unmigrate.prisma.schema import Field, Model, Schema
from unmigrate.prisma.syntax import Call, Value
from unmigrate.prisma.syntax import Name as Word
from unmigrate.verify.shape import Column, Default, Enum, ForeignKey, Name, Shape, Table, same_time

_SCALAR = {
    "String": "text", "Boolean": "boolean", "Int": "integer", "BigInt": "bigint", "Float": "double precision", "Decimal": "numeric(65,30)",
    "DateTime": "timestamp(3) without time zone", "Json": "jsonb", "Bytes": "bytea",
}  # fmt: skip
_NATIVE = {
    "VarChar": "character varying", "Char": "character", "VarBit": "bit varying", "Decimal": "numeric",
    "DoublePrecision": "double precision",
    "ByteA": "bytea", "Timestamp": "timestamp without time zone", "Timestamptz": "timestamp with time zone",
    "Time": "time without time zone", "Timetz": "time with time zone",
}  # fmt: skip
_ALIASES = {
    "varchar": "character varying", "char": "character", "bpchar": "character", "int": "integer", "int4": "integer", "int8": "bigint",
    "int2": "smallint", "bool": "boolean", "float8": "double precision", "float4": "real", "decimal": "numeric",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone", "varbit": "bit varying",
}  # fmt: skip
_ACTIONS = {"Cascade": "CASCADE", "Restrict": "RESTRICT", "NoAction": "NO ACTION", "SetNull": "SET NULL", "SetDefault": "SET DEFAULT"}
_CLIENT_SIDE = frozenset({"cuid", "uuid", "nanoid", "ulid", "auto"})


def declared(schema: Schema, default_schema: str) -> Shape:
    """What the schema says should be in the database. default_schema: of the URL, for what has no @@schema."""
    return _Declared(schema, default_schema).shape()


class _Declared:
    def __init__(self, schema: Schema, default_schema: str) -> None:
        self.schema = schema
        self.default_schema = default_schema

    def name(self, model: Model) -> Name:
        return Name(model.schema or self.default_schema, model.table)

    def shape(self) -> Shape:
        shape = Shape(foreign_keys=self.schema.relation_mode == "foreignKeys")
        for model in self.schema.models:
            table = self.table(model)
            shape.tables[table.name] = table
        for view in self.schema.views:
            shape.views[self.name(view)] = tuple(f.column for f in view.fields if not self.schema.is_relation(f))
        for enum in self.schema.enums:
            name = Name(enum.schema or self.default_schema, enum.type)
            shape.enums[name] = Enum(name, f"enum {enum.name}", enum.labels)
        for table in self.join_tables():
            shape.tables[table.name] = table
        return shape

    def table(self, model: Model) -> Table:
        table = Table(self.name(model), f"model {model.name}")
        for field in model.fields:
            if not self.schema.is_relation(field):
                table.columns[field.column] = self.column(model, field)
        table.primary = model.primary.columns if model.primary else None
        table.uniques = {u.columns for u in model.uniques if not u.where}
        table.indexes = {(i.columns, i.method.lower()) for i in model.indexes if not i.where}
        table.foreign = {key for field in model.fields if (key := self.foreign_key(model, field))}
        return table

    # columns

    def column(self, model: Model, field: Field) -> Column:
        type_, loose = self.type(field)
        said = f"{model.name}.{field.name}"
        return Column(field.column, type_, field.list, field.optional, self.default(field), loose, said)

    def type(self, field: Field) -> tuple[str, bool]:
        if field.unsupported is not None:
            text = re.sub(r'^(?:"[^"]+"|\w+)\.', "", field.unsupported).replace('"', "")
            base, bracket, rest = text.partition("(")
            base = base.strip()
            return same_time(_ALIASES.get(base.lower(), base) + bracket + rest), True
        if enum := self.schema.enum(field.type):
            return f"enum {Name(enum.schema or self.default_schema, enum.type)}", False
        if field.native is None:
            return _SCALAR.get(field.type, field.type), False
        return _native(field.native.name.split(".", 1)[1], [str(v) for _, v in field.native.arguments])

    def default(self, field: Field) -> Default:
        value = field.default
        if value is None:
            return Default()
        if isinstance(value, Call):
            return _call(value)
        if isinstance(value, tuple):
            return Default("expression")
        if isinstance(value, Word):
            if enum := self.schema.enum(field.type):
                return Default("value", enum.label(str(value)))
            return Default("value", str(value))
        return Default("expression") if field.type in ("Json", "Bytes", "DateTime") else Default("value", value)

    # relations

    def foreign_key(self, model: Model, field: Field) -> ForeignKey | None:
        other = self.schema.model(field.type) if self.schema.is_relation(field) else None
        names = _names(field.relation.get("fields")) if field.relation else ()
        if other is None or other.kind == "view" or model.kind == "view" or not names or field.relation is None:
            return None
        optional = all(f.optional for name in names if (f := model.field(name)))
        on_delete, on_update = field.relation.get("onDelete"), field.relation.get("onUpdate")
        return ForeignKey(
            model.columns(names),
            self.name(other),
            other.columns(_names(field.relation.get("references"))),
            _ACTIONS.get(str(on_delete), "SET NULL" if optional else "RESTRICT"),
            _ACTIONS.get(str(on_update), "CASCADE"),
        )

    def join_tables(self) -> list[Table]:
        """Implicit many-to-many relations: both sides are lists and neither names fields."""
        found: dict[Name, Table] = {}
        for model in self.schema.models:
            for field in model.fields:
                other = self.schema.model(field.type) if field.list and self.schema.is_relation(field) else None
                if other is None or not self.is_many(model, field, other):
                    continue
                a, b = sorted((model, other), key=lambda m: m.name)
                label = f"_{_relation_name(field) or f'{a.name}To{b.name}'}"
                table = self.join_table(Name(self.name(a).schema, label), a, b)
                found[table.name] = table
        return list(found.values())

    def is_many(self, model: Model, field: Field, other: Model) -> bool:
        name = _relation_name(field)
        backs = (back for back in other.fields if back.type == model.name and back.list and back is not field)
        return any(_relation_name(back) == name for back in backs)

    def join_table(self, name: Name, a: Model, b: Model) -> Table:
        table = Table(name, f"relation of {a.name} and {b.name}")
        for label, model in (("A", a), ("B", b)):
            key = model.primary.columns[0] if model.primary else model.uniques[0].columns[0] if model.uniques else ""
            field = next((f for f in model.fields if f.column == key), None)
            if field is not None:
                type_, loose = self.type(field)
                table.columns[label] = Column(label, type_, False, False, Default(), loose, f"{table.said}: {model.name}.{field.name}")
                table.foreign.add(ForeignKey((label,), self.name(model), (key,), "CASCADE", "CASCADE"))
        table.uniques = {("A", "B")}
        table.indexes = {(("B",), "btree")}
        return table


def _relation_name(field: Field) -> str:
    name = field.relation.get("name", 0) if field.relation else None
    return str(name or "")


def _names(value: Value | None) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, tuple) else ()


def _call(value: Call) -> Default:
    if value.name == "autoincrement" or value.name == "sequence":
        return Default("sequence")
    if value.name in _CLIENT_SIDE:
        return Default()
    if value.name == "dbgenerated" and not (value.arguments and value.arguments[0][1]):
        return Default("any")
    return Default("expression")


def _native(name: str, arguments: list[str]) -> tuple[str, bool]:
    """@db.X as PostgreSQL calls it. Without a length it may be any for numbers; for others it is what PostgreSQL makes of it."""
    base = _NATIVE.get(name, name.lower())
    if not arguments:
        return (f"{base}(1)" if name in ("Char", "Bit") else base), name == "Decimal"
    bracket = f"({','.join(arguments)})"
    first, space, rest = base.partition(" ")
    if rest.endswith("time zone"):
        return same_time(first + bracket + space + rest), False
    return base + bracket, False
