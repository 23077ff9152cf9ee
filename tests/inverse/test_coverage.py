"""Nothing of the catalog is overlooked: each column of a catalog that a kind reads is read, or listed with the reason why not."""

import re
from collections import defaultdict

import pytest

from unmigrate.catalog.kinds import KINDS, other
from unmigrate.catalog.kinds.coverage import UNREAD, UNWATCHED
from unmigrate.catalog.touched import watched_catalogs
from unmigrate.scratch.server import Server

ALIAS = re.compile(r"\b(?:from|join)\s+(pg_\w+)\s+(?!on\b|where\b|join\b|left\b|cross\b|order\b)(\w+)")
VIEWS = frozenset({"pg_user_mappings"})


@pytest.fixture(params=["embedded", "debian"])
def one_server(request: pytest.FixtureRequest) -> Server:
    server: Server = request.getfixturevalue("server" if request.param == "embedded" else "debian_server")
    return server


def columns_read() -> dict[str, set[str]]:
    """{catalog: columns} by the text of the queries; what is read as whole rows is left out."""
    read: dict[str, set[str]] = defaultdict(set)
    for kind in KINDS.values():
        if kind in other.KINDS:
            continue
        aliases: dict[str, set[str]] = defaultdict(set)
        for catalog, alias in ALIAS.findall(kind.query):
            aliases[alias].add(catalog)
        for alias, column in re.findall(r"\b(\w+)\.(\w+)\b", kind.query) + re.findall(r"to_jsonb\((\w+)\) ->> '(\w+)'", kind.query):
            for catalog in aliases.get(alias, ()):
                read[catalog].add(column)
    return read


def test_every_column_is_read_or_declared(one_server: Server) -> None:
    forgotten = []
    with one_server.connect() as connection:
        for catalog, read in columns_read().items():
            query = "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
            declared = UNREAD.get(catalog, {})
            starts = tuple(name[:-1] for name in declared if name.endswith("*"))
            for (column,) in connection.execute(query, [f"pg_catalog.{catalog}"]):
                if column not in read and column not in declared and not (starts and column.startswith(starts)):
                    forgotten.append(f"{catalog}.{column}")
    assert forgotten == []


def test_every_catalog_is_watched_or_declared(one_server: Server) -> None:
    query = "select relname from pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind = 'r' and oid < 16384"
    starts = tuple(name[:-1] for name in UNWATCHED if name.endswith("*"))
    with one_server.connect() as connection:
        catalogs = {name for (name,) in connection.execute(query)}
    assert sorted(c for c in catalogs if c not in watched_catalogs() and c not in UNWATCHED and not c.startswith(starts)) == []


def test_declared_catalogs_are_read() -> None:
    assert set(UNREAD) - set(columns_read()) == set()
