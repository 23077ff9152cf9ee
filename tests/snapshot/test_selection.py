"""A dump of which only the rows of some tables are restored: all of theirs, and what makes keys of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.snapshot.conftest import Do
from tests.snapshot.kit import Kit, quiet
from tests.snapshot.test_refill_cli import WHOLE, beside, notes
from unmigrate.catalog.read import read_catalog
from unmigrate.errors import FailedError, RefusedError
from unmigrate.guard.keys import row_key
from unmigrate.plan.model import Loss
from unmigrate.snapshot import dumps, lost
from unmigrate.snapshot.job import Asked
from unmigrate.snapshot.pg_dump import PgDump
from unmigrate.snapshot.provider import At
from unmigrate.snapshot.refill import refill

MORE = """
CREATE SCHEMA "odd one";
CREATE TABLE "odd one"."a ""b"" c.d" ("k y" int NOT NULL, v text);
CREATE UNIQUE INDEX "uniq; ue" ON "odd one"."a ""b"" c.d" ("k y");
CREATE INDEX "not; unique" ON "odd one"."a ""b"" c.d" (v);
INSERT INTO "odd one"."a ""b"" c.d" SELECT g, 'v' || g FROM generate_series(1, 5) g;
CREATE TABLE part (id int, at int, v text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20) PARTITION BY LIST (at);
CREATE TABLE part_2_a PARTITION OF part_2 DEFAULT;
CREATE INDEX ON part (v);
INSERT INTO part SELECT g, g, 'v' || g FROM generate_series(1, 19) g;
CREATE TABLE parent (id int PRIMARY KEY, v text); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (parent);
INSERT INTO parent VALUES (1, 'parent'); INSERT INTO heir VALUES (2, 'heir');
CREATE TABLE other (id serial PRIMARY KEY, part int, at int, FOREIGN KEY (part, at) REFERENCES part (id, at));
INSERT INTO other (part, at) SELECT 1 + g % 19, 1 + g % 19 FROM generate_series(1, 1000) g;
CREATE MATERIALIZED VIEW seen AS SELECT count(*) AS n FROM other;"""


@contextmanager
def restored(kit: Kit, *tables: str) -> Iterator[psycopg.Connection[Any]]:
    made = kit.provider.create("some", quiet)
    with kit.restored(kit.provider.restore(At(made.id, tables=tables), f"{kit.source().info.dbname}-some", quiet)) as connection:
        yield connection


def key(connection: psycopg.Connection[Any], table: str) -> tuple[str, ...]:
    catalog = read_catalog(connection)
    found = catalog.named("table", table)
    assert found is not None
    return row_key(found, catalog, frozenset(("id", "at", '"k y"')))


@pytest.mark.parametrize(
    ("table", "rows"),
    [('public."User"', 3), ('"odd one"."a ""b"" c.d"', 5), ("public.part", 19), ("public.part_2", 10), ("public.parent", 2)],
)
def test_all_rows_and_the_key_are_there(kit: Kit, table: str, rows: int) -> None:
    kit.run(MORE)
    with restored(kit, table) as there, kit.source() as source:
        assert there.execute(f"select count(*) from {table}").fetchone() == (rows,)
        assert there.execute("select migration_name from _prisma_migrations").fetchall() == [("1_init",)]
        assert there.execute("select count(*) from other").fetchone() == (0,)
        assert there.execute("select last_value from other_id_seq").fetchone() == (1000,)
        assert key(there, table) == key(source, table)


def test_a_dump_without_a_table_s_rows_is_restored_whole(kit: Kit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As some do by hand: --exclude-table-data."""
    kit.run(MORE)
    wrapped = tmp_path / "bin" / "pg_dump"
    wrapped.parent.mkdir()
    from unmigrate.scratch import binaries

    real = binaries.pg_dump_dir(kit.source().info.server_version // 10000)
    assert real is not None
    wrapped.write_text(f'#!/bin/sh\nexec {real}/pg_dump --exclude-table-data=other "$@"\n')
    wrapped.chmod(0o755)
    (wrapped.parent / "pg_restore").symlink_to(real / "pg_restore")
    monkeypatch.setattr(binaries, "pg_dump_dir", lambda major: wrapped.parent)
    with restored(kit, "public.other") as there:
        assert there.execute("select count(*) from part").fetchone() == (19,)


def test_what_is_not_read_may_be_damaged(kit: Kit, do: Do) -> None:
    kit.run(MORE)
    made = kit.provider.create("some", quiet)
    kit.deploy_bad()
    assert isinstance(kit.provider, PgDump)
    folder, manifest = dumps.find(kit.provider.directory, kit.source().info.dbname, made.id)
    sizes = sorted((size, name) for name, (_, size) in manifest["files"].items() if name.endswith(".gz"))
    (folder / sizes[-1][1]).write_bytes(b"x")  # the rows of "other"
    status, printed = do("rollback", "--refill", "last", "--yes")
    assert status == 0, printed
    assert notes(kit) == WHOLE
    with pytest.raises(RefusedError, match="is damaged"):
        kit.provider.restore(At(made.id), "whole", quiet)
    assert beside(kit) == []


def test_what_was_restored_without_a_table_s_rows_is_never_taken_for_empty(kit: Kit) -> None:
    kit.run(MORE)
    loss = Loss("2_bad", "public.parent.v", "column", "named")
    with restored(kit, 'public."User"') as there, kit.source() as live:
        found = lost.find([loss], read_catalog(live), read_catalog(there))
        assert [p.table for p in found.parts] == ["public.parent"]
        undone = lost.Undone("", ("2_bad",), (), None)
        with pytest.raises(FailedError, match=r"without the rows of public\.parent"):
            refill(kit.source, there, undone, found, Asked("some"))
