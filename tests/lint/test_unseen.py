"""What generated rows do not show is told all the same: attacks that `check` once took for safe."""

import pytest

from tests.lint.test_rules import found
from unmigrate.prove.workspace import Workspace

TABLES = """CREATE TABLE u (id serial PRIMARY KEY, name text, age int, at timestamp, score real);
CREATE TABLE i (id int GENERATED ALWAYS AS IDENTITY, v int); CREATE DOMAIN d AS int NOT NULL; CREATE TABLE k (v d);
CREATE TYPE pair AS (a int, b text); CREATE TABLE c (v pair);
CREATE TABLE p (id int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE UNIQUE INDEX by_expression ON u (lower(name)); CREATE UNIQUE INDEX partial ON u (name) WHERE age > 0;
CREATE UNIQUE INDEX nulls ON u (age, name) NULLS NOT DISTINCT; CREATE UNIQUE INDEX more ON u (name DESC) INCLUDE (id);
CREATE TABLE r (t int4range, CONSTRAINT ex EXCLUDE USING gist (t WITH &&)); CREATE SEQUENCE lone;"""


@pytest.mark.parametrize(
    ("sql", "rule", "name"),
    [
        ("DROP SEQUENCE lone", "lossy-inverse", "lone"),
        ("ALTER TYPE pair DROP ATTRIBUTE b", "lossy-inverse", "c.v"),
        ("SET timezone = 'Asia/Tokyo'; ALTER TABLE u ALTER at TYPE timestamptz", "lossy-inverse", "u.at"),
        ("ALTER TABLE u ALTER at TYPE timestamptz", "inverse-can-fail", "u.at"),
        ("ALTER TABLE u ALTER score TYPE double precision", "inverse-can-fail", "u.score"),
        ("ALTER DOMAIN d DROP NOT NULL", "inverse-can-fail", "public.d"),
        ("ALTER TABLE p DETACH PARTITION p1", "inverse-can-fail", "p1"),
        ("ALTER TABLE r DROP CONSTRAINT ex", "inverse-can-fail", "ex"),
        *((f"DROP INDEX {name}", "inverse-can-fail", name) for name in ("by_expression", "nulls", "more")),
        ("DROP INDEX partial, more", "inverse-can-fail", "partial"),
    ],
)
def test_told(work: Workspace, sql: str, rule: str, name: str) -> None:
    assert [f.message for f in found(work, sql, before=TABLES) if f.rule == rule and name in f.message]


def test_what_goes_with_its_table_is_told_once(work: Workspace) -> None:
    lossy = [f.message for f in found(work, "DROP TABLE u; DROP TABLE i", before=TABLES) if f.rule == "lossy-inverse"]
    assert len(lossy) == 2


def test_only_comments_allow(work: Workspace) -> None:
    """Not strings, function bodies, or what stands in /* */."""
    for text in ("SELECT '-- unmigrate: allow lossy-inverse: no'", "DO $$ BEGIN\n-- unmigrate: allow lossy-inverse: no\nEND $$",
                 "/*\n-- unmigrate: allow lossy-inverse: no\n*/ SELECT 1"):  # fmt: skip
        lossy = [f for f in found(work, f"{text}; ALTER TABLE u DROP COLUMN age", before=TABLES) if f.rule == "lossy-inverse"]
        assert lossy and not any(f.allowed for f in lossy)
