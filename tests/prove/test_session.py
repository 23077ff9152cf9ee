"""What a migration leaves in its session does not reach what we run after it."""

import pytest

from tests.support import migration
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool

FIRST = ("1", "CREATE TABLE t (id int PRIMARY KEY, a text)")
LAST = ("3", "ALTER TABLE t DROP COLUMN a")
ROLE = "CREATE ROLE um_session; GRANT um_session TO CURRENT_USER; GRANT ALL ON SCHEMA public TO um_session;"
LEFT = {
    "deallocate": "DEALLOCATE ALL; CREATE TABLE u (id int)",
    "deallocate in a block": "DO $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$; CREATE TABLE u (id int)",
    "deallocate in a function": "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'DEALLOCATE ALL'; END $$; SELECT f()",
    "discard": "DISCARD ALL",
    "discard in a file": "CREATE TABLE u (id int); DISCARD ALL",
    "discard plans and temp": "DISCARD PLANS; DISCARD TEMP; CREATE TABLE u (id int)",
    "reset": "RESET ALL; CREATE TABLE u (id int)",
    "role": ROLE + "SET ROLE um_session; CREATE TABLE u (id int)",
    "local role": ROLE + "SET LOCAL ROLE um_session; CREATE TABLE u (id int)",
    "role by function": ROLE + "SELECT set_config('role', 'um_session', false); CREATE TABLE u (id int)",
    "limit of time": "CREATE TABLE u (id int); SET statement_timeout = '1ms'",
    "formats": "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'sql_standard'; SET extra_float_digits = -10; SET quote_all_identifiers = on; "
    "ALTER TABLE t ADD d timestamp DEFAULT '01/02/2020', ADD f float8 DEFAULT 0.123456789012345, ADD i interval DEFAULT '-1 day 2 hours'",
    "a temporary table of a new type": "CREATE TYPE e AS ENUM ('a'); CREATE TEMP TABLE x (e e) ON COMMIT DROP; INSERT INTO x VALUES ('a'); CREATE TABLE u (e e)",
    "a temporary table that stays": "BEGIN; CREATE TYPE e AS ENUM ('a'); CREATE TEMP TABLE x (e e); COMMIT; CREATE TABLE u (e e)",
    "a name of ours": "PREPARE unmigrate_1 AS SELECT 1; CREATE TABLE u (id int)",
}


@pytest.mark.parametrize("case", LEFT)
def test_what_a_migration_leaves_in_its_session(pool: Pool, case: str) -> None:
    entries = list(audit(Workspace(pool), [migration(*s) for s in (FIRST, ("2", LEFT[case]), LAST)], rows=True))
    told = [(e.report["schema"]["verdict"], e.report["data"]["plain"]["verdict"], e.report["not_covered"]) for e in entries]
    lasts = ("column-order" if case == "formats" else "exact", "lossy", [])
    assert told == [("exact", "lossless", []), ("exact", "lossless", []), lasts], entries
    pool.drop_new_roles()


def test_text_of_the_catalog_does_not_depend_on_the_session(pool: Pool) -> None:
    """A way back is run in another session than the migration was."""
    drop = ("3", "ALTER TABLE t DROP COLUMN d, DROP COLUMN f, DROP COLUMN i")
    entries = list(audit(Workspace(pool), [migration(*s) for s in (FIRST, ("2", LEFT["formats"]), drop)], rows=False))
    down = entries[2].down
    assert down is not None and "'2020-02-01 00:00:00'" in down and "0.123456789012345" in down and '"d"' not in down
