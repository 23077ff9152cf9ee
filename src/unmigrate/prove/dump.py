"""What only committed databases show: pg_dump's view of the way back, as a second witness, and the way forward again."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg

from unmigrate.catalog.model import Catalog
from unmigrate.errors import EnvironmentProblem
from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.attempt import emptying
from unmigrate.prove.beginning import replayed
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.schema import differences
from unmigrate.prove.workspace import Workspace

INTEGRITY = "23"  # class of SQLSTATE: a constraint that rows violate
_NOISE = re.compile(r"^(--.*|\\.*|SET .*|SELECT pg_catalog\.set_config.*|)$")


@dataclass(frozen=True, slots=True)
class Committed:
    """What was seen: what is wrong, "" when all is well, and what else to know."""

    wrong: str = ""
    notes: tuple[str, ...] = ()


def committed(work: Workspace, migrations: Sequence[Migration], count: int, proofs: Sequence[SchemaProof]) -> Committed:
    """Commit migrations, their ways back, and the migrations again.

    Dumps before and after must be alike (where there is a pg_dump; verdicts below exact are compared without column order), and up,
    down, up must give what up gave.
    """
    if any(p.refused for p in proofs):
        return Committed()
    history = replayed(work, migrations[:-count])
    database = history.connection.info.dbname
    try:
        before = dump(work, database)
        for migration in migrations[-count:]:
            history.skip(migration)
        return gone_back(work, history, migrations[-count:], proofs, before)
    except ReplayError as error:
        return Committed(f"committed for pg_dump to see, the migration fails: {error}")
    finally:
        history.connection.close()
        work.pool.drop(database)


def gone_back(work: Workspace, history: History, migrations: Sequence[Migration], proofs: Sequence[SchemaProof], before: str) -> Committed:
    """As `committed`, for a history whose last are these migrations. before: the dump before them. It ends with them applied again, unless
    something is wrong. Where a proof needed empty tables, these are emptied, and the way forward is not tried again."""
    connection = history.connection
    database = connection.info.dbname
    again = Committed()
    try:
        up = history.observer.catalog
        connection.execute("SET check_function_bodies = off")
        if emptied := any(p.emptied for p in proofs):
            connection.execute(emptying(up))
        for proof in reversed(proofs):
            for sql in proof.statements:
                connection.execute(sql)
        after = dump(work, database)
        connection.execute("RESET check_function_bodies")
        if not emptied:
            again = _again(history, migrations, up)
    except psycopg.Error as error:
        return Committed(f"committed for pg_dump to see, the way back fails: {error}")
    if again.wrong:
        return again
    exact = all(p.outcome.verdict == "exact" for p in proofs)
    settled = all(p.outcome.verdict != "equivalent" for p in proofs)
    if settled and statements(before, exact) != statements(after, exact):
        return Committed(first_difference(before, after))
    return again


def _again(history: History, migrations: Sequence[Migration], up: Catalog) -> Committed:
    """The way forward once more must lead to the same catalog; rows that the migration wrote, and that stayed, may stand in its way."""
    history.observer.reset()
    for migration in migrations:
        try:
            history.skip(migration)
        except ReplayError as error:
            said = f"applied again after the way back, it fails: {error}"
            of_rows = (error.sqlstate or "").startswith(INTEGRITY)
            return Committed(notes=(f"{migration.name}: {said}; rows that it wrote stay",)) if of_rows else Committed(said)
    found = [d for d in differences(up, history.observer.catalog) if not d.derived_only]
    return Committed(f"applied again after the way back, {found[0]}" if found else "")


def dump(work: Workspace, database: str) -> str:
    """The text of pg_dump -s, without the ledger. Raises EnvironmentProblem where it fails: for want of a right, say."""
    server = work.pool.server
    if server.bin_dir is None:
        return ""
    command = [str(server.bin_dir / "pg_dump"), "-s", "--exclude-table=*._prisma_migrations", "--exclude-schema=unmigrate*", "-d"]
    result = subprocess.run([*command, work.pool.conninfo(database)], capture_output=True, text=True)
    if result.returncode:
        said = next((line for line in result.stderr.splitlines() if "error:" in line), "no message").removeprefix("pg_dump: error: ")
        remedy = "grant it what it lacks, in the migrations; or, if these may be trusted, give --trusted: they run as a superuser then"
        raise EnvironmentProblem(f"pg_dump cannot look at the scratch database: {said}", code="pg-dump", remedy=remedy)
    return result.stdout


def statements(text: str, exact: bool) -> list[str]:
    """What a dump says, to be compared; not exact: without the order of statements, nor of lines (columns) in one."""
    lines = [line for line in text.split("\n") if not _NOISE.match(line)]
    statements = [s.strip() for s in "\n".join(lines).split(";\n") if s.strip()]
    return statements if exact else sorted("\n".join(sorted(line.strip(" ,") for line in s.split("\n"))) for s in statements)


def first_difference(before: str, after: str) -> str:
    """The first thing that is in one dump alone, in words."""
    missing = sorted(set(statements(before, True)) - set(statements(after, True)))
    extra = sorted(set(statements(after, True)) - set(statements(before, True)))
    shown = (missing or extra or ["the order of statements"])[0]
    return f"pg_dump sees a difference: {shown[:200]}"
