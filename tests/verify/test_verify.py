"""unmigrate verify on a real database: clean, then changed by hand, each change named."""

import shutil
from dataclasses import replace

import pytest

from tests.support import prisma_url, record
from tests.verify.conftest import SCHEMA, Live
from unmigrate.catalog.model import Catalog
from unmigrate.catalog.read import read_catalog
from unmigrate.verify.live import live_differences

NOTHING: dict[str, list[str]] = {"ledger": [], "history": [], "schema": [], "status": []}


def test_all_agree(live: Live) -> None:
    assert live.verify() == (0, NOTHING)
    status, text = live.print("--url", prisma_url(live.pool.conninfo(live.name)), "--no-history")
    assert (status, text.splitlines()[-1]) == (0, "all agree")


def test_identities_of_two_databases_mean_nothing(live: Live) -> None:
    """By chance the same number stands for one index here, and for another one there."""
    with live.pool.connect(live.name) as connection:
        catalog = read_catalog(connection)
    one, other = [o for o in catalog if o.kind == "index"][:2]
    swapped = {o.key: o for o in catalog} | {one.key: replace(other, key=one.key), other.key: replace(one, key=other.key)}
    assert live_differences(catalog, Catalog(swapped)) == ()


def test_changes_by_hand_are_named(live: Live) -> None:
    live.change('ALTER TABLE "User" DROP COLUMN meta')
    live.change("CREATE INDEX by_hand ON posts (title)")
    live.change("ALTER TABLE posts ALTER COLUMN title SET DEFAULT 'other'")
    status, found = live.verify()
    assert status == 1
    assert found["history"] == [
        'column public."User".meta is missing: the history has it',
        "column public.posts.title: default is 'other'::text, the history says 'it''s new'::text",
        "index public.by_hand is not from the history",
    ]
    assert found["schema"] == [
        'column public."User".meta is missing (User.meta)',
        "column public.posts.title has the default 'other', schema.prisma has \"it's new\" (Post.title)",
        "index of public.posts on (title) is not in schema.prisma",
    ]
    assert not found["ledger"] and not found["status"]


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ('ALTER TABLE "User" ALTER COLUMN meta TYPE json', 'column public."User".meta is json, User.meta says jsonb'),
        ('ALTER TABLE "User" ALTER COLUMN email TYPE text', 'column public."User".email is text, User.email says character varying(320)'),
        ('ALTER TABLE "User" ALTER COLUMN made TYPE timestamptz(3)',
         'column public."User".made is timestamp(3) with time zone, User.made says timestamp(3) without time zone'),
        ('ALTER TABLE "User" ALTER COLUMN email DROP NOT NULL', 'column public."User".email may be null, User.email is required'),
        ('UPDATE posts SET author_id = 1; ALTER TABLE posts ALTER author_id SET NOT NULL',
         "column public.posts.author_id is NOT NULL, Post.authorId is optional"),
        ('ALTER TABLE "User" ALTER COLUMN score DROP DEFAULT', 'column public."User".score has no default, schema.prisma has one (User.score)'),
        ('ALTER TABLE "User" ALTER COLUMN id DROP DEFAULT', 'column public."User".id has no default, schema.prisma has one (User.id)'),
        ('ALTER TABLE "User" ALTER COLUMN tags SET DEFAULT \'{}\'',
         'column public."User".tags has a default, schema.prisma has none (User.tags)'),
        ('DROP INDEX "User_email_key"', 'table public."User" has no unique index on (email)'),
        ('CREATE UNIQUE INDEX u ON "User" (role, score)', 'unique index of public."User" on (role, score) is not in schema.prisma'),
        ('ALTER TABLE posts DROP CONSTRAINT posts_pkey', "primary key of public.posts is none, schema.prisma says (id)"),
        ('ALTER TABLE posts DROP CONSTRAINT posts_author_id_fkey',
         'table public.posts has no foreign key from (author_id) to public."User" (id)'),
        ('ALTER TYPE "Role" ADD VALUE \'OWNER\'', "enum public.\"Role\" has the label 'OWNER', schema.prisma has not"),
        ('ALTER TYPE "Role" RENAME VALUE \'USER\' TO \'user\'', "enum public.\"Role\" lacks the label 'USER'"),
        ("CREATE TABLE stray (id int)", "table public.stray is not in schema.prisma"),
        ('DROP TABLE "_GroupToUser"', 'table public."_GroupToUser" is missing (relation of Group and User)'),
        ('ALTER TABLE "Group" RENAME TO "group"', 'table public."Group" is missing (model Group); there is public.group'),
        ("ALTER TABLE posts ADD COLUMN stray int", "column public.posts.stray is not in schema.prisma"),
    ],
)  # fmt: skip
def test_each_difference_from_schema_prisma(live: Live, sql: str, line: str) -> None:
    live.change(sql)
    status, found = live.verify("--no-history")
    assert status == 1
    assert line in found["schema"]
    assert len(found["schema"]) <= 4


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("DROP VIEW adults", "view public.adults is missing: the history has it"),
        ("CREATE TABLE stray (id serial PRIMARY KEY)", "table public.stray is not from the history"),
        ('ALTER TABLE "User" DROP CONSTRAINT score_range', 'constraint public."User".score_range is missing: the history has it'),
        ('CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$SELECT 1$$', "routine public.f() is not from the history"),
        ('ALTER TABLE posts ENABLE ROW LEVEL SECURITY', "table public.posts: row_security is True, the history says False"),
    ],
)  # fmt: skip
def test_each_difference_from_the_history(live: Live, sql: str, line: str) -> None:
    live.change(sql)
    status, found = live.verify()
    assert status == 1
    assert line in found["history"]
    assert all(one == line or "sequence public.stray_id_seq" in one for one in found["history"])


def test_what_is_no_difference(live: Live) -> None:
    """Grants, other schemas, and wording as a restored dump has it."""
    live.change('GRANT SELECT ON "User" TO PUBLIC; CREATE SCHEMA other; CREATE TABLE other.t (id int)')
    with live.pool.connect(live.name) as connection:
        row = connection.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'score_range'").fetchone()
        assert row
        connection.execute('ALTER TABLE "User" DROP CONSTRAINT score_range')
        connection.execute(f'ALTER TABLE "User" ADD CONSTRAINT score_range {row[0]}')
        again = connection.execute("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'score_range'").fetchone()
        assert again and again != row
    assert live.verify() == (0, NOTHING)


def test_ledger(live: Live) -> None:
    folder = live.root / "prisma" / "migrations"
    (folder / "3_new").mkdir()
    (folder / "3_new" / "migration.sql").write_text("SELECT 1;")
    with (folder / "1_init" / "migration.sql").open("a") as file:
        file.write("-- changed\n")
    with live.pool.connect(live.name) as connection:
        record(connection, "2_more", "")
    status, found = live.verify()
    assert status == 1
    assert found["ledger"] == [
        "1_init was edited after it was applied: its checksum is not the ledger's",
        "2_more has more than one row that says it is applied",
        "3_new is pending: in the folder, not in the ledger",
    ]
    assert found["status"] == ["prisma migrate status will exit 1: not yet applied: 3_new"]
    assert not found["history"] and not found["schema"]


def test_ahead_and_failed(live: Live) -> None:
    with live.pool.connect(live.name) as connection:
        record(connection, "4_bad", "", finished=False)
    shutil.rmtree(live.root / "prisma" / "migrations" / "2_more")
    status, content = live.run()
    sections = {s["name"]: s for s in content["sections"]}
    assert status == 1
    assert sections["ledger"]["differences"] == [
        "2_more is in the ledger, not in the folder: the database is ahead",
        "4_bad failed: deploys stop there (P3009)",
        "4_bad is in the ledger, not in the folder: the database is ahead",
    ]
    assert sections["history"]["skipped"] == "the database has 2_more, which the migrations folder does not"
    assert content["prisma_migrate_status"]["exit_code"] == 1


def test_tag(live: Live) -> None:
    """The checkout moved on; the tag is what was deployed."""
    live.git("init", "-q")
    live.git("add", ".")
    live.git("commit", "-qm", "one")
    live.git("tag", "v1")
    schema = live.root / "prisma" / "schema.prisma"
    schema.write_text(SCHEMA.replace("meta   Json?", "extra  Int"))
    (live.root / "prisma" / "migrations" / "3_new").mkdir()
    (live.root / "prisma" / "migrations" / "3_new" / "migration.sql").write_text('ALTER TABLE "User" DROP COLUMN meta')
    assert live.verify("--no-history")[0] == 1
    assert live.verify("--tag", "v1") == (0, NOTHING)
    with pytest.raises(AssertionError, match="git knows no tag or commit v2"):  # errors go to stderr, which `print` does not allow
        live.run("--tag", "v2")


def test_history_that_does_not_replay_is_no_agreement(live: Live) -> None:
    (live.root / "prisma" / "migrations" / "2_more" / "migration.sql").write_text("SELECT no_such_function()")
    with live.pool.connect(live.name) as connection:
        connection.execute("DELETE FROM _prisma_migrations WHERE migration_name = '2_more'")
        record(connection, "2_more", "SELECT no_such_function()")
    status, content = live.run()
    history = next(s for s in content["sections"] if s["name"] == "history")
    assert status == 4
    assert history["skipped"].startswith("the history does not replay on scratch: 2_more:")
    assert content["agrees"] is False
