"""[app]: how the version before goes out, and how to see which one is out."""

from collections.abc import Iterator
from dataclasses import dataclass

from unmigrate.config.http import Request
from unmigrate.config.maintenance import workload_problems


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """image: with {tag} in it, set on `container` of every workload; without it, rollout undo. An Argo CD application that would put the
    bad version back is paused, and stays so."""

    workloads: tuple[str, ...]
    namespace: str = "default"
    context: str | None = None
    image: str | None = None
    container: str | None = None
    argocd_namespace: str = "argocd"

    def problems(self) -> Iterator[tuple[str, str, str]]:
        yield from workload_problems("workloads", self.workloads)
        if self.image is not None and "{tag}" not in self.image:
            yield "image", f"image is {self.image!r}", "put {tag} where the version stands"


@dataclass(frozen=True, slots=True)
class Deployed:
    """How to ask which version is deployed. command: prints a git tag or commit; http and path: a request, and the field of its answer;
    migrations: a command that prints the names of the migrations that the deployed app ships, one a line, which settles it without git."""

    command: str | None = None
    http: Request | None = None
    path: str = "version"
    migrations: str | None = None


@dataclass(frozen=True, slots=True)
class App:
    """tags: pattern of git tags that are releases. deploy: a command that deploys the version in UNMIGRATE_TAG (and, to come back, the one
    before); it may run twice. checkout: a git worktree that is switched to the tag. deployed: how to ask what is out."""

    tags: str = "*"
    deploy: str | None = None
    checkout: str | None = None
    kubernetes: Kubernetes | None = None
    deployed: Deployed | None = None
