"""What [park] says of keeping: how, and which columns must be forgotten instead."""

from collections.abc import Iterable, Iterator

from unmigrate.catalog.model import Catalog, Object
from unmigrate.catalog.parked import own_name, plain
from unmigrate.config.park import Park


def forgets(park: Park, o: Object) -> bool:
    """Whether this column is to be forgotten, by whatever name it stands now."""
    if o.kind != "column":
        return False
    table = [plain(part) for part in _parts(o.facts["table"])]
    label = own_name(o)
    return f"{'.'.join(table)}.{label}" in park.exclude or f"{table[-1]}.{label}" in park.exclude


def forgotten(park: Park, catalog: Catalog) -> list[Object]:
    """The columns of a catalog that are to be forgotten."""
    return [o for o in catalog if forgets(park, o)]


def unknown(park: Park, catalogs: Iterable[Catalog]) -> Iterator[str]:
    """What [park] names and nothing in these catalogs is called: a slip of the pen would keep what must be forgotten."""
    catalogs = tuple(catalogs)
    columns = [(o.facts["table"], own_name(o)) for catalog in catalogs for o in catalog if o.kind == "column"]
    named = {f"{'.'.join(map(plain, _parts(table)))}.{label}" for table, label in columns}
    named |= {f"{plain(_parts(table)[-1])}.{label}" for table, label in columns}
    yield from (f"park.exclude names {name}, which is no column" for name in park.exclude if name not in named)
    tables = {part for table, _ in columns for part in (".".join(map(plain, _parts(table))), plain(_parts(table)[-1]))}
    yield from (f"park.retention names {name}, which is no table" for name in park.retention if name not in tables)


def _parts(name: str) -> list[str]:
    """schema.table as parts, quotes kept."""
    schema, _, table = name.partition('."') if '."' in name else name.rpartition(".")
    return [schema, f'"{table}' if '."' in name else table]
