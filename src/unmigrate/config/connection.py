"""[connection]: where the app takes its connection string from, to be changed when the database is another. All that are given are used."""

from collections.abc import Iterator
from dataclasses import dataclass

from unmigrate.config.maintenance import workload_problems


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file like .env, relative to the project. The rest of it stays as it is."""

    file: str = ".env"
    variable: str = "DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A key of a Secret; `restart` names the workloads that read it ("deployment/api")."""

    secret: str
    key: str = "DATABASE_URL"
    namespace: str = "default"
    context: str | None = None
    restart: tuple[str, ...] = ()

    def problems(self) -> Iterator[tuple[str, str, str]]:
        yield from workload_problems("restart", self.restart)


@dataclass(frozen=True, slots=True)
class Aws:
    """A secret of AWS Secrets Manager. field: of a JSON secret; without it the whole secret is the connection string."""

    secret_id: str
    field: str | None = None
    region: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """`get` prints the connection string, `set` takes the new one on standard input; both are shell commands, and may run twice."""

    get: str
    set: str


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """after: a command for what must happen after the change, such as restarting what reads it; it may run twice."""

    env_file: EnvFile | None = None
    kubernetes: Kubernetes | None = None
    aws: Aws | None = None
    command: Command | None = None
    after: str | None = None
