"""The stage of the story: a copy of the example project, and a database of its own on an embedded server.

`set_up` gives a Stage and takes everything away again: the files, the server, the working directory, the environment.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

from unmigrate.prisma.migrations import read_migrations
from unmigrate.prove.workspace import LEDGER
from unmigrate.scratch.contents import column_hashes
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server

EPIC = "20250601120000_pm05_project_health"
PACKAGE = "@hub/db"
_PRISMA = Path("packages/db/prisma")
_TABLES = """
select c.oid::int8, array_agg(a.attnum::int4 order by a.attnum) from pg_class c
join pg_namespace n on n.oid = c.relnamespace join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
where c.relkind = 'r' and n.nspname = 'public' and c.relname <> '_prisma_migrations' group by c.oid
"""
_VAULT = """
select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname like 'unmigrate\\_%' order by 1
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """hub: the folder of the project, which is the working directory too; label: the server, for people."""

    hub: Path
    label: str
    connection: psycopg.Connection[Any]

    def deploy(self, *, epic: bool) -> list[str]:
        """Apply migrations up to the epic, or the epic, and write the ledger as `prisma migrate deploy` does; the names."""
        migrations = [m for m in read_migrations(self.hub / _PRISMA / "migrations") if (m.name == EPIC) == epic]
        self.connection.execute(LEDGER)
        for migration in migrations:
            self.connection.execute(migration.sql)
            self.connection.execute(
                'insert into "_prisma_migrations" (id, checksum, finished_at, migration_name, applied_steps_count) '
                "values (%s, %s, now(), %s, 1)",
                [str(uuid.uuid4()), migration.checksum, migration.name],
            )
        return [m.name for m in migrations]

    def work(self, rows: str) -> None:
        """People work: run a file of rows."""
        self.connection.execute((self.hub / rows).read_text(encoding="utf-8"))

    def previous_release(self) -> None:
        """The checkout goes back to the release before the epic, as the application does."""
        shutil.rmtree(self.hub / _PRISMA / "migrations" / EPIC)
        shutil.copy(self.hub / "previous-release" / "schema.prisma", self.hub / _PRISMA / "schema.prisma")

    def count(self, sql: str) -> int:
        row = self.connection.execute(sql).fetchone()
        assert row is not None
        return int(row[0])

    def contents(self) -> dict[tuple[int, int], str]:
        """A hash of every column of every table, by identity: a column that is renamed stays the same one."""
        return column_hashes(self.connection, dict(self.connection.execute(_TABLES).fetchall()))

    def kept(self) -> int:
        """Rows that the vault keeps."""
        return sum(self.count(f"select count(*) from {table}") for (table,) in self.connection.execute(_VAULT).fetchall())


def example() -> Path:
    """The example project: beside this file in an installed package, in examples/ of a checkout."""
    installed = Path(__file__).parent / "hub"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "examples" / "hub"


@contextmanager
def set_up() -> Iterator[Stage]:
    with (
        tempfile.TemporaryDirectory(prefix="unmigrate-demo-") as folder,
        open_server("embedded", environ=os.environ) as server,
        Pool(server) as pool,
    ):
        hub = Path(folder) / "hub"
        shutil.copytree(example(), hub)
        pool.admin.execute(f"ALTER DATABASE {pool.create()} RENAME TO hub")  # a name to read; it goes with the server
        conninfo = pool.conninfo("hub")
        with (
            _environment(_url(conninfo)),
            chdir(hub),
            psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as connection,
        ):
            yield Stage(hub, server.label, connection)


@contextmanager
def _environment(url: str) -> Iterator[None]:
    """DATABASE_URL as the project would have it, and no scratch server but our own; the caller's environment comes back."""
    before = dict(os.environ)
    os.environ["DATABASE_URL"] = url
    os.environ.pop("UNMIGRATE_SCRATCH", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _url(conninfo: str) -> str:
    """As a project would have it in DATABASE_URL."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@localhost:{parts.get('port', 5432)}/{parts['dbname']}?host={quote(str(parts['host']), safe='')}"
