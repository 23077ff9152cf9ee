"""A dump of pg_dump as the source: restored on scratch by the migrations' own role, and gone at the end.

What is wider than the rows and their tables stays out: owners, grants, comments, publications, subscriptions, event triggers. Extensions
are made first, as for migrations. The dump is checked as it is restored: what pg_restore cannot restore ends it.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from unmigrate.errors import FailedError, RefusedError, UnmigrateError, UsageError
from unmigrate.prisma.url import DatabaseUrl
from unmigrate.scratch import binaries
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import dumps, programs

_OUT = ("--no-owner", "--no-acl", "--no-comments", "--no-publications", "--no-subscriptions", "--no-security-labels", "--no-tablespaces")
_LEFT = ("EVENT TRIGGER", "PUBLICATION", "SUBSCRIPTION", "COMMENT", "ACL", "DEFAULT ACL", "SECURITY LABEL")
_PLAIN = "pg_dump --format=custom, or --format=directory, makes one that can be restored apart from what it was taken of"


@dataclass(frozen=True, slots=True)
class Dump:
    """path: what pg_restore is given; major: of the server it was taken of; listed: its table of contents."""

    path: Path
    major: int
    listed: tuple[str, ...]
    program: Path


def read(given: Path) -> Dump:
    """Raises UsageError for what is no dump, or one of plain SQL; EnvironmentProblem where there is no pg_restore."""
    path = given / dumps.DATA if (given / dumps.MANIFEST).is_file() else given  # one of our own snapshots
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(512)
        if not head.startswith(b"PGDMP") and b"toc.dat" not in head:  # the second: format tar
            raise UsageError(f"{given} is no dump that pg_restore reads", code="no-dump", remedy=_PLAIN)
    elif not (path / "toc.dat").is_file():
        raise UsageError(f"{given} is no dump: it has no toc.dat", code="no-dump", remedy=_PLAIN)
    program, said = _listed(given, path.resolve())
    version = next((line.split("version:")[1] for line in said.splitlines() if "Dumped from database version:" in line), "0")
    listed = tuple(line for line in said.splitlines() if line.strip() and not line.startswith(";"))
    return Dump(path.resolve(), int(version.split()[0].split(".")[0]), listed, program)


def _listed(given: Path, path: Path) -> tuple[Path, str]:
    """By the oldest pg_restore that reads it: what a newer one sends, an older server may not know."""
    known = sorted((one for one in (*binaries.debian(), binaries.embedded()) if one), key=lambda one: one.major)
    found = [one.bin_dir / "pg_restore" for one in known if (one.bin_dir / "pg_restore").exists()]
    failed: UnmigrateError | None = None
    for program in found or [programs.find("pg_restore", None, 10)]:
        try:
            return program, programs.run([str(program), "--list", str(path)], os.environ, what=f"{given} cannot be read")
        except UnmigrateError as error:
            failed = error
    raise UsageError(str(failed), code="no-dump", remedy="is it whole? or made by a newer pg_dump than the PostgreSQL that is here?")


@contextmanager
def restored(dump: Dump, pool: Pool, schema: str, display: str, say: Callable[[str], None]) -> Iterator[DatabaseUrl]:
    """A scratch database with its rows, as the source that is read. Raises RefusedError, FailedError, EnvironmentProblem."""
    name = pool.create()
    try:
        conninfo = pool.conninfo(name)
        _extensions(dump, pool, name)
        say(f"restoring {display} on scratch")
        kept = [line for line in dump.listed if not _left_out(line)]
        _run(dump, kept, ["--exit-on-error", *_OUT, f"--dbname={conninfo}"])
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute("ANALYZE")  # the sizes that times are told by
        yield DatabaseUrl(conninfo, schema, display, name)
    finally:
        pool.drop(name)


def _left_out(line: str) -> bool:
    """Of a line as `215; 1259 16386 TABLE public User app`."""
    words = line.partition("; ")[2].split(" ", 2)[-1]
    return words.startswith(("EXTENSION ", "SCHEMA - public ", *(f"{kind} " for kind in _LEFT)))


def _extensions(dump: Dump, pool: Pool, database: str) -> None:
    wanted = [line for line in dump.listed if line.partition("; ")[2].split(" ", 2)[-1].startswith("EXTENSION ")]
    if not wanted:
        return
    text = _run(dump, wanted, ["--file=-"])
    with pool.connect(database) as connection:
        for line in text.splitlines():
            if not line.startswith("CREATE "):
                continue
            try:
                connection.execute(line.encode())
            except psycopg.Error as error:
                why = " ".join(str(error.diag.message_primary or error).split())
                message = f"scratch cannot have what the dump needs: {line.rstrip(';')}: {why}"
                remedy = "give a scratch server that has it: --scratch debian or a URL"
                raise RefusedError(message, code="extension", remedy=remedy) from None


def _run(dump: Dump, kept: list[str], options: list[str]) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="unmigrate-", suffix=".list") as contents:
        contents.write("\n".join(kept) + "\n")
        contents.flush()
        command = [str(dump.program), "--no-password", f"--use-list={contents.name}", *options, str(dump.path)]
        try:
            return programs.run(command, os.environ, what="the dump cannot be restored on scratch")
        except FailedError as error:
            remedy = (
                "a dump of the whole database is needed, roles and extensions that it uses apart; --scratch of the version it was taken of"
            )
            raise RefusedError(str(error), code="dump", remedy=remedy) from None
