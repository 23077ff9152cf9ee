"""Servers of the major versions that the other tests do not run on; `tools/setup-tests` installs them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from unmigrate.scratch.binaries import Binaries
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import own_server

MAJORS = (14, 16, 17)
INSTALLED = Path(__file__).parents[2] / ".oracle" / "postgres" / "node_modules"


def binaries(major: int) -> Binaries | None:
    found = sorted(INSTALLED.glob(f"postgres-{major}-*/native/bin"))
    if not found:
        return None
    version = subprocess.run([found[0] / "postgres", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return Binaries("installed", found[0], version, major, found[0].parent / "share" / "postgresql" / "extension")


@pytest.fixture(scope="module", params=MAJORS)
def major(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture(scope="module")
def pool(major: int) -> Iterator[Pool]:
    """In place of the embedded server's."""
    found = binaries(major)
    if found is None:
        pytest.skip(f"PostgreSQL {major} is not installed (tests/majors/install.sh)")
    with own_server(found, os.environ) as server, Pool(server) as opened:
        opened.admin.execute("CREATE ROLE matrix_reader")
        yield opened
