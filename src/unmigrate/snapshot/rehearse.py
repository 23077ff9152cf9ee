"""What a migration itself did to rows, found out on the restored snapshot: it is run there, and its way back, in a transaction that ends
with ROLLBACK. What differs afterwards is what the migration cost: values that it changed, rows that it deleted.

A value goes back only where the live one is still what this leaves; a row returns unless its key is there.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, Any

import psycopg

from unmigrate.errors import EnvironmentProblem
from unmigrate.snapshot import merge, staging
from unmigrate.snapshot.lost import Column, Part
from unmigrate.snapshot.provider import Say
from unmigrate.sql.script import ScriptError, has_control

_OUTSIDE = re.compile(
    r"\b(dblink\w*|http_\w+|net\.http_\w+|pg_background\w*|aws_\w+|lo_export)\b|\bPROGRAM\b|\bCOPY\b[^;]*\b(?:TO|FROM)\s+'", re.IGNORECASE
)
Connect = Callable[[], psycopg.Connection[Any]]
_TIMEOUT = "SET LOCAL lock_timeout = '60s'"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """files: rows of each part, as COPY wants them, in a file that has no name; counts: how many; renumbered: parts whose rows came and
    went, so that they may be the same ones under other keys, and must not return twice."""

    files: dict[int, IO[bytes]]
    counts: dict[int, int]
    renumbered: frozenset[int]

    def stage(self, live: psycopg.Connection[Any], job: str, part: Part, say: Say) -> None:
        """Fill a part's staging table."""

        def fill(name: str) -> int:
            say(f"copying {part.table} as it was before")
            file = self.files[part.number]
            file.seek(0)
            with live.cursor() as cursor, cursor.copy(f"COPY {name} ({merge.cells(part)}) FROM STDIN") as writer:
                while block := file.read(staging.BLOCK):
                    writer.write(block)
            return self.counts[part.number]

        staging.stage_with(live, job, part, fill)


def unfit(up: Sequence[str]) -> str:
    """Why migrations cannot be rehearsed; "" where nothing speaks against it."""
    for sql in up:
        try:
            if has_control(sql):
                return "it begins or ends transactions by itself"
        except ScriptError:
            return "its text cannot be parsed"
        if found := _OUTSIDE.search(sql):
            return f"it calls {found[0]}, whose effect no rollback takes back"
    return ""


def rehearse(
    stack: ExitStack, connect: Connect, up: Sequence[str], down: Sequence[str], parts: Sequence[Part], say: Say
) -> tuple[Rehearsal | None, str]:  # fmt: skip
    """Run the migrations and their way back, and note what they cost; everything is rolled back. (None, why) where that fails.

    stack: closes the files.
    """
    columns: dict[str, tuple[Column, ...]] = {}
    for part in parts:
        columns[part.table] = tuple(dict.fromkeys([*columns.get(part.table, ()), *part.columns]))
    with closing(connect()) as connection:
        connection.execute(merge.SETTINGS)
        connection.execute("BEGIN")
        try:
            _run(connection, up, down, {p.table: p for p in parts}.values(), columns, say)
        except psycopg.errors.DiskFull:
            raise
        except psycopg.Error as error:
            said = " ".join(str(error.diag.message_primary or error).split())
            return None, f"it could not be run on the restored snapshot: {said[:160]}"
        files: dict[int, IO[bytes]] = {part.number: stack.enter_context(TemporaryFile()) for part in parts}  # noqa: SIM115
        counts = {part.number: _spool(connection, _select(part, columns[part.table]), files[part.number]) for part in parts}
        renumbered = frozenset(p.number for p in parts if p.kind == "rows" and _renumbered(connection, p))
        connection.execute("ROLLBACK")
    return Rehearsal(files, counts, renumbered), ""


def _run(
    connection: psycopg.Connection[Any], up: Sequence[str], down: Sequence[str], parts: Iterable[Part],
    columns: dict[str, tuple[Column, ...]], say: Say,
) -> None:  # fmt: skip
    connection.execute(_TIMEOUT)
    for part in parts:
        say(f"remembering {part.table} of the snapshot")
        remembered = _remember(part, columns[part.table])
        connection.execute(f"CREATE TEMP TABLE {_before(part.table, bare=True)} ON COMMIT DROP AS {remembered}")
        keys = ", ".join(f"k{i}" for i, _ in enumerate(part.key, 1))
        connection.execute(f"CREATE INDEX ON {_before(part.table)} ({keys})")
        connection.execute(f"ANALYZE {_before(part.table)}")
    say("running the migration and its way back on the restored snapshot")
    path = connection.execute("SHOW search_path").fetchone()
    for sql in up:
        connection.execute(sql)
    connection.execute(f"RESET ROLE; {merge.SETTINGS}")
    connection.execute("select set_config('search_path', %s, true)", [path[0] if path else "public"])
    for sql in down:
        connection.execute(sql)
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def _spool(connection: psycopg.Connection[Any], select: str, file: IO[bytes]) -> int:
    rows = 0
    try:
        with connection.cursor() as cursor, cursor.copy(f"COPY ({select}) TO STDOUT") as reader:
            for row in reader:
                file.write(row)
                rows += 1
        file.flush()
    except OSError as error:
        remedy = "free space in the temporary folder (TMPDIR), and try again"
        raise EnvironmentProblem(f"changed rows cannot be set aside: {error.strerror}", code="disk-full", remedy=remedy) from error
    return rows


def _select(part: Part, all_: Sequence[Column]) -> str:
    position = {c.name: i for i, c in enumerate(all_, 1)}
    keys = [f"b.k{i}" for i, _ in enumerate(part.key, 1)]
    old = [f"b.c{position[c.name]}" for c in part.columns]
    before = f"{_before(part.table)} b"
    if part.kind == "rows":
        return f"SELECT {', '.join([*keys, *old])} FROM {before} WHERE NOT EXISTS (SELECT FROM {part.source} t WHERE {_joined(part)})"
    left = [f"t.{c.name}::text" for c in part.columns]
    differs = " OR ".join(f"{b} IS DISTINCT FROM {t}" for b, t in zip(old, left, strict=True))
    return f"SELECT {', '.join([*keys, *old, *left])} FROM {before} JOIN {part.source} t ON {_joined(part)} WHERE {differs}"


def _joined(part: Part) -> str:
    return " AND ".join(f"t.{k.name} = b.k{i}::{k.type}" for i, k in enumerate(part.key, 1))


def _renumbered(connection: psycopg.Connection[Any], part: Part) -> bool:
    came = f"SELECT FROM {part.source} t WHERE NOT EXISTS (SELECT FROM {_before(part.table)} b WHERE {_joined(part)})"
    went = f"SELECT FROM {_before(part.table)} b WHERE NOT EXISTS (SELECT FROM {part.source} t WHERE {_joined(part)})"
    row = connection.execute(f"SELECT EXISTS ({came}) AND EXISTS ({went})").fetchone()
    return bool(row and row[0])


def _before(table: str, *, bare: bool = False) -> str:
    import hashlib

    name = f"unmigrate_before_{hashlib.sha256(table.encode()).hexdigest()[:10]}"
    return name if bare else f"pg_temp.{name}"


def _remember(part: Part, columns: Sequence[Column]) -> str:
    keys = [f"{k.name}::text AS k{i}" for i, k in enumerate(part.key, 1)]
    return f"SELECT {', '.join([*keys, *(f'{c.name}::text AS c{i}' for i, c in enumerate(columns, 1))])} FROM {part.source}"
