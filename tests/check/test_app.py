"""The previous app on the new schema: what breaks it is found, what does not is not."""

from pathlib import Path

import pytest

from tests.support import SCHEMA, migration
from unmigrate.catalog.model import Catalog
from unmigrate.check.examine import examiner
from unmigrate.check.previous import AppTable, from_catalog, from_schema
from unmigrate.config.lint import Lint
from unmigrate.lint.model import Subject
from unmigrate.prisma.schema import parse_schema
from unmigrate.prove.workspace import Workspace

BEFORE = """
CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TYPE "Flag" AS ENUM ('new-look', 'old "look"');
CREATE TABLE "users" ("id" TEXT NOT NULL PRIMARY KEY, "email" TEXT NOT NULL, "nick" TEXT, "age" INTEGER NOT NULL DEFAULT 0,
  "role" "Role" NOT NULL DEFAULT 'USER', "flags" "Flag"[], "tags" TEXT[], "made" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "secret" TEXT);
CREATE UNIQUE INDEX "users_email_key" ON "users"("email");
CREATE TABLE "Post" ("id" SERIAL PRIMARY KEY, "title" TEXT NOT NULL, "userId" TEXT NOT NULL REFERENCES "users"("id"), "n" INTEGER GENERATED ALWAYS AS (1) STORED);
"""
MODELS = """
enum Role {
  USER
  ADMIN
}
enum Flag {
  new @map("new-look")
  old @map("old \\"look\\"")
}
model User {
  id    String @id @default(cuid())
  email String @unique
  nick  String?
  age   Int @default(0)
  role  Role @default(USER)
  flags Flag[]
  tags  String[]
  made  DateTime @default(now())
  posts Post[]
  @@map("users")
}
model Post {
  id     Int @id @default(autoincrement())
  title  String
  userId String
  user   User @relation(fields: [userId], references: [id])
}
"""


def look(work: Workspace, sql: str, models: str | None = MODELS) -> Subject:
    def declared(before: Catalog) -> tuple[AppTable, ...]:
        return from_schema(parse_schema([(Path("schema.prisma"), SCHEMA + (models or ""))]), "public", before)

    looking = examiner(work, [migration("0", BEFORE)], Lint(), declared if models else from_catalog)
    try:
        return looking.examine(migration("1", sql), "1")
    finally:
        looking.close()


BREAKS = {
    "a required column without default": ('ALTER TABLE users ADD COLUMN t TEXT NOT NULL', {("insert", "public.users.t")}),
    "a removed column": ('ALTER TABLE users DROP COLUMN nick', {("read", "public.users.nick")}),
    "two removed columns": ('ALTER TABLE users DROP COLUMN nick, DROP COLUMN age', {("read", "public.users.nick"), ("read", "public.users.age")}),
    "a removed and a required column": (
        'ALTER TABLE users DROP COLUMN nick, ADD COLUMN t TEXT NOT NULL', {("read", "public.users.nick"), ("insert", "public.users.t")}),
    "a renamed column": ('ALTER TABLE users RENAME COLUMN nick TO nickname', {("read", "public.users.nick")}),
    "a removed table": ('DROP TABLE "Post"', {("read", 'public."Post"')}),
    "a renamed table": ('ALTER TABLE "Post" RENAME TO posts', {("read", 'public."Post"')}),
    "a table in another schema": ('CREATE SCHEMA s; ALTER TABLE "Post" SET SCHEMA s', {("read", 'public."Post"')}),
    "an optional field that is required now": ("UPDATE users SET nick = ''; ALTER TABLE users ALTER nick SET NOT NULL", {("insert", "public.users.nick")}),
    "an enum with fewer values": (
        """UPDATE users SET role = 'USER'; CREATE TYPE "R" AS ENUM ('USER'); ALTER TABLE users ALTER role DROP DEFAULT;
           ALTER TABLE users ALTER role TYPE "R" USING role::text::"R"; DROP TYPE "Role"; ALTER TYPE "R" RENAME TO "Role";
           ALTER TABLE users ALTER role SET DEFAULT 'USER'""", {("insert", "public.users")}),
    "a list of an enum with fewer values": (
        """ALTER TYPE "Flag" RENAME TO f; CREATE TYPE "Flag" AS ENUM ('new-look'); ALTER TABLE users ADD made_anew "Flag"[];
           ALTER TABLE users DROP flags; ALTER TABLE users RENAME made_anew TO flags; DROP TYPE f""", {("insert", "public.users")}),
    "an enum that is called otherwise": ('ALTER TYPE "Role" RENAME TO "UserRole"', {("insert", "public.users")}),
    "a column that is generated now": (
        "ALTER TABLE users DROP COLUMN age; ALTER TABLE users ADD COLUMN age INTEGER GENERATED ALWAYS AS (1) STORED", {("insert", "public.users.age")}),
    "a number that is text now": ("ALTER TABLE users ALTER age DROP DEFAULT, ALTER age TYPE TEXT", {("type", "public.users.age")}),
    "a view in the table's place that cannot be written": (
        'ALTER TABLE "Post" RENAME TO posts; CREATE VIEW "Post" AS SELECT DISTINCT * FROM posts', {("insert", 'public."Post"')}),
}  # fmt: skip
PASSES = {
    "an optional column": "ALTER TABLE users ADD COLUMN t TEXT",
    "a column with a default": "ALTER TABLE users ADD COLUMN t TEXT NOT NULL DEFAULT ''",
    "a column that the schema never had": "ALTER TABLE users DROP COLUMN secret",
    "a default of the client": "ALTER TABLE users ALTER age DROP DEFAULT, ALTER made DROP DEFAULT, ALTER role DROP DEFAULT",
    "a wider type": "ALTER TABLE users ALTER age TYPE BIGINT",
    "one more enum value": """ALTER TYPE "Role" ADD VALUE 'OWNER'; ALTER TYPE "Flag" ADD VALUE 'other' """,
    "another table": "CREATE TABLE other (id INTEGER PRIMARY KEY, u TEXT REFERENCES users(id))",
    "an index": "CREATE INDEX i ON users(age)",
    "no foreign key any more": 'ALTER TABLE "Post" DROP CONSTRAINT "Post_userId_fkey"',
    "a renamed table behind a view": 'ALTER TABLE "Post" RENAME TO posts; CREATE VIEW "Post" AS SELECT * FROM posts',
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks(work: Workspace, name: str) -> None:
    sql, wanted = BREAKS[name]
    assert {(p.action, p.object) for p in look(work, sql).app} == wanted


@pytest.mark.parametrize("name", PASSES)
def test_what_does_not(work: Workspace, name: str) -> None:
    assert look(work, PASSES[name]).app == ()


def test_without_a_schema_file_every_column_counts(work: Workspace) -> None:
    assert {p.object for p in look(work, "ALTER TABLE users DROP COLUMN secret", None).app} == {"public.users.secret"}
    assert look(work, 'ALTER TABLE "Post" ALTER id DROP DEFAULT', None).app[0].action == "insert"


def test_what_depends_on_values_is_not_judged(work: Workspace) -> None:
    subject = look(work, "ALTER TABLE users ADD CHECK (email LIKE '%@%.example')")
    assert subject.app == () and any("public.users" in gap for gap in subject.unjudged)


def test_what_the_history_never_had_is_not_judged(work: Workspace) -> None:
    """A queue that its library makes at run time, say. What the migration itself took away is another matter."""
    trigger = """CREATE FUNCTION tell() RETURNS trigger AS $$ BEGIN INSERT INTO {0} VALUES (NEW."id"); RETURN NULL; END $$ LANGUAGE plpgsql;
        CREATE TRIGGER telling AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION tell();"""
    subject = look(work, trigger.format("pgboss.job (name)"))
    assert subject.app == () and any("pgboss.job" in gap for gap in subject.unjudged)
    gone = look(work, trigger.format('"Post" (title)') + 'ALTER TABLE "Post" RENAME TO posts')
    assert [p.says for p in gone.app if p.action == "insert"] == ['relation "Post" does not exist']


def test_values_of_ours_that_are_no_labels_are_not_judged(work: Workspace) -> None:
    """A real app's text may be labels of the enum that the column has now; that its client knows another type is told."""
    enum = "CREATE TYPE mood AS ENUM ('good'); ALTER TABLE users ALTER nick TYPE mood USING 'good'"
    assert [(p.action, p.object) for p in look(work, enum).app] == [("type", "public.users.nick")]
