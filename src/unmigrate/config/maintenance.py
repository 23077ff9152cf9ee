"""[maintenance]: how writers are kept away. Every subsection that is given is used, in this order: http, command, kubernetes, database."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from unmigrate.config.http import Request


@dataclass(frozen=True, slots=True)
class Http:
    """A flag of the app, switched by requests."""

    on: Request
    off: Request


@dataclass(frozen=True, slots=True)
class Command:
    """Commands that switch it; `status`, if given, ends with 0 while maintenance is on. Each may run twice after an interruption."""

    on: str
    off: str
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """workloads: "deployment/api", "statefulset/worker", scaled to 0 and back to the replicas they had. pause: autoscalers and Argo CD
    that would undo that are paused too, else they are named and the run refuses. context: of the kubeconfig; without it the current."""

    workloads: tuple[str, ...]
    namespace: str = "default"
    context: str | None = None
    pause: bool = True
    argocd_namespace: str = "argocd"

    def problems(self) -> Iterator[tuple[str, str, str]]:
        yield from workload_problems("workloads", self.workloads)


def workload_problems(key: str, workloads: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """What is not "deployment/NAME" or "statefulset/NAME"."""
    for each in workloads:
        kind, slash, name = each.partition("/")
        if kind not in ("deployment", "statefulset") or not slash or not name:
            yield key, f"{each!r} is no workload", 'write "deployment/NAME" or "statefulset/NAME"'


@dataclass(frozen=True, slots=True)
class Database:
    """read-only: ALTER DATABASE … SET default_transaction_read_only, other sessions ended. revoke-connect: CONNECT taken from everybody
    but `keep`, other sessions ended."""

    mode: Literal["read-only", "revoke-connect"] = "read-only"
    keep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Maintenance:
    """always: also for ways that need no downtime. quiet (seconds): how long no write may be seen before the run goes on;
    wait (seconds): how long to wait for that."""

    always: bool = False
    quiet: float = 2.0
    wait: float = 120.0
    http: Http | None = None
    command: Command | None = None
    kubernetes: Kubernetes | None = None
    database: Database | None = None

    def problems(self) -> Iterator[tuple[str, str, str]]:
        for key in ("quiet", "wait"):
            if getattr(self, key) <= 0:
                yield key, f"{key} is {getattr(self, key)}", "give seconds, more than 0"
