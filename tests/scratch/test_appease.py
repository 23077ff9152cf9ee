"""Rows in a migration's way are changed until it runs; only what cannot be helped is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from unmigrate.scratch.appease import Appeaser, Change
from unmigrate.scratch.rows import fill

Connection = psycopg.Connection[Any]

BEFORE = b"""
    CREATE TYPE kind AS ENUM ('a', 'b', 'c');
    CREATE TABLE parent (id text PRIMARY KEY, name text, code varchar(80), UNIQUE (code));
    CREATE TABLE child (id serial PRIMARY KEY, parent_id text, note text, amount bigint, kind kind NOT NULL, kinds kind[], tags text[],
                        data jsonb NOT NULL DEFAULT '{}', flag boolean, lower_end integer, upper_end integer);
    CREATE TABLE leaf (child integer NOT NULL REFERENCES child ON DELETE RESTRICT, label text)"""

HELPED = {
    "not null": "ALTER TABLE child ALTER COLUMN note SET NOT NULL, ALTER COLUMN flag SET NOT NULL",
    "foreign key": "ALTER TABLE child ADD CONSTRAINT child_fk FOREIGN KEY (parent_id) REFERENCES parent (id)",
    "foreign key to another column": "ALTER TABLE child ADD CONSTRAINT child_fk FOREIGN KEY (note) REFERENCES parent (code)",
    "unique": "CREATE UNIQUE INDEX one_amount ON leaf (label); UPDATE leaf SET label = 'same' WHERE label IS NULL;"
    "UPDATE child SET amount = 1; CREATE UNIQUE INDEX few ON child (kind, amount, id)",
    "label removed": "CREATE TYPE kind_new AS ENUM ('b', 'c'); ALTER TABLE child ALTER kind TYPE kind_new USING kind::text::kind_new;"
    "ALTER TABLE child ALTER kinds TYPE kind_new[] USING kinds::text::kind_new[]",
    "text to enum": "CREATE TYPE mood AS ENUM ('good', 'bad'); ALTER TABLE child ALTER note TYPE mood USING note::mood",
    "text to number": "ALTER TABLE child ALTER note TYPE integer USING note::integer",
    "text to document": "ALTER TABLE child ALTER note TYPE jsonb USING note::jsonb",
    "text to moment": "ALTER TABLE parent ALTER name TYPE timestamptz USING name::timestamptz",
    "narrower text": "ALTER TABLE parent ALTER code TYPE varchar(3)",
    "narrower number": "ALTER TABLE child ALTER amount TYPE smallint USING amount * 1000",
    "check": "ALTER TABLE child ADD CONSTRAINT ends CHECK (lower_end < upper_end AND length(note) = 7)",
    "derived rows": "CREATE TABLE derived (id text NOT NULL PRIMARY KEY); INSERT INTO derived SELECT note FROM child",
    "derived keys": "CREATE TABLE link (parent text REFERENCES parent (id)); INSERT INTO link SELECT unnest(tags) FROM child",
    "derived unique rows": "UPDATE child SET note = 'same'; CREATE TABLE derived (id text); INSERT INTO derived SELECT tags[1] FROM child;"
    "CREATE UNIQUE INDEX ON derived (id) WHERE id IS NOT NULL",
    "document of another shape": "UPDATE child SET data = jsonb_set(data, '{x}', '1'); UPDATE child SET data = '[]' WHERE data = '{}';"
    "SELECT jsonb_object_keys(data) FROM child",
}


@pytest.fixture
def connection(pool: Any, database: str) -> Iterator[Connection]:
    with pool.connect(database) as opened:
        opened.execute(BEFORE)
        fill(opened)
        yield opened


def run(connection: Connection, sql: str) -> list[Change]:
    """Run a migration as one transaction, appeasing it until it goes through."""
    appeaser, changes = Appeaser(connection, sql), list[Change]()
    for _ in range(20):
        try:
            with connection.transaction():
                connection.execute(sql.encode())
            return changes
        except psycopg.Error as error:
            change = appeaser.appease(error)
            if change is None:
                raise
            changes.append(change)
    raise AssertionError(changes)


def counts(connection: Connection) -> list[int]:
    row = connection.execute(b"SELECT (SELECT count(*) FROM parent), (SELECT count(*) FROM child), (SELECT count(*) FROM leaf)").fetchone()
    assert row is not None
    return list(row)


@pytest.mark.parametrize("name", HELPED)
def test_rows_are_changed_and_stay(connection: Connection, name: str) -> None:
    changes = run(connection, HELPED[name])
    assert not any(change.emptied for change in changes), changes
    assert min(counts(connection)) >= 3


def test_all_foreign_keys_are_met_at_once(connection: Connection) -> None:
    """Each by an attempt of its own would run the whole script as often as it has keys."""
    connection.execute(
        b"CREATE TABLE place (tenant uuid, id uuid, PRIMARY KEY (tenant, id)); CREATE TABLE guest (LIKE place INCLUDING ALL);"
        b"CREATE TABLE visit (id int PRIMARY KEY, tenant uuid NOT NULL, place_id uuid NOT NULL, guest_id uuid NOT NULL, code varchar(80));"
        b"CREATE TABLE bill (id int PRIMARY KEY, tenant uuid NOT NULL, guest_id uuid, visit_id int)"
    )
    fill(connection)
    changes = run(
        connection,
        "ALTER TABLE ONLY visit ADD CONSTRAINT v_code FOREIGN KEY (code) REFERENCES parent (code) ON DELETE SET NULL,"
        "  ADD CONSTRAINT v_place FOREIGN KEY (tenant, place_id) REFERENCES place (tenant, id);"
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_constraint WHERE conname = 'v_guest') THEN"
        "  ALTER TABLE public.visit ADD CONSTRAINT v_guest FOREIGN KEY (tenant, guest_id) REFERENCES public.guest (tenant, id); END IF; END $$;"
        'ALTER TABLE "bill" ADD CONSTRAINT "b_guest" FOREIGN KEY ("tenant", "guest_id") REFERENCES "guest" ("tenant", "id"),'
        "  ADD CONSTRAINT b_visit FOREIGN KEY (visit_id) REFERENCES visit",
    )
    assert len(changes) == 1
    assert not changes[0].emptied
    rows = connection.execute(b"SELECT (SELECT count(*) FROM visit), (SELECT count(*) FROM bill WHERE visit_id IS NOT NULL)").fetchone()
    assert rows is not None
    assert min(rows) >= 3


def test_keys_to_several_columns_of_one_parent(connection: Connection) -> None:
    connection.execute(
        b"CREATE TABLE two (id integer PRIMARY KEY, by_code varchar(80) REFERENCES parent (code), by_id text REFERENCES parent);"
        b"INSERT INTO two VALUES (1), (2)"
    )
    changes = run(connection, "ALTER TABLE two ALTER COLUMN by_code SET NOT NULL, ALTER COLUMN by_id SET NOT NULL")
    assert changes and not any(change.emptied for change in changes)


def test_a_row_that_the_migration_brings(connection: Connection) -> None:
    row = connection.execute(b"SELECT min(id) FROM parent").fetchone()
    assert row is not None
    assert not any(change.emptied for change in run(connection, f"INSERT INTO parent (id, name) VALUES ('{row[0]}', 'mine')"))
    assert counts(connection) == [4, 3, 3]


def test_a_required_column_needs_an_empty_table(connection: Connection) -> None:
    changes = run(connection, 'ALTER TABLE child ADD COLUMN "owner" text NOT NULL')
    assert [change.emptied for change in changes] == [("public.child",)]
    assert counts(connection) == [3, 0, 0]  # what needs it cannot have rows either


def test_what_can_do_without_the_emptied_table_keeps_rows(connection: Connection) -> None:
    connection.execute(b"ALTER TABLE leaf ALTER child DROP NOT NULL")
    run(connection, "ALTER TABLE child ADD COLUMN owner text NOT NULL")
    assert counts(connection) == [3, 0, 3]


def test_errors_that_are_not_about_rows_are_left_alone(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        run(connection, "ALTER TABLE missing ADD COLUMN a integer")
    assert counts(connection) == [3, 3, 3]


def test_it_gives_up(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException):
        run(connection, "DO $$ BEGIN RAISE 'never' USING ERRCODE = 'P0001'; END $$")
