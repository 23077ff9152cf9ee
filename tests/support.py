"""What tests share: little projects on disk, migrations in memory, databases with a ledger."""

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from unmigrate.prisma.migrations import Migration
from unmigrate.prisma.url import connect as connect_to
from unmigrate.prisma.url import parse_url
from unmigrate.prove.workspace import LEDGER

SCHEMA = 'datasource db {\n  provider = "postgresql"\n  url      = env("DATABASE_URL")\n}\n'


def migration(name: str, sql: str, down: str | None = None) -> Migration:
    """A migration that stands in no folder."""
    return Migration(name, Path(name), sql, hashlib.sha256(sql.encode()).hexdigest(), down)


def write_project(root: Path, scripts: Sequence[tuple[str, str]], schema: str = SCHEMA) -> Path:
    """A Prisma project with these (name, sql) migrations."""
    folder = root / "prisma" / "migrations"
    folder.mkdir(parents=True)
    (folder / "migration_lock.toml").write_text('provider = "postgresql"\n')
    (root / "prisma" / "schema.prisma").write_text(schema)
    for name, sql in scripts:
        (folder / name).mkdir()
        (folder / name / "migration.sql").write_text(sql)
    return root


def deploy(connection: psycopg.Connection[Any], scripts: Sequence[tuple[str, str]]) -> None:
    """Apply migrations and write the ledger as `prisma migrate deploy` does."""
    connection.execute(LEDGER)
    for name, sql in scripts:
        connection.execute(sql)
        record(connection, name, sql)


def record(connection: psycopg.Connection[Any], name: str, sql: str, *, finished: bool = True) -> None:
    """One ledger row; not finished means failed."""
    connection.execute(
        'insert into "_prisma_migrations" (id, checksum, finished_at, migration_name, applied_steps_count) '
        "values (%s, %s, case when %s then now() end, %s, %s)",
        [str(uuid.uuid4()), hashlib.sha256(sql.encode()).hexdigest(), finished, name, int(finished)],
    )


def prisma_url(conninfo: str) -> str:
    """The URL, as Prisma takes it, of a database that is reached by a socket."""
    parts = conninfo_to_dict(conninfo)
    return f"postgresql://{parts['user']}@localhost:{parts.get('port', 5432)}/{parts['dbname']}?host={quote(str(parts['host']), safe='')}"


def connect(url: str) -> psycopg.Connection[Any]:
    """As unmigrate connects."""
    return connect_to(parse_url(url))
