"""AWS Secrets Manager with real boto3, against moto's server."""

import json
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from unmigrate.config.connection import Aws
from unmigrate.errors import EnvironmentProblem
from unmigrate.runbook.adapters.aws import Secret

SCENE: Any = SimpleNamespace()


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for key, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(key, value)
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    yield boto3.session.Session().client("secretsmanager")
    server.stop()


def test_a_whole_secret_there_and_back(client: Any) -> None:
    client.create_secret(Name="db", SecretString="postgresql://old")
    place = Secret(Aws("db"), SCENE)
    assert place.get() == "postgresql://old"
    place.put("postgresql://new")
    assert client.get_secret_value(SecretId="db", VersionStage="AWSCURRENT")["SecretString"] == "postgresql://new"
    place.put("postgresql://old")
    assert place.get() == "postgresql://old"


def test_a_field_leaves_the_others_as_they_are(client: Any) -> None:
    client.create_secret(Name="db", SecretString=json.dumps({"url": "postgresql://old", "user": "u"}))
    place = Secret(Aws("db", field="url"), SCENE)
    place.put("postgresql://new")
    assert json.loads(client.get_secret_value(SecretId="db")["SecretString"]) == {"url": "postgresql://new", "user": "u"}
    assert "postgresql" not in " ".join([place.name, *place.shown])


def test_absent_things_say_what_to_do(client: Any) -> None:
    with pytest.raises(EnvironmentProblem, match="ResourceNotFoundException"):
        Secret(Aws("nothing"), SCENE).get()
    client.create_secret(Name="db", SecretString="plain")
    with pytest.raises(EnvironmentProblem, match="not a JSON object"):
        Secret(Aws("db", field="url"), SCENE).get()


def test_no_credentials(client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(EnvironmentProblem, match="credentials"):
        Secret(Aws("db"), SCENE).get()


def test_unreachable(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EnvironmentProblem, match="AWS cannot be asked"):
        Secret(Aws("db"), SCENE).get()
