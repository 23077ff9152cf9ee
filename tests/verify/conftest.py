"""A project whose migrations and schema.prisma agree, in a git checkout, and a database they were deployed to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support import deploy, prisma_url, write_project
from unmigrate.cli.main import main
from unmigrate.scratch.pool import Pool

SCHEMA = """datasource db {
  provider = "postgresql"
  url      = env("DATABASE_URL")
}
model User {
  id     Int      @id @default(autoincrement())
  email  String   @unique @db.VarChar(320)
  role   Role     @default(USER)
  tags   String[]
  score  Decimal  @default(0)
  meta   Json?
  made   DateTime @default(now())
  posts  Post[]
  groups Group[]
  @@index([role, made(sort: Desc)])
}
model Post {
  id       String  @id @default(uuid())
  title    String  @default("it's new")
  authorId Int?    @map("author_id")
  author   User?   @relation(fields: [authorId], references: [id])
  @@map("posts")
}
model Group {
  name  String @id
  users User[]
}
enum Role {
  USER
  ADMIN @map("super admin")
}
"""
INIT = """CREATE TYPE "Role" AS ENUM ('USER', 'super admin');
CREATE TABLE "User" ("id" SERIAL NOT NULL, "email" VARCHAR(320) NOT NULL, "role" "Role" NOT NULL DEFAULT 'USER', "tags" TEXT[],
  "score" DECIMAL(65,30) NOT NULL DEFAULT 0, "meta" JSONB, "made" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
  CONSTRAINT "User_pkey" PRIMARY KEY ("id"));
CREATE TABLE "posts" ("id" TEXT NOT NULL, "title" TEXT NOT NULL DEFAULT 'it''s new', "author_id" INTEGER,
  CONSTRAINT "posts_pkey" PRIMARY KEY ("id"));
CREATE TABLE "Group" ("name" TEXT NOT NULL, CONSTRAINT "Group_pkey" PRIMARY KEY ("name"));
CREATE UNIQUE INDEX "User_email_key" ON "User"("email");
CREATE INDEX "User_role_made_idx" ON "User"("role", "made" DESC);
ALTER TABLE "posts" ADD CONSTRAINT "posts_author_id_fkey" FOREIGN KEY ("author_id") REFERENCES "User"("id") ON DELETE SET NULL ON UPDATE CASCADE;
"""
MORE = """CREATE TABLE "_GroupToUser" ("A" TEXT NOT NULL, "B" INTEGER NOT NULL, CONSTRAINT "_GroupToUser_AB_pkey" PRIMARY KEY ("A","B"));
CREATE INDEX "_GroupToUser_B_index" ON "_GroupToUser"("B");
ALTER TABLE "_GroupToUser" ADD CONSTRAINT "_GroupToUser_A_fkey" FOREIGN KEY ("A") REFERENCES "Group"("name") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "_GroupToUser" ADD CONSTRAINT "_GroupToUser_B_fkey" FOREIGN KEY ("B") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
ALTER TABLE "User" ADD CONSTRAINT score_range CHECK ("score" >= 0 AND "email" NOT IN ('a', 'b'));
CREATE VIEW adults AS SELECT id FROM "User" WHERE score > 1;
CREATE INDEX only_some ON "User"("email") WHERE score > 3;
"""
SCRIPTS = [("1_init", INIT), ("2_more", MORE)]


@dataclass(frozen=True)
class Live:
    """The project's folder and its database."""

    root: Path
    pool: Pool
    name: str

    def change(self, sql: str) -> None:
        with self.pool.connect(self.name) as connection:
            connection.execute(sql)

    def verify(self, *words: str) -> tuple[int, dict[str, list[str]]]:
        """(exit status, {section: differences})."""
        status, content = self.run(*words)
        return status, {s["name"]: s["differences"] for s in content["sections"]}

    def run(self, *words: str) -> tuple[int, Any]:
        url = prisma_url(self.pool.conninfo(self.name))
        status, text = self.print("--json", "--url", url, *words)
        return status, json.loads(text)

    def print(self, *words: str) -> tuple[int, str]:
        with CliRunner().isolation() as (out, err, _):
            status = main(["verify", "--project", str(self.root), *words])
            assert not err.getvalue(), err.getvalue()
            return status, out.getvalue().decode()

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(self.root), *who, *words], check=True, capture_output=True)


@pytest.fixture
def live(pool: Pool, tmp_path: Path) -> Iterator[Live]:
    root = write_project(tmp_path / "app", SCRIPTS, SCHEMA)
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, SCRIPTS)
    yield Live(root, pool, name)
    pool.drop(name)
