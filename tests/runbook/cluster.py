"""A small stateful stand-in for a Kubernetes API: what unmigrate uses of it, with the semantics that matter.

Objects by path; GET, POST, PATCH (merge, strategic for containers, JSON), the scale subresource, watch, resourceVersion and generation,
Deployments with ReplicaSets and revisions as in rollouts, StatefulSets with ControllerRevisions, status that follows with a delay, an
Argo CD that heals, RBAC by a list of refusals. KEDA and Argo CD resources are plain objects.
"""

import copy
import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, RLock, Thread
from typing import Any

REVISION = "deployment.kubernetes.io/revision"
ITEM = re.compile(r"^(?P<collection>/.*/(?P<plural>[a-z]+))/(?P<name>[^/]+)$")
TICK = 0.05


class State:
    """Everything the cluster knows. denied: (verb, plural) that are refused; calls: (method, path, body) in order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.lock = RLock()
        self.version = 0
        self.denied: set[tuple[str, str]] = set()
        self.calls: list[tuple[str, str, Any]] = []
        self.expired = False  # the credentials
        self.stuck = False  # status does not follow
        self.grace = 0  # ticks that a pod takes to terminate, after replicas do not count it any more
        self.surge = 0  # ticks that a pod of the old template stays after the new ones are ready
        self.ending: dict[str, list[int]] = {}  # uid of a workload: ticks left of each terminating pod

    def put(self, path: str, item: dict[str, Any], *, spec_changed: bool = True) -> dict[str, Any]:
        self.version += 1
        meta = item["metadata"]
        meta["resourceVersion"] = str(self.version)
        if spec_changed:
            meta["generation"] = meta.get("generation", 0) + 1
        self.objects[path] = item
        return item

    def create(self, collection: str, item: dict[str, Any]) -> dict[str, Any]:
        item = copy.deepcopy(item)
        namespace = re.search(r"/namespaces/([^/]+)/", collection)
        item.setdefault("metadata", {}).update(uid=str(uuid.uuid4()), **({"namespace": namespace[1]} if namespace else {}))
        if collection.endswith(("/deployments", "/statefulsets")):
            item["spec"].setdefault("replicas", 1)
        for key, text in item.pop("stringData", {}).items():
            import base64

            item.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
        return self.put(f"{collection}/{item['metadata']['name']}", item)

    def of(self, plural: str) -> list[tuple[str, dict[str, Any]]]:
        return [(p, o) for p, o in self.objects.items() if (m := ITEM.match(p)) and m["plural"] == plural]

    # ---------------------------------------------------------------------------------------------------- controllers

    def tick(self) -> None:
        with self.lock:
            for path, workload in [*self.of("deployments"), *self.of("statefulsets")]:
                self._heal(path, workload)
                self._revise(path, workload)
                self._follow(workload)

    def _heal(self, path: str, workload: dict[str, Any]) -> None:
        """Argo CD: automated sync with selfHeal puts replicas back to what git says."""
        owner = workload["metadata"].get("labels", {}).get("app.kubernetes.io/instance")
        for _, app in self.of("applications"):
            automated = app["spec"].get("syncPolicy", {}).get("automated") or {}
            wanted = app.get("wanted", 2)
            if app["metadata"]["name"] == owner and automated.get("selfHeal") and workload["spec"]["replicas"] != wanted:
                workload["spec"]["replicas"] = wanted
                self.put(path, workload)

    def _revise(self, path: str, workload: dict[str, Any]) -> None:
        meta, template = workload["metadata"], workload["spec"]["template"]
        digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:9]
        owner = [{"uid": meta["uid"], "kind": "Deployment", "name": meta["name"]}]
        base, plural = path.rsplit("/", 2)[:2]
        if plural == "deployments":
            collection = f"{base}/replicasets"
            own = [o for p, o in self.of("replicasets") if o["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]]
            last = max((int(o["metadata"]["annotations"][REVISION]) for o in own), default=0)
            mine = self.objects.get(f"{collection}/{meta['name']}-{digest}")
            if mine is None:
                labelled = copy.deepcopy(template)
                labelled.setdefault("metadata", {}).setdefault("labels", {})["pod-template-hash"] = digest
                item = {"metadata": {"name": f"{meta['name']}-{digest}", "ownerReferences": owner, "annotations": {REVISION: str(last + 1)}},
                        "spec": {"template": labelled}}  # fmt: skip
                self.create(collection, item)
            elif int(mine["metadata"]["annotations"][REVISION]) != last:
                mine["metadata"]["annotations"][REVISION] = str(last + 1)
        else:
            collection = f"{base}/controllerrevisions"
            own = [o for p, o in self.of("controllerrevisions") if o["metadata"]["ownerReferences"][0]["uid"] == meta["uid"]]
            last = max((o["revision"] for o in own), default=0)
            mine = self.objects.get(f"{collection}/{meta['name']}-{digest}")
            if mine is None:
                data = {"spec": {"template": {**copy.deepcopy(template), "$patch": "replace"}}}
                item = {"metadata": {"name": f"{meta['name']}-{digest}", "ownerReferences": owner}, "revision": last + 1, "data": data}
                self.create(collection, item)
            elif mine["revision"] != last:
                mine["revision"] = last + 1

    def _follow(self, workload: dict[str, Any]) -> None:
        """One pod a tick."""
        status, wanted = workload.setdefault("status", {}), workload["spec"]["replicas"]
        if self.stuck:
            return
        ready, old = status.get("readyReplicas", 0), status.get("old", 0)
        uid, generation = workload["metadata"]["uid"], workload["metadata"]["generation"]
        template = json.dumps(workload["spec"]["template"], sort_keys=True)
        if status.setdefault("template", template) != template and ready:
            old = self.surge
        now = ready + (wanted > ready) - (wanted < ready)
        self.ending[uid] = [t - 1 for t in self.ending.get(uid, []) if t > 1] + [self.grace] * (now < ready and self.grace > 0)
        pods = now + bool(old)
        status.update(
            replicas=pods, readyReplicas=now, updatedReplicas=now, observedGeneration=generation, template=template, old=max(0, old - 1)
        )

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Of the workload with these labels, terminating ones included."""
        found = []
        for _, workload in [*self.of("deployments"), *self.of("statefulsets")]:
            labels = workload["spec"]["selector"]["matchLabels"]
            if ",".join(f"{k}={v}" for k, v in sorted(labels.items())) == selector:
                count = workload.get("status", {}).get("replicas", 0) + len(self.ending.get(workload["metadata"]["uid"], []))
                found += [
                    {"metadata": {"name": f"{workload['metadata']['name']}-{n}"}, "status": {"phase": "Running"}} for n in range(count)
                ]
        return found


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def strategic(target: Any, patch: Any) -> Any:
    """Merge, with lists of containers merged by name."""
    if isinstance(patch, list) and isinstance(target, list) and all("name" in each for each in patch):
        by_name = {each["name"]: each for each in target}
        return [strategic(each, next((p for p in patch if p["name"] == name), {})) for name, each in by_name.items()]
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        result[key] = strategic(result.get(key), value)
    return result


def handler(state: State) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> Any:
            path, _, query = self.path.partition("?")
            with state.lock:
                if self._denied("get", path):
                    return None
                if path.endswith("/pods"):
                    return self._send(200, {"kind": "List", "items": state.pods(query.removeprefix("labelSelector="))})
                if "watch=true" in query or "watch=1" in query:
                    return self._watch(path)
                if path.endswith("/scale"):
                    found = state.objects.get(path.removesuffix("/scale"))
                    return self._send(200, self._scale(found)) if found else self._missing(path)
                if found := state.objects.get(path):
                    return self._send(200, found)
                if (m := ITEM.match(path)) and m["plural"] in KINDS:
                    return self._missing(path)
                items = [o for p, o in state.objects.items() if p.rsplit("/", 1)[0] == path]
                if not items and not any(path.endswith(f"/{kind}") for kind in KINDS):
                    return self._missing(path)
                return self._send(200, {"kind": "List", "items": items})

        def do_POST(self) -> Any:
            body = self._body()
            path = self.path.partition("?")[0]
            with state.lock:
                if self._denied("create", path):
                    return None
                state.calls.append(("POST", path, body))
                if path.endswith("selfsubjectaccessreviews"):
                    a = body["spec"]["resourceAttributes"]
                    return self._send(201, {**body, "status": {"allowed": (a["verb"], a["resource"]) not in state.denied}})
                return self._send(201, state.create(path, body))

        def do_PATCH(self) -> Any:
            body, path = self._body(), self.path.partition("?")[0]
            with state.lock:
                state.calls.append(("PATCH", path, body))
                target, scale = path.removesuffix("/scale"), path.endswith("/scale")
                if self._denied("patch", target):
                    return None
                if (found := state.objects.get(target)) is None:
                    return self._missing(path)
                kind = self.headers["content-type"]
                if kind == "application/json-patch+json":
                    changed = copy.deepcopy(found)
                    for op in body:
                        place = changed
                        *parents, last = op["path"].strip("/").split("/")
                        for part in parents:
                            place = place[int(part) if isinstance(place, list) else part]
                        place[last] = op["value"]
                else:
                    changed = (strategic if "strategic" in kind else merged)(found, {"spec": body["spec"]} if scale else body)
                asked = body.get("metadata", {}).get("resourceVersion") if isinstance(body, dict) else None
                if asked and asked != found["metadata"]["resourceVersion"]:
                    return self._fail(409, "the object has been modified")
                state.put(target, changed, spec_changed=changed.get("spec") != found.get("spec"))
                return self._send(200, self._scale(changed) if scale else changed)

        def _watch(self, path: str) -> None:
            self.send_response(200)
            self.end_headers()
            for p, item in list(state.objects.items()):
                if p.rsplit("/", 1)[0] == path:
                    self.wfile.write(json.dumps({"type": "ADDED", "object": item}).encode() + b"\n")
            self.close_connection = True

        def _scale(self, item: dict[str, Any]) -> dict[str, Any]:
            spec, status = item["spec"], item.get("status", {})
            return {
                "kind": "Scale",
                "metadata": item["metadata"],
                "spec": {"replicas": spec["replicas"]},
                "status": {"replicas": status.get("replicas", 0)},
            }

        def _denied(self, verb: str, path: str) -> bool:
            if state.expired:
                self._fail(401, "Unauthorized")
                return True
            m = ITEM.match(path)
            plural = m["plural"] if m and m["plural"] in KINDS else path.rsplit("/", 1)[-1]
            if (verb, plural) in state.denied:
                self._fail(403, f'User "robot" cannot {verb} resource "{plural}"')
                return True
            return False

        def _missing(self, path: str) -> None:
            self._fail(404, f"{path} not found")

        def _fail(self, code: int, message: str) -> None:
            self._send(code, {"kind": "Status", "status": "Failure", "message": message, "code": code})

        def _body(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["content-length"])))

        def _send(self, code: int, body: Any) -> None:
            raw = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


KINDS = (
    "deployments",
    "statefulsets",
    "replicasets",
    "controllerrevisions",
    "secrets",
    "horizontalpodautoscalers",
    "scaledobjects",
    "applications",
)


@contextmanager
def cluster(folder: Path) -> Iterator[tuple[State, Path]]:
    """(state, a kubeconfig that leads there)."""
    state, end = State(), Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(state))

    def control() -> None:
        while not end.wait(TICK):
            state.tick()

    threads = [Thread(target=server.serve_forever, daemon=True), Thread(target=control, daemon=True)]
    for thread in threads:
        thread.start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "t0ken"}}], "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    try:
        yield state, path
    finally:
        end.set()
        server.shutdown()
        server.server_close()
        time.sleep(TICK)
