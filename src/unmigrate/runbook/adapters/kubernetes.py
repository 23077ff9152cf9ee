"""A Kubernetes cluster by its official client: scaling, rollouts, Secrets, and what else scales or heals the same workloads.

Every call is one REST request, so that what is shown is what is sent. Values of Secrets are never shown.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from unmigrate.config import app as app_config
from unmigrate.config import maintenance as maintenance_config
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import Scene

_KINDS = {"deployment": "deployments", "statefulset": "statefulsets"}
_MERGE, _JSON, _STRATEGIC = "application/merge-patch+json", "application/json-patch+json", "application/strategic-merge-patch+json"
_PAUSED = "autoscaling.keda.sh/paused-replicas"
_TRACKING = "argocd.argoproj.io/tracking-id"
_INSTANCE = "app.kubernetes.io/instance"
_RESTARTED = "unmigrate/restarted"


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace, seen with one context of the kubeconfig, or from within the cluster."""

    api: Any
    namespace: str

    @classmethod
    def open(cls, namespace: str, context: str | None) -> "Cluster":
        """Raises EnvironmentProblem where the client or its configuration is missing."""
        try:
            from kubernetes import client, config
        except ImportError as error:
            remedy = "pip install 'unmigrate[kubernetes]'"
            raise EnvironmentProblem("the Kubernetes client is not installed", code="no-kubernetes", remedy=remedy) from error
        try:
            return cls(config.new_client_from_config(context=context), namespace)
        except config.ConfigException as error:
            if context is None:
                try:
                    config.load_incluster_config()
                    return cls(client.ApiClient(), namespace)
                except config.ConfigException:
                    pass
            remedy = "set KUBECONFIG, or correct context in unmigrate.toml"
            raise EnvironmentProblem(f"no access to a cluster: {error}", code="kubeconfig", remedy=remedy) from error

    def call(self, method: str, path: str, body: Any = None, kind: str = _MERGE, *, missing: Any = None) -> Any:
        """The answer as JSON. missing: given back for 404, else that is an EnvironmentProblem too."""
        from kubernetes.client.exceptions import ApiException

        headers = {
            "Accept": "application/json",
            **({"Content-Type": kind if method == "PATCH" else "application/json"} if body is not None else {}),
        }
        try:
            response = self.api.call_api(
                path, method, header_params=headers, body=body, auth_settings=["BearerToken"], _preload_content=False, _request_timeout=15
            )
            return json.loads(response[0].data if isinstance(response, tuple) else response.data)
        except ApiException as error:
            if error.status == 404 and missing is not None:
                return missing
            raise _problem(method, path, error) from None
        except Exception as error:  # what the client's transport raises is not one tree
            message = f"the cluster cannot be reached: {type(error).__name__}: {str(error)[:200]}"
            raise EnvironmentProblem(message, code="cluster", remedy="check kubeconfig, network and credentials") from None

    # ------------------------------------------------------------------------------------------------------------- scaling

    def scaling(self, config: maintenance_config.Kubernetes) -> Json:
        """Replicas now, and what would put them back. Raises RefusedError where something would, and must not be paused."""
        workloads = []
        for kind, name in map(_split, config.workloads):
            replicas = int(self.call("GET", f"{self._path(kind, name)}/scale")["spec"].get("replicas", 0))
            workloads.append({"kind": kind, "name": name, "replicas": replicas})
        found: Json = {"workloads": workloads, "keda": self._keda(config), "argocd": self._argocd(config), "hpa": self._hpa(config)}
        if not config.pause and (busy := [*(o["name"] for o in found["keda"]), *(a["name"] for a in found["argocd"])]):
            remedy = "pause them yourself, or set maintenance.kubernetes.pause = true"
            raise RefusedError(f"these would scale the workloads up again: {', '.join(busy)}", code="autoscaled", remedy=remedy)
        return found

    def _hpa(self, config: maintenance_config.Kubernetes) -> list[str]:
        """They stand still while their target has no replicas; named as evidence."""
        path = f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers"
        items = self.call("GET", path, missing={"items": []})["items"]
        return [i["metadata"]["name"] for i in items if _targets(i, config.workloads)]

    def _keda(self, config: maintenance_config.Kubernetes) -> list[Json]:
        items = self.call("GET", f"{_keda_path(self.namespace)}", missing={"items": []})["items"]
        return [
            {"name": i["metadata"]["name"], "paused": i["metadata"].get("annotations", {}).get(_PAUSED)}
            for i in items
            if _targets(i, config.workloads)
        ]

    def _argocd(self, config: maintenance_config.Kubernetes | app_config.Kubernetes) -> list[Json]:
        """Applications with automated sync to which one of the workloads belongs."""
        owners = set()
        for kind, name in map(_split, config.workloads):
            meta = self.call("GET", self._path(kind, name))["metadata"]
            tracked = meta.get("annotations", {}).get(_TRACKING, "").partition(":")[0]
            owners |= {tracked or meta.get("labels", {}).get(_INSTANCE, "")} - {""}
        items = self.call("GET", _argocd_path(config.argocd_namespace), missing={"items": []})["items"] if owners else []
        return [
            {"name": i["metadata"]["name"], "namespace": config.argocd_namespace, "automated": i["spec"]["syncPolicy"]["automated"]}
            for i in items
            if i["metadata"]["name"] in owners and i["spec"].get("syncPolicy", {}).get("automated") is not None
        ]

    def scale_down(self, prepared: Json, scene: Scene) -> list[str]:
        """Pause what heals, scale to 0, wait until no pod is left."""
        said = [f"HorizontalPodAutoscaler {name} stands still at 0 replicas" for name in prepared["hpa"]]
        said += self._pause(prepared["argocd"])
        for scaled in prepared["keda"]:
            self._annotate(scaled["name"], "0")
            said.append(f"KEDA ScaledObject {scaled['name']}: paused at 0")
        scene.trace("maintenance-on: healers paused")
        for each in prepared["workloads"]:
            self._scale(each, 0)
            scene.trace(f"maintenance-on: {each['name']}")
        for each in prepared["workloads"]:
            self._wait(each, 0, scene)
            left = self._pods_end(each, scene)
            said.append(f"{each['kind']}/{each['name']}: {each['replicas']} → 0 replicas{left}")
        return said

    def scale_up(self, prepared: Json, scene: Scene) -> list[str]:
        """The replicas they had, then what heals."""
        said = []
        for each in prepared["workloads"]:
            self._scale(each, each["replicas"])
            scene.trace(f"maintenance-off: {each['name']}")
        for scaled in prepared["keda"]:
            self._annotate(scaled["name"], scaled["paused"])
        said += self._sync(prepared["argocd"])
        for each in prepared["workloads"]:
            self._wait(each, each["replicas"], scene)
            said.append(f"{each['kind']}/{each['name']}: {each['replicas']} replicas again")
        return said

    def _pause(self, apps: list[Json]) -> list[str]:
        for app in apps:
            self.call("PATCH", f"{_argocd_path(app['namespace'])}/{app['name']}", {"spec": {"syncPolicy": {"automated": None}}})
        return [f"Argo CD application {app['name']}: automated sync paused" for app in apps]

    def _sync(self, apps: list[Json]) -> list[str]:
        for app in apps:
            body = {"spec": {"syncPolicy": {"automated": app["automated"]}}}
            self.call("PATCH", f"{_argocd_path(app['namespace'])}/{app['name']}", body)
        return [f"Argo CD application {app['name']}: automated sync as before" for app in apps]

    def _scale(self, each: Json, replicas: int) -> None:
        self.call("PATCH", f"{self._path(each['kind'], each['name'])}/scale", {"spec": {"replicas": replicas}})

    def _annotate(self, name: str, value: str | None) -> None:
        self.call("PATCH", f"{_keda_path(self.namespace)}/{name}", {"metadata": {"annotations": {_PAUSED: value}}})

    def _wait(self, each: Json, replicas: int, scene: Scene) -> None:
        """Until as many pods are there (0), or ready. Raises RefusedError where somebody sets another number meanwhile."""
        while True:
            found = self.call("GET", self._path(each["kind"], each["name"]))
            wanted, status = int(found["spec"].get("replicas", 1)), found.get("status", {})
            if wanted != replicas:
                message = f"{each['kind']}/{each['name']} was set to {wanted} replicas by something else"
                raise RefusedError(message, code="autoscaled", remedy="find what scales it (an operator, a GitOps tool), and pause it")
            if int(status.get("replicas", 0)) == replicas and int(status.get("readyReplicas", 0)) == replicas:
                return
            scene.pause(0.5)

    def _pods_end(self, each: Json, scene: Scene) -> str:
        """Until its last pod has ended: replicas do not count pods that are terminating, which may write until their grace period is over.

        A remark where this may not be seen.
        """
        found = self.call("GET", self._path(each["kind"], each["name"]))
        labels = found["spec"].get("selector", {}).get("matchLabels", {})
        query = quote(",".join(f"{k}={v}" for k, v in sorted(labels.items())), safe="=,")
        while True:
            try:
                pods = self.call("GET", f"/api/v1/namespaces/{self.namespace}/pods?labelSelector={query}", missing={"items": []})["items"]
            except EnvironmentProblem as error:
                if error.code == "privilege":
                    return " (pods may not be listed: whether the last ones have ended was not seen here)"
                raise
            if all(pod.get("status", {}).get("phase") in ("Succeeded", "Failed") for pod in pods):
                return ""
            scene.pause(0.5)

    # ------------------------------------------------------------------------------------------------------------ versions

    def versions(self, config: app_config.Kubernetes) -> Json:
        """What runs now, and, without an image, the revision before it."""
        workloads = []
        for kind, name in map(_split, config.workloads):
            found = self.call("GET", self._path(kind, name))
            container = _container(found, config.container)
            entry = {"kind": kind, "name": name, "container": container["name"], "image": container["image"]}
            if config.image is None:
                revisions = self._revisions(kind, found)
                if len(revisions) < 2:
                    message = f"{kind}/{name} has no earlier revision to go back to"
                    raise EnvironmentProblem(message, code="no-revision", remedy="give app.kubernetes.image with {tag}")
                entry |= {"now": revisions[-1], "before": revisions[-2]}
            workloads.append(entry)
        return {"workloads": workloads, "argocd": self._argocd(config)}

    def roll_back(self, config: app_config.Kubernetes, prepared: Json, tag: str | None, scene: Scene) -> list[str]:
        said = self._pause(prepared["argocd"])
        for each in prepared["workloads"]:
            if config.image is not None:
                image = config.image.replace("{tag}", str(tag))
                self._image(each, image)
                said.append(f"{each['kind']}/{each['name']}: image {each['image']} → {image}")
            else:
                self._template(each, each["before"])
                said.append(f"{each['kind']}/{each['name']}: back to revision {each['before']}")
            scene.trace(f"app: {each['name']}")
        return said + self._rolled(prepared, scene)

    def roll_forward(self, config: app_config.Kubernetes, prepared: Json, scene: Scene) -> list[str]:
        for each in prepared["workloads"]:
            if config.image is not None:
                self._image(each, each["image"])
            else:
                self._template(each, each["now"])
        self._sync(prepared["argocd"])
        return [f"{each['kind']}/{each['name']}: {each['image']} again" for each in prepared["workloads"]] + self._rolled(prepared, scene)

    def _image(self, each: Json, image: str) -> None:
        body = {"spec": {"template": {"spec": {"containers": [{"name": each["container"], "image": image}]}}}}
        self.call("PATCH", self._path(each["kind"], each["name"]), body, _STRATEGIC)

    def _template(self, each: Json, revision: str) -> None:
        """As `kubectl rollout undo`: the template of an earlier revision in place of the present one."""
        if each["kind"] == "deployment":
            template = self.call("GET", f"/apis/apps/v1/namespaces/{self.namespace}/replicasets/{revision}")["spec"]["template"]
            template["metadata"].get("labels", {}).pop("pod-template-hash", None)
        else:
            found = self.call("GET", f"/apis/apps/v1/namespaces/{self.namespace}/controllerrevisions/{revision}")
            template = found["data"]["spec"]["template"]
            template.pop("$patch", None)
        body = [{"op": "replace", "path": "/spec/template", "value": template}]
        self.call("PATCH", self._path(each["kind"], each["name"]), body, _JSON)

    def _revisions(self, kind: str, found: Any) -> list[str]:
        """Names of ReplicaSets or ControllerRevisions of this workload, oldest first."""
        plural = "replicasets" if kind == "deployment" else "controllerrevisions"
        uid, key = found["metadata"].get("uid"), "deployment.kubernetes.io/revision"
        items = self.call("GET", f"/apis/apps/v1/namespaces/{self.namespace}/{plural}")["items"]
        own = [i for i in items if any(o.get("uid") == uid for o in i["metadata"].get("ownerReferences", ()))]
        return [
            i["metadata"]["name"]
            for i in sorted(own, key=lambda i: int(i.get("revision") or i["metadata"].get("annotations", {}).get(key, 0)))
        ]

    def _rolled(self, prepared: Json, scene: Scene) -> list[str]:
        """Wait for rollouts; workloads at 0 replicas are done at once."""
        for each in prepared["workloads"]:
            while True:
                found = self.call("GET", self._path(each["kind"], each["name"]))
                wanted, status = int(found["spec"].get("replicas", 1)), found.get("status", {})
                seen = int(status.get("observedGeneration", 0)) >= int(found["metadata"].get("generation", 0))
                new = (int(status.get("updatedReplicas", 0)), int(status.get("readyReplicas", 0)))
                if seen and new == (wanted, wanted) and int(status.get("replicas", 0)) == wanted:  # and none of the old template
                    break
                if seen and wanted == 0:
                    break
                scene.pause(0.5)
        return []

    def restart(self, workloads: tuple[str, ...], mark: str, scene: Scene) -> list[str]:
        """As `kubectl rollout restart`, once per mark."""
        pairs = list(map(_split, workloads))
        for kind, name in pairs:
            body = {"spec": {"template": {"metadata": {"annotations": {_RESTARTED: mark}}}}}
            self.call("PATCH", self._path(kind, name), body, _STRATEGIC)
        self._rolled({"workloads": [{"kind": kind, "name": name} for kind, name in pairs]}, scene)
        return [f"{kind}/{name} restarted" for kind, name in pairs]

    # -------------------------------------------------------------------------------------------------------------- access

    def access_scale(self, config: maintenance_config.Kubernetes) -> str:
        for kind, name in map(_split, config.workloads):
            self.call("GET", f"{self._path(kind, name)}/scale")
            self.may("patch", "apps", f"{_KINDS[kind]}/scale", name)
        found = self.scaling(config)
        self._may_pause(found["argocd"])
        for scaled in found["keda"]:
            self.may("patch", "keda.sh", "scaledobjects", scaled["name"])
        return f"may scale {', '.join(config.workloads)}; noticed: {_noticed(found)}"

    def access_app(self, config: app_config.Kubernetes) -> str:
        self._may_pause(self.versions(config)["argocd"])
        for kind, name in map(_split, config.workloads):
            self.may("patch", "apps", _KINDS[kind], name)
        return f"may change {', '.join(config.workloads)}"

    def _may_pause(self, apps: list[Json]) -> None:
        for app in apps:
            self.may("patch", "argoproj.io", "applications", app["name"], app["namespace"])

    def may(self, verb: str, group: str, resource: str, name: str, namespace: str | None = None) -> None:
        plain, _, sub = resource.partition("/")
        where = {"namespace": namespace or self.namespace, "group": group, "resource": plain, "subresource": sub, "name": name}
        attributes = {**where, "verb": verb}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}}
        answer = self.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if not answer.get("status", {}).get("allowed"):
            message = f"may not {verb} {resource} {name} in namespace {namespace or self.namespace}"
            raise EnvironmentProblem(message, code="privilege", remedy=f"give the role {verb} on {resource} (RBAC)")

    def _path(self, kind: str, name: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/{_KINDS[kind]}/{name}"


def shown_down(config: maintenance_config.Kubernetes, prepared: Json | None = None) -> list[str]:
    """prepared: what was found that would scale them up again."""
    found = prepared or {}
    base = f"/apis/apps/v1/namespaces/{config.namespace}"
    lines = [_shown_sync(each["namespace"], each["name"], None) for each in found.get("argocd", ())]
    lines += [_shown_pause(config.namespace, each["name"], "0") for each in found.get("keda", ())]
    return lines + [f'PATCH {base}/{_KINDS[k]}/{n}/scale {{"spec": {{"replicas": 0}}}}' for k, n in map(_split, config.workloads)]


def _shown_sync(namespace: str, name: str, automated: Json | None) -> str:
    return f"PATCH {_argocd_path(namespace)}/{name} {json.dumps({'spec': {'syncPolicy': {'automated': automated}}})}"


def _shown_pause(namespace: str, name: str, value: str | None) -> str:
    return f"PATCH {_keda_path(namespace)}/{name} {json.dumps({'metadata': {'annotations': {_PAUSED: value}}})}"


def shown_up(prepared: Json | None, config: maintenance_config.Kubernetes) -> list[str]:
    base = f"/apis/apps/v1/namespaces/{config.namespace}"
    had = {(w["kind"], w["name"]): str(w["replicas"]) for w in (prepared or {}).get("workloads", ())}
    replicas = {pair: had.get(pair, "as many as it had") for pair in map(_split, config.workloads)}
    lines = [f'PATCH {base}/{_KINDS[k]}/{n}/scale {{"spec": {{"replicas": {count}}}}}' for (k, n), count in replicas.items()]
    found = prepared or {}
    lines += [_shown_pause(config.namespace, each["name"], each["paused"]) for each in found.get("keda", ())]
    return lines + [_shown_sync(each["namespace"], each["name"], each["automated"]) for each in found.get("argocd", ())]


def shown_version(config: app_config.Kubernetes, tag: str | None) -> list[str]:
    if config.image is None:
        return [f"kubectl -n {config.namespace} rollout undo {each}" for each in config.workloads]
    image = config.image.replace("{tag}", str(tag))
    return [f"kubectl -n {config.namespace} set image {each} {config.container or '*'}={image}" for each in config.workloads]


def _noticed(found: Json) -> str:
    names = [f"HPA {n}" for n in found["hpa"]]
    names += [*(f"KEDA {o['name']}" for o in found["keda"]), *(f"Argo CD {a['name']}" for a in found["argocd"])]
    return ", ".join(names) or "nothing else that scales them"


def _split(workload: str) -> tuple[str, str]:
    kind, _, name = workload.partition("/")
    return kind, name


def _targets(item: Any, workloads: tuple[str, ...]) -> bool:
    target = item["spec"].get("scaleTargetRef", {})
    return f"{target.get('kind', 'Deployment').lower()}/{target.get('name')}" in workloads


def _container(found: Any, name: str | None) -> Any:
    containers = found["spec"]["template"]["spec"]["containers"]
    match = [c for c in containers if name in (None, c["name"])]
    if not match or (name is None and len(containers) > 1):
        names = ", ".join(c["name"] for c in containers)
        message = f"which container of {found['metadata']['name']} is meant is not clear"
        raise EnvironmentProblem(message, code="container", remedy=f"give app.kubernetes.container: {names}")
    return match[0]


def _keda_path(namespace: str) -> str:
    return f"/apis/keda.sh/v1alpha1/namespaces/{namespace}/scaledobjects"


def _argocd_path(namespace: str) -> str:
    return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/applications"


def _problem(method: str, path: str, error: Any) -> EnvironmentProblem:
    try:
        said = json.loads(error.body or "{}").get("message", "")
    except (ValueError, TypeError):
        said = ""
    what = f"{method} {path}: {error.status} {said or error.reason}"
    if error.status in (401, 403):
        return EnvironmentProblem(what, code="privilege", remedy="check the credentials of the kubeconfig, and the role's rights (RBAC)")
    if error.status == 404:
        return EnvironmentProblem(what, code="not-found", remedy="check the names in unmigrate.toml")
    return EnvironmentProblem(what, code="cluster", remedy="see what the cluster says")
