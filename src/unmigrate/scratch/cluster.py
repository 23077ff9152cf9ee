"""One PostgreSQL server of our own: a data directory, a private socket directory, a process that never outlives us.

The server is the child of a small shell that waits for the end of a pipe we hold. However we end (exit, exception, SIGTERM, kill -9),
the pipe closes, the shell stops the server and removes what was temporary. No port is opened; the server's environment is empty.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.errors import EnvironmentProblem
from unmigrate.scratch.account import Account
from unmigrate.scratch.binaries import Binaries

SUPERUSER = "unmigrate_superuser"  # not `postgres`: that name stays free for migrations
PORT = 5432
START_SECONDS = 60
IN_MEMORY_FROM = 4 * 1024**3  # bytes free, in memory and in /dev/shm
SETTINGS = {
    "listen_addresses": "''",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "jit": "off",
    "shared_buffers": "'64MB'",
    "max_connections": "30",
    "max_locks_per_transaction": "512",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "checkpoint_timeout": "'1d'",
    "max_wal_size": "'512MB'",
    "min_wal_size": "'32MB'",
    "temp_file_limit": "'4GB'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "datestyle": "'ISO, MDY'",
    "log_min_messages": "fatal",
    "log_min_error_statement": "panic",
    "update_process_title": "off",
    "bonjour": "off",
    "ssl": "off",
    "dynamic_library_path": "'$libdir'",
}
SETTINGS_BY_MAJOR = {18: {"io_method": "sync"}}
NEEDS_LOOPBACK = 15  # before it, what counts rows for the server is a process that it reaches by UDP; without it nothing is counted
LOOPBACK = """
import fcntl, os, socket, struct, sys
up = struct.pack("16sH14x", b"lo", 0x41)  # IFF_UP | IFF_RUNNING
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, up)  # SIOCSIFFLAGS
os.execv(sys.argv[1], sys.argv[1:])
"""
WATCHER = """
trap '' INT HUP TERM
exec 3<&0 </dev/null
"$1/postgres" -D "$2" -k "$3" >"$3/log" 2>&1 3<&- &
server=$!
{ read -r _ <&3; : >"$3/ending"; kill -"$4" "$server" 2>/dev/null; } &
reader=$!
exec 3<&-
wait "$server"
kill -9 "$reader" 2>/dev/null
[ ! -e "$3/ending" ] || rm -rf "$3"
"""  # a server that ended by itself leaves its log to us


def environment() -> dict[str, str]:
    """What the server's processes see: nothing of ours."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "PGTZ": "UTC"}


def initialise(binaries: Binaries, folder: Path, account: Account | None) -> None:
    """initdb into `folder`, which must not exist. C.UTF-8 for letters beyond ASCII, C (so byte) order for text."""
    with tempfile.TemporaryDirectory(prefix="unmigrate-initdb-", dir=temp_root()) as outer:
        made = Path(outer) / "data"
        if account:
            os.chown(outer, account.named, -1)
        flags = ["-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "-N", "--wal-segsize=4", "--lc-collate=C", f"--lc-ctype={_ctype()}"]
        flags += ["--lc-messages=C", "--lc-monetary=C", "--lc-numeric=C", "--lc-time=C", "-T", "english"]
        if binaries.major >= 18:
            flags.append("--no-data-checksums")
        command = [str(binaries.bin_dir / "initdb"), "-D", str(made), *flags]
        done = subprocess.run(
            command, env=environment(), cwd="/", capture_output=True, text=True, check=False, start_new_session=True,
            user=account.named if account else None, extra_groups=[] if account else None,
        )  # fmt: skip
        if done.returncode:
            reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
            raise EnvironmentProblem(
                f"initdb of PostgreSQL {binaries.version} failed: {reason}",
                code="scratch-server",
                remedy="give a server with --scratch URL or UNMIGRATE_SCRATCH",
            )
        copy_tree(made, folder, account)


def _ctype() -> str:
    import locale

    for name in ("C.UTF-8", "C.utf8", "en_US.UTF-8"):
        before = locale.setlocale(locale.LC_CTYPE)
        with suppress(locale.Error):
            locale.setlocale(locale.LC_CTYPE, name)
            locale.setlocale(locale.LC_CTYPE, before)
            return name
    return "C"


def copy_tree(source: Path, target: Path, account: Account | None) -> None:
    """Copy a data directory, owned by the server's account, closed to others."""
    target.mkdir(mode=0o700)
    if account:
        os.chown(target, account.uid, account.gid)
    with os.scandir(source) as entries:
        for entry in entries:
            copy = target / entry.name
            if entry.is_dir(follow_symlinks=False):
                copy_tree(Path(entry.path), copy, account)
            elif entry.is_file(follow_symlinks=False):
                shutil.copyfile(entry.path, copy)
                copy.chmod(0o600)
                if account:
                    os.chown(copy, account.uid, account.gid)


def write_settings(binaries: Binaries, data: Path, more: dict[str, str]) -> None:
    """Settings of the server, and trust for whoever can enter the private socket directory."""
    settings = dict(SETTINGS)
    for major, extra in SETTINGS_BY_MAJOR.items():
        if binaries.major >= major:
            settings |= extra
    settings |= more
    (data / "postgresql.auto.conf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    (data / "pg_hba.conf").write_text("local all all trust\n")


@lru_cache
def temp_root() -> Path:
    """Where temporary directories go: in memory where there is plenty (databases are made twice as fast and more evenly there).

    The name leaves room for a socket's path, of 107 bytes at most.
    """
    memory = Path("/dev/shm")
    if "TMPDIR" not in os.environ and os.access(memory, os.W_OK | os.X_OK) and _plenty(memory):
        return memory
    given = Path(tempfile.gettempdir())
    return given if len(str(given)) < 60 else Path("/tmp")


def _plenty(memory: Path) -> bool:
    try:
        known = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        available = int(known["MemAvailable"].split()[0]) * 1024
        return min(shutil.disk_usage(memory).free, available) >= IN_MEMORY_FROM
    except (OSError, KeyError, ValueError):
        return False


@contextmanager
def private_dir(account: Account | None) -> Iterator[Path]:
    """A temporary directory only the server's account (and root) can enter. Removed at the end, by us or by the watcher."""
    path = Path(tempfile.mkdtemp(prefix="unmigrate-", dir=temp_root()))
    if account:
        os.chown(path, account.uid, account.gid)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@lru_cache
def isolation(account: Account | None, *, loopback: bool = False) -> tuple[tuple[str, ...], bool]:
    """How to start the server away from root and from the network: (the command's beginning, whether the network is away).

    A network namespace of its own has no interface that is up; sockets in the file system work across. Where the kernel or the
    container forbids it, the rights of the migration role are the one fence. loopback: the server can talk to itself there.
    """
    tools = {name: shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin") for name in ("unshare", "setpriv")}
    unshare, setpriv = tools["unshare"], tools["setpriv"]
    if setpriv and account:
        drop = [setpriv, f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups", "--no-new-privs"]
    else:
        drop = [setpriv, "--no-new-privs"] if setpriv else []
    if unshare and (drop or not (account or loopback)):
        wake = [sys.executable, "-I", "-S", "-c", LOOPBACK] if loopback else []
        mine = [] if account else ["--user", "--map-current-user", *(["--keep-caps"] if loopback else [])]  # waking it needs a right
        lose = ["--inh-caps=-all", "--ambient-caps=-all"] if "--keep-caps" in mine else []
        command = [unshare, *mine, "--net", *wake, *drop, *lose]
        if _works(command):
            return tuple(command), True
    if drop and _works(drop):
        return tuple(drop), False
    return (), False


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run([*command, "/bin/true"], env=environment(), cwd="/", capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def running(binaries: Binaries, data: Path, sockets: Path, account: Account | None, *, lock: int | None) -> Iterator[str]:
    """Run a server on `data` until the block ends; `sockets` is removed whatever happens. A libpq string of its superuser.

    lock: None for a temporary server, which is stopped at once; else the descriptor of a lock that the server holds as long as it
    lives, and which is stopped in order.
    """
    signal = "QUIT" if lock is None else "INT"
    prefix, _ = isolation(account, loopback=binaries.major < NEEDS_LOOPBACK)
    drop: dict[str, Any] = {} if prefix or not account else {"user": account.uid, "group": account.gid, "extra_groups": []}
    process = subprocess.Popen(
        [*prefix, "/bin/sh", "-c", WATCHER, "unmigrate-scratch", str(binaries.bin_dir), str(data), str(sockets), signal],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=environment(), cwd="/", start_new_session=True, umask=0o077, pass_fds=[] if lock is None else [lock], **drop,
    )  # fmt: skip
    try:
        conninfo = f"host={sockets} port={PORT} user={SUPERUSER}"
        _wait(process, conninfo, sockets)
        yield conninfo
    finally:
        if process.stdin:
            with suppress(OSError):
                process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", conninfo: str, sockets: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    pause = 0.005
    while time.monotonic() < deadline:
        if (sockets / f".s.PGSQL.{PORT}").exists():
            try:
                psycopg.connect(f"{conninfo} dbname=template1 connect_timeout=5").close()
                return
            except psycopg.OperationalError:
                pass
        if process.poll() is not None:
            break
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)
    log = _tail(sockets / "log")
    raise EnvironmentProblem(
        f"the scratch server did not start: {log or 'no message'}",
        code="scratch-server",
        remedy="give a server with --scratch URL or UNMIGRATE_SCRATCH",
    )


def _tail(path: Path) -> str:
    try:
        return " ".join(path.read_text(errors="replace").split())[-400:]
    except OSError:
        return ""
