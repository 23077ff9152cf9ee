"""What a step has to work with: the run, the configuration, connections, private values, time."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from unmigrate.config import Config
from unmigrate.errors import EnvironmentProblem
from unmigrate.prisma.url import DatabaseUrl, connect, parse_url
from unmigrate.runbook import flow
from unmigrate.runbook.model import Json, Record, Spec
from unmigrate.runbook.store import Keep

APPLICATION = "unmigrate run"
_DIFFERENT = "the database URL found now is of {0}, the run is about {1}"


@dataclass(slots=True)
class Scene:
    """environ: of this process; say: a remark for the person who watches; trace: called at boundaries, for tests that interrupt there;
    tale: what was recorded up to now; deadline: until when the step may take, as time.monotonic()."""

    spec: Spec
    config: Config
    keep: Keep
    environ: Mapping[str, str]
    say: Callable[[str], None] = lambda _: None
    trace: Callable[[str], None] = lambda _: None
    tale: Sequence[Record] = ()
    deadline: float = field(default=float("inf"))
    allow: frozenset[str] = frozenset()

    @property
    def root(self) -> Path:
        return Path(self.spec.project)

    def source(self) -> DatabaseUrl:
        """The database the run is about. Raises EnvironmentProblem where its URL is not known on this machine."""
        return parse_url(self.source_text())

    def source_text(self) -> str:
        """Its URL, secrets included."""
        text = self.keep.get("source")
        if text is None:
            remedy = "give --url: connection strings are kept only on the machine where the run began"
            raise EnvironmentProblem("the database URL is not known on this machine", code="no-url", remedy=remedy)
        return text

    def current_text(self) -> str:
        """The URL of the database that the app is to use: the source, or what was restored."""
        restored = self.keep.get("target") if self.spec.way == "restore" else None
        return restored or self.source_text()

    def connect(self, text: str | None = None) -> psycopg.Connection[Any]:
        """A connection to the source (or to `text`) that may write although maintenance says read-only."""
        return connect_writable(parse_url(text) if text else self.source())

    def prepared(self, step: str) -> Json:
        return flow.prepared(step, self.tale)

    def evidence(self, step: str) -> Json:
        return flow.evidence(step, self.tale)

    def left(self) -> float:
        """Seconds until the step must end. Raises EnvironmentProblem when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise EnvironmentProblem("the step took longer than it may", code="timeout", remedy="raise run.timeouts in unmigrate.toml")
        return left

    def pause(self, seconds: float) -> None:
        time.sleep(min(seconds, self.left()))


def connect_writable(url: DatabaseUrl) -> psycopg.Connection[Any]:
    """As `connect`, named as ours, and not read-only by default, whatever database or role say."""
    given = str(conninfo_to_dict(url.conninfo).get("options") or "")
    # What the client asks for wins over ALTER DATABASE … SET.
    connection = connect(url, options=f"{given} -c default_transaction_read_only=off".strip())
    connection.execute("select set_config('application_name', %s, false)", [APPLICATION])
    return connection


@contextmanager
def closing_connection(scene: Scene, text: str | None = None) -> Any:
    connection = scene.connect(text)
    try:
        yield connection
    finally:
        connection.close()
