"""Rows for every table: types, keys, checks, partitions, triggers, policies, and what is left empty with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from unmigrate.scratch.contents import contents
from unmigrate.scratch.rows import Coverage, fill

Connection = psycopg.Connection[Any]

SCALARS = (
    "boolean, smallint, integer, bigint, real, double precision, numeric, numeric(10,2), numeric(3,3), numeric(2,0), money, text, "
    "varchar, varchar(1), varchar(40), char(2), name, bytea, date, time, timetz, timestamp, timestamp(3), timestamptz, interval, "
    'uuid, json, jsonb, jsonpath, xml, inet, cidr, macaddr, macaddr8, bit(5), varbit(3), point, line, lseg, box, path, polygon, "char", '
    "circle, tsvector, tsquery, pg_lsn, oid, xid, xid8, cid, tid, txid_snapshot, pg_snapshot, int4range, int8range, numrange, "
    "tsrange, tstzrange, daterange, int4multirange, nummultirange, tstzmultirange, datemultirange, regclass, regtype, int2vector"
)
EXTENSION_TYPES = {
    "citext": ["citext"], "hstore": ["hstore"], "ltree": ["ltree", "lquery", "ltxtquery"], "cube": ["cube"], "seg": ["seg"],
    "isn": ["ean13", "isbn13", "ismn13", "issn13", "isbn", "ismn", "issn", "upc"], "intarray": ["query_int"],
    "ip4r": ["ip4", "ip6", "ip4r", "ip6r", "ipaddress", "iprange"], "vector": ["vector(4)", "vector", "halfvec(3)", "sparsevec(5)"],
}  # fmt: skip


@pytest.fixture
def connection(pool: Any, database: str) -> Iterator[Connection]:
    with pool.connect(database) as opened:
        yield opened


def count(connection: Connection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert row is not None
    return int(row[0])


def complete(coverage: Coverage) -> bool:
    return not coverage.empty and not coverage.partial and all(rows >= 3 for rows in coverage.filled.values())


def become_bound_by_policies(connection: Connection) -> None:
    """The migration role may pass over policies; on a target that is given, the role may not."""
    connection.execute(b"CREATE ROLE unmigrate_test_bound NOBYPASSRLS")
    connection.execute(b"GRANT CREATE, USAGE ON SCHEMA public TO unmigrate_test_bound; GRANT unmigrate_test_bound TO CURRENT_USER")
    connection.execute(b"SET ROLE unmigrate_test_bound")


def split_types(listed: str) -> list[str]:
    parts: list[str] = []
    for part in listed.split(","):
        if parts and parts[-1].count("(") > parts[-1].count(")"):
            parts[-1] += "," + part
        else:
            parts.append(part.strip())
    return parts


def test_every_builtin_type(connection: Connection) -> None:
    names = split_types(SCALARS)
    try:
        connection.execute(b"SELECT xml '<a/>'")
    except psycopg.errors.FeatureNotSupported:
        names.remove("xml")  # a server built without it
    listed = ", ".join(f"a{i} {name}, b{i} {name} NOT NULL, c{i} {name}[]" for i, name in enumerate(names))
    connection.execute(f"CREATE TABLE t ({listed})".encode())
    assert fill(connection).filled == {"public.t": 3}
    assert fill(connection, plain=True).filled == {"public.t": 3}
    nulls = connection.execute(b"SELECT num_nulls(VARIADIC ARRAY[a0::text, a1::text, a11::text, c11::text]) FROM t").fetchall()
    assert sorted(row[0] for row in nulls) == [0, 0, 4]


@pytest.mark.parametrize("extension", sorted(EXTENSION_TYPES))
def test_types_of_extensions(pool: Any, database: str, connection: Connection, extension: str) -> None:
    try:
        with pool.connect_superuser(database) as superuser:
            superuser.execute(f"CREATE EXTENSION {extension}".encode())
    except psycopg.Error as error:
        pytest.skip(str(error))
    names = EXTENSION_TYPES[extension]
    connection.execute(f"CREATE TABLE t ({', '.join(f'a{i} {n}, b{i} {n}[] NOT NULL' for i, n in enumerate(names))})".encode())
    assert complete(fill(connection))


def test_domains_composites_enums_and_their_arrays(connection: Connection) -> None:
    connection.execute(b"""
        CREATE TYPE mood AS ENUM ('sad', 'o''k', 'very "happy"');
        CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@]+@[^@]+\\.[a-z]{2,}$');
        CREATE DOMAIN short_email AS email CHECK (length(VALUE) < 9);
        CREATE DOMAIN percent AS numeric(5, 2) NOT NULL CHECK (VALUE >= 0 AND VALUE <= 100);
        CREATE DOMAIN code AS varchar(4) CHECK (VALUE IN ('A1', 'B2', 'C3', 'D4'));
        CREATE TYPE pair AS (left_side integer, words text[], feeling mood);
        CREATE TYPE nested AS (first pair, second email);
        CREATE TYPE float_range AS RANGE (subtype = float8);
        CREATE TYPE text_range AS RANGE (subtype = text);
        CREATE TABLE t (a mood, b mood[], c email, d short_email NOT NULL, e percent, f code NOT NULL UNIQUE, g pair, h pair[],
                        i nested NOT NULL, j float_range, k text_range NOT NULL, l email[], m box[])""")
    assert complete(fill(connection))


CHECKS = {
    "positive": "a integer CHECK (a > 0)",
    "far away": "a integer NOT NULL CHECK (a BETWEEN 70000 AND 70010)",
    "list": "a text CHECK (a IN ('x', 'y')) NOT NULL",
    "list and unique": "a text NOT NULL UNIQUE CHECK (a = ANY (ARRAY['x', 'y', 'z']))",
    "pattern": "a text NOT NULL CHECK (a ~ '^[A-Z]{3}-\\d{4}$') UNIQUE",
    "slug": "a text NOT NULL CHECK (a ~* '^[a-z0-9]+(-[a-z0-9]+)*$' AND char_length(a) >= 12)",
    "like": "a text NOT NULL CHECK (a LIKE 'https://%.example/_%')",
    "length": "a text NOT NULL CHECK (length(a) = 64)",
    "length range and case": "a varchar(10) NOT NULL CHECK (length(a) > 2 AND a = upper(a))",
    "bytes": "a bytea NOT NULL CHECK (octet_length(a) = 32)",
    "order": "a date NOT NULL, b date NOT NULL, c date, CHECK (a < b AND (c IS NULL OR c >= b))",
    "one of": "a integer, b text, c uuid, d jsonb, CHECK (num_nonnulls(a, b, c, d) = 1)",
    "one or other": "a integer, b integer, CHECK ((a IS NULL) <> (b IS NULL))",
    "by state": "state text NOT NULL, at timestamp, why text, CHECK ((state = 'open' AND at IS NULL AND why IS NULL) "
    "OR (state = 'closed' AND at IS NOT NULL AND length(why) > 40))",
    "sum": "a integer NOT NULL, b integer NOT NULL, c integer NOT NULL CHECK (a + b = c AND a > 1)",
    "json type": "a jsonb NOT NULL CHECK (jsonb_typeof(a) = 'array')",
    "json members": "a jsonb NOT NULL CHECK (a ? 'kind' AND a ->> 'kind' = 'circle')",
    "json repeats": "id text PRIMARY KEY, a jsonb NOT NULL CHECK ((a ->> '_id') = id)",
    "array": "a text[] NOT NULL CHECK (cardinality(a) >= 4 AND a <@ ARRAY['p', 'q'])",
    "range of floats": "lat float8 CHECK (lat >= -90 AND lat <= 90), lng numeric(8, 5) CHECK (abs(lng) <= 180)",
    "generated": "a integer NOT NULL, b integer GENERATED ALWAYS AS (a * 2) STORED CHECK (b > 100 AND b < 110)",
    "future": "a timestamptz NOT NULL CHECK (a > '2030-01-01'::timestamptz)",
    "enum": "a mood NOT NULL, b mood, CHECK (a <> 'sad' AND (b IS NULL OR b = a))",
    "many": ", ".join(f"c{i} integer" for i in range(12)) + f", CHECK (num_nonnulls({', '.join(f'c{i}' for i in range(12))}) = 1)",
    "even": "a integer NOT NULL CHECK (a % 2 = 0) UNIQUE",
    "singleton-like": "a boolean NOT NULL DEFAULT true CHECK (a), b integer NOT NULL CHECK (1 / (b - 1000000) < 5)",
}


@pytest.mark.parametrize("name", CHECKS)
def test_checks(connection: Connection, name: str) -> None:
    connection.execute(b"CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')")
    connection.execute(f"CREATE TABLE t ({CHECKS[name]})".encode())
    coverage = fill(connection)
    assert coverage.filled.get("public.t", 0) >= (2 if name == "unique list" else 3), coverage


KEYS = {
    "chain": "CREATE TABLE c (id serial PRIMARY KEY); CREATE TABLE b (id uuid PRIMARY KEY, c integer NOT NULL REFERENCES c);"
    "CREATE TABLE a (id text PRIMARY KEY, b uuid NOT NULL UNIQUE REFERENCES b, c integer REFERENCES c ON DELETE SET NULL)",
    "many to many": "CREATE TABLE a (id text PRIMARY KEY); CREATE TABLE b (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);"
    "CREATE TABLE ab (a text REFERENCES a, b bigint REFERENCES b, PRIMARY KEY (a, b))",
    "composite and shared": "CREATE TABLE o (id integer PRIMARY KEY);"
    "CREATE TABLE u (org integer NOT NULL REFERENCES o, id integer, PRIMARY KEY (org, id));"
    "CREATE TABLE p (org integer NOT NULL REFERENCES o, id text, PRIMARY KEY (org, id));"
    "CREATE TABLE m (org integer NOT NULL REFERENCES o, u integer NOT NULL, p text NOT NULL, PRIMARY KEY (u, p, org),"
    "  FOREIGN KEY (org, u) REFERENCES u, FOREIGN KEY (org, p) REFERENCES p)",
    "self": "CREATE TABLE t (id serial PRIMARY KEY, up integer REFERENCES t);"
    "CREATE TABLE s (id text PRIMARY KEY, up text REFERENCES s, root text NOT NULL REFERENCES s)",
    "self required": "CREATE TABLE t (id serial PRIMARY KEY, up integer NOT NULL REFERENCES t);"
    "CREATE TABLE i (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, up bigint NOT NULL REFERENCES i)",
    "circle": "CREATE TABLE u (id serial PRIMARY KEY, home integer); CREATE TABLE o (id serial PRIMARY KEY, owner integer NOT NULL "
    "REFERENCES u); ALTER TABLE u ADD FOREIGN KEY (home) REFERENCES o",
    "required circle": "CREATE TABLE u (id serial PRIMARY KEY, home uuid NOT NULL); CREATE TABLE o (id uuid PRIMARY KEY, owner integer "
    "NOT NULL REFERENCES u); ALTER TABLE u ADD FOREIGN KEY (home) REFERENCES o; "
    "CREATE TABLE x (id serial PRIMARY KEY, u integer NOT NULL REFERENCES u)",
    "deferred circle": "CREATE TABLE u (id serial PRIMARY KEY, home integer NOT NULL); CREATE TABLE o (id serial PRIMARY KEY, "
    "owner integer NOT NULL REFERENCES u DEFERRABLE INITIALLY DEFERRED); ALTER TABLE u ADD FOREIGN KEY (home) REFERENCES o DEFERRABLE",
    "three in a circle": "CREATE TABLE a (id integer PRIMARY KEY, b integer NOT NULL); CREATE TABLE b (id integer PRIMARY KEY, c integer "
    "NOT NULL); CREATE TABLE c (id integer PRIMARY KEY, a integer NOT NULL REFERENCES a); ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b;"
    "ALTER TABLE b ADD FOREIGN KEY (c) REFERENCES c",
    "either parent": "CREATE TABLE a (id serial PRIMARY KEY); CREATE TABLE b (id serial PRIMARY KEY);"
    "CREATE TABLE t (a integer REFERENCES a, b integer REFERENCES b, CHECK ((a IS NULL) <> (b IS NULL)))",
    "key to unique column": "CREATE TABLE a (id serial PRIMARY KEY, slug text NOT NULL UNIQUE); CREATE TABLE b (a text NOT NULL REFERENCES "
    "a (slug))",
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
def test_foreign_keys(connection: Connection, name: str, transaction: bool) -> None:
    connection.execute(KEYS[name].encode())
    if not transaction:
        assert complete(fill(connection))
        return
    with connection.transaction():
        coverage = fill(connection)
        connection.execute(b"SET CONSTRAINTS ALL IMMEDIATE")
    assert complete(coverage)


def test_circles_are_closed_afterwards(connection: Connection) -> None:
    connection.execute(KEYS["circle"].encode() + b"; " + KEYS["self"].encode())
    fill(connection)
    assert count(connection, "u WHERE home IS NOT NULL") == 2
    assert count(connection, "t WHERE up IS NOT NULL") == 2
    assert count(connection, "s WHERE up IS NOT NULL") >= 1


LINKS = {
    "many to many": ("a integer REFERENCES n, b integer REFERENCES n, PRIMARY KEY (a, b)", 3),
    "one to one": ("a integer NOT NULL UNIQUE REFERENCES n, b integer NOT NULL UNIQUE REFERENCES n", 2),
    "three of them": ("a integer NOT NULL REFERENCES n, b integer NOT NULL REFERENCES n, c integer NOT NULL UNIQUE REFERENCES n", 1),
}


@pytest.mark.parametrize(("columns", "least"), LINKS.values(), ids=LINKS)
def test_links_within_a_table_lead_to_an_end(connection: Connection, columns: str, least: int) -> None:
    """Or a migration that walks along them would go round for ever."""
    connection.execute(f"CREATE TABLE n (id serial PRIMARY KEY); CREATE TABLE l ({columns})".encode())
    for _ in range(2):
        fill(connection)
    assert count(connection, "l") >= least
    walk = """WITH RECURSIVE w AS (SELECT a, b FROM l UNION ALL SELECT w.a, l.b FROM w JOIN l ON l.a = w.b)
      CYCLE a, b SET again USING path SELECT count(*) FROM w WHERE again OR a = b"""
    assert connection.execute(walk.encode()).fetchone() == (0,)


def test_unique_sets_and_exclusions(connection: Connection) -> None:
    connection.execute(b"""
        CREATE TABLE flags (flag boolean NOT NULL UNIQUE);
        CREATE TABLE only_one (id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1));
        CREATE TABLE main (a integer NOT NULL, is_main boolean NOT NULL);
        CREATE UNIQUE INDEX ON main (is_main) WHERE is_main;
        CREATE TABLE mails (email text NOT NULL);
        CREATE UNIQUE INDEX ON mails (lower(email));
        CREATE TABLE stays (during int4range NOT NULL, at tstzrange, EXCLUDE USING gist (during WITH &&, at WITH &&),
                            spot circle NOT NULL, EXCLUDE USING gist (spot WITH &&));
        CREATE TABLE combined (a boolean NOT NULL, b char(1) NOT NULL, UNIQUE (a, b))""")
    coverage = fill(connection)
    assert coverage.filled == {
        "public.flags": 2, "public.only_one": 1, "public.main": 3, "public.mails": 3, "public.stays": 3, "public.combined": 3,
    }  # fmt: skip
    assert set(coverage.partial) == {"public.flags", "public.only_one"}
    assert all(coverage.partial.values())


def test_rows_that_are_there_already(connection: Connection) -> None:
    connection.execute(b"""
        CREATE TABLE seeded (id serial PRIMARY KEY, name text NOT NULL);
        INSERT INTO seeded SELECT n, 'given' FROM generate_series(1, 2) n;
        CREATE TABLE child (seeded integer NOT NULL UNIQUE REFERENCES seeded);
        CREATE TABLE full_table (id serial PRIMARY KEY);
        INSERT INTO full_table SELECT FROM generate_series(1, 7)""")
    assert complete(fill(connection))
    assert (count(connection, "seeded"), count(connection, "full_table")) == (3, 7)
    assert complete(fill(connection))
    assert count(connection, "seeded") == 3


def test_partitions(connection: Connection) -> None:
    connection.execute(b"""
        CREATE TABLE by_day (id bigserial, day date NOT NULL, note text) PARTITION BY RANGE (day);
        CREATE TABLE by_day_1 PARTITION OF by_day FOR VALUES FROM ('1999-01-01') TO ('1999-02-01');
        CREATE TABLE by_day_2 PARTITION OF by_day FOR VALUES FROM ('1999-02-01') TO ('1999-03-01') PARTITION BY LIST (note);
        CREATE TABLE by_day_2_a PARTITION OF by_day_2 FOR VALUES IN ('alpha', 'beta');
        CREATE TABLE by_list (kind text NOT NULL) PARTITION BY LIST (kind);
        CREATE TABLE by_list_1 PARTITION OF by_list FOR VALUES IN ('one', 'two');
        CREATE TABLE by_list_rest PARTITION OF by_list DEFAULT;
        CREATE TABLE by_hash (id integer PRIMARY KEY) PARTITION BY HASH (id);
        CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE by_hash_2 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        CREATE TABLE pointing (id integer NOT NULL REFERENCES by_hash);
        CREATE TABLE without_partitions (id integer) PARTITION BY RANGE (id)""")
    coverage = fill(connection)
    assert coverage.empty == {"public.without_partitions": "a partitioned table without partitions holds no rows"}
    assert not coverage.partial and all(rows >= 3 for rows in coverage.filled.values())
    assert count(connection, "by_day_1") >= 3 and count(connection, "by_day_2_a") >= 3


def test_inheritance_children_are_tables_of_their_own(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE parent (id serial, name text); CREATE TABLE child (more integer) INHERITS (parent)")
    assert complete(fill(connection))
    assert (count(connection, "ONLY parent"), count(connection, "child")) == (3, 3)


TRIGGERS = b"""
    CREATE FUNCTION choosy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.amount > 500 OR NEW.note IS NULL THEN RAISE 'amount % is too much', NEW.amount; END IF; RETURN NEW; END $$;
    CREATE TABLE choosy (amount smallint DEFAULT 5, note text, kind integer);
    CREATE TRIGGER choosy BEFORE INSERT ON choosy FOR EACH ROW EXECUTE FUNCTION choosy();
    CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'tenant is not set'; END $$;
    CREATE TABLE never (id serial PRIMARY KEY);
    CREATE TRIGGER never AFTER INSERT OR UPDATE ON never FOR EACH ROW EXECUTE FUNCTION never();
    ALTER TABLE never ENABLE ALWAYS TRIGGER never;
    CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
    CREATE TABLE swallow (id integer);
    CREATE TRIGGER swallow BEFORE INSERT ON swallow FOR EACH ROW EXECUTE FUNCTION swallow();
    CREATE TABLE account (id serial PRIMARY KEY);
    CREATE TABLE wallet (account integer PRIMARY KEY REFERENCES account);
    CREATE FUNCTION wallet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO wallet VALUES (NEW.id); RETURN NEW; END $$;
    CREATE TRIGGER wallet AFTER INSERT ON account FOR EACH ROW EXECUTE FUNCTION wallet()"""


@pytest.mark.parametrize("transaction", [False, True], ids=["autocommit", "transaction"])
def test_triggers(connection: Connection, transaction: bool) -> None:
    connection.execute(TRIGGERS)
    state = b"SELECT tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1"
    before = connection.execute(state).fetchall()
    if transaction:
        with connection.transaction():
            coverage = fill(connection)
    else:
        coverage = fill(connection)
    assert coverage.empty == {"public.swallow": "a trigger or rule of the table swallows inserted rows"}
    assert coverage.notes == {"public.never": "inserted without trigger never, because: tenant is not set"}
    assert not coverage.partial and set(coverage.filled.values()) == {3}
    assert connection.execute(state).fetchall() == before


def test_forced_policies(connection: Connection) -> None:
    become_bound_by_policies(connection)
    connection.execute(b"""
        CREATE TABLE t (id integer, tenant text NOT NULL);
        ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t FORCE ROW LEVEL SECURITY;
        CREATE POLICY p ON t USING (tenant = current_setting('app.tenant', true))""")
    coverage = fill(connection)
    assert coverage.notes.keys() == {"public.t"}
    row = connection.execute(b"SELECT relforcerowsecurity, relrowsecurity FROM pg_class WHERE relname = 't'").fetchone()
    assert row == (True, True)


def test_inside_a_transaction_that_is_rolled_back(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE t (id serial PRIMARY KEY, flag boolean NOT NULL UNIQUE)")
    connection.execute(b"BEGIN")
    assert fill(connection).filled == {"public.t": 2}
    connection.execute(b"ROLLBACK")
    assert count(connection, "t") == 0


def test_two_runs_write_the_same(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE a (id uuid PRIMARY KEY, j jsonb, t timestamptz, n numeric(6, 2) CHECK (n < 50), d date[])")
    connection.execute(b"CREATE TABLE b (id text DEFAULT gen_random_uuid() PRIMARY KEY, a uuid NOT NULL REFERENCES a)")
    oids = [row[0] for row in connection.execute(b"SELECT oid::int8 FROM pg_class WHERE relname IN ('a', 'b') ORDER BY relname")]
    shape = dict(zip(oids, (["id", "j", "t", "n", "d"], ["id", "a"]), strict=True))
    found = []
    for _ in range(2):
        fill(connection)
        found.append(contents(connection, shape))
        connection.execute(b"TRUNCATE a, b")
    assert found[0] == found[1]


def test_only_some_tables_and_their_empty_parents(connection: Connection) -> None:
    connection.execute(KEYS["chain"].encode() + b"; CREATE TABLE other (id integer)")
    row = connection.execute(b"SELECT 'b'::regclass::oid::int8").fetchone()
    assert row is not None
    assert fill(connection, [row[0]]).filled == {"public.b": 3, "public.c": 3}
    assert (count(connection, "a"), count(connection, "other")) == (0, 0)


def test_parents_may_need_more_of_a_parent_with_rows(connection: Connection) -> None:
    """What was read of its keys for those that asked is not enough for what comes in beside them."""
    connection.execute(
        b"CREATE TABLE org (id int PRIMARY KEY, kind text NOT NULL, UNIQUE (id, kind)); INSERT INTO org VALUES (7, 'seven');"
        b"CREATE TABLE team (id int PRIMARY KEY, org int NOT NULL, kind text NOT NULL, FOREIGN KEY (org, kind) REFERENCES org (id, kind));"
        b"CREATE TABLE member (id int PRIMARY KEY, org int NOT NULL REFERENCES org, team int NOT NULL REFERENCES team)"
    )
    row = connection.execute(b"SELECT 'member'::regclass::oid::int8").fetchone()
    assert row is not None
    fill(connection, [row[0]])
    assert count(connection, "member") >= 3
    assert connection.execute("SELECT DISTINCT org, kind FROM team").fetchall() == [(7, "seven")]


def test_plain_rows_have_no_nulls(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE p (id serial PRIMARY KEY); CREATE TABLE t (a text, b integer, c jsonb, p integer REFERENCES p)")
    assert complete(fill(connection, plain=True))
    assert count(connection, "t WHERE num_nulls(a, b, c, p) = 0 AND b > 0 AND a <> ''") == 3


def test_what_is_not_a_table_of_the_user(connection: Connection) -> None:
    connection.execute(b"""
        CREATE TABLE _prisma_migrations (id text); CREATE SCHEMA unmigrate; CREATE TABLE unmigrate.t (id integer);
        CREATE SCHEMA unmigrate_1; CREATE TABLE unmigrate_1.t (id integer); CREATE SCHEMA "odd ""one";
        CREATE TABLE "odd ""one"."Odd.Table" ("select" integer, "a""b" text); CREATE TABLE none ();
        CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1 AS x""")
    assert fill(connection).filled == {'"odd ""one"."Odd.Table"': 3, 'public."none"': 3}


def test_reasons_name_what_the_server_said(connection: Connection) -> None:
    connection.execute(b"CREATE TABLE t (a integer NOT NULL CHECK (a > 5 AND a < 3))")
    coverage = fill(connection)
    assert "t_a_check" in coverage.empty["public.t"]


def test_three_hundred_tables(connection: Connection) -> None:
    listed = ["CREATE TYPE kind AS ENUM ('a', 'b')"]
    for i in range(300):
        keys = f", p{i} integer NOT NULL REFERENCES t{i - 1}, q{i} integer REFERENCES t{i // 2}" if i else ""
        listed.append(f"CREATE TABLE t{i} (id serial PRIMARY KEY, n text UNIQUE, k kind, at timestamp DEFAULT now(), j jsonb{keys})")
    connection.execute("; ".join(listed).encode())
    assert complete(fill(connection))
