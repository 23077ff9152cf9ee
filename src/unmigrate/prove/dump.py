"""The second witness: pg_dump's own view of the schema, before, and after the migration and its way back."""

import re
import subprocess
from collections.abc import Sequence

import psycopg

from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.workspace import Workspace

_NOISE = re.compile(r"^(--.*|\\.*|SET .*|SELECT pg_catalog\.set_config.*|)$")


def same_dump(work: Workspace, migrations: Sequence[Migration], count: int, proofs: Sequence[SchemaProof]) -> str:
    """Commit the migrations and their ways back on a clone and compare dumps: "" when alike or not to be had, else what differs.

    Only differences that the catalog did not name already count: verdicts below exact are compared without column order.
    """
    if work.pool.server.bin_dir is None or any(p.refused for p in proofs):
        return ""
    database = work.pool.create()
    connection = work.prepare(work.pool.connect(database), first=True)
    try:
        history = History(connection)
        for migration in migrations[:-count]:
            history.skip(migration)
        before = dump(work, database)
        for migration in migrations[-count:]:
            history.skip(migration)
        connection.execute("SET check_function_bodies = off")
        for proof in reversed(proofs):
            for sql in proof.statements:
                connection.execute(sql)
        after = dump(work, database)
    except (psycopg.Error, ReplayError) as error:
        return f"committed for pg_dump to see, the way back fails: {error}"
    finally:
        connection.close()
        work.pool.drop(database)
    exact = all(p.outcome.verdict == "exact" for p in proofs)
    settled = all(p.outcome.verdict != "equivalent" for p in proofs)
    return "" if not settled or _statements(before, exact) == _statements(after, exact) else _first_difference(before, after)


def dump(work: Workspace, database: str) -> str:
    """The text of pg_dump -s, without the ledger."""
    server = work.pool.server
    assert server.bin_dir is not None
    command = [str(server.bin_dir / "pg_dump"), "-s", "--exclude-table=*._prisma_migrations", "--exclude-schema=unmigrate*", "-d"]
    result = subprocess.run([*command, work.pool.conninfo(database)], capture_output=True, text=True, check=True)
    return result.stdout


def _statements(text: str, exact: bool) -> list[str]:
    lines = [line for line in text.split("\n") if not _NOISE.match(line)]
    statements = [s.strip() for s in "\n".join(lines).split(";\n") if s.strip()]
    return statements if exact else sorted("\n".join(sorted(line.strip(" ,") for line in s.split("\n"))) for s in statements)


def _first_difference(before: str, after: str) -> str:
    missing = sorted(set(_statements(before, True)) - set(_statements(after, True)))
    extra = sorted(set(_statements(after, True)) - set(_statements(before, True)))
    shown = (missing or extra or ["the order of statements"])[0]
    return f"pg_dump sees a difference: {shown[:200]}"
