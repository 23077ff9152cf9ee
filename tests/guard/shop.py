"""A shop with users and posts, what a migration may do to it, and what it holds."""

from collections.abc import Callable
from typing import Any

from tests.guard.conftest import Live

INIT = """
CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TABLE org (id int PRIMARY KEY, name text);
CREATE TABLE "User" (id serial PRIMARY KEY, email varchar(40) NOT NULL UNIQUE, nick text, role "Role" NOT NULL DEFAULT 'USER',
  "orgId" int REFERENCES org ON DELETE CASCADE, score int NOT NULL DEFAULT 0 CHECK (score >= 0), seq bigserial);
CREATE INDEX "User_nick_idx" ON "User" (nick);
CREATE TABLE "Post" (id int PRIMARY KEY, "userId" int NOT NULL REFERENCES "User" ON DELETE RESTRICT ON UPDATE CASCADE, body text);
CREATE VIEW nicks AS SELECT nick FROM "User";
CREATE TABLE tag (a int, b int, note text, PRIMARY KEY (a, b));
CREATE TABLE gone (x int);
CREATE FUNCTION outlived() RETURNS bigint LANGUAGE sql AS 'SELECT count(x) FROM gone';
DROP TABLE gone;
"""
ROWS = """
INSERT INTO org SELECT g, 'o' || g FROM generate_series(1, 3) g;
INSERT INTO "User" (email, nick, role, "orgId", score)
  SELECT 'u' || g, CASE WHEN g % 3 > 0 THEN 'n' || g END, (ARRAY['USER', 'ADMIN'])[1 + g % 2]::"Role", 1 + g % 3, g FROM generate_series(1, 20) g;
INSERT INTO "Post" SELECT g, g, 'b' || g FROM generate_series(1, 10) g;
INSERT INTO tag SELECT g, g, 't' || g FROM generate_series(1, 5) g;
"""
CHANGES = {
    "drop a column": 'DROP VIEW nicks; ALTER TABLE "User" DROP COLUMN nick',
    "drop a column with what hangs on it": 'ALTER TABLE "User" DROP COLUMN nick CASCADE, DROP COLUMN email, DROP COLUMN seq',
    "drop a column with its foreign key": 'ALTER TABLE "User" DROP COLUMN "orgId"',
    "drop a column and the table it refers to": 'ALTER TABLE "User" DROP COLUMN "orgId"; DROP TABLE org',
    "drop a column and make it anew": 'ALTER TABLE "User" DROP COLUMN score, ADD COLUMN score text NOT NULL DEFAULT \'none\'',
    "drop a column and its type": 'ALTER TABLE "User" DROP COLUMN role; DROP TYPE "Role"',
    "drop the primary key": 'ALTER TABLE tag DROP CONSTRAINT tag_pkey, DROP COLUMN a, ADD PRIMARY KEY (b)',
    "drop the primary key and make it anew": 'ALTER TABLE "Post" DROP CONSTRAINT "Post_pkey", DROP COLUMN id, ADD COLUMN id bigserial, '
    'ADD CONSTRAINT "Post_pkey" PRIMARY KEY (id)',
    "drop a table": 'DROP TABLE "Post"; DROP TABLE tag',
    "drop a table that others refer to": 'DROP TABLE "User" CASCADE',
    "drop a table and make it anew": 'DROP TABLE tag; CREATE TABLE tag (id serial PRIMARY KEY, a int)',
    "change a type and drop a table that refers to it": 'ALTER TABLE "User" DROP CONSTRAINT "User_email_key"; ALTER TABLE "User" ALTER COLUMN email TYPE char(2) USING (left(email, 2)); DROP TABLE "Post"',
    "change a type": 'ALTER TABLE "Post" ALTER COLUMN body TYPE int USING (length(body))',
    "widen a type": 'ALTER TABLE "User" ALTER COLUMN score TYPE bigint, ALTER COLUMN email TYPE text',
    "replace a function whose body names what is gone": "CREATE OR REPLACE FUNCTION outlived() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'; "
    "ALTER TABLE tag DROP COLUMN note",
    "update": "UPDATE \"User\" SET nick = upper(nick) WHERE id > 4; UPDATE tag SET a = a + 100",
    "update, then drop": 'ALTER TABLE "User" ADD COLUMN handle text; UPDATE "User" SET handle = nick; ALTER TABLE "User" DROP COLUMN nick CASCADE',
    "delete with its children": 'ALTER TABLE "User" DROP CONSTRAINT "User_orgId_fkey", ADD FOREIGN KEY ("orgId") REFERENCES org ON DELETE CASCADE; '
    'DELETE FROM "Post" WHERE "userId" < 5; DELETE FROM "User" WHERE id < 5; DELETE FROM org WHERE id = 9',
    "delete by cascade": 'DELETE FROM "Post"; DELETE FROM org WHERE id = 2',
    "insert": "INSERT INTO org VALUES (50, 'new'); INSERT INTO tag VALUES (70, 70, 'x')",
    "insert rows that a new table refers to": "CREATE TABLE m (id int PRIMARY KEY, org int NOT NULL REFERENCES org ON DELETE CASCADE); "
    "INSERT INTO org VALUES (60, 'made'); INSERT INTO m VALUES (1, 60)",
    "insert rows and let a new column refer to them": 'ALTER TABLE "User" ADD COLUMN home int REFERENCES org ON DELETE CASCADE; '
    "INSERT INTO org SELECT 100 + id, 'home' FROM \"User\"; UPDATE \"User\" SET home = 100 + id",
    "insert rows, and change a new column of them": "ALTER TABLE org ADD COLUMN fresh boolean NOT NULL DEFAULT false; "
    "INSERT INTO org VALUES (70, 'x', true); UPDATE org SET fresh = false",
    "insert rows that a column marks, which goes again": "ALTER TABLE org ADD COLUMN fresh boolean NOT NULL DEFAULT false; "
    "INSERT INTO org VALUES (70, 'x', true); UPDATE tag SET note = 'fresh' FROM org WHERE fresh; ALTER TABLE org DROP COLUMN fresh",
    "truncate": "TRUNCATE tag",
    "a block that drops and updates": 'DO $$ BEGIN ALTER TABLE tag DROP COLUMN note; UPDATE "Post" SET body = \'gone\'; END $$',
    "new label, used at once by rows": "ALTER TYPE \"Role\" RENAME VALUE 'ADMIN' TO 'BOSS'; UPDATE \"User\" SET role = 'BOSS'",
    "a label renamed, and another added": "ALTER TYPE \"Role\" RENAME VALUE 'ADMIN' TO 'BOSS'; ALTER TYPE \"Role\" ADD VALUE 'OWNER'",
    "enum swap": 'CREATE TYPE "Role_new" AS ENUM (\'USER\', \'ADMIN\', \'OWNER\'); ALTER TABLE "User" ALTER COLUMN role DROP DEFAULT; '
    'ALTER TABLE "User" ALTER COLUMN role TYPE "Role_new" USING (role::text::"Role_new"); ALTER TYPE "Role" RENAME TO "Role_old"; '
    'ALTER TYPE "Role_new" RENAME TO "Role"; DROP TYPE "Role_old"; ALTER TABLE "User" ALTER COLUMN role SET DEFAULT \'OWNER\'',
    "add things": 'CREATE TYPE k AS ENUM (\'A\'); CREATE TABLE n (id int PRIMARY KEY, k k); ALTER TABLE "User" ADD COLUMN k k, ADD COLUMN z int UNIQUE',
    "add what cannot be made again": "CREATE TYPE span AS RANGE (subtype = float8); CREATE COLLATION plain FROM \"C\"; "
    "CREATE TEXT SEARCH CONFIGURATION words (COPY = english); CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')",
    "rename": 'ALTER TABLE "User" RENAME COLUMN nick TO handle; ALTER TABLE tag RENAME TO label',
}  # fmt: skip


# Nobody can tell which rows a block reads, what a column held that is no more, which labels of a type made anew had another name, and
# what cannot be described.
NO_REDO = {
    "a block that drops and updates",
    "insert rows that a column marks, which goes again",
    "a label renamed, and another added",
    "add what cannot be made again",
}


def contents(live: Live) -> dict[str, list[str]]:
    """Rows of every table, less what is parked in them."""
    with live.connect() as connection:
        tables = connection.execute(
            "select quote_ident(c.relname), string_agg(quote_ident(a.attname) || '::text', ', ' order by a.attname) from pg_class c "
            "join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname !~ '^_unmigrate' "
            "where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> '_prisma_migrations' group by c.oid, c.relname"
        ).fetchall()
        return {t: sorted(map(repr, connection.execute(f"select {columns} from {t}").fetchall())) for t, columns in tables}


def plainly(live: Callable[..., Live], sql: str) -> tuple[Any, Any]:
    """What the migration leads to where nobody guards it."""
    other = live(INIT, ROWS)
    other.run(sql)
    return other.shape(), contents(other)
