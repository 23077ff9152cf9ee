"""The scratch server: a PostgreSQL on which migrations may be run, tried and thrown away.

Choices: "embedded" (the wheel), "debian" or "debian:15" (Debian's binaries), a URL or libpq string of a given server, or
"target:URL" (databases beside the target's own, as Prisma's shadow database). None: UNMIGRATE_SCRATCH, else the first of Debian,
embedded, embedded with stand-ins, that has the extensions a history asks for.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from unmigrate.errors import EnvironmentProblem, UsageError
from unmigrate.prisma.url import parse_url, require_supported
from unmigrate.scratch import binaries as found
from unmigrate.scratch import cluster, leftovers, store
from unmigrate.scratch.account import cache_dir, server_account
from unmigrate.scratch.binaries import Binaries

REMEDY = "give a server with --scratch URL or UNMIGRATE_SCRATCH, or install PostgreSQL (apt install postgresql)"


@dataclass(frozen=True, slots=True)
class Server:
    """A server to work on.

    conninfo: a libpq string without a database name, of a superuser unless the server was given by URL; maintenance: a database to
    connect to for CREATE DATABASE; bin_dir: where a fitting pg_dump is; stand_ins: extensions that are ours, not the real ones;
    own: started by us (else given); persistent: its databases may be kept for the next run; isolated: its processes have no network;
    target: it is the target's own server; allow_extensions: vouched for by UNMIGRATE_SCRATCH_EXTENSIONS.
    """

    conninfo: str
    version: int
    label: str
    bin_dir: Path | None
    stand_ins: frozenset[str] = frozenset()
    own: bool = True
    persistent: bool = False
    isolated: bool = False
    target: bool = False
    maintenance: str = "template1"
    allow_extensions: frozenset[str] = frozenset()

    @property
    def major(self) -> int:
        return self.version // 10_000

    def connect(self, database: str | None = None, **kwargs: Any) -> psycopg.Connection[Any]:
        """As the role of `conninfo`. Nothing but pg_catalog is searched: what migrations made must not be run by a superuser."""
        text = psycopg.conninfo.make_conninfo(
            self.conninfo, dbname=database or self.maintenance, application_name="unmigrate", options="-csearch_path=pg_catalog"
        )
        return psycopg.connect(text, autocommit=True, prepare_threshold=None, **kwargs)

    def available_extensions(self) -> frozenset[str]:
        """What CREATE EXTENSION could find there, stand-ins included."""
        with self.connect() as connection:
            return frozenset(name for (name,) in connection.execute("SELECT name FROM pg_available_extensions"))


@contextmanager
def open_server(
    choice: str | None, *, extensions: frozenset[str] = frozenset(), environ: Mapping[str, str], persistent: bool = False
) -> Iterator[Server]:
    """A running server, stopped at the end. persistent: reuse the cached data directory, if no other process has it."""
    choice = choice or environ.get("UNMIGRATE_SCRATCH") or None
    allow = frozenset(environ.get("UNMIGRATE_SCRATCH_EXTENSIONS", "").replace(",", " ").split())
    if choice is None or choice == "embedded" or choice == "debian" or choice.startswith("debian:"):
        with own_server(_pick(choice, extensions), environ, persistent=persistent) as server:
            yield replace(server, allow_extensions=allow)
    elif choice.startswith("target:"):
        yield replace(given(choice.removeprefix("target:"), target=True), allow_extensions=allow)
    elif "://" in choice or "=" in choice:
        yield replace(given(choice), allow_extensions=allow)
    else:
        raise UsageError(
            f"unknown scratch server {choice!r}", code="scratch-choice", remedy="use embedded, debian, debian:15, target or a URL"
        )


def _pick(choice: str | None, extensions: frozenset[str]) -> Binaries:
    embedded, debian = found.embedded(), found.debian()
    if choice == "embedded":
        candidates = [embedded] if embedded else []
    elif choice is None:
        candidates = [*debian, *([embedded] if embedded else [])]
    else:
        major = choice.partition(":")[2]
        candidates = [one for one in debian if not major or str(one.major) == major]
    if not candidates:
        raise EnvironmentProblem(f"no PostgreSQL binaries found ({choice or 'embedded, Debian'})", code="no-scratch-server", remedy=REMEDY)

    def worth(one: Binaries) -> tuple[int, int]:
        real = extensions & one.extensions()
        return len(real | (extensions & store.stand_ins(one))), len(real)

    return max(candidates, key=worth)  # the first of equals: what is installed here, Debian's highest major; else the wheel


@contextmanager
def own_server(binaries: Binaries, environ: Mapping[str, str], *, persistent: bool = False) -> Iterator[Server]:
    """A server of these binaries, private to us and stopped at the end. Raises EnvironmentProblem."""
    with ExitStack() as stack:
        try:
            server = _start(stack, binaries, environ, persistent)
        except EnvironmentProblem:
            if not persistent:
                raise
            stack.close()  # what was kept does not start: do without
            server = _start(stack, binaries, environ, False)
        yield server


def _start(stack: ExitStack, binaries: Binaries, environ: Mapping[str, str], persistent: bool) -> Server:
    account = server_account()
    kept = None
    try:
        binaries = store.reachable(binaries, cache_dir(environ), account)
        sockets = stack.enter_context(cluster.private_dir(account))
        if persistent:
            kept = stack.enter_context(store.persistent_data(binaries, cache_dir(environ), account))
        data, lock = kept or (sockets / "data", None)
        if kept is None:
            store.fresh_data(binaries, cache_dir(environ), account, data)
        names = store.stand_ins(binaries)
        cluster.write_settings(binaries, data, store.stand_in_settings(names, sockets, account))
        conninfo = stack.enter_context(cluster.running(binaries, data, sockets, account, lock=lock))
    except (OSError, EnvironmentProblem) as error:
        if kept is not None:
            store.discard(kept[0])
        if isinstance(error, EnvironmentProblem):
            raise
        raise EnvironmentProblem(f"the scratch server cannot be set up: {error}", code="scratch-server", remedy=REMEDY) from error
    with psycopg.connect(f"{conninfo} dbname=template1", autocommit=True) as connection:
        version = connection.info.server_version
        require_supported(connection, "the scratch server")
        if kept is not None:
            leftovers.clear_own(connection)
    label = f"{'embedded' if binaries.kind == 'embedded' else 'Debian'} PostgreSQL {binaries.version.split()[0]}"
    isolated = cluster.isolation(account, loopback=binaries.major < cluster.NEEDS_LOOPBACK)[1]
    return Server(conninfo, version, label, binaries.bin_dir, names, persistent=kept is not None, isolated=isolated)


def given(url: str, *, target: bool = False) -> Server:
    """A server somebody else runs. Its Prisma-only parameters are dropped; errors are one line, without the password."""
    conninfo, maintenance, display = _translate(url)
    text = psycopg.conninfo.make_conninfo(conninfo, dbname=maintenance, application_name="unmigrate")
    try:
        with psycopg.connect(text, autocommit=True) as connection:
            version = connection.info.server_version
            require_supported(connection, f"the scratch server {display}")
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1].split("failed: ")[-1]
        message = f"the scratch server {display} cannot be reached: {reason}"
        raise EnvironmentProblem(message, code="scratch-server", remedy=REMEDY) from None
    label = f"PostgreSQL {version // 10_000}.{version % 10_000} at {display}"
    return Server(conninfo, version, label, found.pg_dump_dir(version // 10_000), own=False, target=target, maintenance=maintenance)


def _translate(url: str) -> tuple[str, str, str]:
    """libpq string without database, database to connect to, and how to show it."""
    if "://" in url:
        parsed = parse_url(url)
        parts, display = psycopg.conninfo.conninfo_to_dict(parsed.conninfo), parsed.display
    else:
        parts = psycopg.conninfo.conninfo_to_dict(url)
        display = " ".join(f"{k}={v}" for k, v in parts.items() if k not in ("password", "options"))
    database = parts.pop("dbname", None) or "postgres"
    parts.pop("options", None)
    return psycopg.conninfo.make_conninfo("", **parts), str(database), display
