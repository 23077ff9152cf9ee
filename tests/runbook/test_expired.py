"""Credentials of AWS that have expired: known before anything is touched, told with what to do, and gone on after."""

import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.runbook.expired import Door, door
from tests.runbook.shop import BAD_NAME, TOML, Shop, shop
from tests.runbook.test_restore import RESTORE
from tests.snapshot.amazon import REGION, amazon, moto
from unmigrate.scratch.pool import Pool

__all__ = ["amazon", "moto"]
RDS = '\n[snapshot]\nprovider = "rds"\n[snapshot.rds]\ninstance = "shop-db"\npoll = 0.05\n'
SECRET = f'\n[snapshot]\nrestore_command = "{RESTORE}"\n[connection.aws]\nsecret_id = "shop"\n'
RUN = ("run", "rollback", "--way", "restore", "--snapshot", "before", "--yes", "--accept-loss")


@pytest.fixture
def aws(amazon: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    with door(amazon) as opened:
        monkeypatch.setenv("AWS_ENDPOINT_URL", opened.url)
        yield opened


@pytest.fixture
def made(tmp_path: Path, pool: Pool) -> Iterator[Shop]:
    with shop(tmp_path, pool, app=False, snapshot=True) as opened:
        (opened.root / "deployed.log").write_text("v2\n")
        boto3.client("secretsmanager").create_secret(Name="shop", SecretString=opened.url)
        yield opened


def configured(made: Shop, more: str) -> None:
    app = '[app]\ndeploy = "echo $UNMIGRATE_TAG > deployed.log"\n[app.deployed]\ncommand = "cat deployed.log"\n'
    (made.root / "unmigrate.toml").write_text(TOML[: TOML.index("[app]")] + app + more)


def secret() -> str:
    return str(boto3.client("secretsmanager").get_secret_value(SecretId="shop")["SecretString"])


def untouched(made: Shop) -> bool:
    return made.ledger()[-1] == BAD_NAME and not made.told() and not (made.root / "maintenance.log").exists()


def test_snapshots(aws: Door, made: Shop) -> None:
    configured(made, RDS)
    aws.expired = True
    for words in (("snapshot", "create"), ("snapshot", "list"), ("restore", "--before", BAD_NAME, "--to", "shop-new")):
        said = made.unmigrate(*words)
        assert said.exit_code == 4, said.text
        assert "AWS does not take these credentials (ExpiredToken)" in said.text
        assert "log in again" in said.text
    aws.expired = False
    assert boto3.client("rds").describe_db_snapshots(SnapshotType="manual")["DBSnapshots"] == []
    assert untouched(made)


@pytest.mark.parametrize(("toml", "code"), [(RDS, "ExpiredToken"), (SECRET, "ExpiredTokenException")])
def test_a_run_stops_before_harm(aws: Door, made: Shop, toml: str, code: str) -> None:
    configured(made, toml + ("[run]\nsnapshot = true\n" if toml == RDS else ""))
    aws.expired = True
    said = made.unmigrate(*(RUN if toml == SECRET else ("run", "rollback", "--yes", "--accept-loss", "--maintenance")))
    assert said.exit_code == 4, said.text
    assert f"AWS does not take these credentials ({code})" in said.text
    assert "log in again" in said.text
    assert "nothing was changed" in said.text
    assert untouched(made)


def test_a_run_whose_session_ends_meanwhile_goes_on(aws: Door, made: Shop) -> None:
    configured(made, SECRET)
    assert made.unmigrate(*RUN, kill="restore.apply done").exit_code == -9
    aws.expired = True
    said = made.unmigrate("resume")
    assert said.exit_code == 6, said.text
    assert "ExpiredTokenException" in said.text
    assert "log in again" in said.text
    aws.expired = False
    assert secret() == made.url
    said = made.unmigrate("resume")
    assert said.exit_code == 0, said.text
    assert f"/{made.database}_new" in secret()


def test_what_moto_itself_does_not_take(aws: Door, amazon: str, made: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own checks of keys and signatures: a key that is gone, and one with another secret."""
    configured(made, RDS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", amazon)
    iam = boto3.client("iam")
    iam.create_user(UserName="oncall")
    key = iam.create_access_key(UserName="oncall")["AccessKey"]
    iam.put_user_policy(
        UserName="oncall", PolicyName="none",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}]}),
    )  # fmt: skip
    _checked(amazon, "0")
    try:
        for name, word, code, remedy in (
            (key["AccessKeyId"], key["SecretAccessKey"], "is not allowed", "grant rds:"),
            (key["AccessKeyId"], "another", "SignatureDoesNotMatch", "log in again"),
            ("AKIAIOSFODNN7EXAMPLE", "gone", "InvalidClientTokenId", "log in again"),
        ):
            said = made.unmigrate("snapshot", "list", AWS_ACCESS_KEY_ID=name, AWS_SECRET_ACCESS_KEY=word)
            assert (said.exit_code, code in said.text, remedy in said.text) == (4, True, True), said.text
    finally:
        _checked(amazon, "inf")
    assert untouched(made)


def _checked(endpoint: str, calls: str) -> None:
    """After so many calls moto checks who asks."""
    urllib.request.urlopen(
        urllib.request.Request(f"{endpoint}/moto-api/reset-auth", calls.encode(), {"content-type": "text/plain"}, method="POST")
    ).close()


def test_sessions_that_boto_knows_to_be_over(aws: Door, made: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its own clock, before AWS is asked: a login of the identity center, and a program that gives out what has expired."""
    configured(made, RDS)
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": "t", "expiresAt": "2020-01-01T00:00:00Z", "region": REGION, "startUrl": "https://example.org/start"}
    (cache / f"{hashlib.sha1(b'corp').hexdigest()}.json").write_text(json.dumps(token))
    old = {"Version": 1, "AccessKeyId": "k", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": "2020-01-01T00:00:00Z"}
    (tmp_path / "old").write_text(json.dumps(old))
    config = tmp_path / ".aws" / "config"
    config.write_text(
        f"[profile sso]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = oncall\nregion = {REGION}\n"
        f"[sso-session corp]\nsso_start_url = https://example.org/start\nsso_region = {REGION}\n"
        f"[profile program]\ncredential_process = cat {tmp_path / 'old'}\nregion = {REGION}\n"
    )
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    for profile in ("sso", "program"):
        said = made.unmigrate("snapshot", "list", HOME=str(tmp_path), AWS_CONFIG_FILE=str(config), AWS_PROFILE=profile)
        assert said.exit_code == 4, said.text
        assert "expired" in said.text
        assert "log in again" in said.text
        assert "Traceback" not in said.text
