"""RDS with real boto3 against moto: what is carried over, waiting, what AWS refuses, points in time, the command line."""

import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.command import run
from tests.snapshot.amazon import REGION, TAGS, config, rds
from tests.snapshot.kit import BAD, INIT, SECRET, Kit, fails, quiet
from tests.support import write_project
from unmigrate.config.snapshot import Rds as Config
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError, UsageError
from unmigrate.prisma.url import parse_url
from unmigrate.snapshot.aws import Api
from unmigrate.snapshot.provider import At
from unmigrate.snapshot.rds import Rds

URL = f"postgresql://app:{SECRET}@127.0.0.1:9/app?connect_timeout=1"


def client(endpoint: str) -> Any:
    return boto3.client("rds", endpoint_url=endpoint, region_name=REGION)


def test_a_restored_instance_is_like_its_source(amazon: str) -> None:
    provider = rds(amazon, URL)
    made = provider.create("x", quiet)
    restored = provider.restore(At(made.id), "shop-new", quiet)
    old, new = (client(amazon).describe_db_instances(DBInstanceIdentifier=n)["DBInstances"][0] for n in ("shop-db", "shop-new"))
    assert new["DBParameterGroups"][0]["DBParameterGroupName"] == "tuned"
    assert new["DBSubnetGroup"]["DBSubnetGroupName"] == "private"
    assert [g["VpcSecurityGroupId"] for g in new["VpcSecurityGroups"]] == [g["VpcSecurityGroupId"] for g in old["VpcSecurityGroups"]]
    assert new["DBInstanceClass"] == "db.m6g.large"
    tags = {t["Key"]: t["Value"] for t in new["TagList"]}
    assert tags == {"team": "shop", "env": "prod", "unmigrate:restored": made.id}
    assert restored.url == f"postgresql://app:{SECRET}@{new['Endpoint']['Address']}:{new['Endpoint']['Port']}/app?connect_timeout=1"
    assert SECRET not in restored.display
    assert new["Endpoint"]["Port"] == 5433


def test_a_restored_cluster_gets_an_instance(amazon: str) -> None:
    provider = rds(amazon, URL, cluster="shop-aurora")
    made = provider.create("x", quiet)
    restored = provider.restore(At(made.id), "aurora-new", quiet)
    new = client(amazon).describe_db_clusters(DBClusterIdentifier="aurora-new")["DBClusters"][0]
    assert new["DBClusterParameterGroup"] == "tuned-c"
    assert {t["Key"]: t["Value"] for t in new["TagList"]}["team"] == "shop"
    (member,) = new["DBClusterMembers"]
    instance = client(amazon).describe_db_instances(DBInstanceIdentifier=member["DBInstanceIdentifier"])["DBInstances"][0]
    assert instance["DBInstanceClass"] == "db.r6g.large"
    assert new["Endpoint"] in restored.url
    assert not provider.restore(At(made.id), "aurora-new", quiet).fresh
    provider.discard("aurora-new")
    assert [c["DBClusterIdentifier"] for c in client(amazon).describe_db_clusters()["DBClusters"]] == ["shop-aurora"]
    assert [
        i["DBInstanceIdentifier"]
        for i in client(amazon).describe_db_instances(Filters=[])["DBInstances"]
        if "new" in i["DBInstanceIdentifier"]
    ] == []


def slowed(provider: Rds, operation: str, key: str, field: str, statuses: list[str]) -> list[str]:
    """moto is done at once; AWS is not: the next answers have these statuses."""

    def slow(parsed: dict[str, Any], **_: Any) -> None:
        for each in parsed.get(key, []):
            if statuses and "slow" in str(each.get(f"{key[:-1]}Identifier")):
                each[field] = statuses.pop(0)

    provider._api.client.meta.events.register(f"after-call.rds.{operation}", slow)
    return statuses


def test_waiting_is_told(amazon: str) -> None:
    provider = rds(amazon, URL)
    slowed(provider, "DescribeDBSnapshots", "DBSnapshots", "Status", ["creating", "creating"])
    said: list[str] = []
    made = provider.create("slow", said.append)
    assert [line.rpartition(": ")[2].partition(",")[0] for line in said] == ["creating"]
    slowed(provider, "DescribeDBInstances", "DBInstances", "DBInstanceStatus", ["creating", "creating", "backing-up", "modifying"])
    provider.restore(At(made.id), "shop-slow", said.append)
    assert [line for line in said if "backing-up" in line]


def test_what_is_not_available_is_not_offered(amazon: str) -> None:
    provider = rds(amazon, URL)
    made = provider.create("slow", quiet)
    slowed(provider, "DescribeDBSnapshots", "DBSnapshots", "Status", ["creating"] * 9)
    assert provider.snapshots() == ()
    fails("no-snapshot", UsageError, lambda: provider.restore(At(made.id), "shop-new", quiet))


def test_what_never_ends_and_what_fails(amazon: str) -> None:
    provider = rds(amazon, URL, wait=0.2)
    slowed(provider, "DescribeDBSnapshots", "DBSnapshots", "Status", ["creating"] * 99)
    assert "goes on waiting" in fails("timeout", EnvironmentProblem, lambda: provider.create("slow", quiet)).remedy
    provider = rds(amazon, URL)
    made = provider.create("fine", quiet)
    slowed(provider, "DescribeDBInstances", "DBInstances", "DBInstanceStatus", ["creating", "incompatible-parameters"])
    fails("aws-status", FailedError, lambda: provider.restore(At(made.id), "shop-slow", quiet))
    assert not rds(amazon, URL).restore(At(made.id), "shop-slow", quiet).fresh, "the same call goes on"


@pytest.mark.parametrize(
    ("code", "wanted"),
    [("ExpiredToken", "credentials"), ("InvalidClientTokenId", "credentials"), ("AccessDenied", "privilege"), ("SnapshotQuotaExceeded", "quota")],
)  # fmt: skip
def test_what_aws_refuses_is_told_and_changes_nothing(amazon: str, code: str, wanted: str) -> None:
    provider = rds(amazon, URL)

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "because"}}, "CreateDBSnapshot")

    provider._api.client.meta.events.register("before-call.rds.CreateDBSnapshot", refuse)
    fails(wanted, EnvironmentProblem, lambda: provider.create("x", quiet))
    assert provider.snapshots() == ()


def test_what_is_missing(amazon: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fails("not-found", EnvironmentProblem, lambda: rds(amazon, URL, instance="nothing").create("x", quiet))
    assert "correct snapshot.rds.instance" in rds(amazon, URL, instance="nothing").lacking()[0]
    assert rds(amazon, URL).lacking() == ()
    made = config("http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    assert "cannot be asked" in Rds(made, URL, api=Api(made)).lacking()[0]
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(key)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    fails("credentials", EnvironmentProblem, lambda: rds(amazon, URL).snapshots())


def test_a_point_in_time(amazon: str) -> None:
    provider, now = rds(amazon, URL), datetime.now(UTC)
    restored = provider.restore(At(time=now - timedelta(seconds=1)), "shop-then", quiet)
    assert restored.fresh
    assert not provider.restore(At(time=now - timedelta(seconds=1)), "shop-then", quiet).fresh
    fails("taken", RefusedError, lambda: provider.restore(At(time=now - timedelta(minutes=9)), "shop-then", quiet))
    fails("time", RefusedError, lambda: provider.restore(At(time=now + timedelta(days=1)), "shop-later", quiet))
    (shown,) = provider.shown_restore(At(time=now), "shop-other")
    assert "restore-db-instance-to-point-in-time" in shown
    assert "--vpc-security-group-ids sg-" in shown


def test_automated_ones_are_copied_when_they_are_protected(amazon: str) -> None:
    from moto.rds.models import rds_backends

    (account,) = rds_backends
    rds_backends[account][REGION].create_auto_snapshot("shop-db", "rds:shop-db-2025-06-01-04-10")
    provider = rds(amazon, URL)
    (automated,) = provider.snapshots()
    assert automated.detail["type"] == "automated"
    fails("automated", RefusedError, lambda: provider.drop(automated.id))
    kept = provider.protect(automated.id, True)
    assert kept.id != automated.id
    assert kept.protected
    assert kept.created_at == automated.created_at
    assert provider.protect(automated.id, True) == kept
    fails("protected", RefusedError, lambda: provider.drop(kept.id))
    provider.restore(At(automated.id), "shop-auto", quiet)


def test_times_where_the_database_cannot_be_reached_are_rather_late(amazon: str) -> None:
    before = datetime.now(UTC)
    made = rds(amazon, URL).create("x", quiet)
    assert before + timedelta(seconds=55) < made.created_at < before + timedelta(seconds=90)


def test_names(amazon: str) -> None:
    provider = rds(amazon, URL)
    made = provider.create("x", quiet)
    for name in ("a_b", "9a", "a--b", "a-", "x" * 64, "a b"):
        fails("name", UsageError, lambda n=name: provider.restore(At(made.id), n, quiet))  # type: ignore[misc]


def test_tags_of_aws_and_ours_are_not_carried(amazon: str) -> None:
    provider = rds(amazon, URL)
    made = provider.create("x", quiet)
    provider.restore(At(made.id), "shop-new", quiet)
    second = Rds(Config(**{**_fields(amazon), "instance": "shop-new"}), URL)
    copy = second.create("y", quiet)
    second.restore(At(copy.id), "shop-newer", quiet)
    tags = client(amazon).describe_db_instances(DBInstanceIdentifier="shop-newer")["DBInstances"][0]["TagList"]
    assert sorted(t["Key"] for t in tags) == sorted([*(t["Key"] for t in TAGS), "unmigrate:restored"])


def _fields(amazon: str) -> dict[str, Any]:
    made = config(amazon)
    return {name: getattr(made, name) for name in made.__slots__}


def test_on_the_command_line(amazon: str, fresh_url: str, tmp_path: Path) -> None:
    project = write_project(tmp_path / "app", [("1_init", INIT), ("2_bad", BAD)])
    (project / "unmigrate.toml").write_text(
        f'[snapshot.rds]\ninstance = "shop-db"\nregion = "{REGION}"\nendpoint_url = "{amazon}"\npoll = 0.05\n'
    )
    kit = Kit(rds(amazon, fresh_url), fresh_url)
    kit.begin()
    where = ("--project", project, "--url", kit.url)
    status, printed = run("snapshot", "create", "--label", "before-release", *where)
    assert status == 0, printed
    kit.deploy_bad()
    status, printed = run("restore", "--before", "2_bad", "--to", "shop-back", "--no-look", "--url-file", tmp_path / "url", *where)
    assert status == 0, printed
    assert SECRET not in printed
    assert parse_url((tmp_path / "url").read_text()).database == parse_url(kit.url).database
    status, printed = run("plan", *where)
    assert "reverse-refill shop-db-" in printed, "it is nearer than a point in time, which is a second before"
    assert "restore before" in printed
    assert "unmigrate restore --time 20" in printed
    assert "restore shop-db-" in printed
    assert (status, SECRET in printed) == (1, False)
    status, told = run("rollback", "--refill", "before", "--dry-run", *where)
    assert (status, "then bring back" in told) == (0, True), told
    status, told = run("refill", "2_bad", "--snapshot", "before", "--column", 'public."User".note', "--dry-run", *where)
    assert "applied here" in told


def test_clones_of_aurora(amazon: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Made and restored copy-on-write; to a time in full; never of anything but Aurora; only clones of this cluster are listed."""
    provider = rds(amazon, URL, cluster="shop-aurora", clones=True)
    asked: list[tuple[str, dict[str, Any]]] = []
    call = Api.call
    monkeypatch.setattr(Api, "call", lambda self, operation, **a: asked.append((operation, a)) or call(self, operation, **a))
    made = provider.create("x", quiet)
    restored = provider.restore(At(made.id), "aurora-new", quiet)
    copies = [a for operation, a in asked if operation == "restore_db_cluster_to_point_in_time"]
    assert [(c["SourceDBClusterIdentifier"], c["RestoreType"], c["UseLatestRestorableTime"]) for c in copies] == [
        ("shop-aurora", "copy-on-write", True),
        (made.id, "copy-on-write", True),
    ]
    assert made.detail["type"] == "clone"
    assert "aurora-new" in restored.url
    assert [s.id for s in provider.snapshots()] == [made.id], "what was restored is no snapshot"
    assert rds(amazon, URL, cluster="shop-aurora").snapshots() == ()
    assert not client(amazon).describe_db_clusters(DBClusterIdentifier=made.id)["DBClusters"][0]["DBClusterMembers"], "no instance to pay"
    shown, added = provider.shown_restore(At(time=datetime.now(UTC)), "later")
    assert "create-db-instance" in added
    assert "copy-on-write" not in shown
    fails("not-ours", RefusedError, lambda: provider.discard(made.id))
    client(amazon).create_db_cluster(
        DBClusterIdentifier="multi", Engine="postgres", MasterUsername="app", MasterUserPassword="hunter2hunter2",
        DBClusterInstanceClass="db.m6gd.large", AllocatedStorage=100, StorageType="io1", Iops=1000,
    )  # fmt: skip
    fails("no-clones", EnvironmentProblem, lambda: rds(amazon, URL, cluster="multi", clones=True).create("x", quiet))
    assert [name for name, _, _ in Config(instance="shop-db", clones=True).problems()] == ["clones"]


@pytest.mark.parametrize("more", [{}, {"cluster": "shop-aurora", "clones": True}], ids=["instance", "clone"])
def test_what_is_shown_is_run_by_the_aws_cli(amazon: str, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    """Dry runs print commands that a person can run, word for word; what they make is what we would have made, and we see it."""
    from awscli.clidriver import create_clidriver

    monkeypatch.setenv("AWS_ENDPOINT_URL", amazon)
    provider = rds(amazon, URL, **more)
    made = provider.create("x", quiet)

    def by_hand(lines: tuple[str, ...]) -> None:
        for line in lines:
            program, *words = shlex.split(line)
            assert (program, create_clidriver().main([*words, "--output", "json"])) == ("aws", 0), line

    by_hand(provider.shown_create("y"))
    assert len(provider.snapshots()) == 2
    by_hand(provider.shown_protect(made.id, True))
    assert next(s for s in provider.snapshots() if s.id == made.id).protected
    by_hand(provider.shown_restore(At(made.id), "by-hand"))
    by_hand(provider.shown_restore(At(time=datetime.now(UTC)), "then-by-hand"))
    assert not provider.restore(At(made.id), "by-hand", quiet).fresh, "it is what we would have made"
    ours = provider.restore(At(made.id), "by-us", quiet)
    ask = client(amazon).describe_db_clusters if more else client(amazon).describe_db_instances
    found = {
        x.get("DBClusterIdentifier") if more else x["DBInstanceIdentifier"]: x
        for x in next(v for k, v in ask().items() if k.startswith("DB"))
    }
    assert {"by-hand", "then-by-hand", ours.name} <= found.keys()
    for key in ("DBSubnetGroup", "VpcSecurityGroups", "Port", "DBInstanceClass", "DBClusterParameterGroup", "DBParameterGroups"):
        assert found["by-hand"].get(key) == found["by-us"].get(key), key
    by_hand(provider.shown_protect(made.id, False))
    by_hand(provider.shown_drop(made.id))
    assert made.id not in [s.id for s in provider.snapshots()]
