"""Restoring partitioned tables by several jobs: pg_restore alone deadlocks while it makes foreign keys and attaches indexes."""

from pathlib import Path

from tests.snapshot.kit import Kit, quiet
from unmigrate.config.snapshot import PgDump as Config
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import At

# The indexes that the foreign key needs are attached first, the others while it is made.
ALL = """
CREATE TABLE part (id int, at int, v text, PRIMARY KEY (id, at)) PARTITION BY LIST (at);
CREATE TABLE part_1 PARTITION OF part DEFAULT PARTITION BY LIST (at);
CREATE TABLE part_1_a PARTITION OF part_1 DEFAULT;
DO $$ BEGIN FOR n IN 1..20 LOOP CREATE INDEX ON part (v); END LOOP; END $$;
INSERT INTO part SELECT g, 1 + g % 12, 'v' FROM generate_series(1, 240) g;
CREATE TABLE owner (id int PRIMARY KEY, part int, at int, CONSTRAINT "to part" FOREIGN KEY (part, at) REFERENCES part (id, at));
INSERT INTO owner SELECT g, g, 1 + g % 12 FROM generate_series(1, 240) g;
COMMENT ON CONSTRAINT "to part" ON owner IS 'of a foreign key';
GRANT SELECT ON owner TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n FROM owner;
CREATE MATERIALIZED VIEW by_key AS SELECT id, part FROM owner GROUP BY id;
CREATE UNIQUE INDEX by_key_key ON by_key (id);
CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no DDL here'; END $$;
CREATE EVENT TRIGGER never ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION forbid();"""


def test_several_jobs_never_deadlock(kit: Kit, tmp_path: Path) -> None:
    """A plain `pg_restore --jobs=8` of this dump ends in a deadlock now and then."""
    kit.run(ALL)
    provider = PgDump(Config(str(tmp_path), jobs=8), kit.url, tmp_path)
    made = provider.create("parts", quiet)
    for n in range(4):
        with kit.restored(provider.restore(At(made.id), f"{kit.source().info.dbname}-parts{n}", quiet)) as there:
            assert there.execute("select (select count(*) from part), (select n from seen)").fetchone() == (240, 240)
            assert there.execute("select count(*) from by_key").fetchone() == (240,)
            assert there.execute("select count(*) from pg_index where not indisvalid").fetchone() == (0,)
            said = "select obj_description(oid, 'pg_constraint'), convalidated from pg_constraint where conname = 'to part'"
            assert there.execute(said).fetchone() == ("of a foreign key", True)
            assert there.execute("select relacl::text ~ '=r/' from pg_class where relname = 'owner'").fetchone() == (True,)
            assert there.execute("select count(*) from pg_default_acl").fetchone() == (1,)
            assert there.execute("select evtname from pg_event_trigger").fetchall() == [("never",)]
    shown = provider.shown_restore(At(made.id), "new")
    assert [("FIRST:" in line, "SECOND:" in line) for line in shown if "--use-list" in line] == [(True, False), (False, True)]
