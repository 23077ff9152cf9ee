"""A Debian server of a test's own that archives into a pgBackRest repository of its own."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.snapshot.kit import SECRET, Kit
from unmigrate.config.snapshot import PgBackRest as Config
from unmigrate.scratch import binaries
from unmigrate.scratch.cluster import temp_root
from unmigrate.snapshot.pgbackrest import PgBackRest

STANZA = "shop"
DATABASE = "shop_db"


@dataclass
class Archived:
    """root: all of it; bin_dir: of the server; account: None when we are not root; port: of the source."""

    root: Path
    bin_dir: Path
    account: str | None
    port: int

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def url(self) -> str:
        return f"postgresql://app:{SECRET}@127.0.0.1:{self.port}/{DATABASE}?schema=public"

    def config(self, **more: Any) -> Config:
        given = {"config": str(self.root / "pgbackrest.conf"), "user": self.account, "port": self.port + 1, "wait": 60.0, **more}
        return Config(STANZA, str(self.root / "restored"), **given)

    def provider(self, **more: Any) -> PgBackRest:
        return PgBackRest(self.config(**more), self.url, os.environ)

    def kit(self, **more: Any) -> Kit:
        return Kit(self.provider(**more), self.url)

    def folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir(exist_ok=True)
        if self.account:
            shutil.chown(path, self.account, self.account)
        return path

    def run(self, *command: str) -> str:
        prefix = ["runuser", "-u", self.account, "--"] if self.account else []
        with (self.root / "said").open("w+") as said:  # no pipe: what pg_ctl starts would keep it open
            done = subprocess.run([*prefix, *command], cwd="/", stdout=said, stderr=subprocess.STDOUT, check=False)
            said.seek(0)
            text = said.read()
        assert done.returncode == 0, text
        return text

    def backrest(self, *command: str) -> str:
        return self.run("pgbackrest", f"--config={self.root}/pgbackrest.conf", f"--stanza={STANZA}", *command)

    def start(self, *, conf: Sequence[str] = ()) -> None:
        self.run(str(self.bin_dir / "pg_ctl"), "-D", str(self.data), "-l", f"{self.root}/log/server", "-w", *conf, "start")

    def stop(self, mode: str = "fast") -> None:
        self.run(str(self.bin_dir / "pg_ctl"), "-D", str(self.data), "-m", mode, "-w", "stop")

    def superuser(self, database: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(f"host=127.0.0.1 port={self.port} user=postgres dbname={database}", autocommit=True)

    def end(self) -> None:
        for pid in self.root.glob("**/postmaster.pid"):
            command = [str(self.bin_dir / "pg_ctl"), "-D", str(pid.parent), "-m", "immediate", "stop"]
            subprocess.run(["runuser", "-u", self.account, "--", *command] if self.account else command, check=False, capture_output=True)
        shutil.rmtree(self.root, ignore_errors=True)


def _free() -> int:
    """A port with room behind it for what is restored; below those that the system gives out by itself."""
    for port in range(20_000 + os.getpid() % 900 * 10, 32_000, 10):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
    raise AssertionError("no port is free")


def lay_out(root: Path) -> Archived:
    debian = next((one for one in binaries.debian() if one.major == 15), None) or next(iter(binaries.debian()), None)
    if shutil.which("pgbackrest") is None or debian is None:
        pytest.skip("pgBackRest and Debian's PostgreSQL are not both here (apt install pgbackrest postgresql): its provider is not tested")
    root.chmod(0o755)
    account = None
    if os.geteuid() == 0:
        account = next((name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()}), None)
        shutil.chown(root, account)
    made = Archived(root, debian.bin_dir, account, _free())
    for name in ("repo", "log", "lock", "restored", "sockets"):
        made.folder(name)
    (root / "pgbackrest.conf").write_text(
        f"[global]\nrepo1-path={root}/repo\nrepo1-retention-full=9\nlog-path={root}/log\nlock-path={root}/lock\ncompress-type=none\n"
        f"[{STANZA}]\npg1-path={root}/data\npg1-port={made.port}\npg1-socket-path={root}/sockets\npg1-user=postgres\n"
    )
    made.run(str(debian.bin_dir / "initdb"), "-D", str(made.data), "-A", "trust", "-U", "postgres", "-N", "--wal-segsize=1")
    with (made.data / "postgresql.conf").open("a") as conf:
        conf.write(
            f"port = {made.port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{root}/sockets'\nfsync = off\n"
            "shared_buffers = 16MB\nmax_wal_size = 64MB\narchive_mode = on\n"
            f"archive_command = 'pgbackrest --config={root}/pgbackrest.conf --stanza={STANZA} archive-push %p'\n"
        )
    return made


def furnish(made: Archived) -> None:
    """A running server with its stanza, and a database that its own role owns."""
    made.start()
    made.backrest("stanza-create")
    with made.superuser() as connection:
        connection.execute("CREATE ROLE app LOGIN CREATEDB")
        connection.execute("GRANT pg_read_all_settings TO app")
        connection.execute(f"CREATE DATABASE {DATABASE} OWNER app")
    with made.superuser(DATABASE) as connection:
        connection.execute("GRANT ALL ON SCHEMA public TO app")
        connection.execute("GRANT CREATE ON DATABASE shop_db TO app")
        connection.execute("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO app")


@pytest.fixture
def backrest() -> Iterator[Archived]:
    root = Path(tempfile.mkdtemp(prefix="unmigrate-backrest-", dir=temp_root()))
    made = None
    try:
        made = lay_out(root)
        furnish(made)
        yield made
    finally:
        if made:
            made.end()
        else:
            shutil.rmtree(root, ignore_errors=True)
