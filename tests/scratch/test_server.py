"""The server: which one is chosen, that it is private, that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from unmigrate.errors import EnvironmentProblem, UsageError
from unmigrate.scratch import binaries, cluster, store
from unmigrate.scratch import server as module
from unmigrate.scratch.account import Account, cache_dir, server_account
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server, open_server

CHILD = """
import os, signal, sys, time
from unmigrate.scratch.server import open_server
with open_server("embedded", environ=os.environ) as server:
    print(server.conninfo, flush=True)
    {body}
"""


def start(body: str) -> tuple[subprocess.Popen[str], Path]:
    """A process that has a server, and that server's directory."""
    command = [sys.executable, "-c", CHILD.format(body=body)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    host = psycopg.conninfo.conninfo_to_dict(process.stdout.readline())["host"]
    return process, Path(str(host))


def gone(folder: Path) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not folder.exists() and not servers_on(folder):
            return True
        time.sleep(0.02)
    return False


def servers_on(folder: Path) -> list[str]:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in text:
            lines.append(text)
    return lines


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT], ids=lambda s: s.name)
def test_the_server_ends_with_the_process_whatever_ends_it(end: signal.Signals) -> None:
    process, folder = start("time.sleep(60)")
    assert folder.is_dir()
    process.send_signal(end)
    process.wait(10)
    assert gone(folder)


def test_the_server_ends_with_an_exception() -> None:
    process, folder = start("raise SystemExit(3)")
    assert process.wait(20) == 3
    assert gone(folder)


def test_the_server_outlives_the_thread_that_opened_it() -> None:
    import threading
    from contextlib import ExitStack

    with ExitStack() as stack:
        opened: list[Server] = []
        thread = threading.Thread(target=lambda: opened.append(stack.enter_context(open_server("embedded", environ=os.environ))))
        thread.start()
        thread.join()
        time.sleep(0.1)
        with opened[0].connect() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_no_port_is_opened_and_the_directory_is_closed_to_others(server: Server) -> None:
    with server.connect() as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        row = connection.execute("SHOW unix_socket_directories").fetchone()
    assert row is not None
    assert Path(row[0]).stat().st_mode & 0o077 == 0


def test_settings_are_for_speed_and_sameness(server: Server) -> None:
    wanted = {"fsync": "off", "autovacuum": "off", "wal_level": "minimal", "jit": "off", "TimeZone": "UTC", "server_encoding": "UTF8"}
    with server.connect() as connection:
        for name, value in wanted.items():
            assert connection.execute("SELECT current_setting(%s)", [name]).fetchone() == (value,)
        assert connection.execute("SELECT lower('Ä'), 'a' < 'B'").fetchone() == ("ä", False)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_secrets_do_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2-secret@example.org/app")
    with open_server("embedded", environ=os.environ) as opened, opened.connect() as connection:
        pid = connection.info.backend_pid
        if server_account() is None:
            pytest.skip("only root can read the environment of the server here")
        parents = [pid, *(int(Path(f"/proc/{pid}/stat").read_text().split(") ")[1].split()[i]) for i in (1,))]
        for one in parents:
            assert b"hunter2" not in Path(f"/proc/{one}/environ").read_bytes()


def test_as_root_the_server_runs_as_nobody_in_particular(server: Server) -> None:
    account = server_account()
    if account is None:
        pytest.skip("not root")
    with server.connect() as connection:
        status = Path(f"/proc/{connection.info.backend_pid}/status").read_text()
    uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
    assert set(uids) == {str(account.uid)} and account.uid != 0


def test_where_possible_the_server_has_no_network(server: Server) -> None:
    if not server.isolated:
        pytest.skip("this kernel or container gives no network namespace")
    with server.connect() as connection:
        devices = Path(f"/proc/{connection.info.backend_pid}/net/dev")
        names = [line.split(":")[0].strip() for line in devices.read_text().splitlines()[2:]]
    assert set(names) <= {"lo"} or not any(not name.startswith(("tunl", "sit", "ip6", "gre", "erspan", "lo")) for name in names)


def test_pg_dump_beside_the_server_fits_it(pool: Pool, database: str) -> None:
    assert pool.server.bin_dir is not None
    with pool.connect(database) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    command = [str(pool.server.bin_dir / "pg_dump"), "-s", "--exclude-schema=unmigrate_scratch", pool.conninfo(database)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE public.kept" in done.stdout and "unmigrate_scratch" not in done.stdout


# choosing


def fake(kind: str, major: int, *names: str) -> binaries.Binaries:
    return binaries.Binaries(kind, Path(f"/nowhere/{kind}{major}/{','.join(names)}"), f"{major}.1", major, Path("/nowhere"))


@pytest.mark.parametrize(
    ("needed", "chosen"),
    [
        ((), "debian"),  # what is installed here before the wheel
        (("vector",), "embedded"),
        (("pgcrypto",), "debian"),  # the real one before a stand-in
        (("vector", "pgcrypto"), "embedded"),  # all of them before real ones
        (("postgis",), "debian"),
        (("nobody_has_it",), "debian"),
    ],
)
def test_the_first_server_that_has_most_extensions(needed: tuple[str, ...], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    have = {"embedded": frozenset({"vector", "hstore"}), "debian": frozenset({"hstore", "pgcrypto", "postgis"})}
    monkeypatch.setattr(binaries.Binaries, "extensions", lambda self: have[self.kind])
    monkeypatch.setattr(binaries, "embedded", lambda: fake("embedded", 18))
    monkeypatch.setattr(binaries, "debian", lambda: (fake("debian", 16), fake("debian", 15)))
    monkeypatch.setattr(store, "stand_ins", lambda one: frozenset({"pgcrypto"}) - have[one.kind] if one.major >= 18 else frozenset())
    picked = module._pick(None, frozenset(needed))
    assert picked.kind == chosen and picked.major in (18, 16)


def test_debian_of_a_given_major(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "debian", lambda: (fake("debian", 16), fake("debian", 15)))
    assert module._pick("debian:15", frozenset()).major == 15
    with pytest.raises(EnvironmentProblem, match="no PostgreSQL binaries"):
        module._pick("debian:9", frozenset())


def test_an_unknown_choice_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="unknown scratch server"), open_server("postgres", environ={}):
        pass


def test_the_variable_chooses(server: Server) -> None:
    with open_server(None, environ={"UNMIGRATE_SCRATCH": f"{server.conninfo} dbname=template1"}) as opened:
        assert not opened.own and opened.version == server.version


@pytest.mark.parametrize("url", ["postgresql://me:hunter2@127.0.0.1:1/app", "host=127.0.0.1 port=1 user=me password=hunter2"])
def test_a_given_server_that_cannot_be_reached_is_said_without_the_password(url: str) -> None:
    with pytest.raises(EnvironmentProblem) as caught, open_server(url, environ={}):
        pass
    assert "hunter2" not in str(caught.value) and "127.0.0.1" in str(caught.value) and "\n" not in str(caught.value)


# what is kept on disk


def test_the_second_server_copies_what_initdb_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o755)
    environ = {"UNMIGRATE_CACHE": str(tmp_path / "cache")}
    with open_server("embedded", environ=environ):
        pass
    monkeypatch.setattr(cluster, "initialise", lambda *_: pytest.fail("initdb ran again"))
    with open_server("embedded", environ=environ) as opened, opened.connect() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_without_a_writable_cache_it_works_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_server("embedded", environ={"UNMIGRATE_CACHE": str(tmp_path / "file")}) as opened:
        assert opened.version >= 180000


@pytest.fixture
def cache() -> Iterator[dict[str, str]]:
    """A cache directory the server's account can enter (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="unmigrate-test-cache-") as folder:
        Path(folder).chmod(0o755)
        yield {"UNMIGRATE_CACHE": folder}


def test_a_persistent_server_has_its_databases_next_time(cache: dict[str, str]) -> None:
    with open_server("embedded", environ=cache, persistent=True) as opened:
        assert opened.persistent
        with Pool(opened) as pool:
            name = pool.create()
            with pool.connect(name) as connection:
                connection.execute("CREATE TABLE kept (id int)")
            assert pool.find_template("key") is None
            assert pool.keep_template(name, "key")
        with open_server("embedded", environ=cache, persistent=True) as second:
            assert not second.persistent  # one process at a time; the others do without
    with open_server("embedded", environ=cache, persistent=True) as opened, Pool(opened) as pool:
        template = pool.find_template("key")
        assert template is not None and pool.find_template("other") is None
        with pool.connect(pool.create(template)) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_what_a_crash_left_of_the_persistent_server_is_thrown_away(cache: dict[str, str]) -> None:
    with open_server("embedded", environ=cache, persistent=True):
        pass
    data = next(Path(cache["UNMIGRATE_CACHE"]).glob("*/data"))
    (data / "postmaster.pid").write_text("1\n")
    (data / "marker").write_text("")
    with open_server("embedded", environ=cache, persistent=True) as opened:
        assert opened.persistent and not (data / "marker").exists()


def test_what_a_killed_run_left_is_dropped(cache: dict[str, str]) -> None:
    with open_server("embedded", environ=cache, persistent=True) as opened, opened.connect() as connection:
        connection.execute("CREATE DATABASE unmigrate_scratch_1_abcd_7")
        connection.execute("CREATE ROLE reporting")
    with open_server("embedded", environ=cache, persistent=True) as opened, opened.connect() as connection:
        assert connection.execute("SELECT FROM pg_database WHERE datname = 'unmigrate_scratch_1_abcd_7'").fetchone() is None
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = 'reporting'").fetchone() is None


def test_kept_data_that_does_not_start_is_done_without_and_forgotten(cache: dict[str, str]) -> None:
    with open_server("embedded", environ=cache, persistent=True):
        pass
    data = next(Path(cache["UNMIGRATE_CACHE"]).glob("*/data"))
    (data / "global" / "pg_control").write_bytes(b"broken")
    with open_server("embedded", environ=cache, persistent=True) as opened:
        assert not opened.persistent
    with open_server("embedded", environ=cache, persistent=True) as opened:
        assert opened.persistent


def test_binaries_that_the_account_cannot_reach_are_copied(tmp_path: Path) -> None:
    account = server_account()
    if account is None:
        pytest.skip("not root")
    wheel = binaries.embedded()
    assert wheel is not None
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    root = wheel.bin_dir.parent.parent
    for folder in (root, root.parent / f"{root.name}.libs"):
        if folder.exists():
            (closed / folder.name).symlink_to(folder)
    moved = binaries.Binaries("embedded", closed / root.name / "pginstall" / "bin", wheel.version, wheel.major, wheel.extension_dir)
    copied = store.reachable(moved, tmp_path / "cache", account)
    assert copied.bin_dir.is_relative_to(tmp_path / "cache") and os.access(copied.bin_dir / "postgres", os.X_OK)


def test_an_unmapped_user_id_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from unmigrate.scratch import account

    monkeypatch.setattr(account.os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "_mapped", lambda uid: False)
    found = server_account()
    assert isinstance(found, Account) and found.uid == found.named


def test_the_cache_is_where_people_expect_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from unmigrate.scratch import account

    monkeypatch.setattr(account.os, "geteuid", lambda: 1000)
    assert cache_dir({"XDG_CACHE_HOME": "/x"}) == Path("/x/unmigrate")
    assert cache_dir({"HOME": "/nowhere"}) == Path("/nowhere/.cache/unmigrate")
