"""Which rows of a table differ between two databases.

Each server sums up its rows by buckets of their keys, so that only what is in a bucket that differs has to come here, as keys and hashes.
Where servers hash differently, all buckets differ: it takes longer, and finds the same.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg

from unmigrate.snapshot import staging
from unmigrate.snapshot.lost import Part
from unmigrate.snapshot.provider import Say

BUCKETS = 1 << 16
_SUMS = """
select bucket, bit_xor(hashtextextended(line, 0)), bit_xor(hashtextextended(line, 1))
from (select {bucket} as bucket, ROW({row})::text collate "C" as line from {source} offset 0) x group by 1"""
_DELTA = """
create temp table {name} as
select {keys}, case when b.h is null then 'I' when o.h is null then 'D' else 'U' end as op
from pg_temp.compared_o o full join pg_temp.compared_b b using ({keys}) where o.h is distinct from b.h"""

_Sums = dict[int, tuple[int, int]]


def compared(live: psycopg.Connection[Any], old: psycopg.Connection[Any], base: psycopg.Connection[Any], part: Part, say: Say) -> str:
    """The name of a temporary table in `live`: of each row that differs the key, as text, and `op`.

    op: "I" for a row that only `old` has, "D" for one that only `base` has, "U" for one that differs between them. Made once in a session,
    so that rows and edits of one table are told by the same comparison.
    """
    name = f"pg_temp.delta_{hashlib.sha256(part.table.encode()).hexdigest()[:12]}"
    row = live.execute("select to_regclass(%s) is not null", [name]).fetchone()
    if row and row[0]:
        return name
    say(f"comparing {part.table}")
    some = _differing(old, base, part)
    with live.transaction():
        keys = ", ".join(f"k{i}" for i, _ in enumerate(part.key, 1))
        for letter, connection in (("o", old), ("b", base)):
            live.execute(f"CREATE TEMP TABLE compared_{letter} ({keys.replace(',', ' text,')} text, h text)")
            staging.copy(live, connection, _hashes(part, some), f"COPY pg_temp.compared_{letter} FROM STDIN", part.table, say)
            live.execute(f"ANALYZE pg_temp.compared_{letter}")
        live.execute(_DELTA.format(name=name.removeprefix("pg_temp."), keys=keys))
        live.execute("DROP TABLE pg_temp.compared_o, pg_temp.compared_b")
    return name


def _differing(old: psycopg.Connection[Any], base: psycopg.Connection[Any], part: Part) -> str:
    """A condition for the rows of all buckets that differ."""
    with ThreadPoolExecutor(2) as both:
        here, there = both.map(lambda connection: _sums(connection, part), (old, base))
    all_ = here.keys() | there.keys()
    found = [number for number in all_ if here.get(number) != there.get(number)]
    if 2 * len(found) > len(all_):
        return "true"
    return f"{_bucket(part)} = ANY ('{{{','.join(map(str, found))}}}')" if found else "false"


def _sums(connection: psycopg.Connection[Any], part: Part) -> _Sums:
    row = ", ".join(c.name for c in part.columns)
    rows = connection.execute(_SUMS.format(bucket=_bucket(part), row=row, source=part.source)).fetchall()
    return {number: (one, other) for number, one, other in rows}


def _bucket(part: Part) -> str:
    return f'(hashtext(ROW({_listed(k.name for k in part.key)})::text collate "C") & {BUCKETS - 1})'


def _hashes(part: Part, some: str) -> str:
    keys, row = (_listed(f"{c.name}::text" for c in columns) for columns in (part.key, part.columns))
    return f"COPY (SELECT {keys}, md5(ROW({row})::text) FROM {part.source} WHERE {some}) TO STDOUT"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
