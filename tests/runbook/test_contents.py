"""A restored database against the one it is to replace: what it has not is seen, and whether it is another one at all."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from unmigrate.errors import RefusedError
from unmigrate.runbook.adapters import contents
from unmigrate.scratch.pool import Pool
from unmigrate.snapshot import verify

TABLES = """
create table "Order" (id serial primary key, item text, price double precision, made timestamptz default now());
create table tags (name text, kind text); insert into "Order" (item, price) values ('a', 0.1), ('b', 'NaN'), (null, null);
insert into tags values ('x', 'y'), ('x', 'y'), (null, '')"""


@pytest.fixture
def both(pool: Pool) -> Iterator[tuple[psycopg.Connection[Any], psycopg.Connection[Any]]]:
    old = pool.create()
    with pool.connect(old) as connection:
        connection.execute(TABLES)
    new = pool.clone(old)
    with pool.connect(old) as one, pool.connect(new) as other:
        yield one, other
    for name in (old, new):
        pool.drop(name)


def test_the_same_rows_are_no_loss(both: tuple[psycopg.Connection[Any], psycopg.Connection[Any]]) -> None:
    old, new = both
    new.execute('update tags set kind = kind; update "Order" set item = item where id = 1')  # elsewhere on disk
    old.execute('alter table "Order" add column discount int default 5; create table "Coupon" (id int)')  # the migration
    new.execute("set timezone = 'Asia/Tokyo'; set extra_float_digits = 0; set datestyle = 'german'")
    assert contents.losses(old, new) == []


@pytest.mark.parametrize(
    ("since", "told"),
    [
        ("insert into tags values ('new', '')", "public.tags (1 row)"),
        ("update \"Order\" set item = 'changed' where id = 1", "public.Order (rows changed, replaced or deleted)"),
        ('delete from "Order" where id = 1; insert into "Order" (item) values (\'z\')', "public.Order (rows changed, replaced or deleted)"),
        ("delete from tags where name is null", "public.tags (rows changed, replaced or deleted)"),
        ("create table later (id int); insert into later values (1), (2)", "public.later (2 rows)"),
    ],
)
def test_what_was_written_since_is_named(both: tuple[psycopg.Connection[Any], psycopg.Connection[Any]], since: str, told: str) -> None:
    old, new = both
    old.execute(since)
    assert contents.told(contents.losses(old, new)) == told


def test_what_takes_too_long_is_not_taken_for_the_same(
    both: tuple[psycopg.Connection[Any], psycopg.Connection[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = both
    monkeypatch.setattr(contents, "_SECONDS", 0.2)
    old.execute("begin; lock table tags in access exclusive mode")
    new.execute("begin; lock table tags in access exclusive mode")
    third, fourth = (psycopg.connect(c.info.dsn, autocommit=True) for c in (old, new))
    with third, fourth:
        assert "public.tags (not compared" in contents.told(contents.losses(third, fourth))


def test_one_database_by_two_addresses_is_the_same(both: tuple[psycopg.Connection[Any], psycopg.Connection[Any]]) -> None:
    old, new = both
    verify.require_other(old, new)
    with psycopg.connect(old.info.dsn, autocommit=True, options="-c default_transaction_read_only=off") as again:
        with pytest.raises(RefusedError, match="the app uses now"):
            verify.require_other(old, again)
        verify.require_other(again, new)
