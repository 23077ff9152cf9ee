"""Reading the catalog: all of it, or only the objects named by key.

Everything is read in one round trip, under an empty search_path that is put back, so that every name that
is not of pg_catalog comes out qualified.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.kinds.base import PARKED, Kind
from unmigrate.catalog.kinds.column import NOT_NULL_MORE, NOT_NULL_NAME
from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.sqltext import LOOK_AGAIN, lean
from unmigrate.catalog.touched import FIRST_USER_OID
from unmigrate.sql import prepared

ALL = "true"
ANY = "{oid} = any ($1)"
# What text of the catalog depends on, as pg_dump has it: a migration may have left other settings in its session.
_FORMATS = {
    "search_path": "", "datestyle": "ISO", "intervalstyle": "postgres", "extra_float_digits": "3", "quote_all_identifiers": "off",
}  # fmt: skip
# A few objects by key: the catalogs have no statistics, and the planner would rather hash them whole.
# Read often: formats are left to who runs migrations, see `inverse.replay`.
_BY_KEY = {"search_path": "", "enable_hashjoin": "off", "enable_seqscan": "off"}


def _enter(settings: Mapping[str, str]) -> prepared.Call:
    kept = "set_config('unmigrate.kept', concat_ws(chr(31), " + ", ".join(f"current_setting('{name}')" for name in settings) + "), true)"
    return prepared.Call("select " + ", ".join([kept, *(f"set_config('{name}', '{value}', true)" for name, value in settings.items())]))


def _leave(settings: Mapping[str, str]) -> prepared.Call:
    back = (f"set_config('{name}', k[{number}], true)" for number, name in enumerate(settings, 1))
    return prepared.Call(f"select {', '.join(back)} from string_to_array(current_setting('unmigrate.kept'), chr(31)) k")


ENTER, LEAVE = _enter(_FORMATS), _leave(_FORMATS)
ENTER_BY_KEY, LEAVE_BY_KEY = _enter(_BY_KEY), _leave(_BY_KEY)
_BEFORE_15 = {
    "pg_publication_namespace": "(select null::oid pnpubid, null::oid pnnspid where false)",
    "pg_publication_rel": "(select *, null::int2vector prattrs, null::pg_node_tree prqual from pg_publication_rel)",
}
OF_ONE_TABLE = "{oid} = any ($1) and a.attnum = any ($2)"
PAIRS = "(a.attrelid, a.attnum) in (select * from unnest($1, $2))"
_TYPES = {ALL: "", ANY: "oid[]", OF_ONE_TABLE: "oid[], int2[]", PAIRS: "oid[], int2[]"}

_Reading = tuple[Kind, str, tuple[list[int], ...]]  # a kind, which of its objects, and arrays for $1, $2


def read_catalog(connection: psycopg.Connection[Any]) -> Catalog:
    """The whole catalog of the connected database. Needs no privilege beyond connecting."""
    (there,) = prepared.run(connection, [_there()], around=(ENTER, LEAVE))[0]
    present = [kind for kind, found in zip(KINDS.values(), there, strict=True) if found]
    return Catalog.of(_read(connection, [(kind, ALL, ()) for kind in present], (ENTER, LEAVE)))


@lru_cache(maxsize=1)
def _there() -> prepared.Call:
    """A query that tells of each kind whether there can be any: planning its own takes longer than most databases need to say no."""
    some = {k.name: f"exists (select from pg_catalog.{k.catalog} where oid >= {FIRST_USER_OID} and {k.among})" for k in KINDS.values()}
    some |= dict.fromkeys(("schema", "extension", "setting", "extension dependency"), "true")  # the server's own may count; no oids
    return prepared.Call(f"select {', '.join(some.values())}")


def show_parked(connection: psycopg.Connection[Any], schemas: Iterable[str]) -> None:
    """From now on this session's readings include what is parked in these schemas of the vault."""
    connection.execute("select set_config(%s, %s, false)", [PARKED, ",".join(schemas)])


def read_objects(
    connection: psycopg.Connection[Any], oids: Mapping[str, Collection[int]], columns: Collection[tuple[int, int]] = ()
) -> list[Object]:
    """The objects of the named kinds whose oid is among `oids` ({kind: oids}), and of the columns of tables.

    columns: (oid of the table, number of the column, or 0 for all of its columns).
    """
    calls: list[_Reading] = [(KINDS[name], ANY, ([*numbers],)) for name, numbers in oids.items() if numbers]
    whole = {oid for oid, number in columns if not number}
    if whole:
        calls.append((KINDS["column"], ANY, ([*whole],)))
    if single := [pair for pair in columns if pair[0] not in whole]:
        tables, numbers = map(list, zip(*single, strict=True))
        calls.append((KINDS["column"], PAIRS if len({*tables}) > 1 else OF_ONE_TABLE, (tables, numbers)))
    return _read(connection, calls, (ENTER_BY_KEY, LEAVE_BY_KEY))


def _read(connection: psycopg.Connection[Any], calls: Sequence[_Reading], around: tuple[prepared.Call, prepared.Call]) -> list[Object]:
    """What most objects lack (grants) is left out at first: setting up for it takes longer than reading all the rest."""
    version = connection.info.server_version
    found: list[Object] = []
    again: Sequence[_Reading] = calls
    for rare in (False, True):
        now, again = again, []
        results = prepared.run(connection, [_call(*call, version, rare=rare) for call in now], around=around) if now else []
        for call, rows in zip(now, results, strict=True):
            if not rare and any(LOOK_AGAIN in row[6] or LOOK_AGAIN in row[7] for row in rows):
                again.append(call)
            else:
                found += _objects(call[0], rows)
    return found


def _call(kind: Kind, where: str, arguments: tuple[list[int], ...], version: int, *, rare: bool) -> prepared.Call:
    condition = where.replace("{oid}", kind.oid)
    return prepared.Call(_query(kind.name, condition, version, rare), _TYPES[where], ", ".join(map(prepared.array, arguments)))


@lru_cache(maxsize=256)
def _query(kind: str, where: str, version: int, rare: bool) -> str:
    sql = KINDS[kind].query
    sql = sql.replace("{where}", where)
    if version < 150000:
        for name, stand_in in _BEFORE_15.items():
            sql = sql.replace(f" {name} ", f" {stand_in} ")
    sql = sql.replace("{not_null_more}", NOT_NULL_MORE if version >= 180000 else "null")
    sql = sql.replace("{not_null_name}", NOT_NULL_NAME if version >= 180000 else "null")
    names = "oid, sub, name, parent_catalog, parent_oid, parent_sub, facts, raw"
    text = names.replace("facts, raw", "facts::text, raw::text")  # text is looked at, and read, faster than what psycopg makes of JSON
    return f"select {text} from ({sql if rare else lean(sql)}) q ({names})"


def _objects(kind: Kind, rows: list[Any]) -> Iterator[Object]:
    """All of one query: their JSON is read as one text, which takes half the time."""
    details = iter(json.loads(f"[{','.join(f'{row[6]},{row[7]}' for row in rows)}]"))
    for oid, sub, name, parent_catalog, parent_oid, parent_sub, *_ in rows:
        parent = Key(parent_catalog, parent_oid, parent_sub) if parent_oid else None
        yield Object(Key(kind.catalog, oid, sub), kind.name, name, parent, next(details), next(details))
