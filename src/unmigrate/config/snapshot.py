"""[snapshot]: who makes snapshots, and how. One subsection per provider; paths are relative to the file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Name = Literal["pg_dump", "template", "rds", "pgbackrest", "command"]


@dataclass(frozen=True, slots=True)
class PgDump:
    """directory: where dumps are kept; jobs: tables dumped and restored at the same time; bin_dir: of pg_dump and pg_restore, if not
    where Debian has them or on the PATH; compress: level for gzip, as pg_dump takes it."""

    directory: str = "snapshots"
    jobs: int = 2
    bin_dir: str | None = None
    compress: int | None = None

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not 1 <= self.jobs <= 64:
            yield "jobs", f"jobs is {self.jobs}", "give a number from 1 to 64"
        if self.compress is not None and not 0 <= self.compress <= 9:
            yield "compress", f"compress is {self.compress}", "give a level from 0 to 9"


@dataclass(frozen=True, slots=True)
class Template:
    """end_sessions: end the sessions of the database while it is copied, which must have none; without it they are waited for."""

    end_sessions: bool = False


@dataclass(frozen=True, slots=True)
class Rds:
    """instance: the DB instance identifier, or cluster: the DB cluster identifier of Aurora (or Multi-AZ). instance_class: of what is
    restored, if not the source's; clones: of Aurora, snapshots are clones (copy-on-write), not cluster snapshots; wait (seconds): how long
    to wait for AWS; poll (seconds): how often to ask."""

    instance: str | None = None
    cluster: str | None = None
    region: str | None = None
    endpoint_url: str | None = None
    instance_class: str | None = None
    clones: bool = False
    wait: float = 7200.0
    poll: float = 15.0

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if (self.instance is None) == (self.cluster is None):
            yield "instance", "one of instance and cluster is to be given", "write snapshot.rds.instance or snapshot.rds.cluster"
        if self.clones and self.cluster is None:
            yield "clones", "only clusters of Aurora have clones", "write snapshot.rds.cluster, or take clones out"


@dataclass(frozen=True, slots=True)
class PgBackRest:
    """Runs where the repository can be reached and where restored instances are to run. stanza: its name; restore_root: a folder in which
    restored instances get one folder each; config: pgbackrest.conf, if not where pgbackrest looks for it; bin_dir: of the server's
    programs; host: by which the app reaches this machine, if not as the source; port: of the first restored instance, the next free one
    is taken; user: the system account that pgbackrest and restored instances run as (when we are root: postgres); settings: of restored
    instances, as "shared_buffers=1GB"; wait (seconds): for each of pgbackrest's commands, and for recovery."""

    stanza: str
    restore_root: str
    config: str | None = None
    bin_dir: str | None = None
    host: str | None = None
    port: int = 5500
    user: str | None = None
    backup_type: Literal["full", "diff", "incr"] = "incr"
    settings: tuple[str, ...] = ()
    wait: float = 7200.0

    def problems(self) -> Iterator[tuple[str, str, str]]:
        if not 1024 <= self.port <= 65000:
            yield "port", f"port is {self.port}", "give a number from 1024 to 65000"
        if not self.restore_root.startswith("/"):
            yield "restore_root", f"restore_root is {self.restore_root}", "give a whole path, as /var/lib/postgresql/restored"
        for each in self.settings:
            name, sign, _ = each.partition("=")
            if not sign or not name.strip().replace("_", "").replace(".", "").isalnum():
                yield "settings", f"{each} is no setting", 'write it as "shared_buffers=1GB"'


@dataclass(frozen=True, slots=True)
class Command:
    """Shell commands. Each prints one line of JSON (docs/snapshots.md), and sees UNMIGRATE_SNAPSHOT, UNMIGRATE_LABEL, UNMIGRATE_TO,
    UNMIGRATE_PROTECT, UNMIGRATE_LSN and UNMIGRATE_TIME where they have a meaning, and DATABASE_URL. points: what `restore` takes besides
    snapshots; wait (seconds): for each."""

    list: str
    create: str
    restore: str
    drop: str
    protect: str | None = None
    discard: str | None = None
    points: tuple[Literal["lsn", "time"], ...] = ()
    wait: float = 7200.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """provider: if it is not the one that has a subsection. create_command: makes a snapshot and prints its id. restore_command: restores
    the snapshot UNMIGRATE_SNAPSHOT into a new database and prints its URL on its last line. Both see UNMIGRATE_RUN, and DATABASE_URL of
    the database that is there; called again with the same UNMIGRATE_RUN they must go on, or answer as before."""

    provider: Name | None = None
    create_command: str | None = None
    restore_command: str | None = None
    pg_dump: PgDump = field(default_factory=PgDump)
    template: Template = field(default_factory=Template)
    rds: Rds | None = None
    pgbackrest: PgBackRest | None = None
    command: Command | None = None

    @property
    def chosen(self) -> Name:
        """The provider meant: the one named, else the one that is configured, else pg_dump."""
        if self.provider is not None:
            return self.provider
        given: list[Name] = [name for name, section in self._others() if section is not None]
        return given[0] if len(given) == 1 else "pg_dump"

    def _others(self) -> tuple[tuple[Name, object], ...]:
        return (("rds", self.rds), ("pgbackrest", self.pgbackrest), ("command", self.command))

    def problems(self) -> Iterator[tuple[str, str, str]]:
        given = [name for name, section in self._others() if section is not None]
        if self.provider is None and len(given) > 1:
            yield given[1], f"{' and '.join(given)} are both configured", "say which one makes snapshots: snapshot.provider"
        if self.provider is not None and dict(self._others()).get(self.provider, self) is None:
            yield "provider", f"provider is {self.provider}, which is not configured", f"write [snapshot.{self.provider}]"
