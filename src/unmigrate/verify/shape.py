"""Tables and enums as far as schema.prisma can speak of them: what both the file and the database are turned into."""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


class Name(NamedTuple):
    """A name within a schema of the database, without quotes."""

    schema: str
    label: str

    def __str__(self) -> str:
        return f"{shown(self.schema)}.{shown(self.label)}"


@dataclass(frozen=True, slots=True)
class Default:
    """kind: none, value (text is the plain value), sequence (autoincrement, serial, identity), expression, any."""

    kind: str = "none"
    text: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. type: PostgreSQL's name for it, of an element if `list`; loose: any length or precision will do; said: by whom."""

    name: str
    type: str
    list: bool
    nullable: bool
    default: Default
    loose: bool = False
    said: str = ""


@dataclass(frozen=True, slots=True)
class ForeignKey:
    columns: tuple[str, ...]
    table: Name
    references: tuple[str, ...]
    on_delete: str
    on_update: str


@dataclass(slots=True)
class Table:
    """A table. uniques, indexes: by columns; indexes with their method."""

    name: Name
    said: str
    columns: dict[str, Column] = field(default_factory=dict)
    primary: tuple[str, ...] | None = None
    uniques: set[tuple[str, ...]] = field(default_factory=set)
    indexes: set[tuple[tuple[str, ...], str]] = field(default_factory=set)
    foreign: set[ForeignKey] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Enum:
    name: Name
    said: str
    labels: tuple[str, ...]


@dataclass(slots=True)
class Shape:
    """One side. views: name to columns. foreign_keys: whether this side speaks of them at all (relationMode)."""

    tables: dict[Name, Table] = field(default_factory=dict)
    enums: dict[Name, Enum] = field(default_factory=dict)
    views: dict[Name, tuple[str, ...]] = field(default_factory=dict)
    foreign_keys: bool = True


def shown(name: str) -> str:
    """A name as a person would write it in psql."""
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def same_time(type_: str) -> str:
    """A precision of 6 is what a time has without one."""
    return re.sub(r"^(timestamp|time)\(6\)", r"\1", type_)
