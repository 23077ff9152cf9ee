"""Changes of type that lose nothing, but rewrite the table: enums swapped for others, wider numbers. Their way back is a rename."""

from collections.abc import Callable

import pytest

from tests.guard.conftest import Live
from tests.guard.shop import contents
from tests.guard.test_ways_out import rollback
from unmigrate.errors import FailedError, PartialError, RefusedError
from unmigrate.park.purge import kept, purge
from unmigrate.plan.ways_out import Decisions

Make = Callable[[str, str], Live]
INIT = """CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TABLE "User" (id int PRIMARY KEY, role "Role" NOT NULL DEFAULT 'USER', roles "Role"[], n int);
CREATE INDEX "User_role_idx" ON "User" (role, n); CREATE TABLE "Invite" (id int PRIMARY KEY, role "Role")"""
ROWS = """INSERT INTO "User" VALUES (1, 'USER', '{USER,ADMIN}', 1), (2, 'ADMIN', NULL, 2), (3, 'USER', '{}', NULL);
INSERT INTO "Invite" VALUES (1, 'ADMIN'), (2, NULL)"""
# As Prisma writes it.
SWAP = """BEGIN;
CREATE TYPE "Role_new" AS ENUM ('USER', 'ADMIN', 'OWNER');
ALTER TABLE "User" ALTER COLUMN "role" DROP DEFAULT;
ALTER TABLE "User" ALTER COLUMN "role" TYPE "Role_new" USING ("role"::text::"Role_new");
ALTER TABLE "User" ALTER COLUMN "roles" TYPE "Role_new"[] USING ("roles"::text::"Role_new"[]);
ALTER TABLE "Invite" ALTER COLUMN "role" TYPE "Role_new" USING ("role"::text::"Role_new");
ALTER TYPE "Role" RENAME TO "Role_old";
ALTER TYPE "Role_new" RENAME TO "Role";
DROP TYPE "Role_old";
ALTER TABLE "User" ALTER COLUMN "role" SET DEFAULT 'OWNER';
COMMIT;"""


def rewritten(it: Live) -> list[str]:
    """Tables that the way back and the way forward again rewrite, or read whole, under their locks."""
    one = it.guarded[-1]
    assert one.back and one.again, one.why
    read = [check.table for plan in (one.back, one.again) for check in plan.checks if check.table and not check.later]
    return [*read, *(lock.table for plan in (one.back, one.again) for lock in plan.locks if lock.work == "rewrite")]


def leftovers(it: Live) -> int:
    with it.connect() as connection:
        for each in kept(connection):
            purge(connection, each.guard)
    columns = "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relkind = 'r' AND attname ~ '_unmigrate_' AND NOT attisdropped"
    return int(it.value(f"SELECT ({columns}) + (SELECT count(*) FROM pg_type WHERE typname ~ '_unmigrate_')"))


def test_an_enum_that_was_swapped_returns_without_a_rewrite(live: Make) -> None:
    it = live(INIT, ROWS)
    shape, rows = it.shape(), contents(it)
    it.deploy(SWAP)
    assert rewritten(it) == []
    new = it.shape(), contents(it)
    it.run(
        """INSERT INTO "User" (id, role, roles) VALUES (4, 'ADMIN', '{ADMIN}'); UPDATE "User" SET role = 'ADMIN', roles = '{USER}' WHERE id = 1"""
    )
    it.rollback()
    wanted = [(1, "ADMIN", "{USER}"), (2, "ADMIN", None), (3, "USER", "{}"), (4, "ADMIN", "{ADMIN}")]
    assert it.rows('SELECT id, role::text, roles::text FROM "User" ORDER BY id') == wanted
    assert it.shape() == shape
    it.run("""DELETE FROM "User" WHERE id = 4; UPDATE "User" SET role = 'USER', roles = '{USER,ADMIN}' WHERE id = 1""")
    assert contents(it) == rows
    it.run("""INSERT INTO "User" (id, roles) VALUES (5, '{USER}'); UPDATE "Invite" SET role = 'USER' WHERE id = 2""")
    it.redo()
    assert it.shape() == new[0]
    assert it.rows('SELECT role::text, roles::text FROM "User" WHERE id = 5') == [("USER", "{USER}")]
    assert it.value('SELECT role::text FROM "Invite" WHERE id = 2') == "USER"
    it.run("""DELETE FROM "User" WHERE id = 5; UPDATE "Invite" SET role = NULL WHERE id = 2""")
    assert contents(it) == new[1]
    it.rollback()
    assert (it.shape(), contents(it)) == (shape, rows)
    assert leftovers(it) == 0
    assert (it.shape(), contents(it)) == (shape, rows)


def test_labels_of_the_new_enum_block_and_are_mapped(live: Make) -> None:
    it = live(INIT, ROWS)
    it.deploy(SWAP)
    it.run("""INSERT INTO "User" (id, roles) VALUES (4, '{USER,OWNER}')""")  # OWNER is its default by now
    shape = it.shape()
    with pytest.raises(RefusedError, match=r'rows use labels that public\."Role" did not have: OWNER') as refusal:
        rollback(it, Decisions())
    assert refusal.value.code == "blocked"
    assert """--map 'public."Role".OWNER = <an older label>'""" in (refusal.value.remedy or "")
    assert it.shape() == shape
    rollback(it, Decisions(labels={"Role": {"OWNER": "ADMIN"}}))
    assert it.rows('SELECT role::text, roles::text FROM "User" WHERE id = 4') == [("ADMIN", "{USER,ADMIN}")]


def test_a_new_label_that_is_written_in_the_last_moment_stops_the_switch(live: Make) -> None:
    it = live(INIT, ROWS)
    shape, rows = it.shape(), contents(it)
    it.deploy(SWAP)
    with pytest.raises(FailedError, match="where role is OWNER"):
        it.rollback(on_step=lambda at: it.run("""INSERT INTO "Invite" VALUES (9, 'OWNER')""") if at == "begun" else None)
    it.run("""DELETE FROM "Invite" WHERE id = 9""")
    it.rollback()
    assert (it.shape(), contents(it)) == (shape, rows)


def test_a_removed_label_that_the_migration_gives_up_itself(live: Make) -> None:
    """Nobody knows which of them were ADMIN but the old column."""
    it = live(INIT, ROWS)
    rows = contents(it)
    swap = SWAP.replace("'USER', 'ADMIN', 'OWNER'", "'USER', 'OWNER'").replace(
        '("role"::text::"Role_new")', """(CASE "role"::text WHEN 'ADMIN' THEN 'OWNER' ELSE "role"::text END::"Role_new")"""
    )
    swap = swap.replace('("roles"::text::', "(replace(\"roles\"::text, 'ADMIN', 'OWNER')::")
    it.deploy(swap)
    assert rewritten(it) == []
    it.rollback()
    assert contents(it) == rows
    it.redo()
    assert it.value('SELECT role::text FROM "User" WHERE id = 2') == "OWNER"
    it.run("""UPDATE "User" SET role = 'OWNER' WHERE id = 3""")
    with pytest.raises(PartialError, match="no value for public"):
        it.rollback()


def test_a_wider_number_returns_without_a_rewrite(live: Make) -> None:
    it = live(
        "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 5); CREATE INDEX t_n ON t (n)", "INSERT INTO t VALUES (1, 1), (2, 2)"
    )
    shape = it.shape()
    it.deploy("ALTER TABLE t ALTER COLUMN n TYPE bigint")
    assert rewritten(it) == []
    it.run("INSERT INTO t VALUES (3, 5000000000); INSERT INTO t VALUES (4)")
    with pytest.raises(RefusedError, match=r"1 row blocks: public\.t\.n: values do not fit integer"):
        rollback(it, Decisions())
    rollback(it, Decisions(fill={"t.n": "-1"}))
    assert it.rows("SELECT id, n FROM t ORDER BY id") == [(1, 1), (2, 2), (3, -1), (4, 5)]
    assert it.shape() == shape
    assert leftovers(it) == 0


def test_a_widening_that_moves_no_row_keeps_nothing(live: Make) -> None:
    it = live("CREATE TABLE t (id int PRIMARY KEY, n varchar(5))", "INSERT INTO t VALUES (1, 'a')")
    it.deploy("ALTER TABLE t ALTER COLUMN n TYPE varchar(9)")
    assert it.value("SELECT count(*) FROM pg_attribute WHERE attname ~ '_unmigrate_'") == 0
