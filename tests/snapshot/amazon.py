"""An AWS endpoint of moto's, with an instance and a cluster that have something to be carried over."""

import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.rds import models
from moto.server import ThreadedMotoServer

from tests.snapshot.kit import SECRET
from unmigrate.config.snapshot import Rds as Config
from unmigrate.snapshot.aws import Api
from unmigrate.snapshot.rds import Rds

REGION = "eu-west-1"
TAGS = [{"Key": "team", "Value": "shop"}, {"Key": "env", "Value": "prod"}]


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def amazon(moto: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The endpoint, empty but for shop-db and shop-aurora; credentials are made up."""
    for key, value in {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    urllib.request.urlopen(urllib.request.Request(f"{moto}/moto-api/reset", method="POST")).close()
    for kind in (models.DBCluster, models.DBInstance):  # its automated snapshots have one name per minute, and are there at once
        monkeypatch.setattr(kind, "save_automated_backup", lambda self: None)
    ec2, rds = (boto3.client(name, endpoint_url=moto, region_name=REGION) for name in ("ec2", "rds"))
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{REGION}{z}")["Subnet"]["SubnetId"]
        for n, z in ((1, "a"), (2, "b"))
    ]
    group = ec2.create_security_group(GroupName="db", Description="db", VpcId=vpc)["GroupId"]
    rds.create_db_subnet_group(DBSubnetGroupName="private", DBSubnetGroupDescription="x", SubnetIds=subnets)
    rds.create_db_parameter_group(DBParameterGroupName="tuned", DBParameterGroupFamily="postgres16", Description="x")
    rds.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="tuned-c", DBParameterGroupFamily="aurora-postgresql16", Description="x"
    )
    secret: dict[str, Any] = {"MasterUsername": "app", "MasterUserPassword": "hunter2hunter2"}
    rds.create_db_instance(
        DBInstanceIdentifier="shop-db", DBInstanceClass="db.m6g.large", Engine="postgres", AllocatedStorage=20, DBParameterGroupName="tuned",
        VpcSecurityGroupIds=[group], DBSubnetGroupName="private", Tags=TAGS, Port=5433, **secret,
    )  # fmt: skip
    rds.create_db_cluster(
        DBClusterIdentifier="shop-aurora", Engine="aurora-postgresql", EngineVersion="16.1", DBClusterParameterGroupName="tuned-c",
        VpcSecurityGroupIds=[group], DBSubnetGroupName="private", Tags=TAGS, **secret,
    )  # fmt: skip
    rds.create_db_instance(
        DBInstanceIdentifier="shop-aurora-w", DBInstanceClass="db.r6g.large", Engine="aurora-postgresql", DBClusterIdentifier="shop-aurora"
    )
    return moto


def config(endpoint: str, **more: Any) -> Config:
    which = {} if "cluster" in more else {"instance": "shop-db"}
    return Config(**{"region": REGION, "endpoint_url": endpoint, "poll": 0.02, "wait": 10.0, **which, **more})


def rds(endpoint: str, url: str, **more: Any) -> Rds:
    made = config(endpoint, **more)
    return Rds(made, url, api=Api(made))
