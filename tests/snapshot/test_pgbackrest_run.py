"""`run rollback --way restore` with pgBackRest, on a real server: to right before the deploy, killed and resumed on its way."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from tests.runbook.shop import SCHEMA, Shop, shop
from tests.snapshot.archived import DATABASE, STANZA, Archived
from tests.snapshot.kit import SECRET, quiet
from tests.support import record
from unmigrate.park import restore_points, vault
from unmigrate.prisma.url import parse_url
from unmigrate.scratch.pool import Pool

WORSE = "20240301000000_worse"
SQL = 'ALTER TABLE "Order" DROP COLUMN "item";\n'
MODEL = "model Order {\n  id Int @id @default(autoincrement())\n  discount Int @default(0)\n}\nmodel Coupon {\n  id Int @id @default(autoincrement())\n}\n"
TOML = """
[maintenance]
quiet = 0.2
wait = 20
[maintenance.database]
mode = "revoke-connect"
[app]
deploy = "echo $UNMIGRATE_TAG >> deploys.log; echo $UNMIGRATE_TAG > deployed.log"
[app.deployed]
command = "cat deployed.log"
[[checks.sql]]
name = "all orders are there"
sql = 'select count(*) = 4 from "Order"'
[connection.env_file]
file = ".env"
"""


@dataclass
class Place:
    """What `shop` takes for a pool."""

    archived: Archived
    admin: psycopg.Connection[Any]

    def create(self) -> str:
        return DATABASE

    def conninfo(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.archived.port} user=app dbname={database} password={SECRET}"

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.conninfo(database), autocommit=True)


@pytest.fixture
def made(backrest: Archived, tmp_path: Path) -> Iterator[Shop]:
    user = f'user = "{backrest.account}"\n' if backrest.account else ""
    toml = (
        f'{TOML}[snapshot.pgbackrest]\nstanza = "{STANZA}"\nrestore_root = "{backrest.root}/restored"\n'
        f'config = "{backrest.root}/pgbackrest.conf"\nport = {backrest.port + 1}\n{user}'
    )
    with backrest.superuser() as admin, shop(tmp_path, cast(Pool, Place(backrest, admin)), toml=toml, app=False) as opened:
        for name in ("deployed.log", "deploys.log"):
            (opened.root / name).write_text("v3\n" if name == "deployed.log" else "")
        folder = opened.root / "prisma/migrations" / WORSE
        folder.mkdir()
        (folder / "migration.sql").write_text(SQL)
        (opened.root / "prisma/schema.prisma").write_text(SCHEMA + MODEL)
        opened.git("add", "-A")
        opened.git("commit", "-qm", "three")
        opened.git("tag", "v3")
        backrest.provider().create("nightly", quiet)
        with opened.connect() as connection:
            connection.execute("insert into \"Order\" (item) values ('after the backup')")
            vault.create(connection)
            with connection.transaction():
                restore_points.record_now(connection, [WORSE])
                connection.execute(SQL)
                record(connection, WORSE, SQL)
            connection.execute('insert into "Order" (discount) values (1)')
        yield opened


@pytest.mark.parametrize("at", ["", "restore: restored", "connection: DATABASE_URL in .env"])
def test_no_order_from_before_the_deploy_is_lost(made: Shop, at: str) -> None:
    words = ("run", "rollback", "--way", "restore", "--yes", "--accept-loss")
    dry = made.unmigrate("run", "rollback", "--way", "restore", "--dry-run")
    assert (dry.exit_code, "right before the deploy" in dry.text) == (3, True), dry.text
    assert "--type=lsn" in dry.text
    assert SECRET not in dry.text
    said = made.unmigrate(*words, kill=at)
    if at:
        assert said.exit_code == -9, said.text
        said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    assert SECRET not in said.text
    text = (made.root / ".env").read_text()
    url = next(line for line in text.splitlines() if line.startswith("DATABASE_URL")).partition("=")[2].strip("'\"")
    assert parse_url(url).display != parse_url(made.url).display
    assert "options" not in url, "what keeps maintenance off the provider is not the app's"
    with psycopg.connect(parse_url(url).conninfo) as new:
        assert new.execute('select item from "Order" order by id').fetchall() == [("a",), ("b",), ("c",), ("after the backup",)]
        assert len(new.execute("select 1 from _prisma_migrations").fetchall()) == 2
    assert (made.root / "deployed.log").read_text() == "v2\n"
