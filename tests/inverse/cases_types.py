"""Schemas, extensions, enums, domains, composites, sequences, and what else is a type."""

from tests.inverse.case import Case, rows

ROLE = "CREATE TYPE role AS ENUM ('A', 'B');"
USER = ROLE + "CREATE TABLE users (id int PRIMARY KEY, role role DEFAULT 'A', past role[] DEFAULT '{A}', at timestamptz);"
ADD = "ALTER TYPE role ADD VALUE 'C'"
SWAP = """CREATE TYPE role_new AS ENUM ('A', 'X'); ALTER TABLE users ALTER role DROP DEFAULT, ALTER past DROP DEFAULT;
  ALTER TABLE users ALTER role TYPE role_new USING (role::text::role_new), ALTER past TYPE role_new[] USING (past::text[]::role_new[]);
  ALTER TYPE role RENAME TO role_old; ALTER TYPE role_new RENAME TO role; DROP TYPE role_old;
  ALTER TABLE users ALTER role SET DEFAULT 'A', ALTER past SET DEFAULT '{A}';"""

SCHEMA = rows(
    "schema",
    ("create", "", "CREATE SCHEMA shop"),
    ("create with things in it", "", "CREATE SCHEMA shop CREATE TABLE item (id serial PRIMARY KEY) CREATE VIEW v AS SELECT id FROM item"),
    ("create if not exists, no-op", "CREATE SCHEMA shop", "CREATE SCHEMA IF NOT EXISTS shop"),
    ("drop", "CREATE SCHEMA shop; COMMENT ON SCHEMA shop IS 'x'; GRANT USAGE ON SCHEMA shop TO matrix_reader", "DROP SCHEMA shop"),
    (
        "drop cascade",
        "CREATE SCHEMA shop; CREATE TYPE shop.t AS ENUM ('a'); CREATE TABLE shop.item (id serial PRIMARY KEY, t shop.t);"
        "CREATE VIEW shop.v AS SELECT * FROM shop.item; CREATE VIEW v AS SELECT id FROM shop.item",
        "DROP SCHEMA shop CASCADE",
    ),
    (
        "rename",
        "CREATE SCHEMA shop; CREATE TYPE shop.t AS ENUM ('a'); CREATE TABLE shop.item (id serial PRIMARY KEY, t shop.t DEFAULT 'a');"
        "CREATE INDEX i ON shop.item (t); CREATE VIEW v AS SELECT * FROM shop.item",
        "ALTER SCHEMA shop RENAME TO store",
    ),
    ("comment", "CREATE SCHEMA shop", "COMMENT ON SCHEMA shop IS 'it''s'"),
    ("comment removed", "CREATE SCHEMA shop; COMMENT ON SCHEMA shop IS 'a'", "COMMENT ON SCHEMA shop IS NULL"),
    ("grant", "CREATE SCHEMA shop", "GRANT USAGE ON SCHEMA shop TO matrix_reader"),
    (
        "revoke",
        "CREATE SCHEMA shop; GRANT USAGE, CREATE ON SCHEMA shop TO matrix_reader",
        "REVOKE CREATE ON SCHEMA shop FROM matrix_reader",
    ),
    ("upper case and quotes", "", 'CREATE SCHEMA "My ""Shop"".x"; CREATE TABLE "My ""Shop"".x"."T.t" (id int)'),
)

EXTENSION = rows(
    "extension",
    ("create", "", "CREATE EXTENSION citext"),
    ("create and use", "CREATE TABLE t (v text)", "CREATE EXTENSION IF NOT EXISTS citext; ALTER TABLE t ALTER v TYPE citext"),
    ("create in a schema", "CREATE SCHEMA ext", "CREATE EXTENSION pg_trgm SCHEMA ext"),
    ("drop", "CREATE EXTENSION citext", "DROP EXTENSION citext"),
    ("drop and again", "CREATE EXTENSION citext", "DROP EXTENSION citext; CREATE EXTENSION citext"),
    ("drop cascade", "CREATE EXTENSION citext; CREATE TABLE t (a int, v citext, b int)", "DROP EXTENSION citext CASCADE", "column-order"),
    ("index by it", "CREATE EXTENSION pg_trgm; CREATE TABLE t (v text)", "CREATE INDEX i ON t USING gin (v gin_trgm_ops)"),
    (
        "drop with its index",
        "CREATE EXTENSION pg_trgm; CREATE TABLE t (v text); CREATE INDEX i ON t USING gin (v gin_trgm_ops)",
        "DROP EXTENSION pg_trgm CASCADE",
    ),
    ("set schema", "CREATE EXTENSION citext; CREATE SCHEMA ext", "ALTER EXTENSION citext SET SCHEMA ext"),
    ("comment", "CREATE EXTENSION citext", "COMMENT ON EXTENSION citext IS 'mine'"),
)

ENUM = rows(
    "enum",
    ("create", "", "CREATE TYPE role AS ENUM ('A', 'it''s', 'back\\slash')"),
    ("create with comment and grant", "", "CREATE TYPE e AS ENUM ('a'); COMMENT ON TYPE e IS 'c'; REVOKE USAGE ON TYPE e FROM PUBLIC"),
    ("create empty", "", "CREATE TYPE e AS ENUM ()"),
    ("add value", USER, ADD),
    ("add value before", USER, "ALTER TYPE role ADD VALUE 'C' BEFORE 'A'"),
    ("add value if not exists, no-op", USER, "ALTER TYPE role ADD VALUE IF NOT EXISTS 'A'"),
    ("add two values", USER, "ALTER TYPE role ADD VALUE 'C'; ALTER TYPE role ADD VALUE 'D' AFTER 'A'"),
    ("add value and rename another", USER, "ALTER TYPE role ADD VALUE 'C'; ALTER TYPE role RENAME VALUE 'A' TO 'Z'"),
    ("add value and use it as default", USER, "ALTER TYPE role ADD VALUE 'C'; ALTER TABLE users ALTER role SET DEFAULT 'C'"),
    ("add value and rename the type", USER, "ALTER TYPE role ADD VALUE 'C'; ALTER TYPE role RENAME TO job"),
    ("add value and comment", USER, "ALTER TYPE role ADD VALUE 'C'; COMMENT ON TYPE role IS 'x'"),
    ("add value, with comment and grants", USER + "COMMENT ON TYPE role IS 'x'; GRANT USAGE ON TYPE role TO matrix_reader", ADD),
    ("add value, unused", ROLE, ADD),
    ("add value, in an index", USER + "CREATE INDEX i ON users (role); CREATE UNIQUE INDEX j ON users (id, role)", ADD),
    ("add value, in a predicate", USER + "CREATE INDEX i ON users (id) WHERE role = 'A'", ADD),
    ("add value, in an expression index", USER + "CREATE INDEX i ON users ((CASE role WHEN 'A' THEN 1 ELSE 2 END))", ADD),
    ("add value, in a check", USER + "ALTER TABLE users ADD CONSTRAINT c CHECK (role <> 'B' OR at IS NOT NULL)", ADD),
    ("add value, in a primary key", ROLE + "CREATE TABLE t (r role, n int, PRIMARY KEY (r, n)); CREATE TABLE u (r role, n int, FOREIGN KEY (r, n) REFERENCES t)",
     ADD),
    ("add value, in a unique constraint", USER + "ALTER TABLE users ADD CONSTRAINT u UNIQUE (role)", ADD),
    ("add value, in an exclusion constraint", USER + "ALTER TABLE users ADD CONSTRAINT x EXCLUDE (id WITH =) WHERE (role = 'A')", ADD),
    ("add value, in a view", USER + "CREATE VIEW v AS SELECT id FROM users WHERE role = 'A'; CREATE VIEW w AS SELECT * FROM v", ADD),
    ("add value, in a materialized view", USER + "CREATE MATERIALIZED VIEW m AS SELECT id, role FROM users; CREATE INDEX i ON m (role)", ADD),
    ("add value, in a function's arguments", USER + "CREATE FUNCTION f(r role DEFAULT 'A') RETURNS role LANGUAGE sql AS 'SELECT r'", ADD),
    ("add value, in a function's body", USER + "CREATE FUNCTION f() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RETURN 'A'::role = 'B'; END $$", ADD),
    ("add value, in a SQL body", USER + "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM users WHERE role = 'A'; END", ADD),
    ("add value, in a policy", USER + "ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON users USING (role = 'A')", ADD),
    ("add value, in a generated column", USER + "ALTER TABLE users ADD g bool GENERATED ALWAYS AS (role = 'A') STORED, ADD z int", ADD, "column-order"),
    ("add value, in a trigger", USER + "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
     "CREATE TRIGGER t BEFORE UPDATE OF role ON users FOR EACH ROW WHEN (NEW.role = 'A') EXECUTE FUNCTION f(); ALTER TABLE users DISABLE TRIGGER t", ADD),
    ("add value, in a rule", USER + "CREATE RULE r AS ON UPDATE TO users WHERE NEW.role = 'A' DO INSTEAD NOTHING", ADD),
    ("add value, in a domain", ROLE + "CREATE DOMAIN d AS role CHECK (VALUE <> 'B'); CREATE TABLE t (v d)", ADD, "refused", "other objects depend on it"),
    ("add value, in a composite", ROLE + "CREATE TYPE pair AS (a role, b int)", ADD),
    ("add value, in a composite of a table", ROLE + "CREATE TYPE pair AS (a role, b int); CREATE TABLE t (p pair)", ADD, "refused", "uses it"),
    ("add value, in a partition key", ROLE + "CREATE TABLE t (r role) PARTITION BY LIST (r); CREATE TABLE ta PARTITION OF t FOR VALUES IN ('A')", ADD,
     "refused", "part of the partition key"),
    ("add value, in partitions", ROLE + "CREATE TABLE t (n int, r role DEFAULT 'A') PARTITION BY LIST (n); CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)", ADD),
    ("add value, in extended statistics", USER + "CREATE STATISTICS s ON id, role FROM users", ADD),
    ("rename value", USER, "ALTER TYPE role RENAME VALUE 'A' TO 'a'"),
    ("swap values", USER, "ALTER TYPE role RENAME VALUE 'A' TO 'T'; ALTER TYPE role RENAME VALUE 'B' TO 'A'; ALTER TYPE role RENAME VALUE 'T' TO 'B'"),
    ("rename", USER, "ALTER TYPE role RENAME TO \"Role\""),
    ("rename swap", ROLE + "CREATE TYPE job AS ENUM ('x'); CREATE TABLE t (r role, j job)",
     "ALTER TYPE role RENAME TO tmp; ALTER TYPE job RENAME TO role; ALTER TYPE tmp RENAME TO job"),
    ("set schema", USER + "CREATE SCHEMA s", "ALTER TYPE role SET SCHEMA s"),
    ("drop", ROLE + "COMMENT ON TYPE role IS 'c'; GRANT USAGE ON TYPE role TO matrix_reader", "DROP TYPE role"),
    ("drop cascade", USER, "DROP TYPE role CASCADE", "column-order"),
    ("label swap dance", USER, SWAP),
    ("label swap dance in a transaction", USER, f"BEGIN; {SWAP} COMMIT;"),
    ("label swap dance with a view and an index", USER + "CREATE INDEX i ON users (role) WHERE role = 'A'",
     "DROP INDEX i;" + SWAP + "CREATE INDEX i ON users (role) WHERE role = 'A'"),
    ("column to text and back to a new enum", USER, "ALTER TABLE users ALTER role DROP DEFAULT, ALTER role TYPE text; ALTER TABLE users DROP past;"
     "DROP TYPE role; CREATE TYPE role AS ENUM ('X'); ALTER TABLE users ALTER role TYPE role USING role::role", "column-order"),
    ("text to enum", "CREATE TABLE t (v text DEFAULT 'a')", "CREATE TYPE e AS ENUM ('a'); ALTER TABLE t ALTER v DROP DEFAULT, ALTER v TYPE e USING v::e, "
     "ALTER v SET DEFAULT 'a'"),
    ("comment", USER, "COMMENT ON TYPE role IS 'x'"),
    ("revoke from public", USER, "REVOKE USAGE ON TYPE role FROM PUBLIC"),
)  # fmt: skip

DOMAIN_SETUP = "CREATE DOMAIN d AS varchar(9) COLLATE \"C\" DEFAULT 'x' NOT NULL CONSTRAINT ok CHECK (VALUE <> ''); CREATE TABLE t (v d);"
DOMAIN = rows(
    "domain",
    ("create", "", "CREATE DOMAIN d AS int DEFAULT 1 NOT NULL CONSTRAINT a CHECK (VALUE > 0) CHECK (VALUE < 9); COMMENT ON DOMAIN d IS 'x'"),
    ("drop", "CREATE DOMAIN d AS varchar(9) COLLATE \"C\" DEFAULT 'x' NOT NULL CONSTRAINT ok CHECK (VALUE > 'a'); COMMENT ON DOMAIN d IS 'x'",
     "DROP DOMAIN d"),
    ("drop cascade", "CREATE DOMAIN d AS int; CREATE TABLE t (v d, w int)", "DROP DOMAIN d CASCADE", "column-order"),
    ("rename", DOMAIN_SETUP, "ALTER DOMAIN d RENAME TO e"),
    ("default", DOMAIN_SETUP, "ALTER DOMAIN d SET DEFAULT 'y'"),
    ("default dropped", DOMAIN_SETUP, "ALTER DOMAIN d DROP DEFAULT"),
    ("not null dropped", DOMAIN_SETUP, "ALTER DOMAIN d DROP NOT NULL"),
    ("not null set", "CREATE DOMAIN d AS int", "ALTER DOMAIN d SET NOT NULL"),
    ("check added", DOMAIN_SETUP, "ALTER DOMAIN d ADD CONSTRAINT more CHECK (VALUE <> 'z')"),
    ("check not valid", DOMAIN_SETUP, "ALTER DOMAIN d ADD CONSTRAINT more CHECK (VALUE <> 'z') NOT VALID"),
    ("check validated", DOMAIN_SETUP + "ALTER DOMAIN d ADD CONSTRAINT more CHECK (VALUE <> 'z') NOT VALID", "ALTER DOMAIN d VALIDATE CONSTRAINT more"),
    ("check dropped", DOMAIN_SETUP, "ALTER DOMAIN d DROP CONSTRAINT ok"),
    ("check renamed", DOMAIN_SETUP, "ALTER DOMAIN d RENAME CONSTRAINT ok TO fine"),
    ("set schema", DOMAIN_SETUP + "CREATE SCHEMA s", "ALTER DOMAIN d SET SCHEMA s"),
    ("comment", DOMAIN_SETUP, "COMMENT ON DOMAIN d IS 'x'; COMMENT ON CONSTRAINT ok ON DOMAIN d IS 'y'"),
    ("grant", DOMAIN_SETUP, "GRANT USAGE ON DOMAIN d TO matrix_reader"),
    ("dropped and made anew", "CREATE DOMAIN d AS int", "DROP DOMAIN d; CREATE DOMAIN d AS bigint"),
)  # fmt: skip

PAIR = "CREATE TYPE pair AS (a int, b text);"
COMPOSITE = rows(
    "composite",
    ("create", "", "CREATE TYPE pair AS (a int, \"B b\" text COLLATE \"C\"); COMMENT ON TYPE pair IS 'x'; COMMENT ON COLUMN pair.a IS 'y'"),
    ("drop", PAIR + "COMMENT ON TYPE pair IS 'x'", "DROP TYPE pair"),
    ("drop with collation", "CREATE TYPE pair AS (a int, b text COLLATE \"C\")", "DROP TYPE pair"),
    ("drop with comment on an attribute", PAIR + "COMMENT ON COLUMN pair.a IS 'y'", "DROP TYPE pair"),
    ("rename", PAIR + "CREATE TABLE t (p pair)", "ALTER TYPE pair RENAME TO couple"),
    ("attribute added", PAIR + "CREATE TABLE t (p pair)", "ALTER TYPE pair ADD ATTRIBUTE c int"),
    ("attribute dropped at the end", PAIR, "ALTER TYPE pair DROP ATTRIBUTE b"),
    ("attribute dropped in the middle", PAIR, "ALTER TYPE pair DROP ATTRIBUTE a", "refused", "differs in attributes"),
    ("attribute renamed", PAIR, "ALTER TYPE pair RENAME ATTRIBUTE a TO z"),
    ("attribute retyped", PAIR, "ALTER TYPE pair ALTER ATTRIBUTE a TYPE bigint"),
    ("attribute collated", PAIR, "ALTER TYPE pair ALTER ATTRIBUTE b TYPE text COLLATE \"C\""),
    ("attribute comment", PAIR, "COMMENT ON COLUMN pair.a IS 'x'"),
    ("comment", PAIR, "COMMENT ON TYPE pair IS 'x'"),
    ("grant", PAIR, "REVOKE USAGE ON TYPE pair FROM PUBLIC"),
    ("set schema", PAIR + "CREATE SCHEMA s", "ALTER TYPE pair SET SCHEMA s"),
)  # fmt: skip

SERIAL = "CREATE TABLE t (id serial PRIMARY KEY, v int);"
SEQUENCE = rows(
    "sequence",
    ("create", "", "CREATE SEQUENCE s AS smallint INCREMENT 2 MINVALUE -9 MAXVALUE 99 START 3 CACHE 5 CYCLE; COMMENT ON SEQUENCE s IS 'x'"),
    ("create owned", SERIAL, "CREATE SEQUENCE s OWNED BY t.v; ALTER TABLE t ALTER v SET DEFAULT nextval('s')"),
    ("drop", "CREATE SEQUENCE s AS smallint INCREMENT -1 CYCLE; COMMENT ON SEQUENCE s IS 'x'; GRANT USAGE ON SEQUENCE s TO matrix_reader", "DROP SEQUENCE s"),
    ("drop cascade", SERIAL, "DROP SEQUENCE t_id_seq CASCADE"),
    ("rename", SERIAL, "ALTER SEQUENCE t_id_seq RENAME TO s"),
    ("alter", "CREATE SEQUENCE s", "ALTER SEQUENCE s AS int INCREMENT 3 CACHE 2 CYCLE"),
    ("alter min and max", "CREATE SEQUENCE s", "ALTER SEQUENCE s MINVALUE 5 MAXVALUE 50 START 7 RESTART"),
    ("no longer owned", SERIAL, "ALTER SEQUENCE t_id_seq OWNED BY NONE"),
    ("owned by another", SERIAL, "ALTER SEQUENCE t_id_seq OWNED BY t.v"),
    ("owned at last", SERIAL + "CREATE SEQUENCE s", "ALTER SEQUENCE s OWNED BY t.v"),
    ("owned by a new table", "CREATE SEQUENCE s", "CREATE TABLE n (v int DEFAULT nextval('s')); ALTER SEQUENCE s RENAME TO n_v_seq; ALTER SEQUENCE n_v_seq OWNED BY n.v"),
    ("set schema", "CREATE SEQUENCE s; CREATE SCHEMA x", "ALTER SEQUENCE s SET SCHEMA x"),
    ("serial added", "CREATE TABLE t (v int)", "ALTER TABLE t ADD id serial"),
    ("serial dropped", "CREATE TABLE t (v int, id bigserial)", "ALTER TABLE t DROP id"),
    ("serial to uuid", SERIAL, "ALTER TABLE t DROP CONSTRAINT t_pkey, ALTER id DROP DEFAULT, ALTER id TYPE text, ADD CONSTRAINT t_pkey PRIMARY KEY (id);"
     "DROP SEQUENCE t_id_seq"),
    ("serial to bigint", SERIAL, "ALTER TABLE t ALTER id TYPE bigint; ALTER SEQUENCE t_id_seq AS bigint"),
    ("serial to identity", SERIAL, "ALTER TABLE t ALTER id DROP DEFAULT; DROP SEQUENCE t_id_seq; ALTER TABLE t ALTER id ADD GENERATED BY DEFAULT AS IDENTITY"),
    ("comment", SERIAL, "COMMENT ON SEQUENCE t_id_seq IS 'x'"),
    ("grant", SERIAL, "GRANT USAGE ON SEQUENCE t_id_seq TO matrix_reader"),
    ("dropped and made anew", "CREATE SEQUENCE s", "DROP SEQUENCE s; CREATE SEQUENCE s START 7"),
    ("its table renamed", SERIAL, "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME id TO key; ALTER SEQUENCE t_id_seq RENAME TO u_key_seq"),
)  # fmt: skip
SEQUENCE += (Case("sequence", "unlogged", "CREATE SEQUENCE s", "ALTER SEQUENCE s SET UNLOGGED", since=15),)

TYPES = rows(
    "other type",
    ("range create", "", "CREATE TYPE span AS RANGE (subtype = int)"),
    ("range create and use", "CREATE TABLE t (id int)", "CREATE TYPE span AS RANGE (subtype = float8); ALTER TABLE t ADD s span"),
    ("range drop", "CREATE TYPE span AS RANGE (subtype = int)", "DROP TYPE span", "refused", "cannot re-create"),
    (
        "range rename",
        "CREATE TYPE span AS RANGE (subtype = int)",
        "ALTER TYPE span RENAME TO period",
        "refused",
        "cannot change a type back",
    ),
)
TYPES += (Case("other type", "shell create", "", "CREATE TYPE shell", trusted=True),)

CASES = (*SCHEMA, *EXTENSION, *ENUM, *DOMAIN, *COMPOSITE, *SEQUENCE, *TYPES)
