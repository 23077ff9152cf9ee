"""Splits: what goes into which step, that both lead where the migration leads, that the first loses nothing; what has no split."""

import pytest

from tests.support import migration
from unmigrate.check.split import Split, split
from unmigrate.errors import RefusedError
from unmigrate.prove.workspace import Workspace

USER = """CREATE TYPE "Role" AS ENUM ('A', 'B');
CREATE TABLE "User" ("id" INTEGER PRIMARY KEY, "first" TEXT NOT NULL, "last" TEXT, "role" "Role" NOT NULL DEFAULT 'A');
CREATE TABLE "Team" ("id" INTEGER PRIMARY KEY);
CREATE TABLE "Member" ("userId" INTEGER NOT NULL, "teamId" INTEGER, PRIMARY KEY ("userId"),
  CONSTRAINT "Member_teamId_fkey" FOREIGN KEY ("teamId") REFERENCES "Team"("id"));
CREATE INDEX "User_last_idx" ON "User"("last");"""
RENAME = """ALTER TABLE "User" DROP COLUMN "first", ADD COLUMN "name" TEXT NOT NULL DEFAULT 'x', ADD COLUMN "age" INTEGER;"""
FILLED = """ALTER TABLE "User" ADD COLUMN "name" TEXT;
UPDATE "User" SET "name" = "first" || ' ' || coalesce("last", '');
ALTER TABLE "User" ALTER COLUMN "name" SET NOT NULL;
DROP INDEX "User_last_idx";
ALTER TABLE "User" DROP COLUMN "first", DROP COLUMN "last";
CREATE INDEX "User_name_idx" ON "User"("name");"""
TABLE = """ALTER TABLE "Member" DROP CONSTRAINT "Member_teamId_fkey";
ALTER TABLE "Member" DROP COLUMN "teamId";
DROP TABLE "Team";
CREATE TABLE "Group" ("id" INTEGER PRIMARY KEY);"""
SAME_NAME = """ALTER TABLE "User" DROP COLUMN "last", ADD COLUMN "last" INTEGER; ALTER TABLE "User" ADD COLUMN "born" DATE;"""
CHANGED = """ALTER TABLE "User" ADD COLUMN "born" DATE; UPDATE "User" SET "last" = lower("last");
CREATE UNIQUE INDEX "User_last_key" ON "User"("last");"""


def made(work: Workspace, sql: str) -> Split | None:
    return split(work, [migration("1_init", USER)], migration("20240202000000_change", sql))


@pytest.mark.parametrize(
    ("sql", "now", "later"),
    [
        (
            RENAME,
            ["ALTER TABLE \"User\" ADD COLUMN name text NOT NULL DEFAULT 'x'", 'ALTER TABLE "User" ADD COLUMN age integer'],
            ['ALTER TABLE "User" DROP COLUMN first'],
        ),
        (
            FILLED,
            [
                'ALTER TABLE "User" ADD COLUMN "name" TEXT',
                """UPDATE "User" SET "name" = "first" || ' ' || coalesce("last", '')""",
                'CREATE INDEX "User_name_idx" ON "User"("name")',
            ],
            [
                'ALTER TABLE "User" ALTER COLUMN "name" SET NOT NULL',
                'DROP INDEX "User_last_idx"',
                'ALTER TABLE "User" DROP COLUMN "first", DROP COLUMN "last"',
            ],
        ),
        (
            TABLE,
            ['CREATE TABLE "Group" ("id" INTEGER PRIMARY KEY)'],
            ['ALTER TABLE "Member" DROP CONSTRAINT "Member_teamId_fkey"', 'ALTER TABLE "Member" DROP COLUMN "teamId"', 'DROP TABLE "Team"'],
        ),
        (
            SAME_NAME,
            ['ALTER TABLE "User" ADD COLUMN "born" DATE'],
            ['ALTER TABLE "User" DROP COLUMN "last", ADD COLUMN "last" INTEGER'],
        ),
        (
            CHANGED,
            ['ALTER TABLE "User" ADD COLUMN "born" DATE'],
            ['UPDATE "User" SET "last" = lower("last")', 'CREATE UNIQUE INDEX "User_last_key" ON "User"("last")'],
        ),
    ],
    ids=["one ALTER TABLE", "backfill", "table", "same name", "changed rows"],
)
def test_what_goes_where(work: Workspace, sql: str, now: list[str], later: list[str]) -> None:
    found = made(work, sql)
    assert found is not None
    assert list(found.steps.now) == now
    assert list(found.steps.later) == later
    assert found.first.data is not None and found.first.data.verdict == "lossless" and not found.first.app
    assert found.first.proof is not None and not found.first.proof.refused
    assert found.order == (sql == SAME_NAME)  # what is added now stands before what is added again later


def test_what_is_new_gone_and_still_required(work: Workspace) -> None:
    found = made(work, RENAME)
    assert found is not None
    assert found.steps.required == (('public."User".first', 'ALTER TABLE public."User" ALTER COLUMN first DROP NOT NULL'),)
    assert found.steps.new == ('public."User".name', 'public."User".age') and found.steps.gone == ('public."User".first',)


def test_a_required_column_is_first_optional(work: Workspace) -> None:
    """On tables with rows the original would fail; with the split it is filled in between."""
    found = made(work, 'ALTER TABLE "User" DROP COLUMN "last", ADD COLUMN "name" TEXT NOT NULL;')
    assert found is not None
    assert found.steps.now == ('ALTER TABLE "User" ADD COLUMN name text',)
    assert found.steps.later == ('ALTER TABLE "User" DROP COLUMN last', 'ALTER TABLE "User" ALTER COLUMN "name" SET NOT NULL')


def test_what_breaks_the_previous_app_is_put_off(work: Workspace) -> None:
    sql = 'ALTER TABLE "User" ADD COLUMN "age" INTEGER; ALTER TABLE "User" RENAME COLUMN "last" TO "family"; DROP TABLE "Member";'
    found = made(work, sql)
    assert found is not None
    assert found.steps.now == ('ALTER TABLE "User" ADD COLUMN "age" INTEGER',)
    assert found.steps.later[0] == 'ALTER TABLE "User" RENAME COLUMN "last" TO "family"'


def test_nothing_to_split(work: Workspace) -> None:
    assert made(work, 'ALTER TABLE "User" ADD COLUMN "age" INTEGER;') is None


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ('ALTER TABLE "User" DROP COLUMN "last";', "only takes away or changes"),
        ('BEGIN; ALTER TABLE "User" DROP COLUMN "last";', "transactions of its own"),
    ],
)
def test_what_has_no_split(work: Workspace, sql: str, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        made(work, sql)
