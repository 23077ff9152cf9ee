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
from unmigrate.runbook import model
from unmigrate.runbook.adapters import command
from unmigrate.runbook.model import Json, Record, Spec
from unmigrate.runbook.store import Keep
from unmigrate.snapshot.urls import secrets_of

APPLICATION = "unmigrate run"
_SHORT = 4  # what is shorter is no secret, and would take every other word away
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
    def consents(self) -> bool:
        """Whether a person accepts loss: when the run began, or for this session."""
        return self.spec.accept_loss or "loss" in self.allow

    @property
    def returning(self) -> frozenset[str]:
        """Objects that a refill brings back after the rollback: they are not lost."""
        return frozenset((self.spec.refill or {}).get("destroyed", ()))

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

    def secrets(self) -> tuple[str, ...]:
        """Texts that nobody is shown: connection strings, whole and their passwords, and the webhook."""
        webhook = self.environ.get(self.config.announce.webhook_env or "", "")
        urls = [text for text in (*self.keep.values(), webhook) if "://" in text]
        passwords = {secret for text in urls for secret in secrets_of(text) if len(secret) >= _SHORT}
        return (*sorted(urls, key=len, reverse=True), *sorted(passwords, key=len, reverse=True))

    def shell(
        self, text: str, extra: Mapping[str, str] | None = None, *, given: str | None = None, hush: bool = False, cwd: Path | None = None
    ) -> str:
        """Run a command of the configuration within the time that is left; what it prints, without secrets unless it is hushed.

        It sees `extra` and UNMIGRATE_RUN in its environment. Raises as `command.run`.
        """
        return command.run(
            text, cwd=cwd or self.root, environ=self.environ, seconds=self.left(), given=given, hush=hush,
            extra={"UNMIGRATE_RUN": self.spec.run, **(extra or {})}, secrets=() if hush else self.secrets(),
        )  # fmt: skip

    def shell_line(self, text: str, extra: Mapping[str, str]) -> str:
        """As `shell`; one line of evidence."""
        said = command.tail(self.shell(text, extra), self.secrets())
        return f"`{text}` ended with 0{f': {said}' if said else ''}"

    def prepared(self, step: str) -> Json:
        return model.prepared(step, self.tale)

    def evidence(self, step: str) -> Json:
        return model.evidence(step, self.tale)

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
