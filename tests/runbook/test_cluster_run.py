"""A whole run in a cluster: maintenance by scaling, the app by its image, the connection string in a Secret; killed and gone on with."""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("kubernetes")

from tests.runbook.cluster import State, cluster
from tests.runbook.shop import BAD_NAME, Shop, shop
from tests.runbook.test_kubernetes import workload
from tests.runbook.test_restore import RESTORE
from unmigrate.scratch.pool import Pool

TOML = f"""
[maintenance]
quiet = 0.3
[maintenance.kubernetes]
workloads = ["deployment/api", "statefulset/worker"]
[app.kubernetes]
workloads = ["deployment/api", "statefulset/worker"]
image = "shop:{{tag}}"
[connection.kubernetes]
secret = "db"
restart = ["deployment/api"]
[snapshot]
restore_command = "{RESTORE}"
[[checks.sql]]
name = "orders are there"
sql = 'select count(*) >= 2 from "Order"'
"""
BASE = "/apis/apps/v1/namespaces/default"
API, WORKER = f"{BASE}/deployments/api", f"{BASE}/statefulsets/worker"
ARGO = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
RESTORING = ("--way", "restore", "--snapshot", "before")


@dataclass
class Town:
    shop: Shop
    state: State
    kubeconfig: Path

    def run(self, *words: str, kill: str = "") -> tuple[int, str]:
        said = self.shop.unmigrate(*words, kill=kill, KUBECONFIG=str(self.kubeconfig))
        return said.exit_code, said.text

    def begin(self, *words: str, kill: str = "") -> tuple[int, str]:
        return self.run("run", "rollback", "--yes", "--maintenance", "--accept-loss", *words, kill=kill)

    def replicas(self) -> tuple[int, int]:
        return self.state.objects[API]["spec"]["replicas"], self.state.objects[WORKER]["spec"]["replicas"]

    def image(self) -> str:
        return str(self.state.objects[API]["spec"]["template"]["spec"]["containers"][0]["image"])

    def secret(self) -> str:
        return base64.b64decode(self.state.objects["/api/v1/namespaces/default/secrets/db"]["data"]["DATABASE_URL"]).decode()

    def heals(self) -> bool:
        return bool(self.state.objects[f"{ARGO}/api-app"]["spec"]["syncPolicy"].get("automated"))


def test_a_dry_run_shows_what_would_be_paused_and_put_back(town: Town) -> None:
    status, said = town.run("run", "rollback", "--dry-run", "--maintenance", "--accept-loss")
    assert status == 0, said
    for name, count in ((API, 3), (WORKER, 2)):
        for replicas in (0, count):
            assert f'PATCH {name}/scale {{"spec": {{"replicas": {replicas}}}}}' in said, said
    for automated in ("null", '{"selfHeal": true}'):
        assert f'PATCH {ARGO}/api-app {{"spec": {{"syncPolicy": {{"automated": {automated}}}}}}}' in said, said
    assert town.replicas() == (3, 2)
    assert town.heals()


@pytest.fixture
def town(tmp_path: Path, pool: Pool) -> Iterator[Town]:
    with shop(tmp_path, pool, toml=TOML, app=False, snapshot=True) as made, cluster(tmp_path) as (state, kubeconfig):
        with state.lock:
            state.create(f"{BASE}/deployments", workload("api", "Deployment", "shop:v2", 3))
            state.create(f"{BASE}/statefulsets", workload("worker", "StatefulSet", "shop:v2", 2))
            state.create("/api/v1/namespaces/default/secrets", {"metadata": {"name": "db"}, "stringData": {"DATABASE_URL": made.url}})
            app = {"metadata": {"name": "api-app"}, "spec": {"syncPolicy": {"automated": {"selfHeal": True}}}, "wanted": 3}
            state.create(ARGO, app)
        yield Town(made, state, kubeconfig)


def test_the_reverse_way(town: Town) -> None:
    status, text = town.begin()
    assert status == 0, text
    assert (town.replicas(), town.image(), town.heals()) == ((3, 2), "shop:v1", False)
    assert "Argo CD (api-app) stays paused: put v1 into its source" in text, "it would deploy v2 again, which applies it again"
    assert town.shop.ledger() == ["20240101000000_init"]
    report = next((town.shop.root / "unmigrate-reports").glob("*.md")).read_text()
    assert 'PATCH /apis/apps/v1/namespaces/default/deployments/api/scale {"spec": {"replicas": 0}}' in report
    assert "Argo CD application api-app: automated sync paused" in report


def test_the_way_by_restoring(town: Town) -> None:
    status, text = town.begin(*RESTORING)
    assert status == 0, text
    assert f"/{town.shop.database}_new?" in town.secret()
    assert (town.replicas(), town.image(), town.heals()) == ((3, 2), "shop:v1", False)
    assert "restarted" in text


@pytest.mark.parametrize(
    "at",
    ["maintenance-on.prepare done", "maintenance-on: healers paused", "maintenance-on: api", "maintenance-on: worker", "app: api", "app: worker",
     "maintenance-off: api", "maintenance-off: worker"],
)  # fmt: skip
def test_kill_and_resume(town: Town, at: str) -> None:
    assert town.begin(kill=at)[0] == -9
    status, text = town.run("resume")
    assert status == 0, text
    assert (town.replicas(), town.image(), town.heals()) == ((3, 2), "shop:v1", False)
    assert town.shop.ledger() == ["20240101000000_init"]


@pytest.mark.parametrize("at", ["maintenance-on.prepare done", "maintenance-on: healers paused", "maintenance-on: api", "quiet.apply done"])
def test_kill_and_abort(town: Town, at: str) -> None:
    assert town.begin(kill=at)[0] == -9
    status, text = town.run("abort", "--yes")
    assert status == 0, text
    assert (town.replicas(), town.image(), town.heals()) == ((3, 2), "shop:v2", True)
    assert town.shop.ledger()[-1] == BAD_NAME


@pytest.mark.parametrize("at", ["connection: DATABASE_URL of Secret default/db", "app.apply done"])
def test_kill_in_the_way_by_restoring_and_abort(town: Town, at: str) -> None:
    assert town.begin(*RESTORING, kill=at)[0] == -9
    status, text = town.run("abort", "--yes")
    assert status == 0, text
    assert town.secret() == town.shop.url
    assert (town.replicas(), town.image(), town.heals()) == ((3, 2), "shop:v2", True)


def test_missing_rights_stop_before_harm(town: Town) -> None:
    town.state.denied.add(("patch", "statefulsets"))
    status, text = town.begin()
    assert status == 4, text
    assert "may not patch statefulsets/scale worker" in text
    assert "nothing was changed" in text
    assert [c for c in town.state.calls if c[0] == "PATCH"] == []
    assert town.replicas() == (3, 2)
    town.state.expired = True
    status, text = town.begin()
    assert (status, "401" in text, "check the credentials of the kubeconfig" in text) == (4, True, True), text
    assert town.replicas() == (3, 2)


def test_an_unreachable_cluster_stops_before_harm(town: Town) -> None:
    config = json.loads(town.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    town.kubeconfig.write_text(json.dumps(config))
    status, text = town.begin()
    assert status == 4, text
    assert "the cluster cannot be reached" in text
    assert town.shop.ledger()[-1] == BAD_NAME


def test_a_cluster_that_goes_away_in_the_middle_is_told_and_gone_on_with(town: Town) -> None:
    assert town.begin(kill="quiet.apply done")[0] == -9
    text = town.kubeconfig.read_text()
    config = json.loads(text)
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
    town.kubeconfig.write_text(json.dumps(config))
    status, said = town.run("resume")
    assert status == 6, said
    assert "resume" in said
    town.kubeconfig.write_text(text)
    status, said = town.run("resume")
    assert status == 0, said
    assert (town.replicas(), town.image()) == ((3, 2), "shop:v1")
