"""A scratch server for a whole test session, and a workspace on it."""

import os
from collections.abc import Iterator

import pytest

from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import open_server


@pytest.fixture(scope="session")
def work() -> Iterator[Workspace]:
    with open_server(None, extensions=frozenset(), environ=os.environ) as server, Pool(server) as pool:
        yield Workspace(pool)
