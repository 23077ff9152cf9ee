"""A real PgBouncer in front of the test server, in each of its modes."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.command import check
from tests.support import deploy, write_project
from unmigrate.errors import RefusedError
from unmigrate.prisma.pooler import shares_servers
from unmigrate.prisma.url import connect, parse_url
from unmigrate.scratch.pool import Pool

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
SCRIPTS = [("1_init", "CREATE TABLE t (id int)")]
Bouncer = Callable[..., str]


@pytest.fixture
def bouncer(pool: Pool, database: str, tmp_path: Path) -> Iterator[Bouncer]:
    """Starts one and gives a URL through it: bouncer(mode, **settings)."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed (apt install pgbouncer)")
    running = []
    parts = psycopg.conninfo.conninfo_to_dict(pool.conninfo(database))
    owner = Path(str(parts["host"])).stat().st_uid

    def start(mode: str, **settings: object) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        lines = {"listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any", "pool_mode": mode, **settings}
        file = tmp_path / f"{port}.ini"
        target = f"host={parts['host']} port={parts['port']} dbname={database} user={parts['user']}"
        file.write_text(f"[databases]\napp = {target}\n[pgbouncer]\n" + "\n".join(f"{k} = {v}" for k, v in lines.items()) + "\n")
        with file.open() as opened:  # its account need not be able to enter the folder
            running.append(
                subprocess.Popen([str(PROGRAM), "-q", "/dev/stdin"], stdin=opened, user=owner if os.geteuid() == 0 else None, cwd="/")
            )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        return f"postgresql://me@127.0.0.1:{port}/app"

    yield start
    for process in running:
        process.terminate()
        process.wait()


@pytest.mark.parametrize(
    ("mode", "settings"),
    [("transaction", {}), ("transaction", {"server_round_robin": 1, "min_pool_size": 3}), ("transaction", {"default_pool_size": 1}), ("statement", {})],
)  # fmt: skip
def test_shared_servers_are_refused(bouncer: Bouncer, mode: str, settings: dict[str, int]) -> None:
    url = bouncer(mode, **settings)
    with pytest.raises(RefusedError, match="pooler") as caught:
        connect(parse_url(url))
    assert caught.value.code == "pooler"
    assert "directUrl" in caught.value.remedy


def test_among_others_at_work(bouncer: Bouncer) -> None:
    url = bouncer("transaction")
    others = [psycopg.connect(url, autocommit=True, prepare_threshold=None) for _ in range(4)]
    for count, other in enumerate(others):
        if count % 2:
            other.execute("BEGIN")
        other.execute("select 1")
    with pytest.raises(RefusedError, match="pooler"):
        connect(parse_url(url))
    for other in others:
        other.close()


@pytest.mark.parametrize("settings", [{}, {"default_pool_size": 1}])
def test_session_mode_holds(bouncer: Bouncer, settings: dict[str, int]) -> None:
    with connect(parse_url(bouncer("session", **settings))) as connection:
        assert connection.execute("show search_path").fetchone() == ("public",)


def test_the_server_itself_costs_one_question(pool: Pool, database: str) -> None:
    def no_other() -> psycopg.Connection[object]:
        raise AssertionError("asked for a second session")

    with psycopg.connect(pool.conninfo(database), autocommit=True) as connection:
        assert not shares_servers(connection, no_other)


def test_a_command_refuses_and_leaves_no_setting_behind(bouncer: Bouncer, pool: Pool, database: str, tmp_path: Path) -> None:
    """SET of ours on a shared server would be the application's next."""
    with pool.connect(database) as connection:
        deploy(connection, SCRIPTS)
    project, url = write_project(tmp_path / "app", SCRIPTS), bouncer("transaction", default_pool_size=1)
    for command in ("status", "rollback --yes", "verify", "plan"):
        check(3, "pooler", *command.split(), "--project", project, "--url", f"{url}?schema=other")
    with psycopg.connect(url, autocommit=True) as connection:
        assert connection.execute("show search_path").fetchone() == ('"$user", public',)
