"""Deploy an epic, watch the runbook's script fail, and roll the epic back: every command is the one a user would type."""

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg

from unmigrate.prisma.migrations import Migration, read_migrations
from unmigrate.prove.workspace import LEDGER
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

Command = Callable[[list[str]], int]
Say = Callable[[str], None]
EPIC = "20250601120000_pm05_project_health"


def example() -> Path:
    """The example project: beside this file in an installed package, in examples/ of a checkout."""
    installed = Path(__file__).parent / "hub"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "examples" / "hub"


def tell(run: Command, say: Say) -> int:
    """Tell the story. run: our command line; say: how a line of the story is shown. Returns the last exit status."""
    with tempfile.TemporaryDirectory() as folder, open_server("embedded", environ=os.environ) as server, Pool(server) as pool:
        project = Path(folder) / "hub"
        shutil.copytree(example(), project)
        os.chdir(project)
        database = pool.create()
        conninfo = pool.conninfo(database)
        os.environ["DATABASE_URL"] = _url(conninfo)
        say(f"A project with an epic, PM-05, deployed on {server.label}: five tables, five enums, an enum value, a renamed column,")
        say("a dropped and an added one, an index replaced. Then people worked with it.")
        _deploy(conninfo, read_migrations(project / "packages/db/prisma/migrations"), project / "seed.sql")
        say("\nThe epic must go. The runbook has a script for that. Let us see what it would really do.")
        package = ["--filter", "@hub/db"]
        run(["prove", "--down", "runbook-rollback.sql", *package])
        say("\nIt does nothing to the tables and cannot drop the enums. What did the migration do, and what undoes it?")
        run(["plan", *package])
        say("\nRisks were written since; what the rollback takes away is kept in the vault. Back, then, in one short transaction:")
        status = run(["rollback", EPIC, "--yes", "--accept-loss", *package])
        say("\nAnd what does the database say now?")
        run(["status", *package])
        _count(conninfo, say)
        return status


def _url(conninfo: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@localhost:{parts.get('port', 5432)}/{parts['dbname']}?host={quote(str(parts['host']), safe='')}"


def _deploy(conninfo: str, migrations: tuple[Migration, ...], seed: Path) -> None:
    with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as connection:
        connection.execute(LEDGER)
        for migration in migrations:
            connection.execute(migration.sql)
            connection.execute(
                'insert into "_prisma_migrations" (id, checksum, finished_at, migration_name, applied_steps_count) '
                "values (%s, %s, now(), %s, 1)",
                [str(uuid.uuid4()), hashlib.sha256(migration.sql.encode()).hexdigest(), migration.name],
            )
        connection.execute(seed.read_text(encoding="utf-8"))


def _count(conninfo: str, say: Say) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        row = connection.execute(
            "select (select count(*) from users), (select count(*) from projects), (select count(budget) from projects)"
        ).fetchone()
    assert row is not None
    say(f"\n{row[0]} users, {row[1]} projects, {row[2]} budgets under their old name: nothing was lost.")
