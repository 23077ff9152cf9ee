"""Clones of an Aurora cluster as its snapshots: made in minutes whatever the size, sharing pages until either side changes them.

A clone without an instance costs only the pages that the source has changed since; it cannot be connected to, so nobody writes to it. What
is restored from one is a clone of it. AWS copies in full from the sixteenth clone on, and keeps clones within the region and account.
"""

from unmigrate.errors import EnvironmentProblem
from unmigrate.snapshot.aws import Raw
from unmigrate.snapshot.provider import At
from unmigrate.snapshot.rds_stores import Clusters

CLONE = "unmigrate:clone-of"


class Clones(Clusters):
    def snapshots(self) -> list[Raw]:
        found = self._api.pages("describe_db_clusters", "DBClusters")
        return [_raw(each) for each in found if _tags(each).get(CLONE) == self.source]

    def snapshot(self, name: str) -> Raw | None:
        found = self.find(name)
        return _raw(found) if found and _tags(found).get(CLONE) == self.source else None

    def make(self, name: str, tags: list[Raw]) -> None:
        found = self._cluster()
        if not str(found.get("Engine", "")).startswith("aurora"):
            message = f"{self.source} is no cluster of Aurora, and only those have clones"
            raise EnvironmentProblem(message, code="no-clones", remedy="take snapshot.rds.clones out")
        _, arguments = self._request(At(self.source), name, [*tags, {"Key": CLONE, "Value": self.source}])
        self._api.call("restore_db_cluster_to_point_in_time", **arguments)

    def keep(self, name: str, to: str, tags: list[Raw]) -> None:
        """None is automated: nothing has to be kept from AWS."""

    def drop(self, name: str) -> None:
        self.discard(name, lambda _: None)

    def _request(self, at: At, to: str, tags: list[Raw]) -> tuple[str, Raw]:
        if at.time:
            return super()._request(at, to, tags)  # a clone is of now: to a time it is a full copy
        _, arguments = super()._request(at, to, tags)
        kept = {k: v for k, v in arguments.items() if k not in ("SnapshotIdentifier", "Engine", "EngineVersion")}
        clone = {"SourceDBClusterIdentifier": at.snapshot, "RestoreType": "copy-on-write", "UseLatestRestorableTime": True}
        return "restore_db_cluster_to_point_in_time", {**clone, **kept}


def _tags(found: Raw) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in found.get("TagList", [])}


def _raw(found: Raw) -> Raw:
    """at: when it was begun, which is before the state it holds is settled: what we make is tagged with the time when it was there."""
    return {
        "id": found["DBClusterIdentifier"], "arn": found["DBClusterArn"], "Status": found["Status"], "at": found.get("ClusterCreateTime"),
        "size": None, "type": "clone", "version": found.get("EngineVersion"), "tags": _tags(found), "PercentProgress": None,
    }  # fmt: skip
