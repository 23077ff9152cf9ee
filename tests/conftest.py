"""Servers and databases for tests: one embedded server per run, Debian's 15 where it is installed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.disk import small_disk
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch import binaries
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server, open_server

__all__ = ["small_disk"]
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background, and so by what they start


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The embedded server."""
    with open_server("embedded", environ=os.environ) as opened:
        yield opened


@pytest.fixture(scope="session")
def debian_server() -> Iterator[Server]:
    """Debian's PostgreSQL 15: another major version, and extensions that the embedded one lacks."""
    if not any(one.major == 15 for one in binaries.debian()):
        pytest.skip("Debian's PostgreSQL 15 is not installed (apt install postgresql-15)")
    with open_server("debian:15", environ=os.environ) as opened:
        yield opened


@pytest.fixture(scope="session")
def pool(server: Server) -> Iterator[Pool]:
    with Pool(server) as opened:
        yield opened


@pytest.fixture(scope="session")
def debian_pool(debian_server: Server) -> Iterator[Pool]:
    with Pool(debian_server) as opened:
        yield opened


@pytest.fixture(scope="module")
def work(server: Server) -> Iterator[Workspace]:
    """With a pool of its own: what one module's migrations make, roles among it, is not the next one's."""
    with Pool(server) as pool:
        yield Workspace(pool)


@pytest.fixture
def database(pool: Pool) -> Iterator[str]:
    """An empty database of the embedded server."""
    name = pool.create()
    yield name
    pool.drop(name)
    pool.drop_new_roles()


@pytest.fixture
def target(pool: Pool, database: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to an empty database of the embedded server."""
    with pool.connect(database) as connection:
        yield connection
