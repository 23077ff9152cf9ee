"""A shop as people run one: git checkout with two releases, an app as a process in two versions, a database, an unmigrate.toml.

The app is started by `bin/deploy` from a worktree of the release; its version 1 knows no column "discount", version 2 needs it.
"""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg

from tests.runbook import process
from tests.support import deploy, prisma_url, record, write_project
from unmigrate.scratch.pool import Pool


def some(points: list[str], each: int = 3) -> list[str]:
    """Every third boundary to kill at, as each takes seconds; UNMIGRATE_KILL=full: all of them."""
    return points if os.environ.get("UNMIGRATE_KILL") == "full" else points[::each]


INIT = 'CREATE TABLE "Order" ("id" SERIAL PRIMARY KEY, "item" TEXT NOT NULL);\n'
BAD = 'ALTER TABLE "Order" ADD COLUMN "discount" INTEGER NOT NULL DEFAULT 0;\nCREATE TABLE "Coupon" ("id" SERIAL PRIMARY KEY);\n'
BAD_NAME = "20240201000000_discounts"
MODELS = {
    "v1": "model Order {\n  id Int @id @default(autoincrement())\n  item String\n}\n",
    "v2": "model Order {\n  id Int @id @default(autoincrement())\n  item String\n  discount Int @default(0)\n}\n"
    "model Coupon {\n  id Int @id @default(autoincrement())\n}\n",
}
SCHEMA = 'datasource db {\n  provider = "postgresql"\n  url      = env("DATABASE_URL")\n}\n'
APP = Path(__file__).parent / "app.py"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    exit_code: int
    text: str


@dataclass
class Hook:
    """A webhook that remembers what it was told."""

    url: str
    told: list[dict[str, Any]]


@dataclass
class Shop:
    root: Path
    url: str
    port: int
    hook: Hook
    state: Path
    admin: str = ""
    database: str = ""

    @property
    def environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DATABASE_"))}
        return {
            **kept, "UNMIGRATE_STATE": str(self.state), "HOOK": self.hook.url, "PORT": str(self.port), "APP": str(APP), "PYTHON": sys.executable,
            "ROOT": str(self.root), "ADMIN": self.admin, "DATABASE": self.database, "URL": self.url, "PYTHONPATH": os.pathsep.join(sys.path), "NO_COLOR": "1",
        }  # fmt: skip

    def unmigrate(self, *words: str, kill: str = "", **extra: str) -> Said:
        """The command line, as a process of its own; kill: where it ends itself by SIGKILL, as "boundary" or "boundary#N"."""
        return Said(*process.run(words, cwd=self.root, env={**self.environ, **extra}, kill=kill))

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main", "-c", "tag.gpgsign=false"]
        return subprocess.run(
            ["git", *identity, *words], cwd=self.root, env=self.environ, capture_output=True, text=True, check=True
        ).stdout

    def connect(self) -> psycopg.Connection[Any]:
        from unmigrate.prisma.url import parse_url

        return psycopg.connect(parse_url(self.url).conninfo, autocommit=True)

    def ask(self, path: str, body: Any = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", data=data, timeout=5) as answer:
            return json.loads(answer.read())

    def ledger(self) -> list[str]:
        with self.connect() as connection:
            return [r[0] for r in connection.execute('select migration_name from "_prisma_migrations" order by 1')]

    def told(self) -> list[str]:
        return [t["text"] for t in self.hook.told]

    def deploy_app(self, tag: str) -> None:
        subprocess.run(["sh", "bin/deploy"], cwd=self.root, env={**self.environ, "UNMIGRATE_TAG": tag}, check=True)

    @property
    def new_url(self) -> str:
        """Of the database that is restored."""
        return self.url.replace(f"/{self.database}?", f"/{self.database}_new?")

    def stop(self) -> None:
        subprocess.run(["sh", "bin/stop"], cwd=self.root, env=self.environ, check=False)

    def deploys(self) -> list[str]:
        return (self.root / "deploys.log").read_text().split()


TOML = """
[announce]
webhook_env = "HOOK"
[maintenance]
quiet = 0.3
wait = 20
[maintenance.database]
mode = "read-only"
[maintenance.command]
on = "echo on >> maintenance.log"
off = "echo off >> maintenance.log"
[app]
deploy = "sh bin/deploy"
[app.deployed]
http = { url = "http://127.0.0.1:${PORT}/version" }
path = "version"
[[checks.sql]]
name = "orders are there"
sql = 'select count(*) >= 3 from "Order"'
[[checks.http]]
name = "an order"
requests = [
  { url = "http://127.0.0.1:${PORT}/orders", method = "POST", json = { item = "check" }, capture = { id = "id" } },
  { url = "http://127.0.0.1:${PORT}/orders/${id}", expect = { item = "check" } },
]
[[flags]]
name = "discounts"
off_command = "echo off >> flags.log"
on_command = "echo on >> flags.log"
"""
DEPLOY = """
set -e
sh bin/stop
tree="$ROOT/../release-$UNMIGRATE_TAG"
[ -d "$tree" ] || git worktree add -q --detach "$tree" "$UNMIGRATE_TAG"
echo "$UNMIGRATE_TAG" >> deploys.log
setsid "$PYTHON" "$APP" "$PORT" "$UNMIGRATE_TAG" "$ROOT/.env" </dev/null >"$ROOT/app.log" 2>&1 &
echo $! > app.pid
"""
STOP = """
[ -f app.pid ] && kill "$(cat app.pid)" 2>/dev/null
i=0; while [ -f app.pid ] && kill -0 "$(cat app.pid)" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.05; i=$((i+1)); done
rm -f app.pid; true
"""


@contextmanager
def hook() -> Iterator[Hook]:
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append({**json.loads(self.rfile.read(int(self.headers["content-length"]))), "key": self.headers["idempotency-key"]})
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Hook(f"http://127.0.0.1:{server.server_port}/hook", told)
    finally:
        server.shutdown()
        server.server_close()


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def shop(
    folder: Path, pool: Pool, *, toml: str = TOML, app: bool = True, snapshot: bool = False, destroys: bool = False,
    guarded: bool = False,
) -> Iterator[Shop]:  # fmt: skip
    """Release v1, then v2 with the bad migration, deployed; three orders and a row of the new table.

    guarded: by `unmigrate deploy`. destroys: the migration also drops the column "note" of the orders, which two of them had, and a third could not have any more.
    """
    note = "  note String?\n}\n" if destroys else "}\n"
    init, bad = INIT.replace(");", ', "note" TEXT);' if destroys else ");"), BAD + ('ALTER TABLE "Order" DROP COLUMN "note";\n' * destroys)
    models = {**MODELS, "v1": MODELS["v1"].replace("}\n", note)}

    database = pool.create()
    url = prisma_url(pool.conninfo(database))
    root = write_project(folder / "shop", [("20240101000000_init", init)], SCHEMA + models["v1"])
    with hook() as listening:
        made = Shop(root, url, free_port(), listening, folder / "state", pool.admin.info.dsn, database)
        (root / "bin").mkdir()
        (root / "bin" / "deploy").write_text(DEPLOY)
        (root / "bin" / "stop").write_text(STOP)
        (root / "unmigrate.toml").write_text(toml)
        (root / ".env").write_text(f"# the shop\nDATABASE_URL='{url}'\nOTHER=1\n")
        (root / ".gitignore").write_text(".env\n*.log\napp.pid\nunmigrate-reports\n")
        made.git("init", "-q")
        made.git("add", "-A")
        made.git("commit", "-qm", "one")
        made.git("tag", "v1")
        (root / "prisma/migrations" / BAD_NAME).mkdir()
        (root / "prisma/migrations" / BAD_NAME / "migration.sql").write_text(bad)
        (root / "prisma/schema.prisma").write_text(SCHEMA + models["v2"])
        made.git("add", "-A")
        made.git("commit", "-qm", "two")
        made.git("tag", "v2")
        with pool.connect(database) as connection:
            deploy(connection, [("20240101000000_init", init)])
            connection.execute("insert into \"Order\" (item) values ('a'), ('b')")
            if destroys:
                connection.execute("update \"Order\" set note = 'note of ' || item")
        if snapshot:
            wait_for(lambda: pool.admin.execute(f'CREATE DATABASE "{database}_snap" TEMPLATE "{database}"'))
        if guarded:
            said = made.unmigrate("deploy", "--yes")
            assert said.exit_code == 0, said.text
        with pool.connect(database) as connection:
            if not guarded:
                connection.execute(bad)
                record(connection, BAD_NAME, bad)
            connection.execute("insert into \"Order\" (item, discount) values ('c', 5)")
        if app:
            made.deploy_app("v2")
            wait_for(lambda: made.ask("/version"))
        try:
            yield made
        finally:
            made.stop()
            for name in (database, f"{database}_new", f"{database}_snap"):
                pool.admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def wait_for(ask: Any, seconds: float = 10.0) -> Any:
    until = time.monotonic() + seconds
    while True:
        try:
            return ask()
        except Exception:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


__all__ = ["BAD_NAME", "TOML", "Said", "Shop", "shop", "wait_for"]
