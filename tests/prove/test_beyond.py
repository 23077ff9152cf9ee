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
    ("SELECT pg_replication_origin_create('unmigrate_beyond')", "replication origins"),
    ("SELECT lo_create(0)", "large objects"),
]


@pytest.mark.parametrize(("sql", "told"), CASES)
def test_it_is_named(server: Server, sql: str, told: str) -> None:
    with Pool(server, trusted=True) as pool:
        try:
            (entry,) = audit(Workspace(pool), [migration("1", sql)], rows=False)
        finally:
            pool.drop_new_roles()
    assert told in " ".join(entry.report["notes"])
