"""DB instances and DB clusters of RDS, behind one face (`aws.Store`): what is restored gets what its source has, but for its data."""

from typing import Any

from unmigrate.errors import EnvironmentProblem
from unmigrate.snapshot.aws import Api, Raw, listed
from unmigrate.snapshot.provider import At, Say


def _groups(found: Raw) -> list[str]:
    return [g["VpcSecurityGroupId"] for g in found.get("VpcSecurityGroups", []) if g.get("VpcSecurityGroupId")]


def _given(arguments: Raw) -> Raw:
    """Without what the source lacks."""
    return {name: value for name, value in arguments.items() if value not in (None, "", [])}


def _raw(name: str, found: Raw, prefix: str) -> Raw:
    size = found.get("AllocatedStorage")
    return {
        "id": name, "arn": found[f"{prefix}Arn"], "Status": found["Status"], "at": found.get("SnapshotCreateTime"),
        "size": int(size) << 30 if size else None, "type": found.get("SnapshotType", "manual"), "version": found.get("EngineVersion"),
        "tags": {t["Key"]: t["Value"] for t in found.get("TagList", [])}, "PercentProgress": found.get("PercentProgress"),
    }  # fmt: skip


class Instances:
    def __init__(self, api: Api, source: str) -> None:
        self._api, self.source = api, source

    def snapshots(self) -> list[Raw]:
        found = self._api.pages("describe_db_snapshots", "DBSnapshots", DBInstanceIdentifier=self.source)
        return [_raw(f["DBSnapshotIdentifier"], f, "DBSnapshot") for f in found]

    def snapshot(self, name: str) -> Raw | None:
        found = self._api.one("describe_db_snapshots", "DBSnapshots", DBSnapshotIdentifier=name)
        return _raw(found["DBSnapshotIdentifier"], found, "DBSnapshot") if found else None

    def make(self, name: str, tags: list[Raw]) -> None:
        self._api.call("create_db_snapshot", DBSnapshotIdentifier=name, DBInstanceIdentifier=self.source, Tags=tags)

    def keep(self, name: str, to: str, tags: list[Raw]) -> None:
        self._api.call("copy_db_snapshot", SourceDBSnapshotIdentifier=name, TargetDBSnapshotIdentifier=to, Tags=tags)

    def drop(self, name: str) -> None:
        self._api.call("delete_db_snapshot", DBSnapshotIdentifier=name)

    def find(self, name: str) -> Raw | None:
        found = self._api.one("describe_db_instances", "DBInstances", DBInstanceIdentifier=name)
        return {**found, "Status": found["DBInstanceStatus"]} if found else None

    def _like(self) -> Raw:
        """Parameter group, security groups, subnet group and the rest of the source."""
        found = self.find(self.source)
        if found is None:
            raise EnvironmentProblem(f"there is no DB instance {self.source}", code="not-found", remedy="correct snapshot.rds.instance")
        parameters = found.get("DBParameterGroups") or [{}]
        options = [g for g in found.get("OptionGroupMemberships", []) if not g.get("OptionGroupName", "default:").startswith("default:")]
        return _given(
            {
                "DBInstanceClass": self._api.config.instance_class or found.get("DBInstanceClass"),
                "DBSubnetGroupName": (found.get("DBSubnetGroup") or {}).get("DBSubnetGroupName"),
                "VpcSecurityGroupIds": _groups(found),
                "DBParameterGroupName": parameters[0].get("DBParameterGroupName"),
                "OptionGroupName": options[0]["OptionGroupName"] if options else None,
                "Port": (found.get("Endpoint") or {}).get("Port"),
                "MultiAZ": found.get("MultiAZ"),
                "PubliclyAccessible": found.get("PubliclyAccessible"),
                "StorageType": found.get("StorageType"),
                "Iops": found.get("Iops"),
                "EnableIAMDatabaseAuthentication": found.get("IAMDatabaseAuthenticationEnabled"),
                "CopyTagsToSnapshot": found.get("CopyTagsToSnapshot"),
            }
        )

    def _request(self, at: At, to: str, tags: list[Raw]) -> tuple[str, Raw]:
        common = {**self._like(), "Tags": tags}
        if at.snapshot:
            return "restore_db_instance_from_db_snapshot", {"DBInstanceIdentifier": to, "DBSnapshotIdentifier": at.snapshot, **common}
        point = {"SourceDBInstanceIdentifier": self.source, "TargetDBInstanceIdentifier": to, "RestoreTime": at.time}
        return "restore_db_instance_to_point_in_time", {**point, **common}

    def restore(self, at: At, to: str, tags: list[Raw]) -> None:
        operation, arguments = self._request(at, to, tags)
        self._api.call(operation, **arguments)

    def settle(self, to: str, tags: list[Raw], say: Say) -> Raw:
        found = self._api.wait(f"instance {to}", lambda: self.find(to), say)
        if any(g.get("ParameterApplyStatus") == "pending-reboot" for g in found.get("DBParameterGroups", [])):
            say(f"instance {to}: restarting, for its parameter group")
            self._api.call("reboot_db_instance", DBInstanceIdentifier=to)
            found = self._api.wait(f"instance {to}", lambda: self.find(to), say)
        return found

    def discard(self, to: str, say: Say) -> None:
        found = self.find(to)
        if found and found["Status"] != "deleting":
            if found.get("DeletionProtection"):
                self._api.call("modify_db_instance", DBInstanceIdentifier=to, DeletionProtection=False, ApplyImmediately=True)
            self._api.call("delete_db_instance", DBInstanceIdentifier=to, SkipFinalSnapshot=True, DeleteAutomatedBackups=True)
        self._api.wait(f"instance {to}", lambda: self.find(to), say, gone=True)

    def shown(self, at: At, to: str, tags: list[Raw]) -> tuple[str, ...]:
        return (listed(*self._request(at, to, tags)),)


class Clusters:
    """Aurora, and Multi-AZ clusters. A restored cluster gets one instance, of the class of the source's writer."""

    def __init__(self, api: Api, source: str) -> None:
        self._api, self.source = api, source

    def snapshots(self) -> list[Raw]:
        found = self._api.pages("describe_db_cluster_snapshots", "DBClusterSnapshots", DBClusterIdentifier=self.source)
        return [_raw(f["DBClusterSnapshotIdentifier"], f, "DBClusterSnapshot") for f in found]

    def snapshot(self, name: str) -> Raw | None:
        found = self._api.one("describe_db_cluster_snapshots", "DBClusterSnapshots", DBClusterSnapshotIdentifier=name)
        return _raw(found["DBClusterSnapshotIdentifier"], found, "DBClusterSnapshot") if found else None

    def make(self, name: str, tags: list[Raw]) -> None:
        self._api.call("create_db_cluster_snapshot", DBClusterSnapshotIdentifier=name, DBClusterIdentifier=self.source, Tags=tags)

    def keep(self, name: str, to: str, tags: list[Raw]) -> None:
        names = {"SourceDBClusterSnapshotIdentifier": name, "TargetDBClusterSnapshotIdentifier": to}
        self._api.call("copy_db_cluster_snapshot", **names, Tags=tags)

    def drop(self, name: str) -> None:
        self._api.call("delete_db_cluster_snapshot", DBClusterSnapshotIdentifier=name)

    def find(self, name: str) -> Raw | None:
        return self._api.one("describe_db_clusters", "DBClusters", DBClusterIdentifier=name)

    def _cluster(self) -> Raw:
        found = self.find(self.source)
        if found is None:
            raise EnvironmentProblem(f"there is no DB cluster {self.source}", code="not-found", remedy="correct snapshot.rds.cluster")
        return found

    def _request(self, at: At, to: str, tags: list[Raw]) -> tuple[str, Raw]:
        found = self._cluster()
        common = _given(
            {
                "DBClusterIdentifier": to,
                "DBSubnetGroupName": found.get("DBSubnetGroup"),
                "VpcSecurityGroupIds": _groups(found),
                "DBClusterParameterGroupName": found.get("DBClusterParameterGroup"),
                "Port": found.get("Port"),
                "EnableIAMDatabaseAuthentication": found.get("IAMDatabaseAuthenticationEnabled"),
                "CopyTagsToSnapshot": found.get("CopyTagsToSnapshot"),
                "Tags": tags,
            }
        )
        if at.snapshot:
            engine = _given({"Engine": found.get("Engine"), "EngineVersion": found.get("EngineVersion")})
            return "restore_db_cluster_from_snapshot", {"SnapshotIdentifier": at.snapshot, **engine, **common}
        return "restore_db_cluster_to_point_in_time", {
            "SourceDBClusterIdentifier": self.source, "RestoreToTime": at.time, **common,
        }  # fmt: skip

    def restore(self, at: At, to: str, tags: list[Raw]) -> None:
        operation, arguments = self._request(at, to, tags)
        self._api.call(operation, **arguments)

    def settle(self, to: str, tags: list[Raw], say: Say) -> Raw:
        found = self._api.wait(f"cluster {to}", lambda: self.find(to), say)
        if not str(found.get("Engine", "")).startswith("aurora"):
            return found
        name = _member_of(to)
        if self._instance(name) is None:
            self._api.call("create_db_instance", **self._member(found, to, tags))
        self._api.wait(f"instance {name}", lambda: self._instance(name), say)
        return self._api.wait(f"cluster {to}", lambda: self.find(to), say)

    def _member(self, cluster: Raw, to: str, tags: list[Raw]) -> Raw:
        """Of the one instance that a restored cluster gets."""
        names = {"DBInstanceIdentifier": _member_of(to), "DBClusterIdentifier": to}
        return {**names, "Engine": cluster["Engine"], "DBInstanceClass": self._class(), "Tags": tags}

    def _instance(self, name: str) -> Raw | None:
        return self._api.one("describe_db_instances", "DBInstances", DBInstanceIdentifier=name)

    def _class(self) -> str:
        members = sorted(self._cluster().get("DBClusterMembers", []), key=lambda m: not m.get("IsClusterWriter"))
        writer = self._instance(members[0]["DBInstanceIdentifier"]) if members else None
        found = self._api.config.instance_class or (writer or {}).get("DBInstanceClass")
        if not found:
            message = f"{self.source} has no instance whose class the restored one could have"
            raise EnvironmentProblem(message, code="no-class", remedy="write snapshot.rds.instance_class")
        return str(found)

    def discard(self, to: str, say: Say) -> None:
        found = self.find(to)
        for member in (found or {}).get("DBClusterMembers", []):
            name: Any = member["DBInstanceIdentifier"]
            instance = self._instance(name)
            if instance and instance["DBInstanceStatus"] != "deleting":
                self._api.call("delete_db_instance", DBInstanceIdentifier=name, SkipFinalSnapshot=True)
        if found and found["Status"] != "deleting":
            if found.get("DeletionProtection"):
                self._api.call("modify_db_cluster", DBClusterIdentifier=to, DeletionProtection=False, ApplyImmediately=True)
            self._api.call("delete_db_cluster", DBClusterIdentifier=to, SkipFinalSnapshot=True)
        self._api.wait(f"cluster {to}", lambda: self.find(to), say, gone=True)

    def shown(self, at: At, to: str, tags: list[Raw]) -> tuple[str, ...]:
        found = self._cluster()
        made = (listed("create_db_instance", self._member(found, to, tags)),) if str(found.get("Engine", "")).startswith("aurora") else ()
        return (listed(*self._request(at, to, tags)), *made)


def _member_of(cluster: str) -> str:
    return f"{cluster}-1"[:63]
