"""Every rule's own examples, run: the bad one is found, the good one is not; and the pages in docs/rules/ say what the rules say."""

from pathlib import Path

import pytest

from tests.support import migration
from unmigrate.check.examine import examiner
from unmigrate.config.lint import Lint
from unmigrate.errors import UsageError
from unmigrate.lint.model import Finding
from unmigrate.lint.pages import pages
from unmigrate.lint.rules import RULES
from unmigrate.lint.run import check_config, fails, lint
from unmigrate.prove.workspace import Workspace

BEFORE = """
CREATE TYPE "Role" AS ENUM ('USER', 'ADMIN');
CREATE TABLE "User" ("id" SERIAL PRIMARY KEY, "email" TEXT NOT NULL, "nickname" TEXT NOT NULL, "locale" TEXT, "admin" BOOLEAN NOT NULL DEFAULT false,
  "role" "Role" NOT NULL DEFAULT 'USER');
CREATE TABLE "Order" ("id" SERIAL PRIMARY KEY, "customerId" INTEGER NOT NULL);
CREATE INDEX "Order_customerId_idx" ON "Order"("customerId");
CREATE TEXT SEARCH CONFIGURATION "plain" (COPY = simple);
"""
TWO = 'CREATE TABLE "A" ("id" INTEGER PRIMARY KEY); CREATE TABLE "B" ("id" INTEGER PRIMARY KEY);'
ABOUT_HISTORY = {"edited-migration", "removed-migration", "out-of-order", "allow-comment"}


def found(work: Workspace, sql: str, config: Lint | None = None, before: str = BEFORE) -> list[Finding]:
    config = config or Lint()
    looking = examiner(work, [migration("0_before", before)], config)
    try:
        return lint(looking.examine(migration("1_it", sql), "1_it/migration.sql"), config)
    finally:
        looking.close()


@pytest.mark.parametrize("name", sorted(RULES.keys() - ABOUT_HISTORY))
def test_examples(work: Workspace, name: str) -> None:
    rule = RULES[name]
    before = BEFORE if name == "not-resumable" else BEFORE + TWO
    assert name in {f.rule for f in found(work, rule.bad, before=before)}
    assert name not in {f.rule for f in found(work, rule.good, before=before)}


def test_findings_stand_where_they_belong(work: Workspace) -> None:
    sql = '-- AlterTable\nALTER TABLE "User" ADD COLUMN "a" TEXT;\n\n-- DropColumn\n/* twice */ ALTER TABLE "User"\n  DROP COLUMN "nickname";\n'
    places = {(f.rule, f.line, f.column) for f in found(work, sql)}
    assert ("lossy-inverse", 5, 13) in places
    assert ("breaks-previous-app", 5, 13) in places


def test_a_reason_allows_and_nothing_else_does(work: Workspace) -> None:
    drop = 'ALTER TABLE "User" DROP COLUMN "locale";'
    allowed = found(work, f"-- unmigrate: allow lossy-inverse, breaks-previous-app: never filled\n{drop}")
    assert {f.rule for f in allowed if f.allowed == "never filled"} == {"lossy-inverse", "breaks-previous-app"}
    assert not fails(allowed, Lint())
    bare = found(work, f"-- unmigrate: allow lossy-inverse\n{drop}")
    assert fails(bare, Lint()) and not any(f.allowed for f in bare)
    assert "it gives no reason" in next(f.message for f in bare if f.rule == "allow-comment")
    typo = found(work, f"{drop}\n-- unmigrate: allow lossy-inverze: never filled")
    assert next(f for f in typo if f.rule == "allow-comment").line == 2


def test_levels(work: Workspace) -> None:
    drop = 'ALTER TABLE "User" DROP COLUMN "locale";'
    config = Lint(rules={"lossy-inverse": "off", "breaks-previous-app": "note"})
    findings = found(work, drop, config)
    assert {(f.rule, f.level) for f in findings} == {("breaks-previous-app", "note")}
    assert not fails(findings, config)
    assert fails(findings, Lint(fail_on="note")) and not fails(findings, Lint(fail_on="never"))
    with pytest.raises(UsageError, match="lossy-inverze"):
        check_config(Lint(rules={"lossy-inverze": "off"}))


def test_limits(work: Workspace) -> None:
    sql = 'ALTER TABLE "User" ADD COLUMN "a" TEXT; ALTER TABLE "Order" ADD COLUMN "a" TEXT;'
    assert "too-large" not in {f.rule for f in found(work, sql)}
    config = Lint(max_statements=1, max_tables=1)
    assert [f.message for f in found(work, sql, config) if f.rule == "too-large"] == [
        "it has 2 statements; the limit is 1", "it touches 2 tables that were there before; the limit is 1",
    ]  # fmt: skip


def test_an_interrupted_concurrent_index_is_told(work: Workspace) -> None:
    sql = 'CREATE INDEX CONCURRENTLY IF NOT EXISTS "i" ON "User"("email");'
    (finding,) = [f for f in found(work, sql) if f.rule == "not-resumable"]
    assert finding.message == "interrupted in its first statement, it cannot be run again: it goes through, and leaves the index i invalid"


def test_pages_are_what_the_rules_say() -> None:
    folder = Path(__file__).parents[2] / "docs" / "rules"
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")} == pages()


def test_a_new_enum_value_that_the_file_commits_first_may_be_used(work: Workspace) -> None:
    use = 'INSERT INTO "User" ("email", "nickname", "role") VALUES (\'e\', \'n\', \'OWNER\');'
    add = "ALTER TYPE \"Role\" ADD VALUE 'OWNER';"
    assert "new-enum-value-used" not in {f.rule for f in found(work, f"BEGIN; {add} COMMIT; {use}")}
    late = {f.rule for f in found(work, f'BEGIN; ALTER TABLE "User" ADD x int; COMMIT; {add} {use}')}
    assert "does-not-replay" in late


def test_the_first_migration_may_be_large(work: Workspace) -> None:
    sql = "".join(f"CREATE TABLE t{n} (id int);" for n in range(120))
    assert "too-large" not in {f.rule for f in found(work, sql, before="SELECT 1")}
    assert "too-large" in {f.rule for f in found(work, sql)}


NARROWER = """UPDATE "User" SET "role" = 'USER' WHERE "role" = 'ADMIN'; ALTER TABLE "User" ALTER "role" DROP DEFAULT;
CREATE TYPE r AS ENUM ({}); ALTER TABLE "User" ALTER "role" TYPE r USING "role"::text::r; DROP TYPE "Role"; ALTER TYPE r RENAME TO "Role";"""


def test_an_enum_made_anew_is_what_its_labels_say(work: Workspace) -> None:
    assert "too-large" not in {f.rule for f in found(work, NARROWER.format("'USER'"))}
    assert "too-large" in {f.rule for f in found(work, NARROWER.format("'USER', 'OWNER'"))}


def test_rows_of_the_history_itself_refuse_nothing(work: Workspace) -> None:
    """As for a plan: they are asked for."""
    rows = BEFORE + "INSERT INTO \"User\" (email, nickname) VALUES ('a', 'b');"
    findings = found(work, 'ALTER TABLE "User" DROP COLUMN "nickname";', before=rows)
    assert "no-way-back" not in {f.rule for f in findings}
    assert [f.message for f in findings if f.rule == "inverse-can-fail" and "returns as NOT NULL" in f.message]


def test_a_label_in_a_column_that_goes_again_stops_nothing(work: Workspace) -> None:
    sql = """ALTER TYPE "Role" ADD VALUE 'OWNER'; ALTER TABLE "Order" ADD COLUMN "by" "Role";"""
    told = [f.message for f in found(work, sql) if f.rule == "inverse-can-fail"]
    assert len(told) == 1 and 'public."User".role' in told[0]


def test_what_scratch_lacks_is_no_fault_of_the_migration(work: Workspace) -> None:
    (finding,) = [f for f in found(work, 'CREATE EXTENSION "postgis_raster_nowhere";') if f.rule == "does-not-replay"]
    assert finding.message.startswith("it cannot be tried here: ")


def test_a_write_of_every_row_in_a_do_block(work: Workspace) -> None:
    block = "DO $$ BEGIN IF true THEN UPDATE \"User\" SET locale = 'en'{}; END IF; EXECUTE 'DELETE FROM \"Order\"'; END $$"
    told = [f.message for f in found(work, block.format("")) if f.rule == "write-without-where"]
    assert told == ['it updates every row of "User" in one statement', 'it deletes every row of "Order" in one statement']
    assert len([f for f in found(work, block.format(" WHERE id = 1")) if f.rule == "write-without-where"]) == 1


@pytest.mark.parametrize(("also", "told"), [(', ALTER "userId" TYPE TEXT', False), (', ALTER "userId" TYPE VARCHAR', True), ("", True)])
def test_a_key_whose_both_ends_change_alike_still_holds(work: Workspace, also: str, told: bool) -> None:
    before = """CREATE TABLE "User" ("id" INTEGER PRIMARY KEY); CREATE TABLE "Log" ("userId" INTEGER, CONSTRAINT fk FOREIGN KEY ("userId") REFERENCES "User" ("id"))"""
    again = 'ADD CONSTRAINT fk FOREIGN KEY ("userId") REFERENCES "User" ("id") ON DELETE CASCADE'
    sql = f"""ALTER TABLE "Log" DROP CONSTRAINT fk; ALTER TABLE "User" ALTER "id" TYPE TEXT; ALTER TABLE "Log" ADD more INT{also};
        {f'ALTER TABLE "Log" {again}' if also else ""}"""
    assert any("point to nothing" in f.message for f in found(work, sql, before=before)) == told


@pytest.mark.parametrize(("null", "told"), [("NOT NULL", False), ("", True)])
def test_a_key_of_more_columns_holds_where_none_is_null(work: Workspace, null: str, told: bool) -> None:
    before = f"""CREATE TABLE p (id INT PRIMARY KEY, tenant INT NOT NULL, UNIQUE (id, tenant));
        CREATE TABLE c (p INT, tenant INT {null}, CONSTRAINT fk FOREIGN KEY (p) REFERENCES p (id))"""
    sql = "ALTER TABLE c DROP CONSTRAINT fk; ALTER TABLE c ADD CONSTRAINT both_ FOREIGN KEY (p, tenant) REFERENCES p (id, tenant)"
    assert any("point to nothing" in f.message for f in found(work, sql, before=before)) == told
