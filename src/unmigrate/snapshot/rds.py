"""Snapshots of RDS: DB snapshots of an instance, cluster snapshots of Aurora, restored into a new instance or cluster, or to a time.

What we make is tagged with the database's clock as it was when AWS said that the snapshot is there: never before the state it holds. Of
snapshots that others made AWS's own time counts, and a minute. What is protected, and what was restored by us, is told by a tag too.
"""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from unmigrate.config.snapshot import Rds as Config
from unmigrate.errors import RefusedError, UnmigrateError, UsageError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot import urls
from unmigrate.snapshot.aws import Api, Raw, Store
from unmigrate.snapshot.provider import At, Restored, Say, Snapshot
from unmigrate.snapshot.rds_clones import CLONE, Clones
from unmigrate.snapshot.rds_stores import Clusters, Instances

AT, LSN, PROTECTED, RESTORED = "unmigrate:created-at", "unmigrate:lsn", "unmigrate:protected", "unmigrate:restored"
_NAME = re.compile(r"[a-z](?:-?[a-z0-9])*")
_SLACK = timedelta(minutes=1)


class Rds:
    """url: of the source database; host and port of what is restored take the place of its own."""

    name = "rds"
    points = frozenset({"time"})

    def __init__(self, config: Config, url: str, *, api: Api | None = None) -> None:
        self._config, self._text, self._url = config, url, parse_url(url)
        self._api = api or Api(config)
        kind = Clones if config.clones else Clusters
        self._store: Store = kind(self._api, config.cluster) if config.cluster else Instances(self._api, str(config.instance))
        self.source_name = self._store.source

    # what there is

    def snapshots(self) -> tuple[Snapshot, ...]:
        found = [self._snapshot(raw) for raw in self._store.snapshots() if raw["Status"] == "available" and raw["at"]]
        return tuple(sorted(found, key=lambda s: s.created_at))

    def _snapshot(self, raw: Raw) -> Snapshot:
        tags: dict[str, str] = raw["tags"]
        at = datetime.fromisoformat(tags[AT]) if AT in tags else raw["at"].astimezone(UTC) + _SLACK
        detail = {"type": raw["type"], "version": raw["version"]}
        return Snapshot(raw["id"], self.name, at, tags.get(LSN), raw["size"], tags.get(PROTECTED) == "true", detail)

    def _find(self, name: str) -> Raw:
        for raw in self._store.snapshots():
            if raw["id"] == name and raw["Status"] == "available":
                return raw
        remedy = "unmigrate snapshot list shows those there are"
        raise UsageError(f"there is no snapshot {name} of {self.source_name}", code="no-snapshot", remedy=remedy)

    def lacking(self) -> tuple[str, ...]:
        try:
            self._store.shown(At("x"), "x", [])  # looks at the source
            self._store.snapshots()
        except UnmigrateError as error:
            return (f"{error}: {error.remedy}",)
        return ()

    # making

    def create(self, label: str, say: Say) -> Snapshot:
        name = self._named(label)
        self._store.make(name, [{"Key": "unmigrate:label", "Value": label}])
        raw = self._api.wait(f"snapshot {name}", lambda: self._store.snapshot(name), say)
        self._tag(raw["arn"], self._moment())
        return self._snapshot(self._find(name))

    def _named(self, label: str) -> str:
        return f"{self.source_name[:40]}-{datetime.now(UTC):%Y%m%d%H%M%S%f}-{label}"

    def _moment(self) -> dict[str, str]:
        """By the database's clock; where it cannot be reached from here, by AWS's, with the slack."""
        with suppress(UnmigrateError, psycopg.Error), connect(self._url) as connection:
            row = connection.execute("select clock_timestamp()", binary=True).fetchone()
            found = {AT: row[0].astimezone(UTC).isoformat()} if row else {}
            with suppress(psycopg.Error):  # Aurora has no such function
                row = connection.execute("select pg_current_wal_lsn()::text").fetchone()
                found |= {LSN: row[0]} if row else {}
            return found
        return {AT: (datetime.now(UTC) + _SLACK).isoformat()}

    def _tag(self, arn: str, tags: dict[str, str]) -> None:
        self._api.call("add_tags_to_resource", ResourceName=arn, Tags=[{"Key": k, "Value": v} for k, v in tags.items()])

    def protect(self, snapshot: str, on: bool) -> Snapshot:
        """An automated one, which AWS prunes, is copied; the copy is what is protected."""
        raw = self._find(snapshot)
        if on and raw["type"] == "automated":
            kept = f"kept-{snapshot.replace(':', '-')}"[:200]
            tags = {AT: self._snapshot(raw).created_at.isoformat(), PROTECTED: "true"}
            if self._store.snapshot(kept) is None:
                self._store.keep(snapshot, kept, [{"Key": k, "Value": v} for k, v in tags.items()])
            self._api.wait(f"snapshot {kept}", lambda: self._store.snapshot(kept), lambda _: None)
            return self._snapshot(self._find(kept))
        self._tag(raw["arn"], {PROTECTED: "true" if on else "false"})
        return self._snapshot(self._find(snapshot))

    def drop(self, snapshot: str) -> None:
        raw = self._find(snapshot)
        if self._snapshot(raw).protected:
            raise RefusedError(f"{snapshot} is protected", code="protected", remedy=f"unmigrate snapshot protect {snapshot} --off")
        if raw["type"] == "automated":
            raise RefusedError(f"{snapshot} is automated", code="automated", remedy="AWS drops it when its retention ends")
        self._store.drop(snapshot)

    # restoring

    def restore(self, at: At, to: str, say: Say) -> Restored:
        began, to = time.monotonic(), self._checked(to)
        if at.snapshot:
            self._find(at.snapshot)
        elif at.time:
            self._refuse_time(at.time)
        tags, there = self._tags(at), self._store.find(to)
        mark = tags[-1]
        if there is None:
            say(f"restoring {at} into {to}")
            self._store.restore(at, to, tags)
        elif to == self.source_name or {t["Key"]: t["Value"] for t in there.get("TagList", [])}.get(RESTORED) != mark["Value"]:
            message = f"there is {to} already, and it is not restored from {at}"
            raise RefusedError(message, code="taken", remedy="give another name; nothing is ever restored over a database")
        found = self._store.settle(to, tags, say)
        url = urls.moved(self._text, **_endpoint(found))
        return Restored(to, url, parse_url(url).display, there is None, round(time.monotonic() - began, 2))

    def _checked(self, to: str) -> str:
        if not _NAME.fullmatch(to.lower()) or len(to) > 63:
            remedy = "use letters, digits and single dashes, 63 at most, beginning with a letter"
            raise UsageError(f"{to} is no name for an instance of RDS", code="name", remedy=remedy)
        return to.lower()

    def _refuse_time(self, at: datetime) -> None:
        source = self._store.find(self.source_name) or {}
        latest, earliest = source.get("LatestRestorableTime"), source.get("EarliestRestorableTime")
        if (latest and at > latest) or (earliest and at < earliest) or at > datetime.now(UTC):
            since = f"from {earliest:%Y-%m-%d %H:%M:%S %Z} " if earliest else ""
            until = f"to {latest:%Y-%m-%d %H:%M:%S %Z}" if latest else "to now"
            message = f"{self.source_name} cannot be restored to {at.isoformat()}: only {since}{until}"
            raise RefusedError(message, code="time", remedy="give a time within, or a snapshot; a recent one comes about 5 minutes later")

    def _tags(self, at: At) -> list[Raw]:
        """Of what is restored; the last one says so."""
        return [*self._carried(), {"Key": RESTORED, "Value": _point(at)}]

    def _carried(self) -> list[Raw]:
        """The source's tags, but for those that are AWS's own, or ours."""
        source: dict[str, Any] = self._store.find(self.source_name) or {}
        return [t for t in source.get("TagList", []) if not t["Key"].startswith(("aws:", "unmigrate:"))]

    def discard(self, to: str) -> None:
        found = self._store.find(to)
        if found is None:
            return
        if to == self.source_name or RESTORED not in {t["Key"] for t in found.get("TagList", [])}:
            raise RefusedError(f"{to} was not restored by unmigrate", code="not-ours", remedy="delete it by hand if it is of no use")
        self._store.discard(to, lambda _: None)

    # what would be done

    def shown_create(self, label: str) -> tuple[str, ...]:
        kind = "cluster-" if self._config.cluster else ""
        source = "cluster" if self._config.cluster else "instance"
        name = self._named(label)
        if self._config.clones:
            return self._store.shown(At(self.source_name), name, [{"Key": CLONE, "Value": self.source_name}])[:1]
        return (f"aws rds create-db-{kind}snapshot --db-{kind}snapshot-identifier {name} --db-{source}-identifier {self.source_name}",)

    def shown_protect(self, snapshot: str, on: bool) -> tuple[str, ...]:
        raw, value = self._find(snapshot), "true" if on else "false"
        return (f"aws rds add-tags-to-resource --resource-name {raw['arn']} --tags Key={PROTECTED},Value={value}",)

    def shown_drop(self, snapshot: str) -> tuple[str, ...]:
        if self._config.clones:
            return (f"aws rds delete-db-cluster --db-cluster-identifier {snapshot} --skip-final-snapshot",)
        kind = "cluster-" if self._config.cluster else ""
        return (f"aws rds delete-db-{kind}snapshot --db-{kind}snapshot-identifier {snapshot}",)

    def shown_restore(self, at: At, to: str) -> tuple[str, ...]:
        return self._store.shown(at, self._checked(to), self._tags(at))


def _point(at: At) -> str:
    return at.snapshot.replace(":", "/", 1) if at.snapshot else at.time.isoformat() if at.time else ""


def _endpoint(found: Raw) -> dict[str, Any]:
    """Of an instance {Address, Port}, of a cluster a text beside its port."""
    endpoint = found.get("Endpoint")
    if isinstance(endpoint, dict):
        return {"host": endpoint["Address"], "port": int(endpoint.get("Port") or 5432)}
    return {"host": str(endpoint), "port": int(found.get("Port") or 5432)}
