"""doctor tests every adapter's access and changes nothing; init writes what doctor then finds right."""

import base64
from pathlib import Path

import pytest

from tests.runbook.cluster import cluster
from tests.runbook.shop import TOML, shop
from tests.runbook.test_kubernetes import workload
from unmigrate.config import load
from unmigrate.scratch.pool import Pool

MANIFEST = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
  labels: {app: api}
spec:
  template:
    spec:
      containers:
        - name: main
          image: registry.example.org/shop:v2
          env:
            - name: DATABASE_URL
              valueFrom:
                secretKeyRef:
                  name: db
                  key: DATABASE_URL
---
apiVersion: v1
kind: Service
metadata:
  name: api
"""


def test_init_finds_the_cluster_and_doctor_agrees(tmp_path: Path, pool: Pool) -> None:
    pytest.importorskip("kubernetes")
    with shop(tmp_path, pool, app=False) as made, cluster(tmp_path) as (state, kubeconfig):
        (made.root / "k8s").mkdir()
        (made.root / "k8s" / "api.yaml").write_text(MANIFEST)
        assert made.unmigrate("init").exit_code == 3
        said = made.unmigrate("init", "--force", SLACK_WEBHOOK_URL="http://127.0.0.1:1/x")
        assert said.exit_code == 0, said.text
        config = load(made.root)
        assert config.announce.webhook_env == "SLACK_WEBHOOK_URL"
        assert config.maintenance.kubernetes is not None
        assert config.maintenance.kubernetes.workloads == ("deployment/api",)
        assert config.app.kubernetes is not None
        assert config.app.kubernetes.image == "registry.example.org/shop:{tag}"
        assert config.connection.kubernetes is not None
        assert config.connection.kubernetes.secret == "db"
        assert config.app.tags == "v*"
        state.create("/apis/apps/v1/namespaces/default/deployments", workload("api", "Deployment", "registry.example.org/shop:v2", 2))
        secret = {"metadata": {"name": "db"}, "data": {"DATABASE_URL": base64.b64encode(b"postgresql://x").decode()}}
        state.create("/api/v1/namespaces/default/secrets", secret)
        extra = {"KUBECONFIG": str(kubeconfig), "SLACK_WEBHOOK_URL": "http://127.0.0.1:1/x"}
        state.calls.clear()
        said = made.unmigrate("doctor", **extra)
        assert said.exit_code == 0, said.text
        assert "may scale deployment/api" in said.text
        assert not [c for c in state.calls if c[0] == "PATCH"]
        state.denied.add(("patch", "secrets"))
        said = made.unmigrate("doctor", **extra)
        assert said.exit_code == 4, said.text
        assert "may not patch secrets db" in said.text


def test_init_without_a_cluster(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool, app=False) as made:
        said = made.unmigrate("init", "--stdout")
        assert said.exit_code == 0, said.text
        assert "postgresql://" not in said.text, "no secret is copied"
        (made.root / "unmigrate.toml").write_text(said.text)
        config = load(made.root)
        assert config.connection.env_file is not None
        assert config.maintenance.database is not None


def test_doctor_names_what_is_missing_and_changes_nothing(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool, toml=TOML + '[connection.env_file]\nfile = "nothing.env"\n', app=False) as made:
        said = made.unmigrate("doctor", HOOK="")
        assert said.exit_code == 4, said.text
        assert "HOOK, which is not set" in said.text
        assert "nothing.env" in said.text
        assert not made.told()
        assert not (made.root / "maintenance.log").exists()


def test_versions_and_checks(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool) as made:
        said = made.unmigrate("versions")
        assert said.text.split()[0] in ("v1", "v2")
        assert "2 migrations" in said.text
        said = made.unmigrate("versions", "--without", "20240201000000_discounts")
        assert said.text.startswith("v1")
        assert "v2" not in said.text
        assert made.unmigrate("checks").exit_code == 0
        made.stop()
        said = made.unmigrate("checks")
        assert said.exit_code == 1, said.text
        assert "nothing answers" in said.text
