"""Reading the catalog: all of it, or only the objects named by key.

Everything is read in one round trip, under an empty search_path that is put back, so that every name that
is not of pg_catalog comes out qualified.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import psycopg

from unmigrate.catalog import prepared
from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.kinds.base import PARKED, Kind
from unmigrate.catalog.kinds.column import NOT_NULL_MORE, NOT_NULL_NAME
from unmigrate.catalog.model import Catalog, Key, Object

ENTER = prepared.Call("select set_config('unmigrate.path', current_setting('search_path'), true), set_config('search_path', '', true)")
LEAVE = prepared.Call("select set_config('search_path', current_setting('unmigrate.path'), true)")
PAIRS = "(a.attrelid, a.attnum) in (select * from unnest($1, $2))"


def read_catalog(connection: psycopg.Connection[Any]) -> Catalog:
    """The whole catalog of the connected database. Needs no privilege beyond connecting."""
    version = connection.info.server_version
    return Catalog.of(_read(connection, [(kind, prepared.Call(_query(kind.name, "true", version))) for kind in KINDS.values()]))


def show_parked(connection: psycopg.Connection[Any], schemas: Iterable[str]) -> None:
    """From now on this session's readings include what is parked in these schemas of the vault."""
    connection.execute("select set_config(%s, %s, false)", [PARKED, ",".join(schemas)])


def read_objects(
    connection: psycopg.Connection[Any], oids: Mapping[str, Collection[int]], columns: Collection[tuple[int, int]] = ()
) -> list[Object]:
    """The objects of the named kinds whose oid is among `oids` ({kind: oids}), and of the columns of tables.

    columns: (oid of the table, number of the column, or 0 for all of its columns).
    """
    version = connection.info.server_version
    wanted = [
        (KINDS[name], prepared.Call(_query(name, f"{KINDS[name].oid} = any ($1)", version), "oid[]", prepared.array(numbers)))
        for name, numbers in oids.items()
        if numbers
    ]
    column = KINDS["column"]
    whole = {oid for oid, number in columns if not number}
    if whole:
        wanted.append((column, prepared.Call(_query("column", f"{column.oid} = any ($1)", version), "oid[]", prepared.array(whole))))
    if single := [pair for pair in columns if pair[0] not in whole]:
        arguments = ", ".join(prepared.array(values) for values in zip(*single, strict=True))
        wanted.append((column, prepared.Call(_query("column", PAIRS, version), "oid[], int2[]", arguments)))
    return _read(connection, wanted) if wanted else []


def _read(connection: psycopg.Connection[Any], wanted: list[tuple[Kind, prepared.Call]]) -> list[Object]:
    results = prepared.run(connection, [call for _, call in wanted], around=(ENTER, LEAVE))
    return [_object(kind, row) for (kind, _), rows in zip(wanted, results, strict=True) for row in rows]


@lru_cache(maxsize=256)
def _query(kind: str, where: str, version: int) -> str:
    sql = KINDS[kind].query
    sql = sql.replace("{where}", where)
    if version < 150000:
        sql = sql.replace("pg_publication_namespace", "(select null::oid pnpubid, null::oid pnnspid where false)")
    sql = sql.replace("{not_null_more}", NOT_NULL_MORE if version >= 180000 else "null")
    return sql.replace("{not_null_name}", NOT_NULL_NAME if version >= 180000 else "null")


def _object(kind: Kind, row: tuple[Any, ...]) -> Object:
    oid, sub, name, parent_catalog, parent_oid, parent_sub, facts, raw = row
    parent = Key(parent_catalog, parent_oid, parent_sub) if parent_oid else None
    return Object(Key(kind.catalog, oid, sub), kind.name, name, parent, _load(facts), _load(raw))


def _load(value: Any) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(value) if isinstance(value, (str, bytes)) else value
    return result
