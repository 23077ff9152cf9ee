"""What a migration does beyond the schema of its database is named: no way back undoes it."""

import pytest

from tests.support import migration
from unmigrate.prove.audit import audit
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server


def of_database(sql: str) -> str:
    return f"DO $$ BEGIN EXECUTE format('{sql}', current_database()); END $$"


CASES = [
    ("CREATE ROLE unmigrate_beyond", "roles were created"),
    (of_database("COMMENT ON DATABASE %I IS ''x''"), "a comment on a database"),
    (of_database("ALTER DATABASE %I CONNECTION LIMIT 5"), "the database's own properties or grants"),
    (of_database("REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC"), "the database's own properties or grants"),
    ("GRANT SET ON PARAMETER log_statement TO PUBLIC", "grants on configuration parameters"),
    ("SELECT pg_replication_origin_create('unmigrate_' || txid_current())", "replication origins"),
    ("SELECT lo_create(0)", "large objects"),
]


BY_ITSELF = "CREATE TABLE t (a int); CREATE INDEX CONCURRENTLY i ON t (a)"  # in one file, only statement by statement


@pytest.mark.parametrize("more", ["", BY_ITSELF])
@pytest.mark.parametrize(("sql", "told"), CASES)
def test_it_is_named(server: Server, sql: str, told: str, more: str) -> None:
    if more and server.major < 15:
        pytest.skip("before 15 a session cannot tell what it has committed itself")
    with Pool(server, trusted=True) as pool:
        try:
            first, then = audit(Workspace(pool), [migration("1", f"{sql}; {more}"), migration("2", "CREATE TABLE u (a int)")], rows=False)
        finally:
            pool.drop_new_roles()
    assert told in " ".join(first.report["notes"])
    assert first.report["schema"]["mode"] == ("statements" if more else "transaction")
    assert then.report["notes"] == []
