"""prove --on: a sample that holds together, masked, read from a database that is not written to and not held for long."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.command import run
from tests.support import deploy, prisma_url, write_project
from unmigrate.config.sample import Sample
from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma.url import parse_url
from unmigrate.rehearse.sample import Sampled, sample
from unmigrate.rehearse.source import LetGo, opened, said
from unmigrate.scratch.pool import Pool

INIT = (
    "1_init",
    """CREATE TYPE "Role" AS ENUM ('ADMIN', 'USER');
CREATE TABLE "User" ("id" SERIAL PRIMARY KEY, "email" TEXT NOT NULL UNIQUE CHECK ("email" LIKE '%@%'), "nick" VARCHAR(30), "role" "Role",
  "born" DATE, "tags" TEXT[], "profile" JSONB, "photo" BYTEA, "bossId" INTEGER REFERENCES "User"("id"), "t" TEXT);
CREATE TABLE "Order" ("id" TEXT PRIMARY KEY, "userId" INTEGER NOT NULL REFERENCES "User"("id"), "code" TEXT, "amount" NUMERIC(10,2));
CREATE TABLE "Item" ("orderId" TEXT REFERENCES "Order"("id"), "n" INTEGER, PRIMARY KEY ("orderId", "n"));
CREATE TABLE "Event" ("at" DATE NOT NULL, "userId" INTEGER REFERENCES "User"("id")) PARTITION BY RANGE ("at");
CREATE TABLE "Event_2024" PARTITION OF "Event" FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE FUNCTION shout() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'no inserts here'; END $$ LANGUAGE plpgsql;
CREATE TRIGGER shouting BEFORE INSERT ON "Item" FOR EACH ROW EXECUTE FUNCTION shout();""",
)
FINE = ("2_fine", 'ALTER TABLE "User" ADD COLUMN "age" INTEGER; CREATE INDEX "Order_userId_idx" ON "Order"("userId");')
DROPS = ("2_drops", 'ALTER TABLE "User" DROP COLUMN "nick"; UPDATE "Order" SET "amount" = "amount" * 2;')
STOPS = ("2_stops", 'ALTER TABLE "User" ALTER COLUMN "nick" SET NOT NULL;')
ADDS = ("2_adds", 'INSERT INTO "User" ("email") VALUES (\'new@example.org\');')
FILLS = ("2_fills", 'UPDATE "User" SET "nick" = \'x\' WHERE "nick" IS NULL; ALTER TABLE "User" ALTER COLUMN "nick" SET NOT NULL;')
SECRETS = ("smith", "berlin", "s3cret", "private", "platinum")
ROWS = """ALTER TABLE "Item" DISABLE TRIGGER shouting;
INSERT INTO "User" ("email", "nick", "role", "born", "tags", "profile", "photo", "bossId", "t")
  SELECT 'Smith' || g || '@berlin.example', CASE WHEN g % 7 > 0 THEN 'nick smith ' || g END, 'USER', '1990-01-01', '{platinum,private}',
    '{"secret": "s3cret"}', 's3cret', CASE WHEN g > 1 THEN g / 2 END, 'private ' || g FROM generate_series(1, 3000) g;
INSERT INTO "Order" SELECT 'ord-smith-' || g, 1 + g % 3000, 'A-' || g, g FROM generate_series(1, 6000) g;
INSERT INTO "Item" SELECT 'ord-smith-' || g, 1 FROM generate_series(1, 6000) g;
INSERT INTO "Event" SELECT '2024-02-02', g FROM generate_series(1, 500) g;
ALTER TABLE "Item" ENABLE TRIGGER shouting; ANALYZE;"""


@pytest.fixture(scope="module")
def database(pool: Pool) -> Iterator[str]:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, [INIT])
        connection.execute(ROWS)
    yield name
    pool.drop(name)


@pytest.fixture
def url(pool: Pool, database: str) -> str:
    return prisma_url(pool.conninfo(database))


def taken(url: str, rules: Sample, *concerned: str) -> Sampled:
    with opened(parse_url(url), hold=rules.hold, statement=rules.statement) as source:
        return sample(source, concerned, rules, "salt")


def asked(tmp_path: Path, url: str, script: tuple[str, str], *more: str, toml: str = "[sample]\nrows = 100\n") -> tuple[int, str]:
    root = write_project(tmp_path / "app", [INIT, script])
    (root / "unmigrate.toml").write_text(toml)
    return run("prove", "--on", url, "--project", root, "--url", "postgresql://nobody@127.0.0.1:1/none", *more)


def test_it_holds_together(url: str) -> None:
    found = taken(url, Sample(rows=200), 'public."Order"')
    tables = {
        name.split(".")[1].strip('"'): [dict(zip((c.column.name for c in t.columns), r, strict=True)) for r in t.rows]
        for name, t in found.tables.items()
    }
    assert not {t.missed for t in found.tables.values()} - {""}
    assert len(tables["Order"]) >= 150 and len(tables["Item"]) >= 20 and len(tables["Event"]) == 20
    users = {u["id"] for u in tables["User"]}
    assert {o["userId"] for o in tables["Order"]} | {e["userId"] for e in tables["Event"]} <= users
    assert {u["bossId"] for u in tables["User"]} - {None} <= users  # and theirs, up to the top
    assert {i["orderId"] for i in tables["Item"]} <= {o["id"] for o in tables["Order"]}
    assert not found.over and found.tables['public."User"'].tuples == 3000


def test_tables_that_nobody_analyzed_are_weighed(pool: Pool) -> None:
    """As after pg_restore."""
    name = pool.create()
    with pool.connect(name) as connection:
        connection.execute('CREATE TABLE "Log" (id int PRIMARY KEY, text text) WITH (autovacuum_enabled = off)')
        connection.execute("INSERT INTO \"Log\" SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g")
        connection.execute(
            "CREATE TABLE part (id int) PARTITION BY RANGE (id); CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (9000)"
        )
        connection.execute("INSERT INTO part SELECT g FROM generate_series(1, 8000) g")
    found = taken(prisma_url(pool.conninfo(name)), Sample(rows=300), 'public."Log"').tables
    pool.drop(name)
    assert (
        15000 < found['public."Log"'].tuples < 25000 and found['public."Log"'].size > 2_000_000 and found['public."Log"'].indexes > 100_000
    )
    assert 5000 < found["public.part"].tuples < 12000


def test_nothing_personal_is_read(url: str) -> None:
    found = taken(url, Sample(rows=500), 'public."User"')
    text = json.dumps([t.rows for t in found.tables.values()]).lower()
    assert not [word for word in SECRETS if word in text]
    user = found.tables['public."User"']
    row = dict(zip((c.column.name for c in user.columns), user.rows[0], strict=True))
    assert re.fullmatch(r"[A-Z][a-z]{4}\d+@[a-z]{6}\.[a-z]{7}", row["email"] or "")  # of the same shape
    assert row["profile"] == "{}" and row["role"] == "USER" and row["born"] == "1990-01-01" and set(row["photo"] or "") <= set("\\x0")
    emails = [r[1] for r in user.rows]
    assert len(set(emails)) == len(emails)
    assert {c.column.name for c in user.columns if c.masked} == {"email", "nick", "tags", "profile", "photo", "t"}


ODD = (
    "1_init",
    """CREATE TYPE home AS (street text, n int); CREATE TYPE texts AS RANGE (subtype = text); CREATE TYPE size AS (w int, h int);
CREATE DOMAIN words AS text[]; CREATE TABLE team (id int PRIMARY KEY, title text, lead int NOT NULL);
CREATE TABLE odd (id int PRIMARY KEY, ip inet NOT NULL UNIQUE, net cidr NOT NULL, mac macaddr NOT NULL, mac8 macaddr8, at home NOT NULL, ats home[],
  span texts NOT NULL, spans texts_multirange, fits size, w words, found tsvector NOT NULL, x xml, js jsonb[], bs bytea[], c "char", n name,
  r int4range, u uuid, b bit(3), team int REFERENCES team, boss int REFERENCES odd);
ALTER TABLE team ADD FOREIGN KEY (lead) REFERENCES odd DEFERRABLE INITIALLY DEFERRED;""",
)
ODD_ROWS = """INSERT INTO team SELECT g, 'smith', 1 + g * 7 % 4000 FROM generate_series(1, 500) g;
INSERT INTO odd SELECT g, '10.1.0.0'::inet + g, '10.3.0.0/16', '08:00:2b:01:02:03', NULL, ROW('smith', g)::home, ARRAY[ROW('smith', 1)::home],
  texts('berlin', 'smith'), '{[berlin,smith)}', ROW(1, 2)::size, '{smith}', 'smith', NULL, ARRAY['{"a":"smith"}'::jsonb, '"smith"'], ARRAY['smith'::bytea],
  's', 'smith', '[1,2)', gen_random_uuid(), B'101', 1 + g % 500, 1 + g * 13 % 4000 FROM generate_series(1, 4000) g;"""


def test_odd_types_and_references_in_a_circle(tmp_path: Path, pool: Pool) -> None:
    """Nothing of them says anything, rows that may not be NULL are taken all the same, and a circle does not lead to all there is."""
    name = pool.create()
    try:
        with pool.connect(name) as connection:
            deploy(connection, [ODD])
            connection.execute(ODD_ROWS)
        url = prisma_url(pool.conninfo(name))
        found = taken(url, Sample(rows=100), "public.odd")
        text = json.dumps([t.rows for t in found.tables.values()]).lower()
        assert not [word for word in (*SECRETS, "10.1.", "10.3.", "08:00", "736d697468") if word in text]
        assert {c.column.name for c in found.tables["public.odd"].columns if not c.masked} == {"id", "fits", "r", "u", "b", "team", "boss"}
        root = write_project(tmp_path / "app", [ODD, ("2_fine", "ALTER TABLE odd ADD more int")])
        (root / "unmigrate.toml").write_text("[sample]\nrows = 100\n")
        code, out = run("prove", "--on", url, "--project", root, "--url", "postgresql://nobody@127.0.0.1:1/none", "--json")
        report = json.loads(out)
        assert code == 0 and 100 <= report["rows"]["public.odd"] < 2000 and report["rows"]["public.team"] > 50, out
        assert any("references to rows which were not read are NULL" in line for line in report["told"])
    finally:
        pool.drop(name)


def test_a_database_without_a_ledger(tmp_path: Path, pool: Pool) -> None:
    name = pool.create()
    try:
        with pool.connect(name) as connection:
            connection.execute("CREATE TABLE something ()")
        code, out = asked(tmp_path, prisma_url(pool.conninfo(name)), FINE)
        assert code == 3 and "no ledger" in out and "P3005" in out
    finally:
        pool.drop(name)


def test_no_value_is_quoted(url: str) -> None:
    """Of what PostgreSQL says to a query there."""
    with opened(parse_url(url), hold=6, statement=1) as source, pytest.raises(psycopg.DataError) as raised:
        source.rows('SELECT "nick"::int FROM "User" WHERE "nick" IS NOT NULL')
    assert "smith" in str(raised.value) and "smith" not in said(raised.value)


def test_rules_for_masking(url: str) -> None:
    rules = Sample(rows=50, keep=("public.User.nick",), mask={"*.born": "NULL", "public.Order.amount": '"amount" * 0'})
    found = taken(url, rules, 'public."User"')
    user, order = found.tables['public."User"'], found.tables['public."Order"']
    assert any((r[2] or "").startswith("nick smith") for r in user.rows) and {r[4] for r in user.rows} == {None}
    assert {r[3] for r in order.rows} == {"0.00"}


def test_the_source_cannot_be_written_and_is_let_go_of(url: str) -> None:
    with opened(parse_url(url), hold=6, statement=1) as source:
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            source.rows('DELETE FROM "Item" RETURNING 1')
        with pytest.raises(psycopg.errors.QueryCanceled):
            source.rows("SELECT count(*) FROM generate_series(1, 1000000000)")
        assert source.rows("SELECT 1") == [(1,)]  # what failed leaves the snapshot as it was
        time.sleep(max(0, 6 - source.held))
        with pytest.raises(LetGo):
            source.rows("SELECT 1")


def test_time_that_is_over_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentProblem, match="cannot be looked at"):
        taken(url, Sample(hold=0.0001))
    monkeypatch.setattr("unmigrate.rehearse.sample.READ", 1)  # so that it is over in the middle
    found = taken(url, Sample(rows=20000, hold=0.4))
    assert found.over and any("time to read was over" in t.missed for t in found.tables.values())
    assert found.held < 5


def test_a_locked_table_is_told_and_waited_for_briefly(url: str) -> None:
    with psycopg.connect(parse_url(url).conninfo) as other:
        other.execute('LOCK TABLE "Item"')
        began = time.monotonic()
        found = taken(url, Sample(rows=50))
        assert time.monotonic() - began < 20
    assert "lock timeout" in found.tables['public."Item"'].missed
    assert found.tables['public."Order"'].rows


def test_a_table_that_may_not_be_read_is_told(url: str, pool: Pool, database: str) -> None:
    with pool.connect_superuser(database) as connection:
        connection.execute('CREATE ROLE rehearse_reader LOGIN; GRANT SELECT ON "public"."User" TO rehearse_reader')
        connection.execute(
            "CREATE TABLE public.hidden (id int); ALTER TABLE public.hidden ENABLE ROW LEVEL SECURITY; GRANT SELECT ON public.hidden TO rehearse_reader"
        )
    try:
        found = taken(re.sub(r"//[^@]*@", "//rehearse_reader@", url), Sample(rows=50))
        assert "permission denied" in found.tables['public."Order"'].missed and found.tables['public."User"'].rows
        assert "BYPASSRLS" in found.tables["public.hidden"].missed
    finally:
        with pool.connect_superuser(database) as connection:
            connection.execute("DROP TABLE public.hidden; DROP OWNED BY rehearse_reader; DROP ROLE rehearse_reader")


def snapshot(url: str) -> Any:
    with psycopg.connect(parse_url(url).conninfo) as connection:
        tables = [
            t
            for (t,) in connection.execute(
                "SELECT c.oid::regclass::text FROM pg_class c WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
            )
        ]
        return [connection.execute(f"SELECT count(*), sum(hashtext(t::text)) FROM {t} t").fetchone() for t in sorted(tables)]


def test_a_lossless_migration(tmp_path: Path, url: str) -> None:
    before = snapshot(url)
    status, printed = asked(tmp_path, url, FINE, "--json")
    report = json.loads(printed[printed.index("{") :])
    assert status == 0, printed
    (one,) = report["migrations"]
    assert (one["schema"]["verdict"], one["data"]["verdict"], one["fails"]) == ("exact", "lossless", "")
    assert [(k["table"], k["mode"]) for k in one["up"]["locks"]] == [('public."Order"', "SHARE"), ('public."User"', "ACCESS EXCLUSIVE")]
    assert report["rows"]['public."Item"'] >= 10 and report["would_block"] == []
    assert all("are NULL" in line for line in report["told"])  # the chain of bosses is long
    assert snapshot(url) == before
    assert not [word for word in SECRETS if word in printed.lower()]


def test_what_is_lost_and_what_it_takes(tmp_path: Path, url: str) -> None:
    status, printed = asked(tmp_path, url, DROPS, "--json")
    report = json.loads(printed[printed.index("{") :])
    (one,) = report["migrations"]
    assert status == 1 and one["data"]["lost"] == ['public."Order"', 'public."User".nick']
    update = next(s for s in one["up"]["statements"] if s["statement"].startswith("UPDATE"))
    assert update["writes"] == 6000 and update["seconds"] > 0.01  # all rows there, not those of the sample


def test_rows_that_stop_the_way_up(tmp_path: Path, url: str) -> None:
    status, printed = asked(tmp_path, url, STOPS)
    assert status == 3
    assert 'fails on these rows: column "nick" of relation "User" contains null values' in printed
    assert re.search(r"column nick becomes NOT NULL: 428 rows\n", printed)
    assert not [word for word in SECRETS if word in printed.lower()]


def test_rows_that_the_migration_settles_itself(tmp_path: Path, url: str) -> None:
    status, printed = asked(tmp_path, url, FILLS)
    assert status == 1 and "may settle them first" in printed and "fails on these rows" not in printed


def test_numbers_go_on_after_the_rows_that_are_there(tmp_path: Path, url: str) -> None:
    status, printed = asked(tmp_path, url, ADDS)
    assert status == 1 and "fails on these rows" not in printed and "loses public" in printed


def test_what_is_applied_there_already(tmp_path: Path, url: str) -> None:
    status, printed = asked(tmp_path, url, FINE, "1_init")
    assert status == 3 and "is applied there already" in printed


def test_it_gives_way_to_nobody_and_stops_nobody(tmp_path: Path, url: str) -> None:
    """Writers go on while the sample is read."""
    stop, written = threading.Event(), 0

    def write() -> None:
        nonlocal written
        with psycopg.connect(parse_url(url).conninfo, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute('UPDATE "User" SET "nick" = "nick" WHERE "id" = 1')
                written += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        status, printed = asked(tmp_path, url, FINE)
    finally:
        stop.set()
        thread.join()
    assert status == 0, printed
    assert written > 50


HOLDS = """import sys, time
from unmigrate.prisma.url import parse_url
from unmigrate.rehearse.source import opened
with opened(parse_url(sys.argv[1]), hold=1, statement=1) as source:
    print(source.connection.info.backend_pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "suspended"])
def test_the_source_lets_go_by_itself(url: str, how: signal.Signals) -> None:
    """Also when we are killed, or hang: the snapshot must not be held for longer than promised."""
    child = subprocess.Popen([sys.executable, "-c", HOLDS, url], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        backend = int(child.stdout.readline())
        with psycopg.connect(parse_url(url).conninfo, autocommit=True) as connection:
            held = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND backend_xmin IS NOT NULL"
            assert connection.execute(held, [backend]).fetchone() == (1,)
            child.send_signal(how)
            deadline = time.monotonic() + 20
            while connection.execute(held, [backend]).fetchone() != (0,):
                assert time.monotonic() < deadline, "the snapshot is still held"
                time.sleep(0.1)
    finally:
        child.kill()
        child.wait()
