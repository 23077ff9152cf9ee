"""The Kubernetes adapter with the real client, against the stand-in, or a real cluster (UNMIGRATE_TEST_KUBECONFIG)."""

import base64
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("kubernetes")

from tests.runbook.cluster import State, cluster
from unmigrate.config import app, connection, maintenance
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.runbook.adapters.kubernetes import Cluster, shown_down, shown_up
from unmigrate.runbook.adapters.kubernetes_secret import SecretKey


@dataclass
class Here:
    """A namespace with an API and a worker. state: of the stand-in; None on a real cluster."""

    cluster: Cluster
    namespace: str
    state: State | None
    scene: Any

    def replicas(self, path: str) -> int:
        return int(self.cluster.call("GET", f"/apis/apps/v1/namespaces/{self.namespace}/{path}")["spec"]["replicas"])

    def image(self) -> str:
        found = self.cluster.call("GET", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/api")
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def scaling(self, *workloads: str, **more: Any) -> maintenance.Kubernetes:
        return maintenance.Kubernetes(workloads, namespace=self.namespace, **more)

    def add(self, path: str, item: dict[str, Any]) -> None:
        self.cluster.call("POST", path.replace("NS", self.namespace), item)


def workload(name: str, kind: str, image: str, replicas: int) -> dict[str, Any]:
    labels = {"app": name}
    spec = {
        "replicas": replicas, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
    }  # fmt: skip
    metadata = {"name": name, "labels": {"app.kubernetes.io/instance": f"{name}-app"}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec | ({"serviceName": name} if kind == "StatefulSet" else {}),
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:
    import time

    deadline = time.monotonic() + 60

    def pause(seconds: float) -> None:
        if time.monotonic() > deadline:
            raise EnvironmentProblem("too long", code="timeout")
        time.sleep(min(seconds, 0.05))

    scene = SimpleNamespace(trace=lambda at: None, pause=pause, left=lambda: 60.0, spec=SimpleNamespace(run="r1"))
    namespace = f"unmigrate-test-{uuid.uuid4().hex[:6]}"
    real = os.environ.get("UNMIGRATE_TEST_KUBECONFIG")
    with cluster(tmp_path) as (state, path):
        monkeypatch.setenv("KUBECONFIG", real or str(path))
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", real or str(path))
        opened = Here(Cluster.open(namespace, None), namespace, None if real else state, scene)
        opened.add("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        opened.add("/apis/apps/v1/namespaces/NS/deployments", workload("api", "Deployment", "registry.k8s.io/pause:3.8", 3))
        opened.add("/apis/apps/v1/namespaces/NS/statefulsets", workload("worker", "StatefulSet", "registry.k8s.io/pause:3.8", 2))
        yield opened
        if real:
            opened.cluster.call("DELETE", f"/api/v1/namespaces/{namespace}")


def stand_in(here: Here) -> State:
    if here.state is None:
        pytest.skip("for the stand-in alone")
    return here.state


def settle() -> None:
    import time

    time.sleep(0.4)


def test_down_and_up_to_the_replicas_they_had(here: Here) -> None:
    config = here.scaling("deployment/api", "statefulset/worker")
    settle()
    prepared = here.cluster.scaling(config)
    assert [w["replicas"] for w in prepared["workloads"]] == [3, 2]
    said = here.cluster.scale_down(prepared, here.scene)
    assert "deployment/api: 3 → 0 replicas" in said
    assert (here.replicas("deployments/api"), here.replicas("statefulsets/worker")) == (0, 0)
    here.cluster.scale_down(prepared, here.scene)  # again: no harm
    here.cluster.scale_up(prepared, here.scene)
    assert (here.replicas("deployments/api"), here.replicas("statefulsets/worker")) == (3, 2)


def test_what_is_shown_is_what_is_sent(here: Here) -> None:
    state, config = stand_in(here), here.scaling("deployment/api")
    healer = {"metadata": {"name": "api-app"}, "spec": {"syncPolicy": {"automated": {"selfHeal": True}}}, "wanted": 3}
    state.create("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications", healer)
    scaled = {"metadata": {"name": "api-queue"}, "spec": {"scaleTargetRef": {"name": "api"}}}
    state.create(f"/apis/keda.sh/v1alpha1/namespaces/{here.namespace}/scaledobjects", scaled)
    settle()
    prepared = here.cluster.scaling(config)
    here.cluster.scale_down(prepared, here.scene)
    here.cluster.scale_up(prepared, here.scene)
    import json

    sent = [f"{method} {path} {json.dumps(body)}" for method, path, body in state.calls if method == "PATCH"]
    assert len(sent) == 6
    assert sent == [*shown_down(config, prepared), *shown_up(prepared, config)]


def test_argo_cd_that_heals_is_paused_and_comes_back(here: Here) -> None:
    state = stand_in(here)
    automated = {"selfHeal": True, "prune": True}
    app_ = {"metadata": {"name": "api-app"}, "spec": {"syncPolicy": {"automated": automated}}, "wanted": 3}
    state.create("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications", app_)
    settle()
    config = here.scaling("deployment/api")
    prepared = here.cluster.scaling(config)
    here.cluster.scale_down(prepared, here.scene)
    settle()
    assert here.replicas("deployments/api") == 0, "it would have been healed"
    here.cluster.scale_up(prepared, here.scene)
    path = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications/api-app"
    assert here.cluster.call("GET", path)["spec"]["syncPolicy"]["automated"] == automated


def test_a_healer_that_is_not_known_stops_the_run(here: Here) -> None:
    """Something scales it up again: writers would come back behind our back."""
    state = stand_in(here)
    settle()
    config = here.scaling("deployment/api", argocd_namespace="elsewhere")
    prepared = here.cluster.scaling(config)
    app_ = {"metadata": {"name": "api-app"}, "spec": {"syncPolicy": {"automated": {"selfHeal": True}}}, "wanted": 3}
    state.create("/apis/argoproj.io/v1alpha1/namespaces/argocd/applications", app_)
    with pytest.raises(RefusedError, match="set to 3 replicas by something else"):
        here.cluster.scale_down(prepared, here.scene)


def test_keda_is_paused_and_an_hpa_named(here: Here) -> None:
    state = stand_in(here)
    target = {"scaleTargetRef": {"name": "api"}}
    state.create(f"/apis/keda.sh/v1alpha1/namespaces/{here.namespace}/scaledobjects", {"metadata": {"name": "api-queue"}, "spec": target})
    hpa = {"metadata": {"name": "api-cpu"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "api"}}}
    state.create(f"/apis/autoscaling/v2/namespaces/{here.namespace}/horizontalpodautoscalers", hpa)
    settle()
    prepared = here.cluster.scaling(here.scaling("deployment/api"))
    said = " ".join(here.cluster.scale_down(prepared, here.scene))
    assert "KEDA ScaledObject api-queue: paused" in said
    assert "api-cpu stands still" in said
    path = f"/apis/keda.sh/v1alpha1/namespaces/{here.namespace}/scaledobjects/api-queue"
    assert here.cluster.call("GET", path)["metadata"]["annotations"] == {"autoscaling.keda.sh/paused-replicas": "0"}
    here.cluster.scale_up(prepared, here.scene)
    assert here.cluster.call("GET", path)["metadata"].get("annotations", {}) == {}


def test_what_may_not_be_paused_refuses_before_anything(here: Here) -> None:
    state = stand_in(here)
    body = {"metadata": {"name": "api-queue"}, "spec": {"scaleTargetRef": {"name": "api"}}}
    state.create(f"/apis/keda.sh/v1alpha1/namespaces/{here.namespace}/scaledobjects", body)
    with pytest.raises(RefusedError, match="api-queue"):
        here.cluster.scaling(here.scaling("deployment/api", pause=False))


def test_rollout_undo_and_forward(here: Here) -> None:
    config = app.Kubernetes(("deployment/api",), namespace=here.namespace)
    settle()
    with pytest.raises(EnvironmentProblem, match="no earlier revision"):
        here.cluster.versions(config)
    path = f"/apis/apps/v1/namespaces/{here.namespace}/deployments/api"
    body = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.k8s.io/pause:3.9"}]
    here.cluster.call("PATCH", path, body, "application/json-patch+json")
    settle()
    prepared = here.cluster.versions(config)
    for _ in range(2):  # again: no harm
        here.cluster.roll_back(config, prepared, None, here.scene)
        assert here.image() == "registry.k8s.io/pause:3.8"
        settle()
    here.cluster.roll_forward(config, prepared, here.scene)
    assert here.image() == "registry.k8s.io/pause:3.9"


def test_set_image(here: Here) -> None:
    config = app.Kubernetes(("deployment/api", "statefulset/worker"), namespace=here.namespace, image="registry.k8s.io/pause:{tag}")
    settle()
    prepared = here.cluster.versions(config)
    here.cluster.roll_back(config, prepared, "3.7", here.scene)
    assert here.image() == "registry.k8s.io/pause:3.7"
    here.cluster.roll_forward(config, prepared, here.scene)
    assert here.image() == "registry.k8s.io/pause:3.8"


def test_a_secret_and_the_restart_of_what_reads_it(here: Here) -> None:
    value = base64.b64encode(b"postgresql://old").decode()
    here.add(
        "/api/v1/namespaces/NS/secrets",
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"DATABASE_URL": value, "B": value}},
    )
    config = connection.Kubernetes("db", namespace=here.namespace, restart=("deployment/api",))
    place = SecretKey(config, here.scene)
    settle()
    assert place.get() == "postgresql://old"
    place.put("postgresql://new")
    assert place.get() == "postgresql://new"
    place.after("r1-there")
    found = here.cluster.call("GET", f"/apis/apps/v1/namespaces/{here.namespace}/deployments/api")
    assert found["spec"]["template"]["metadata"]["annotations"]["unmigrate/restarted"] == "r1-there"
    generation = found["metadata"]["generation"]
    place.after("r1-there")  # the same restart is not made twice
    found = here.cluster.call("GET", f"/apis/apps/v1/namespaces/{here.namespace}/deployments/api")
    assert found["metadata"]["generation"] == generation
    assert "postgresql" not in " ".join([place.name, *place.shown])
    assert here.cluster.call("GET", f"/api/v1/namespaces/{here.namespace}/secrets/db")["data"]["B"] == value


def test_missing_rights_are_named_before_anything(here: Here) -> None:
    state = stand_in(here)
    state.denied.add(("patch", "deployments"))
    with pytest.raises(EnvironmentProblem, match="may not patch deployments/scale api"):
        here.cluster.access_scale(here.scaling("deployment/api"))
    with pytest.raises(EnvironmentProblem, match="may not patch"):
        here.cluster.access_app(app.Kubernetes(("deployment/api",), namespace=here.namespace, image="x:{tag}"))
    state.denied.add(("get", "deployments"))
    with pytest.raises(EnvironmentProblem) as caught:
        here.cluster.scaling(here.scaling("deployment/api"))
    assert "403" in str(caught.value)
    assert "RBAC" in caught.value.remedy


def test_names_that_do_not_exist(here: Here) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        here.cluster.scaling(here.scaling("deployment/nothing"))
    assert "404" in str(caught.value)


def test_no_cluster_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with cluster(tmp_path) as (_, path):
        pass
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    with pytest.raises(EnvironmentProblem, match="cannot be reached"):
        Cluster.open("default", None).scaling(maintenance.Kubernetes(("deployment/api",)))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    with pytest.raises(EnvironmentProblem, match="no access to a cluster"):
        Cluster.open("default", None)


def test_pods_that_do_not_go_end_with_the_time(here: Here) -> None:
    state = stand_in(here)
    settle()
    prepared = here.cluster.scaling(here.scaling("deployment/api"))
    state.stuck = True
    here.scene.pause = lambda seconds: (_ for _ in ()).throw(EnvironmentProblem("too long", code="timeout"))
    with pytest.raises(EnvironmentProblem, match="too long"):
        here.cluster.scale_down(prepared, here.scene)


def test_pods_that_are_terminating_are_waited_for(here: Here) -> None:
    """Replicas do not count them, and they may write until they end."""
    state = stand_in(here)
    settle()
    prepared = here.cluster.scaling(here.scaling("deployment/api"))
    state.grace = 8
    here.cluster.scale_down(prepared, here.scene)
    assert state.pods("app=api") == []
    assert len(state.pods("app=worker")) == 2


def test_where_pods_may_not_be_listed_it_is_said(here: Here) -> None:
    state = stand_in(here)
    settle()
    state.denied.add(("get", "pods"))
    said = here.cluster.scale_down(here.cluster.scaling(here.scaling("deployment/api")), here.scene)
    assert "was not seen here" in " ".join(said)


def test_a_rollout_is_over_when_no_pod_of_the_old_template_is_left(here: Here) -> None:
    state = stand_in(here)
    settle()
    state.surge = 8
    config = app.Kubernetes(("deployment/api",), namespace=here.namespace, image="registry.k8s.io/pause:{tag}")
    here.cluster.roll_back(config, here.cluster.versions(config), "3.9", here.scene)
    assert len(state.pods("app=api")) == 3
