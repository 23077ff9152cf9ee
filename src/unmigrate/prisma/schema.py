"""What schema.prisma declares: datasource, models, views and enums, with the names they have in the database.

Only what PostgreSQL can show is kept; relation fields stay among the fields, told apart by `is_relation`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unmigrate.errors import UsageError
from unmigrate.prisma.syntax import Attribute, Block, Call, Line, Value, parse_blocks, problem


@dataclass(frozen=True, slots=True)
class Field:
    """One field. column: its name in the database; unsupported: the type inside Unsupported("..."); native: @db.X.

    default: the argument of @default, as syntax.Value; relation: the @relation attribute.
    """

    name: str
    column: str
    type: str
    optional: bool
    list: bool
    unsupported: str | None
    native: Attribute | None
    default: Value | None
    id: bool
    unique: bool
    updated_at: bool
    ignored: bool
    relation: Attribute | None
    line: int


@dataclass(frozen=True, slots=True)
class Columns:
    """An @id, @unique, @@id, @@unique or @@index, by column. map: its name in the database, if given. method: Hash, Gin, ...

    where: a partial index, which Prisma has as a preview.
    """

    columns: tuple[str, ...]
    map: str | None
    method: str = "BTree"
    where: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A model or a view. schema: of @@schema, if given."""

    name: str
    kind: Literal["model", "view"]
    table: str
    schema: str | None
    ignored: bool
    fields: tuple[Field, ...]
    primary: Columns | None
    uniques: tuple[Columns, ...]
    indexes: tuple[Columns, ...]
    file: Path
    line: int

    def field(self, name: str) -> Field | None:
        return next((f for f in self.fields if f.name == name), None)

    def columns(self, names: Iterable[str]) -> tuple[str, ...]:
        """Columns of the named fields."""
        return tuple(f.column if (f := self.field(name)) else name for name in names)


@dataclass(frozen=True, slots=True)
class Enum:
    """An enum: its type's name and labels in the database. values: the names of the labels in the file, in the same order."""

    name: str
    type: str
    schema: str | None
    labels: tuple[str, ...]
    values: tuple[str, ...]
    file: Path
    line: int

    def label(self, value: str) -> str:
        """The label of one of the file's values."""
        return dict(zip(self.values, self.labels, strict=True)).get(value, value)


@dataclass(frozen=True, slots=True)
class Schema:
    """All files together. schemas: of the datasource; () when it names none. relation_mode: "foreignKeys" or "prisma"."""

    provider: str
    schemas: tuple[str, ...]
    relation_mode: str
    models: tuple[Model, ...]
    views: tuple[Model, ...]
    enums: tuple[Enum, ...]

    def model(self, name: str) -> Model | None:
        return next((m for m in (*self.models, *self.views) if m.name == name), None)

    def enum(self, name: str) -> Enum | None:
        return next((e for e in self.enums if e.name == name), None)

    def is_relation(self, field: Field) -> bool:
        return field.unsupported is None and self.model(field.type) is not None


def read_schema(files: Iterable[Path]) -> Schema:
    """Read and parse one file or several. Raises UsageError with file and line."""
    texts = []
    for file in files:
        try:
            texts.append((file, file.read_text(encoding="utf-8-sig")))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise UsageError(f"{file} cannot be read: {reason}", code="unreadable", remedy="check the file") from error
    return parse_schema(texts)


def parse_schema(texts: Iterable[tuple[Path, str]]) -> Schema:
    """Parse the texts of one schema. Raises UsageError with file and line."""
    blocks = [block for file, text in texts for block in parse_blocks(text, file)]
    _refuse_twice(blocks)
    source = next((b for b in blocks if b.word == "datasource"), None)
    settings = {line.name: line.value for line in source.lines if line.value is not None} if source else {}
    schemas = settings.get("schemas", ())
    for block in blocks:
        if block.word not in ("model", "view", "enum", "type", "datasource", "generator"):
            raise problem(block.file, block.line, f"{block.word} is no kind of block")
    return Schema(
        provider=str(settings.get("provider", "postgresql")),
        schemas=tuple(str(name) for name in schemas) if isinstance(schemas, tuple) else (),
        relation_mode=str(settings.get("relationMode", "foreignKeys")),
        models=tuple(_model(b, "model") for b in blocks if b.word == "model"),
        views=tuple(_model(b, "view") for b in blocks if b.word == "view"),
        enums=tuple(_enum(b) for b in blocks if b.word == "enum"),
    )


def _refuse_twice(blocks: list[Block]) -> None:
    seen: dict[str, Block] = {}
    for block in blocks:
        if block.word in ("model", "view", "enum", "type") and (first := seen.setdefault(block.name, block)) is not block:
            raise problem(block.file, block.line, f"{block.name} is declared at {first.file}:{first.line} too")


def _attribute(attributes: Iterable[Attribute], name: str) -> Attribute | None:
    return next((a for a in attributes if a.name == name), None)


def _text(attribute: Attribute | None, name: str = "name", position: int | None = 0) -> str | None:
    value = attribute.get(name, position) if attribute else None
    return str(value) if isinstance(value, str) else None


def _model(block: Block, kind: Literal["model", "view"]) -> Model:
    fields = tuple(_field(block, line) for line in block.lines)
    columns = {f.name: f.column for f in fields}
    found = {word: [_columns(a, columns, block) for a in block.attributes if a.name == word] for word in ("id", "unique", "index")}
    for field, line in zip(fields, block.lines, strict=True):
        for a in line.attributes:
            if a.name in ("id", "unique"):
                found[a.name].append(Columns((field.column,), _text(a, "map", None), where=a.get("where") is not None))
    return Model(
        name=block.name,
        kind=kind,
        table=_text(_attribute(block.attributes, "map")) or block.name,
        schema=_text(_attribute(block.attributes, "schema")),
        ignored=_attribute(block.attributes, "ignore") is not None,
        fields=fields,
        primary=found["id"][0] if found["id"] else None,
        uniques=tuple(found["unique"]),
        indexes=tuple(found["index"]),
        file=block.file,
        line=block.line,
    )


def _columns(attribute: Attribute, columns: dict[str, str], block: Block) -> Columns:
    fields = attribute.get("fields", 0)
    given = fields if isinstance(fields, tuple) else () if fields is None else (fields,)
    names = [str(v.name if isinstance(v, Call) else v) for v in given]
    if unknown := [name for name in names if name not in columns]:
        raise problem(block.file, attribute.line, f"@@{attribute.name} names {unknown[0]}, which is no field of {block.name}")
    return Columns(
        tuple(columns[name] for name in names),
        _text(attribute, "map", None),
        _text(attribute, "type", None) or "BTree",
        attribute.get("where") is not None,
    )


def _field(block: Block, line: Line) -> Field:
    if not line.type:
        raise problem(block.file, line.line, f"field {line.name} of {block.name} has no type")
    default = _attribute(line.attributes, "default")
    return Field(
        name=line.name,
        column=_text(_attribute(line.attributes, "map")) or line.name,
        type=line.type,
        optional="?" in line.marks,
        list="[" in line.marks,
        unsupported=line.unsupported,
        native=next((a for a in line.attributes if "." in a.name), None),
        default=default.get("value", 0) if default else None,
        id=_attribute(line.attributes, "id") is not None,
        unique=_attribute(line.attributes, "unique") is not None,
        updated_at=_attribute(line.attributes, "updatedAt") is not None,
        ignored=_attribute(line.attributes, "ignore") is not None,
        relation=_attribute(line.attributes, "relation"),
        line=line.line,
    )


def _enum(block: Block) -> Enum:
    labels = tuple(_text(_attribute(line.attributes, "map")) or line.name for line in block.lines)
    name = _text(_attribute(block.attributes, "map")) or block.name
    values = tuple(line.name for line in block.lines)
    return Enum(block.name, name, _text(_attribute(block.attributes, "schema")), labels, values, block.file, block.line)
