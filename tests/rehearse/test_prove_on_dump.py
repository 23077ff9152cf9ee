"""prove --on with a dump: restored on scratch, masked as a database is, gone at the end."""

import json
import os
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.command import run
from tests.rehearse.test_prove_on import DROPS, FINE, INIT, ROWS, SECRETS, STOPS
from tests.support import deploy, write_project
from unmigrate.scratch import binaries
from unmigrate.scratch.pool import Pool


@pytest.fixture(scope="module")
def dumped(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with the same database in every format of pg_dump."""
    name, folder = "dumped_shop", tmp_path_factory.mktemp("dumps")
    with pool.server.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    with pool.server.connect(name) as connection:
        connection.execute("SET search_path = public")
        deploy(connection, [INIT])
        connection.execute(ROWS)
        connection.execute('CREATE PUBLICATION everything FOR ALL TABLES; GRANT SELECT ON "User" TO PUBLIC')
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public")
        connection.execute("COMMENT ON TABLE \"User\" IS 'people'")
    bin_dir = binaries.pg_dump_dir(pool.server.major)
    assert bin_dir is not None
    for kind in ("custom", "directory", "tar", "plain"):
        subprocess.run(
            [str(bin_dir / "pg_dump"), f"--format={kind}", f"--file={folder / kind}", f"{pool.server.conninfo} dbname={name}"], check=True
        )
    with pool.server.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return folder


def asked(tmp_path: Path, dump: Path, script: tuple[str, str], *more: str) -> tuple[int, str]:
    root = write_project(tmp_path / "app", [INIT, script])
    (root / "unmigrate.toml").write_text("[sample]\nrows = 100\n")
    return run("prove", "--on", str(dump), "--project", root, "--url", "postgresql://nobody@127.0.0.1:1/none", *more)


@pytest.mark.parametrize("kind", ["custom", "directory", "tar"])
def test_as_on_a_database(tmp_path: Path, dumped: Path, kind: str) -> None:
    status, printed = asked(tmp_path, dumped / kind, FINE, "--json")
    assert status == 0, printed
    report = json.loads(printed[printed.index("{") :])
    (one,) = report["migrations"]
    assert (one["schema"]["verdict"], one["data"]["verdict"], one["fails"]) == ("exact", "lossless", "")
    assert report["source"] == str(dumped / kind)
    assert report["rows"]['public."Item"'] >= 10
    assert [text for text in report["told"] if "were not read are NULL" not in text] == [], "references that may be NULL may be cut"
    assert report["masked_columns"] == 9, "six of User, two of Order, one of Item, as of a database"
    assert not [word for word in SECRETS if word in printed.lower()]


def test_losses_and_rows_that_stop(tmp_path: Path, dumped: Path) -> None:
    status, printed = asked(tmp_path, dumped / "custom", DROPS, "--json")
    report = json.loads(printed[printed.index("{") :])
    update = next(s for s in report["migrations"][0]["up"]["statements"] if s["statement"].startswith("UPDATE"))
    assert (status, update["writes"]) == (1, 6000), "sizes are those of the dump"
    status, printed = asked(tmp_path / "stops", dumped / "custom", STOPS)
    assert status == 3
    assert "becomes NOT NULL: 428 rows" in printed
    assert ("restored on scratch for this" in printed, "snapshot was held" in printed) == (True, False)


def test_what_is_no_dump(tmp_path: Path, dumped: Path) -> None:
    (tmp_path / "void").mkdir()
    cut = tmp_path / "cut"
    cut.write_bytes((dumped / "custom").read_bytes()[:-20000])
    for path, word in (
        (dumped / "plain", "is no dump that pg_restore reads"),
        (tmp_path / "void", "has no toc.dat"),
        (tmp_path / "none", "there is no"),
    ):
        status, printed = asked(tmp_path / f"app-{path.name}", path, FINE)
        assert (status, word in printed) == (2, True), printed
    status, printed = asked(tmp_path, cut, FINE)
    assert (status, "cannot be restored on scratch" in printed) == (3, True), printed


def test_nothing_of_it_stays(tmp_path: Path, dumped: Path, pool: Pool) -> None:
    """On a server that was given, the copy goes too, whether the proof ends well or not."""
    with psycopg.connect(f"{pool.server.conninfo} dbname=template1") as connection:
        before = connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall()
    parts = psycopg.conninfo.conninfo_to_dict(pool.server.conninfo)
    scratch = f"postgresql://{parts['user']}@localhost/postgres?host={parts['host']}&port={parts['port']}"
    for script, status in ((FINE, 0), (STOPS, 3)):
        found, printed = asked(tmp_path / script[0], dumped / "custom", script, "--scratch", scratch)
        assert found == status, printed
        assert os.environ.get("PGPASSWORD") is None
    with psycopg.connect(f"{pool.server.conninfo} dbname=template1") as connection:
        assert connection.execute("SELECT datname FROM pg_database ORDER BY 1").fetchall() == before
