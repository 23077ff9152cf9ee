"""The real Prisma CLI, two major versions, on a database of the embedded server."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import prisma_url, write_project
from unmigrate.scratch.pool import Pool

ROOT = Path(__file__).parents[2] / ".oracle"
CONFIG = """import { defineConfig, env } from 'prisma/config'
export default defineConfig({
  schema: 'prisma/schema.prisma', migrations: { path: 'prisma/migrations' }, datasource: { url: env('DATABASE_URL') } })
"""
SCRIPTS = [
    ("20240101000000_init", 'CREATE TABLE "User" ("id" SERIAL PRIMARY KEY, "email" TEXT NOT NULL);\n'),
    ("20240201000000_more", 'ALTER TABLE "User" ADD COLUMN "name" TEXT;\nCREATE TABLE "Post" ("id" SERIAL PRIMARY KEY);\n'),
]


@dataclass(frozen=True)
class Said:
    """What a Prisma command answered."""

    exit_code: int
    text: str


@dataclass(frozen=True)
class Project:
    """A Prisma project with its database."""

    root: Path
    version: str
    url: str
    pool: Pool
    database: str

    def prisma(self, *command: str) -> Said:
        home = ROOT / self.version
        environ = {
            **os.environ, "DATABASE_URL": self.url, "PRISMA_SCHEMA_ENGINE_BINARY": str(home / "engine.mjs"),
            "PRISMA_QUERY_ENGINE_LIBRARY": str(home / "none.so.node"), "CHECKPOINT_DISABLE": "1", "PRISMA_HIDE_UPDATE_MESSAGE": "1",
            "NO_COLOR": "1", "CI": "1",
        }  # fmt: skip
        environ["PATH"] = f"{ROOT / 'node' / 'bin'}:{environ['PATH']}"  # where tools/setup-tests put a newer one
        binary = home / "node_modules" / ".bin" / "prisma"
        result = subprocess.run([binary, *command], cwd=self.root, env=environ, capture_output=True, text=True, check=False, timeout=120)
        return Said(result.returncode, result.stdout + result.stderr)

    def connect(self) -> psycopg.Connection[Any]:
        return self.pool.connect(self.database)

    def unmigrate(self, *command: str) -> Said:
        """Our own command line, on this project."""
        import sys

        line = [sys.executable, "-m", "unmigrate", *command, "--project", str(self.root), "--url", self.url]
        result = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
        return Said(result.returncode, result.stdout + result.stderr)

    def drop_folder(self, name: str) -> None:
        shutil.rmtree(self.root / "prisma" / "migrations" / name)


@pytest.fixture(params=["6", "7"])
def project(request: pytest.FixtureRequest, tmp_path: Path, pool: Pool) -> Iterator[Project]:
    version = request.param
    if shutil.which("node") is None or not (ROOT / version / "node_modules" / ".bin" / "prisma").exists():
        pytest.skip(f"the Prisma CLI {version} is not installed (tests/oracle/install.sh)")
    database = pool.create()
    url = prisma_url(pool.conninfo(database))
    line = '  url = env("DATABASE_URL")\n' if version == "6" else ""
    schema = f'datasource db {{\n  provider = "postgresql"\n{line}}}\n'
    write_project(tmp_path, SCRIPTS, schema)
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "node_modules").symlink_to(ROOT / version / "node_modules")
    if version == "7":
        (tmp_path / "prisma.config.ts").write_text(CONFIG)
    yield Project(tmp_path, version, url, pool, database)
    pool.drop(database)
