"""Views, routines, triggers, policies, rules, and what stands beside tables; whole files; what is refused."""

from tests.inverse.case import Case, rows

T = "CREATE TABLE t (id int PRIMARY KEY, a text, b int NOT NULL DEFAULT 1);"
V = T + "CREATE VIEW v AS SELECT id, a FROM t;"
CHAIN = V + "CREATE VIEW w AS SELECT a, count(*) AS n FROM v GROUP BY a; CREATE VIEW x AS SELECT n FROM w;"
CROSSED = V + "CREATE VIEW w AS SELECT id, a FROM t; CREATE OR REPLACE VIEW v AS SELECT id, a FROM w;"
MADE_OF_V = (
    "CREATE TYPE k AS (rows v[], n int); CREATE DOMAIN d AS v; CREATE TABLE n (id serial PRIMARY KEY, k k, u int UNIQUE); CREATE INDEX i ON n (u);"
    "CREATE TABLE o (d d, n int REFERENCES n); CREATE STATISTICS c ON id, u FROM n; CREATE VIEW y AS SELECT k FROM n;"
)
OF_ROWS = "CREATE FUNCTION f(v) RETURNS int LANGUAGE sql AS 'SELECT $1.id'"

VIEW = rows(
    "view",
    ("create", T, "CREATE VIEW v AS SELECT id, a AS \"A\" FROM t WHERE b > 0; COMMENT ON VIEW v IS 'x'; COMMENT ON COLUMN v.id IS 'y'"),
    ("create with options", T, "CREATE VIEW v WITH (security_barrier) AS SELECT id FROM t WHERE b > 0 WITH LOCAL CHECK OPTION"),
    ("create recursive", T, "CREATE RECURSIVE VIEW v (n) AS SELECT 1 UNION ALL SELECT n + 1 FROM v WHERE n < 9"),
    ("create with star and join", T, "CREATE VIEW v AS SELECT t.*, u.a AS ua FROM t JOIN t u USING (id)"),
    ("drop", V + "COMMENT ON VIEW v IS 'x'; COMMENT ON COLUMN v.id IS 'y'; GRANT SELECT ON v TO matrix_reader; ALTER VIEW v ALTER a SET DEFAULT 'z'", "DROP VIEW v"),
    ("drop with options", T + "CREATE VIEW v WITH (security_barrier) AS SELECT id FROM t WHERE b > 0 WITH CASCADED CHECK OPTION", "DROP VIEW v"),
    ("drop cascade", CHAIN, "DROP VIEW v CASCADE"),
    ("drop with rules and triggers", V + "CREATE RULE r AS ON INSERT TO v DO INSTEAD NOTHING; CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
     "CREATE TRIGGER g INSTEAD OF UPDATE ON v FOR EACH ROW EXECUTE FUNCTION f()", "DROP VIEW v"),
    ("drop with column grants", V + "GRANT SELECT (a) ON v TO matrix_reader", "DROP VIEW v"),
    ("rename", CHAIN, "ALTER VIEW v RENAME TO \"V\""),
    ("rename column", CHAIN, "ALTER VIEW v RENAME a TO z"),
    ("rename column of its table", CHAIN, "ALTER TABLE t RENAME a TO z"),
    ("set schema", CHAIN + "CREATE SCHEMA s", "ALTER VIEW v SET SCHEMA s"),
    ("replace", CHAIN, "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t WHERE b > 3"),
    ("replace with one column more", CHAIN, "CREATE OR REPLACE VIEW v AS SELECT id, a, b FROM t"),
    ("replace with other columns", CHAIN, "DROP VIEW x, w, v; CREATE VIEW v AS SELECT b FROM t; CREATE VIEW w AS SELECT b AS a, count(*) AS n FROM v GROUP BY 1; "
     "CREATE VIEW x AS SELECT n FROM w"),
    ("replace with options gone", T + "CREATE VIEW v WITH (security_barrier) AS SELECT id FROM t", "CREATE OR REPLACE VIEW v AS SELECT id FROM t"),
    ("replace while renamed", CHAIN, "ALTER VIEW v RENAME TO y; CREATE OR REPLACE VIEW y AS SELECT id, a FROM t WHERE b > 3"),
    ("alter options", CHAIN, "ALTER VIEW v SET (security_barrier = true)"),
    ("alter options with a grant and a comment", V + "GRANT SELECT ON v TO matrix_reader; COMMENT ON VIEW v IS 'x'", "ALTER VIEW v SET (security_barrier = true)"),
    ("alter default", V, "ALTER VIEW v ALTER a SET DEFAULT 'x'"),
    ("alter default dropped", V + "ALTER VIEW v ALTER a SET DEFAULT 'x'", "ALTER VIEW v ALTER a DROP DEFAULT"),
    ("comment", V, "COMMENT ON VIEW v IS 'x'; COMMENT ON COLUMN v.a IS 'y'"),
    ("comment removed", V + "COMMENT ON COLUMN v.a IS 'y'", "COMMENT ON COLUMN v.a IS NULL"),
    ("grant", V, "GRANT SELECT ON v TO matrix_reader"),
    ("grant on a column", V, "GRANT SELECT (a) ON v TO matrix_reader"),
    ("create with a function of its rows", T, f"CREATE VIEW v AS SELECT id FROM t; {OF_ROWS}"),
    ("create with functions and views of each other", T, f"CREATE VIEW v AS SELECT id FROM t; {OF_ROWS}; CREATE VIEW w AS SELECT f(v) AS n FROM v; "
     "CREATE FUNCTION g(w) RETURNS SETOF v LANGUAGE sql AS 'SELECT v FROM v WHERE id = $1.n'"),
    ("create a table with a function of its rows", "", "CREATE TABLE n (id int PRIMARY KEY); CREATE FUNCTION f(n) RETURNS int LANGUAGE sql AS 'SELECT $1.id'; "
     "CREATE TABLE o (x n)"),
    ("drop with a function of its rows", V + OF_ROWS, "DROP FUNCTION f(v); DROP VIEW v"),
    ("replace with a function of its rows", V + OF_ROWS, f"DROP FUNCTION f(v); DROP VIEW v; CREATE VIEW v AS SELECT id, a, b FROM t; {OF_ROWS}"),
    ("replace with functions and views of each other", f"{V} {OF_ROWS}; CREATE VIEW w AS SELECT f(v) AS n FROM v; "
     "CREATE FUNCTION g(w) RETURNS SETOF v LANGUAGE sql AS 'SELECT v FROM v WHERE id = $1.n'",
     f"DROP VIEW v CASCADE; CREATE VIEW v AS SELECT id, a, b FROM t; {OF_ROWS}; CREATE VIEW w AS SELECT f(v) AS n FROM v; "
     "CREATE FUNCTION g(w) RETURNS SETOF v LANGUAGE sql AS 'SELECT v FROM v WHERE id = $1.n'"),
    ("drop cascade, an older one reads a newer one", CROSSED, "DROP TABLE t CASCADE"),
    ("retyped under them, an older one reads a newer one", f"CREATE TYPE e AS ENUM ('A'); {CROSSED} ALTER TABLE t ADD e e; CREATE OR REPLACE VIEW w AS SELECT id, a, e FROM t",
     "ALTER TYPE e ADD VALUE 'B'"),
    ("replaced so that it does not read one that goes", CROSSED, "CREATE OR REPLACE VIEW v AS SELECT id, a FROM t; DROP VIEW w"),
    ("drop with a table, types and a view made of its rows", V + MADE_OF_V, "DO $$ BEGIN DROP VIEW y; DROP TABLE o; DROP TABLE n; DROP DOMAIN d; DROP TYPE k; DROP VIEW v; END $$"),
    ("drop cascade with a column of its rows", V + "CREATE TABLE o (id serial PRIMARY KEY, x v); CREATE INDEX i ON o (x)", "DROP VIEW v CASCADE"),
    ("drop with its schema", "CREATE SCHEMA s; SET search_path TO s;" + V + MADE_OF_V + "SET search_path TO public", "DROP SCHEMA s CASCADE"),
    ("table retyped under it", CHAIN, "DROP VIEW x, w, v; ALTER TABLE t ALTER a TYPE varchar(20); " + CHAIN.removeprefix(T)),
)  # fmt: skip
VIEW += (Case("view", "security invoker", CHAIN, "ALTER VIEW v SET (security_invoker = on)", since=15),)

M = T + "CREATE MATERIALIZED VIEW m AS SELECT id, a FROM t; CREATE UNIQUE INDEX mi ON m (id); CREATE VIEW mv AS SELECT id FROM m;"
MATVIEW = rows(
    "materialized view",
    ("create", T, "CREATE MATERIALIZED VIEW m AS SELECT id, a FROM t; CREATE INDEX i ON m (a); COMMENT ON MATERIALIZED VIEW m IS 'x'"),
    ("create with no data", T, "CREATE MATERIALIZED VIEW m WITH (fillfactor = 70) AS SELECT id FROM t WITH NO DATA"),
    ("drop", M + "COMMENT ON MATERIALIZED VIEW m IS 'x'; GRANT SELECT ON m TO matrix_reader", "DROP MATERIALIZED VIEW m CASCADE"),
    ("drop with no data", T + "CREATE MATERIALIZED VIEW m WITH (fillfactor = 70) AS SELECT id FROM t WITH NO DATA", "DROP MATERIALIZED VIEW m"),
    ("drop with statistics and storage", M + "ALTER MATERIALIZED VIEW m ALTER a SET STATISTICS 99; ALTER MATERIALIZED VIEW m ALTER a SET STORAGE EXTERNAL",
     "DROP MATERIALIZED VIEW m CASCADE", "exact"),
    ("drop clustered", M + "ALTER MATERIALIZED VIEW m CLUSTER ON mi", "DROP MATERIALIZED VIEW m CASCADE", "exact"),
    ("alter statistics", M, "ALTER MATERIALIZED VIEW m ALTER a SET STATISTICS 99", "exact"),
    ("rename", M, "ALTER MATERIALIZED VIEW m RENAME TO mm"),
    ("rename column", M, "ALTER MATERIALIZED VIEW m RENAME a TO z"),
    ("replaced", M, "DROP MATERIALIZED VIEW m CASCADE; CREATE MATERIALIZED VIEW m AS SELECT b FROM t"),
    ("alter options", M, "ALTER MATERIALIZED VIEW m SET (fillfactor = 70)"),
    ("index created", M, "CREATE INDEX i ON m (a)"),
    ("index dropped", M, "DROP INDEX mi"),
    ("refresh", M, "REFRESH MATERIALIZED VIEW m"),
    ("comment", M, "COMMENT ON MATERIALIZED VIEW m IS 'x'; COMMENT ON COLUMN m.a IS 'y'"),
    ("grant", M, "GRANT SELECT ON m TO matrix_reader"),
    ("set schema", M + "CREATE SCHEMA s", "ALTER MATERIALIZED VIEW m SET SCHEMA s"),
)  # fmt: skip

F = (
    T
    + "CREATE FUNCTION f(n int, m text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; CREATE VIEW v AS SELECT f(id) FROM t;"
)
ATOMIC = T + "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM t WHERE a = 'x'; END;"
PARSED = (
    T
    + "CREATE FUNCTION f() RETURNS int RETURN 1; CREATE FUNCTION g(int) RETURNS int IMMUTABLE RETURN $1; CREATE OR REPLACE FUNCTION f() RETURNS int RETURN g(1);"
)
OUTLIVED = "CREATE TABLE gone (x int); CREATE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT count(x) FROM gone'; DROP TABLE gone;"
ROUTINE = rows(
    "routine",
    ("replace, its body names what is gone", OUTLIVED, "CREATE OR REPLACE FUNCTION f() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"),
    ("drop, its body names what is gone", OUTLIVED, "DROP FUNCTION f"),
    ("drop cascade, parsed, used by a table's parts", PARSED + "CREATE INDEX i ON t (g(b)); ALTER TABLE t ADD CHECK (g(b) > 0), ALTER b SET DEFAULT f(),"
     "ADD c int GENERATED ALWAYS AS (g(b)) STORED", "DROP FUNCTION g(int) CASCADE"),
    ("drop, parsed, and what it reads retyped", T + "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT b FROM t; END",
     "DO $$ BEGIN DROP FUNCTION f(); ALTER TABLE t ALTER b TYPE bigint; END $$"),
    ("drop, parsed, with a table that uses them", PARSED + "CREATE TABLE u (n int DEFAULT f())", "DO $$ BEGIN DROP TABLE u; DROP FUNCTION f(); DROP FUNCTION g(int); END $$"),
    ("create", "", "CREATE FUNCTION f(int, OUT a int, VARIADIC text[]) LANGUAGE plpgsql STRICT COST 5 SET work_mem = '4MB' AS $x$ BEGIN a := $1; END $x$; COMMENT ON FUNCTION f IS 'x'"),
    ("create overloaded", F, "CREATE FUNCTION f(text) RETURNS text LANGUAGE sql AS 'SELECT $1'; CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT 'x'$$"),
    ("create procedure", "", "CREATE PROCEDURE p(INOUT n int) LANGUAGE plpgsql AS 'BEGIN n := 1; END'; COMMENT ON PROCEDURE p IS 'x'; GRANT EXECUTE ON PROCEDURE p TO matrix_reader"),
    ("create window-less set returning", T, "CREATE FUNCTION s() RETURNS SETOF t LANGUAGE sql STABLE ROWS 5 AS 'SELECT * FROM t'; "
     "CREATE FUNCTION r() RETURNS TABLE (x int, y text) LANGUAGE sql AS 'SELECT id, a FROM t'"),
    ("create SQL body", T, ATOMIC.removeprefix(T)),
    ("create SQL body over what is new", "", ATOMIC + "CREATE VIEW v AS SELECT f()"),
    ("drop", F + "COMMENT ON FUNCTION f IS 'x'; REVOKE EXECUTE ON FUNCTION f FROM PUBLIC", "DROP FUNCTION f CASCADE"),
    ("drop SQL body", ATOMIC, "DROP FUNCTION f"),
    ("drop SQL body with its table", ATOMIC, "DROP TABLE t CASCADE"),
    ("drop of a row type", T + "CREATE FUNCTION f(x t) RETURNS SETOF t LANGUAGE sql AS 'SELECT x'", "DROP FUNCTION f"),
    ("drop of a row type with its table", T + "CREATE FUNCTION f(x t) RETURNS SETOF t LANGUAGE sql AS 'SELECT x'", "DROP TABLE t CASCADE"),
    ("drop procedure", "CREATE PROCEDURE p(INOUT n int) LANGUAGE plpgsql AS 'BEGIN n := 1; END'; COMMENT ON PROCEDURE p IS 'x'", "DROP PROCEDURE p"),
    ("drop one of two that call each other", "CREATE FUNCTION a() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION b() RETURNS int LANGUAGE sql AS 'SELECT a()'",
     "DROP FUNCTION a; DROP FUNCTION b"),
    ("drop if exists, no-op", "", "DROP FUNCTION IF EXISTS nothing(int)"),
    ("replace the body", F, "CREATE OR REPLACE FUNCTION f(n int, m text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'"),
    ("replace the default", F, "CREATE OR REPLACE FUNCTION f(n int, m text DEFAULT 'y') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'"),
    ("replace and add a default", F, "CREATE OR REPLACE FUNCTION f(n int DEFAULT 1, m text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'"),
    ("replace, unchanged", F, "CREATE OR REPLACE FUNCTION f(n int, m text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'"),
    ("replace the SQL body", ATOMIC, "CREATE OR REPLACE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT max(id) FROM t; END"),
    ("replace by another language", F, "CREATE OR REPLACE FUNCTION f(n int, m text DEFAULT 'x') RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END'"),
    ("argument names", F, "DROP VIEW v; DROP FUNCTION f; CREATE FUNCTION f(k int, l text DEFAULT 'x') RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; CREATE VIEW v AS SELECT f(id) FROM t"),
    ("return type", F, "DROP VIEW v; DROP FUNCTION f; CREATE FUNCTION f(n int, m text DEFAULT 'x') RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint'"),
    ("return type that is used", F + "CREATE INDEX i ON t (f(b))", "DROP FUNCTION f CASCADE; CREATE FUNCTION f(n int, m text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT m'"),
    ("rename", F, "ALTER FUNCTION f RENAME TO \"F\""),
    ("rename swap", F + "CREATE FUNCTION g(n int, m text) RETURNS int LANGUAGE sql AS 'SELECT 2'",
     "ALTER FUNCTION f RENAME TO h; ALTER FUNCTION g RENAME TO f; ALTER FUNCTION h RENAME TO g"),
    ("set schema", F + "CREATE SCHEMA s", "ALTER FUNCTION f SET SCHEMA s"),
    ("alter", F, "ALTER FUNCTION f STABLE SECURITY DEFINER PARALLEL SAFE LEAKPROOF COST 7", "exact"),
    ("alter set", F, "ALTER FUNCTION f SET search_path = pg_catalog, \"Odd, one\"; ALTER FUNCTION f SET work_mem = '1MB'"),
    ("alter reset", F + "ALTER FUNCTION f SET work_mem = '1MB'; ALTER FUNCTION f STRICT", "ALTER FUNCTION f RESET ALL; ALTER FUNCTION f CALLED ON NULL INPUT"),
    ("alter depends on extension", F + "CREATE EXTENSION citext", "ALTER FUNCTION f DEPENDS ON EXTENSION citext"),
    ("alter depends no more", F + "CREATE EXTENSION citext; ALTER FUNCTION f DEPENDS ON EXTENSION citext", "ALTER FUNCTION f NO DEPENDS ON EXTENSION citext"),
    ("drop with what it depends on", F + "CREATE EXTENSION citext; ALTER FUNCTION f DEPENDS ON EXTENSION citext", "DROP EXTENSION citext CASCADE"),
    ("drop what depends on an extension", F + "CREATE EXTENSION citext; ALTER FUNCTION f DEPENDS ON EXTENSION citext", "DROP FUNCTION f CASCADE"),
    ("comment", F, "COMMENT ON FUNCTION f IS 'x'"),
    ("grant", F, "GRANT EXECUTE ON FUNCTION f TO matrix_reader"),
    ("revoke from public", F, "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC"),
    ("revoke what was revoked", F + "REVOKE EXECUTE ON FUNCTION f FROM PUBLIC", "GRANT EXECUTE ON FUNCTION f TO PUBLIC"),
    ("its type renamed", T + "CREATE TYPE e AS ENUM ('x'); CREATE FUNCTION f(v e DEFAULT 'x') RETURNS e LANGUAGE sql AS 'SELECT v'", "ALTER TYPE e RENAME TO ee"),
)  # fmt: skip
ROW = V + "CREATE FUNCTION f(v) RETURNS SETOF v LANGUAGE sql STABLE AS 'SELECT $1';"
AGAIN = "CREATE VIEW v AS SELECT id, a, b FROM t;"
ROW_TYPE = rows(
    "row type",
    ("view and function created", T, "CREATE VIEW v AS SELECT id FROM t; CREATE FUNCTION f(v) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("view and function replaced", ROW, "DROP FUNCTION f; DROP VIEW v; " + AGAIN + ROW.removeprefix(V)),
    ("view and function replaced, what both stand on dropped too", T + "CREATE TABLE s (x int); CREATE FUNCTION g(s) RETURNS int LANGUAGE sql AS 'SELECT 1';" + ROW.removeprefix(T),
     "DROP TABLE s CASCADE; DROP FUNCTION f; DROP VIEW v; ALTER TABLE t ADD c int; CREATE VIEW v AS SELECT id, a, c FROM t;" + ROW.removeprefix(V)),
    ("view that uses a function of another", ROW + "CREATE VIEW w AS SELECT f(v) FROM v;", "DROP VIEW w; DROP FUNCTION f; DROP VIEW v; " + AGAIN + ROW.removeprefix(V) + "CREATE VIEW w AS SELECT f(v) FROM v"),
    ("materialized view and function", T, "CREATE MATERIALIZED VIEW m AS SELECT id FROM t; CREATE FUNCTION f(m[]) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("table and function", T, "CREATE TABLE r (x int); CREATE FUNCTION f(r) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    ("table of it", V, "DROP VIEW v; " + AGAIN + "CREATE TABLE k (x v)"),
    ("column of it", V, "DROP VIEW v; " + AGAIN + "ALTER TABLE t ADD x v[]"),
    ("attribute of it", V, "DROP VIEW v; " + AGAIN + "CREATE TYPE c AS (x v); CREATE TABLE k (x c)"),
    ("domain over it", V, "DROP VIEW v; " + AGAIN + "CREATE DOMAIN d AS v; CREATE TABLE k (x d); CREATE FUNCTION g(d) RETURNS d LANGUAGE sql AS 'SELECT $1'"),
    ("cast from it", V, "DROP VIEW v; " + AGAIN + "CREATE FUNCTION g(v) RETURNS text LANGUAGE sql AS $$SELECT 'x'$$; CREATE CAST (v AS text) WITH FUNCTION g(v)"),
    ("operator on it", V, "DROP VIEW v; " + AGAIN + "CREATE FUNCTION g(v, v) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR === (LEFTARG = v, RIGHTARG = v, FUNCTION = g)"),
    ("aggregate of it", V, "DROP VIEW v; " + AGAIN + "CREATE FUNCTION g(int, v) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE s(v) (SFUNC = g, STYPE = int)"),
    ("SQL body over a column", T, "ALTER TABLE t ADD c int; CREATE FUNCTION g() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT max(c) FROM t; END"),
    ("SQL body over it", V, "DROP VIEW v; " + AGAIN + "CREATE FUNCTION g() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM v; END; CREATE VIEW w AS SELECT g()"),
)  # fmt: skip
ROW_TYPE = tuple(
    Case(c.kind, c.action, c.setup, f"DO $do$ BEGIN {c.up.rstrip(';')}; END $do$", c.expected) for c in ROW_TYPE
)  # not taken apart
ROUTINE = tuple(Case(c.kind, c.action, c.setup, c.up, c.expected, c.reason, trusted=" LEAKPROOF" in c.up) for c in ROUTINE)

G = (
    T
    + "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER g BEFORE UPDATE OF a, b ON t FOR EACH ROW WHEN (NEW.b > 0) EXECUTE FUNCTION f('x');"
)
TRIGGER = rows(
    "trigger",
    ("create", G, "CREATE CONSTRAINT TRIGGER h AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION f(); COMMENT ON TRIGGER h ON t IS 'x'"),
    ("create with its function", T, G.removeprefix(T)),
    ("create with transition tables", G, "CREATE TRIGGER h AFTER UPDATE ON t REFERENCING OLD TABLE AS o NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION f()"),
    ("create or replace", G, "CREATE OR REPLACE TRIGGER g BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION f()"),
    ("drop", G + "COMMENT ON TRIGGER g ON t IS 'x'", "DROP TRIGGER g ON t"),
    ("drop disabled", G + "ALTER TABLE t DISABLE TRIGGER g", "DROP TRIGGER g ON t"),
    ("drop with its function", G, "DROP FUNCTION f CASCADE"),
    ("rename", G, "ALTER TRIGGER g ON t RENAME TO \"G\""),
    ("disable", G, "ALTER TABLE t DISABLE TRIGGER g"),
    ("disable all", G, "ALTER TABLE t DISABLE TRIGGER USER"),
    ("enable always", G, "ALTER TABLE t ENABLE ALWAYS TRIGGER g"),
    ("enable replica to enable", G + "ALTER TABLE t ENABLE REPLICA TRIGGER g", "ALTER TABLE t ENABLE TRIGGER g"),
    ("comment", G, "COMMENT ON TRIGGER g ON t IS 'x'"),
    ("column retyped", G, "DROP TRIGGER g ON t; ALTER TABLE t ALTER b TYPE bigint; CREATE TRIGGER g BEFORE UPDATE OF a, b ON t FOR EACH ROW WHEN (NEW.b > 0) EXECUTE FUNCTION f('x')"),
    ("column renamed", G, "ALTER TABLE t RENAME b TO z"),
    ("column dropped", G, "DROP TRIGGER g ON t; ALTER TABLE t DROP b"),
    ("table renamed", G, "ALTER TABLE t RENAME TO u"),
    ("on a partitioned table", "CREATE TABLE p (n int) PARTITION BY LIST (n); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
     "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'", "CREATE TRIGGER g AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f()"),
    ("disabled on one partition", "CREATE TABLE p (n int) PARTITION BY LIST (n); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
     "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER g AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION f()",
     "ALTER TABLE p1 DISABLE TRIGGER g"),
)  # fmt: skip
TRIGGER += (
    Case(
        "trigger",
        "disabled internal",
        T + "CREATE TABLE u (t int REFERENCES t)",
        "ALTER TABLE u DISABLE TRIGGER ALL",
        "refused",
        "only a superuser can undo",
        trusted=True,
    ),
)

P = (
    T
    + "ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t AS RESTRICTIVE FOR UPDATE TO matrix_reader, PUBLIC USING (b > 0) WITH CHECK (a <> 'x');"
)
POLICY = rows(
    "policy",
    ("create", T, "CREATE POLICY p ON t FOR SELECT USING (b > 0 AND EXISTS (SELECT FROM t)); ALTER TABLE t ENABLE ROW LEVEL SECURITY; COMMENT ON POLICY p ON t IS 'x'"),
    ("drop", P + "COMMENT ON POLICY p ON t IS 'x'", "DROP POLICY p ON t"),
    ("rename", P, "ALTER POLICY p ON t RENAME TO \"P\""),
    ("alter using", P, "ALTER POLICY p ON t USING (b > 1)"),
    ("alter check", P, "ALTER POLICY p ON t WITH CHECK (true)"),
    ("alter roles", T + "CREATE POLICY p ON t TO matrix_reader USING (true)", "ALTER POLICY p ON t TO PUBLIC"),
    ("comment", P, "COMMENT ON POLICY p ON t IS 'x'"),
    ("column renamed", P, "ALTER TABLE t RENAME b TO z"),
    ("column retyped", P, "DROP POLICY p ON t; ALTER TABLE t ALTER b TYPE bigint; CREATE POLICY p ON t USING (b > 0)"),
    ("column dropped", P, "ALTER TABLE t DROP b CASCADE"),
)  # fmt: skip

R = T + "CREATE RULE r AS ON INSERT TO t WHERE NEW.b > 5 DO INSTEAD NOTHING;"
RULE = rows(
    "rule",
    ("create", T, "CREATE RULE r AS ON UPDATE TO t DO ALSO DELETE FROM t WHERE id = OLD.id; COMMENT ON RULE r ON t IS 'x'"),
    ("replace", R, "CREATE OR REPLACE RULE r AS ON INSERT TO t DO INSTEAD NOTHING"),
    ("drop", R + "COMMENT ON RULE r ON t IS 'x'; ALTER TABLE t DISABLE RULE r", "DROP RULE r ON t"),
    ("rename", R, "ALTER RULE r ON t RENAME TO q"),
    ("alter disable", R, "ALTER TABLE t DISABLE RULE r"),
    ("comment", R, "COMMENT ON RULE r ON t IS 'x'"),
)

S = T + "CREATE STATISTICS s (ndistinct, mcv) ON a, b FROM t;"
STATISTICS = rows(
    "statistics",
    ("create", T, "CREATE STATISTICS s ON a, (b + 1) FROM t; COMMENT ON STATISTICS s IS 'x'"),
    ("drop", S + "COMMENT ON STATISTICS s IS 'x'; ALTER STATISTICS s SET STATISTICS 99", "DROP STATISTICS s"),
    ("rename", S, "ALTER STATISTICS s RENAME TO q"),
    ("alter target", S, "ALTER STATISTICS s SET STATISTICS 99"),
    ("set schema", S + "CREATE SCHEMA x", "ALTER STATISTICS s SET SCHEMA x"),
    ("comment", S, "COMMENT ON STATISTICS s IS 'x'"),
    ("column dropped", S, "ALTER TABLE t DROP b"),
    ("table renamed", S, "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME a TO z"),
)

W = T + "CREATE PUBLICATION w FOR TABLE t WITH (publish = 'insert, update');"
PUBLICATION = rows(
    "publication",
    ("create", T, "CREATE PUBLICATION w FOR TABLE t; COMMENT ON PUBLICATION w IS 'x'"),
    ("drop", W + "COMMENT ON PUBLICATION w IS 'x'", "DROP PUBLICATION w"),
    ("rename", W, 'ALTER PUBLICATION w RENAME TO "W"'),
    ("alter table added", W + "CREATE TABLE u (id int PRIMARY KEY)", "ALTER PUBLICATION w ADD TABLE u"),
    ("alter table dropped", W, "ALTER PUBLICATION w DROP TABLE t"),
    ("alter options", W, "ALTER PUBLICATION w SET (publish = 'truncate', publish_via_partition_root = true)"),
    ("comment", W, "COMMENT ON PUBLICATION w IS 'x'"),
    ("its table dropped", W, "DROP TABLE t"),
    ("its table renamed", W, "ALTER TABLE t RENAME TO u"),
)
PUBLICATION += (
    Case("publication", "create for all tables", T, "CREATE PUBLICATION w FOR ALL TABLES", trusted=True),
    Case("publication", "drop for all tables", T + "CREATE PUBLICATION w FOR ALL TABLES", "DROP PUBLICATION w", trusted=True),
    Case("publication", "columns and rows", W, "ALTER PUBLICATION w SET TABLE t (id, a) WHERE (id > 3)", since=15),
    Case("publication", "column of it renamed", T + "CREATE PUBLICATION w FOR TABLE t (id, a) WHERE (id > 3)", "ALTER TABLE t RENAME a TO z", since=15),
    Case("publication", "schema added", T + "CREATE PUBLICATION w", "ALTER PUBLICATION w ADD TABLES IN SCHEMA public", since=15, trusted=True),
    Case("publication", "generated columns", W, "ALTER PUBLICATION w SET (publish_generated_columns = stored)", since=18),
    Case("publication", "drop with generated columns", T + "CREATE PUBLICATION w FOR TABLE t WITH (publish_generated_columns = stored)", "DROP PUBLICATION w", since=18),
)  # fmt: skip

EF = "CREATE FUNCTION ef() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';"
ET = EF + "CREATE EVENT TRIGGER e ON sql_drop WHEN TAG IN ('DROP TABLE') EXECUTE FUNCTION ef(); ALTER EVENT TRIGGER e DISABLE;"
EVENT = tuple(
    Case("event trigger", action, setup, up, trusted=True)
    for action, setup, up in (
        ("create", "", ET + "COMMENT ON EVENT TRIGGER e IS 'x'"),
        ("drop", ET + "COMMENT ON EVENT TRIGGER e IS 'x'", "DROP EVENT TRIGGER e"),
        ("rename", ET, 'ALTER EVENT TRIGGER e RENAME TO "E"'),
        ("alter enabled", ET, "ALTER EVENT TRIGGER e ENABLE ALWAYS"),
        ("comment", ET, "COMMENT ON EVENT TRIGGER e IS 'x'"),
    )
)

DEFAULTS = rows(
    "default privileges",
    ("create", "", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO matrix_reader; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"),
    ("create in schema", "", "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO matrix_reader"),
    ("drop", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO matrix_reader", "ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM matrix_reader"),
    ("alter", "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO matrix_reader",
     "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT ON TABLES TO matrix_reader"),
    ("in force when something is dropped", T + "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO matrix_reader", "DROP TABLE t"),
    ("made and in force", "", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO matrix_reader; CREATE TABLE t (id int)"),
    ("in force when something with other grants is dropped", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO matrix_reader;" + V + "REVOKE SELECT ON v FROM matrix_reader",
     "DROP VIEW v"),
)  # fmt: skip

SETTING = rows(
    "setting",
    ("create", "", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''5s''', current_database()); END $$"),
    (
        "alter and drop",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET statement_timeout = ''5s''', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$",
    ),
    ("search path", "", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, \"a, b\"', current_database()); END $$"),
)

OTHER = rows(
    "aggregate",
    ("create", "", "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')"),
    ("create and use", T, "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0'); CREATE VIEW v AS SELECT total(b) FROM t"),
    ("drop", "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)", "DROP AGGREGATE total (int)", "refused", "cannot re-create"),
    ("rename", "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)", "ALTER AGGREGATE total (int) RENAME TO summed", "refused", "cannot change an aggregate back"),
    ("comment", "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)", "COMMENT ON AGGREGATE total (int) IS 'x'"),
    ("replace", "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)", "CREATE OR REPLACE AGGREGATE total (int) (SFUNC = int4larger, STYPE = int)",
     "refused", "cannot change"),
) + rows(
    "pg_operator",
    ("create", "", "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"),
    ("drop", "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)", "DROP OPERATOR === (int, int)", "refused", "cannot re-create"),
) + rows(
    "pg_collation",
    ("create", "", "CREATE COLLATION mine (locale = 'C')"),
    ("create and use", T, "CREATE COLLATION mine (locale = 'C'); ALTER TABLE t ADD z text COLLATE mine"),
    ("drop", "CREATE COLLATION mine (locale = 'C')", "DROP COLLATION mine", "refused", "cannot re-create"),
    ("rename", "CREATE COLLATION mine (locale = 'C')", "ALTER COLLATION mine RENAME TO yours", "refused", "cannot change a collation back"),
) + rows(
    "pg_ts_config",
    ("create", "", "CREATE TEXT SEARCH CONFIGURATION c (COPY = simple); ALTER TEXT SEARCH CONFIGURATION c ALTER MAPPING FOR word WITH english_stem"),
    ("drop", "CREATE TEXT SEARCH CONFIGURATION c (COPY = simple)", "DROP TEXT SEARCH CONFIGURATION c", "refused", "cannot re-create"),
    ("alter mapping", "CREATE TEXT SEARCH CONFIGURATION c (COPY = simple)", "ALTER TEXT SEARCH CONFIGURATION c ALTER MAPPING FOR word WITH english_stem", "refused", "cannot change a text search configuration back"),
) + rows(
    "pg_ts_dict",
    ("create", "", "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple)"),
    ("drop", "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple)", "DROP TEXT SEARCH DICTIONARY d", "refused", "cannot re-create"),
) + rows(
    "pg_cast",
    ("create", "CREATE TYPE e AS ENUM ('a')", "CREATE CAST (text AS e) WITH INOUT AS ASSIGNMENT"),
    ("drop", "CREATE TYPE e AS ENUM ('a'); CREATE CAST (text AS e) WITH INOUT AS ASSIGNMENT", "DROP CAST (text AS e)", "refused", "cannot re-create"),
    ("type renamed under it", "CREATE TYPE e AS ENUM ('a'); CREATE CAST (text AS e) WITH INOUT AS ASSIGNMENT", "ALTER TYPE e RENAME TO f"),
) + tuple(
    Case(kind, "create", setup, up, trusted=True)
    for kind, setup, up in (
        ("pg_opclass", "", "CREATE OPERATOR CLASS mine FOR TYPE int USING hash AS OPERATOR 1 =, FUNCTION 1 hashint4(int)"),
        ("pg_opfamily", "", "CREATE OPERATOR FAMILY fam USING btree"),
        ("pg_ts_parser", "", "CREATE TEXT SEARCH PARSER p (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)"),
        ("pg_ts_template", "", "CREATE TEXT SEARCH TEMPLATE tt (LEXIZE = dsimple_lexize)"),
        ("pg_conversion", "", "CREATE CONVERSION c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8"),
        ("pg_language", "", "CREATE LANGUAGE mine HANDLER plpgsql_call_handler INLINE plpgsql_inline_handler VALIDATOR plpgsql_validator"),
        ("pg_am", "", "CREATE ACCESS METHOD mine TYPE TABLE HANDLER heap_tableam_handler"),
        ("pg_transform", "", "CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))"),
        ("pg_foreign_data_wrapper", "", "CREATE FOREIGN DATA WRAPPER w"),
        ("pg_foreign_server", "CREATE FOREIGN DATA WRAPPER w", "CREATE SERVER s FOREIGN DATA WRAPPER w"),
        ("other relation", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w", "CREATE FOREIGN TABLE ft (id int, a text) SERVER s"),
    )
) + (
    Case("other relation", "drop", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE ft (id int) SERVER s",
         "DROP FOREIGN TABLE ft", "refused", "cannot re-create", trusted=True),
    Case("other relation", "alter column", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE ft (id int) SERVER s",
         "ALTER FOREIGN TABLE ft ADD z int", "refused", "cannot change a foreign table back", trusted=True),
    Case("other relation", "alter options", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE ft (id int) SERVER s OPTIONS (a 'x')",
         "ALTER FOREIGN TABLE ft OPTIONS (SET a 'y')", "refused", "cannot change a foreign table back", trusted=True),
    Case("pg_foreign_server", "user mapping", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w",
         "CREATE USER MAPPING FOR PUBLIC SERVER s", "refused", "cannot change a server back", trusted=True),
    *(
        Case("system object", what, "", up, "refused", "belongs to PostgreSQL itself", trusted=True)
        for what, up in (
            ("grant on a relation", "REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC"),
            ("grant on a function", "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text), pg_catalog.random() FROM PUBLIC"),
            ("grant, outside of transactions", "CREATE TABLE t (id int); CREATE INDEX CONCURRENTLY i ON t (id); REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC"),
            ("grant on a type", "REVOKE USAGE ON TYPE int4 FROM PUBLIC"),
            ("grant on a language", "REVOKE USAGE ON LANGUAGE sql FROM PUBLIC"),
            ("grant on a schema", "REVOKE USAGE ON SCHEMA information_schema FROM PUBLIC"),
            ("operator family", "ALTER OPERATOR FAMILY integer_ops USING btree ADD OPERATOR 1 < (money, money), FUNCTION 1 (money, money) cash_cmp(money, money)"),
        )
    ),
    Case("extension", "takes a function in", "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'select 1'", "ALTER EXTENSION plpgsql ADD FUNCTION f(int)", "refused", "routine public.f(integer) is missing", trusted=True),
    Case("pg_opfamily", "alter", "CREATE OPERATOR FAMILY fam USING btree", "ALTER OPERATOR FAMILY fam USING btree ADD OPERATOR 1 < (int4, int8)", "refused", "cannot change an operator family back", trusted=True),
)  # fmt: skip

FILES = rows(
    "file",
    ("empty", "", "-- This is an empty migration.\n"),
    ("do block", T, "DO $$ BEGIN EXECUTE 'ALTER TABLE t ADD z int'; CREATE TYPE e AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$"),
    ("do block that swallows", "CREATE TYPE e AS ENUM ('a')", "DO $$ BEGIN CREATE TYPE e AS ENUM ('a'); EXCEPTION WHEN duplicate_object THEN NULL; END $$"),
    ("function that does DDL", "", "CREATE FUNCTION ddl() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE made (id int); END $$; SELECT ddl(); DROP FUNCTION ddl()"),
    ("set search_path", "CREATE SCHEMA s; CREATE TABLE s.t (id int)", "SET search_path = s; ALTER TABLE t ADD v int; CREATE TYPE e AS ENUM ('a'); ALTER TABLE t ADD e e DEFAULT 'a'"),
    ("set local search_path", "CREATE SCHEMA s; CREATE TABLE s.t (id int)", "BEGIN; SET LOCAL search_path = s; CREATE INDEX i ON t (id); COMMIT;"),
    ("set_config search_path", "", "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.t (id serial)"),
    ("begin and commit", T, "BEGIN; ALTER TABLE t ADD v int; COMMIT; BEGIN; CREATE INDEX i ON t (v); COMMIT;"),
    ("begin, rollback", T, "BEGIN; ALTER TABLE t ADD v int; ROLLBACK; ALTER TABLE t ADD w int"),
    ("savepoint", T, "BEGIN; SAVEPOINT s; ALTER TABLE t ADD v int; ROLLBACK TO s; ALTER TABLE t ADD w int; COMMIT"),
    ("lock and temporary", T, "LOCK TABLE t; CREATE TEMP TABLE x ON COMMIT DROP AS SELECT 1; ALTER TABLE t ADD v int"),
    ("new enum value used at once", "CREATE TYPE e AS ENUM ('a'); CREATE TABLE t (v e DEFAULT 'a')", "ALTER TYPE e ADD VALUE 'b'; ALTER TABLE t ALTER v SET DEFAULT 'b'; UPDATE t SET v = 'b'; INSERT INTO t VALUES ('b'); DELETE FROM t"),
    ("made and dropped", "", "CREATE TABLE t (id serial); CREATE VIEW v AS SELECT 1; DROP VIEW v; DROP TABLE t"),
    ("analyze and vacuum settings", T, "ANALYZE t"),
    ("data only", T, "INSERT INTO t VALUES (1, 'x', 2); UPDATE t SET a = 'y'; DELETE FROM t"),
    ("large object", "", "SELECT lo_create(0)"),
    ("comment on database", "", "DO $$ BEGIN EXECUTE format('COMMENT ON DATABASE %I IS ''x''', current_database()); END $$"),
    ("role made", T, "DO $$ BEGIN CREATE ROLE matrix_made; EXCEPTION WHEN duplicate_object THEN END $$; GRANT SELECT ON t TO matrix_made"),
    ("everything at once", "CREATE TYPE e AS ENUM ('a', 'b');" + T + "ALTER TABLE t ADD e e DEFAULT 'a'; CREATE VIEW v AS SELECT e FROM t; CREATE INDEX i ON t (e)",
     "DROP VIEW v; ALTER TABLE t RENAME TO \"T\"; ALTER TABLE \"T\" RENAME e TO \"E\"; ALTER TYPE e RENAME TO \"Kind\"; ALTER TYPE \"Kind\" ADD VALUE 'c';"
     "ALTER INDEX i RENAME TO \"T_E_idx\"; CREATE TABLE u (id int REFERENCES \"T\"); CREATE VIEW v AS SELECT \"E\" FROM \"T\""),
)  # fmt: skip

OWNER = "DO $$ BEGIN CREATE ROLE matrix_owner; EXCEPTION WHEN duplicate_object THEN END $$; GRANT matrix_owner TO CURRENT_USER; GRANT ALL ON SCHEMA public TO matrix_owner;"
OWNED = {
    "table": ("CREATE TABLE x (id int GENERATED ALWAYS AS IDENTITY, s serial)", "TABLE x"), "view": ("CREATE VIEW x AS SELECT 1 AS a", "VIEW x"),
    "materialized view": ("CREATE MATERIALIZED VIEW x AS SELECT 1 AS a", "MATERIALIZED VIEW x"), "sequence": ("CREATE SEQUENCE x", "SEQUENCE x"),
    "routine": ("CREATE FUNCTION x(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "FUNCTION x(int)"), "enum": ("CREATE TYPE x AS ENUM ('a')", "TYPE x"),
    "domain": ("CREATE DOMAIN x AS int", "DOMAIN x"), "composite": ("CREATE TYPE x AS (a int)", "TYPE x"), "schema": ("CREATE SCHEMA x", "SCHEMA x"),
    "statistics": ("CREATE TABLE t (a int, b int); CREATE STATISTICS x ON a, b FROM t", "STATISTICS x"),
}  # fmt: skip
OWNERS = tuple(
    case
    for kind, (create, name) in OWNED.items()
    for case in (
        Case(kind, "owner changed", OWNER + create, f"ALTER {name} OWNER TO matrix_owner"),
        Case(kind, "owner changed back", f"{OWNER}{create}; ALTER {name} OWNER TO matrix_owner", f"ALTER {name} OWNER TO CURRENT_USER"),
        Case(kind, "drop of another's", f"{OWNER}{create}; ALTER {name} OWNER TO matrix_owner", f"DROP {name}"),
    )
)

CASES = (
    *ROW_TYPE,
    *VIEW,
    *MATVIEW,
    *ROUTINE,
    *TRIGGER,
    *POLICY,
    *RULE,
    *STATISTICS,
    *PUBLICATION,
    *EVENT,
    *DEFAULTS,
    *SETTING,
    *OTHER,
    *FILES,
    *OWNERS,
)
