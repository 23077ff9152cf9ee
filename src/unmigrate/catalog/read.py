"""Reading the catalog: all of it, or only the objects named by key.

Everything is read in one round trip of a simple query, under an empty search_path that is put back, so that every name that
is not of pg_catalog comes out qualified.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.kinds.base import Kind
from unmigrate.catalog.kinds.column import NOT_NULL_NAME
from unmigrate.catalog.model import Catalog, Key, Object

ENTER = "select set_config('unmigrate.path', current_setting('search_path'), true), set_config('search_path', '', true)"
LEAVE = "select set_config('search_path', current_setting('unmigrate.path'), true)"


def read_catalog(connection: psycopg.Connection[Any]) -> Catalog:
    """The whole catalog of the connected database. Needs no privilege beyond connecting."""
    return Catalog.of(_read(connection, [(kind, "true") for kind in KINDS.values()]))


def read_objects(connection: psycopg.Connection[Any], oids: Mapping[str, Iterable[int]]) -> list[Object]:
    """The objects of the named kinds whose oid (for columns: whose table's oid) is among `oids`: {kind: oids}."""
    wanted = [
        (KINDS[name], f"{KINDS[name].oid} = any ('{{{','.join(map(str, numbers))}}}'::oid[])")
        for name, numbers in oids.items()
        if numbers
    ]
    return _read(connection, wanted) if wanted else []


def _read(connection: psycopg.Connection[Any], wanted: list[tuple[Kind, str]]) -> list[Object]:
    queries = [_query(kind, where, connection.info.server_version) for kind, where in wanted]
    objects: list[Object] = []
    with connection.transaction() if connection.info.transaction_status == 0 else _nothing():
        cursor = connection.execute(";\n".join([ENTER, *queries, LEAVE]))
        for kind, _ in wanted:
            cursor.nextset()
            objects += [_object(kind, row) for row in cursor.fetchall()]
    return objects


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _query(kind: Kind, where: str, version: int) -> str:
    sql = kind.query.replace("{where}", where)
    if version < 150000:
        sql = sql.replace("pg_publication_namespace", "(select null::oid pnpubid, null::oid pnnspid where false)")
    return sql.replace("{not_null_name}", NOT_NULL_NAME if version >= 180000 else "null")


def _object(kind: Kind, row: tuple[Any, ...]) -> Object:
    oid, sub, name, parent_catalog, parent_oid, parent_sub, facts, raw = row
    parent = Key(parent_catalog, parent_oid, parent_sub) if parent_oid else None
    return Object(Key(kind.catalog, oid, sub), kind.name, name, parent, _load(facts), _load(raw))


def _load(value: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(value) if isinstance(value, (str, bytes)) else value
    return result


def by_kind(keys: Iterable[Key], kind_of: Mapping[Key, str]) -> dict[str, list[int]]:
    """Group keys by the kind they are known to have."""
    groups: dict[str, list[int]] = defaultdict(list)
    for key in keys:
        if key in kind_of:
            groups[kind_of[key]].append(key.oid)
    return dict(groups)
