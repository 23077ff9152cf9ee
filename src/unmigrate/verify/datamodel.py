"""The live catalog against schema.prisma, one plain line per difference.

Not compared: names of indexes and constraints, the text of defaults that are expressions, and whether a join table's pair is its
primary key (Prisma 6) or a unique index (earlier).
"""

from collections.abc import Iterator

from unmigrate.catalog.model import Catalog
from unmigrate.prisma.schema import Schema
from unmigrate.verify.declared import declared
from unmigrate.verify.observed import METHODS, observed
from unmigrate.verify.shape import Column, Default, Enum, ForeignKey, Name, Shape, Table, shown


def datamodel_differences(schema: Schema, live: Catalog, default_schema: str) -> tuple[str, ...]:
    """Every difference that Prisma could express. default_schema: of the URL's ?schema=."""
    schemas = set(schema.schemas) | {default_schema} if not schema.schemas else set(schema.schemas)
    return tuple(_differences(declared(schema, default_schema), observed(live, schemas)))


def _differences(wanted: Shape, found: Shape) -> Iterator[str]:
    for name in sorted(wanted.tables.keys() | found.tables.keys()):
        mine, theirs = wanted.tables.get(name), found.tables.get(name)
        if mine is None:
            yield f"table {name} is not in schema.prisma"
        elif theirs is None:
            yield f"table {name} is missing ({mine.said})" + _elsewhere(name, found)
        else:
            yield from _table(mine, theirs, wanted.foreign_keys)
    for name, columns in sorted(wanted.views.items()):
        if name not in found.views:
            yield f"view {name} is missing"
        else:
            yield from (f"column {shown(c)} of view {name} is missing" for c in columns if c not in found.views[name])
    for name in sorted(wanted.enums.keys() | found.enums.keys()):
        yield from _enum(name, wanted.enums.get(name), found.enums.get(name))


def _elsewhere(name: Name, found: Shape) -> str:
    if name in found.views:
        return "; there is a view of that name"
    alike = [other for other in found.tables if other.label.lower() == name.label.lower() or other.label == name.label]
    return f"; there is {alike[0]}" if alike else ""


def _enum(name: Name, wanted: Enum | None, found: Enum | None) -> Iterator[str]:
    if wanted is None:
        yield f"enum {name} is not in schema.prisma"
    elif found is None:
        yield f"enum {name} is missing ({wanted.said})"
    else:
        yield from (f"enum {name} lacks the label {label!r}" for label in wanted.labels if label not in found.labels)
        yield from (f"enum {name} has the label {label!r}, schema.prisma has not" for label in found.labels if label not in wanted.labels)


def _table(wanted: Table, found: Table, foreign_keys: bool) -> Iterator[str]:
    name = wanted.name
    for column in [*wanted.columns, *(c for c in found.columns if c not in wanted.columns)]:
        mine, theirs = wanted.columns.get(column), found.columns.get(column)
        if mine is None:
            yield f"column {name}.{shown(column)} is not in schema.prisma"
        elif theirs is None:
            yield f"column {name}.{shown(column)} is missing ({mine.said})"
        else:
            yield from _column(f"column {name}.{shown(column)}", mine, theirs, wanted.primary)
    yield from _keys(wanted, found)
    if foreign_keys:
        yield from _foreign(wanted, found)


def _column(label: str, wanted: Column, found: Column, primary: tuple[str, ...] | None) -> Iterator[str]:
    mine, theirs = wanted.type, found.type
    same = mine == theirs
    if wanted.loose and not same:
        bare = mine.partition("(")[0], theirs.partition("(")[0]
        same = bare[0].lower() == bare[1].lower() and ("(" not in mine or "(" not in theirs or mine == "numeric")
    if not same or wanted.list != found.list:
        yield f"{label} is {theirs}{'[]' * found.list}, {wanted.said} says {mine}{'[]' * wanted.list}"
    if wanted.nullable != found.nullable and not wanted.list and wanted.name not in (primary or ()):
        is_now = "may be null" if found.nullable else "is NOT NULL"
        yield f"{label} {is_now}, {wanted.said} is {'optional' if wanted.nullable else 'required'}"
    if same and (why := _default(wanted.default, found.default)):
        yield f"{label} {why} ({wanted.said})"


def _default(wanted: Default, found: Default) -> str:
    """Why two defaults differ; text is compared only where both are plain values."""
    if "any" in (wanted.kind, found.kind) or (wanted.kind == found.kind and wanted.kind != "value"):
        return ""
    if wanted.kind == "none":
        return "has a default, schema.prisma has none"
    if found.kind == "none":
        return "has no default, schema.prisma has one"
    if wanted.kind == found.kind == "value":
        return "" if _same_value(wanted.text, found.text) else f"has the default {found.text!r}, schema.prisma has {wanted.text!r}"
    if wanted.kind == "sequence":
        return "has a default that is no sequence, schema.prisma says autoincrement()"
    return "takes its default from a sequence, schema.prisma does not" if found.kind == "sequence" else ""


def _same_value(one: str, other: str) -> bool:
    if one == other:
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _keys(wanted: Table, found: Table) -> Iterator[str]:
    mine, theirs, name = wanted.primary, found.primary, wanted.name
    uniques, has = set(wanted.uniques), set(found.uniques)
    if mine is None and theirs in uniques:  # a join table's pair, which newer versions of Prisma make the primary key
        uniques.discard(theirs)
    elif mine != theirs:
        yield f"primary key of {name} is {_columns(theirs)}, schema.prisma says {_columns(mine)}"
    yield from (f"table {name} has no unique index on {_columns(u)}" for u in sorted(uniques - has))
    yield from (f"unique index of {name} on {_columns(u)} is not in schema.prisma" for u in sorted(has - uniques))
    known = {(columns, method) for columns, method in wanted.indexes if method in METHODS}
    yield from (f"table {name} has no {_method(m)}index on {_columns(c)}" for c, m in sorted(known - found.indexes))
    yield from (f"{_method(m)}index of {name} on {_columns(c)} is not in schema.prisma" for c, m in sorted(found.indexes - known))


def _columns(columns: tuple[str, ...] | None) -> str:
    return f"({', '.join(map(shown, columns))})" if columns else "none"


def _method(method: str) -> str:
    return "" if method == "btree" else f"{method} "


def _foreign(wanted: Table, found: Table) -> Iterator[str]:
    def plain(keys: set[ForeignKey]) -> dict[tuple[tuple[str, ...], Name, tuple[str, ...]], ForeignKey]:
        return {(k.columns, k.table, k.references): k for k in keys}

    mine, theirs, name = plain(wanted.foreign), plain(found.foreign), wanted.name
    for key in sorted(mine.keys() | theirs.keys()):
        label = f"{_columns(key[0])} to {key[1]} {_columns(key[2])}"
        one, other = mine.get(key), theirs.get(key)
        if other is None:
            yield f"table {name} has no foreign key from {label}"
        elif one is None:
            yield f"foreign key of {name} from {label} is not in schema.prisma"
        elif (one.on_delete, one.on_update) != (other.on_delete, other.on_update):
            said = f"ON DELETE {one.on_delete} ON UPDATE {one.on_update}"
            is_now = f"ON DELETE {other.on_delete} ON UPDATE {other.on_update}"
            yield f"foreign key of {name} from {label} is {is_now}, schema.prisma says {said}"
