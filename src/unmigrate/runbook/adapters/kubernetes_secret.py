"""A connection string in a Secret of a Kubernetes cluster. Its value is never shown."""

import base64

from unmigrate.config.connection import Kubernetes
from unmigrate.errors import EnvironmentProblem
from unmigrate.runbook.adapters.kubernetes import Cluster
from unmigrate.runbook.adapters.place import Place
from unmigrate.runbook.scene import Scene


class SecretKey(Place):
    """A key of a Secret that holds the connection string."""

    def __init__(self, config: Kubernetes, scene: Scene) -> None:
        self._config, self._scene = config, scene
        self._path = f"/api/v1/namespaces/{config.namespace}/secrets/{config.secret}"
        self.name = f"{config.key} of Secret {config.namespace}/{config.secret}"
        self.shown = [
            f'PATCH {self._path} {{"data": {{"{config.key}": "•••"}}}}',
            *(f"kubectl rollout restart {w}" for w in config.restart),
        ]

    def get(self) -> str:
        cluster = Cluster.open(self._config.namespace, self._config.context)
        value = cluster.call("GET", self._path).get("data", {}).get(self._config.key)
        if value is None:
            raise EnvironmentProblem(f"{self.name} does not exist", code="secret", remedy="correct connection.kubernetes.key")
        cluster.may("patch", "", "secrets", self._config.secret)
        return base64.b64decode(value).decode()

    def put(self, text: str) -> None:
        cluster = Cluster.open(self._config.namespace, self._config.context)
        cluster.call("PATCH", self._path, {"data": {self._config.key: base64.b64encode(text.encode()).decode()}})

    def after(self, mark: str) -> list[str]:
        """Restart what reads it, once per mark."""
        cluster = Cluster.open(self._config.namespace, self._config.context)
        return cluster.restart(self._config.restart, mark, self._scene)
