"""A protective snapshot, and the way by restoring: a new database beside the old one, looked at before anything is switched to it."""

from typing import Any

import psycopg
from psycopg import sql

from unmigrate.errors import FailedError, RefusedError
from unmigrate.prisma.ledger import read_ledger, states
from unmigrate.prisma.url import parse_url
from unmigrate.runbook.adapters import snapshots
from unmigrate.runbook.model import Json, Step
from unmigrate.runbook.scene import Scene, closing_connection

_TABLES = """
select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and not c.relispartition and n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema'
  and n.nspname <> 'unmigrate' and n.nspname not like 'unmigrate\\_%%' and c.relname <> '_prisma_migrations' order by 1, 2"""
_SAME = "select system_identifier, (select oid::int8 from pg_database where datname = current_database()) from pg_control_system()"
_SECONDS = 120  # for counting the rows of one table


def _protect(scene: Scene, prepared: Json) -> Json:
    found = snapshots.source(scene.config.snapshot, restoring=False)
    assert found is not None
    made = found.create(scene)
    return {"said": [f"snapshot {made or '(without a name)'}"], "snapshot": made}


def _restore(scene: Scene, prepared: Json) -> Json:
    given = scene.spec.snapshot or {}
    target = scene.keep.get("target")
    if target is None:
        found = snapshots.source(scene.config.snapshot, restoring=True)
        if found is None:
            message = "nobody restores snapshots"
            raise RefusedError(message, code="no-restore", remedy="give --database URL of what was restored, or snapshot.restore_command")
        target = found.restore(scene, str(given.get("id", "")))
        scene.trace("restore: restored")
        scene.keep.put("target", target)
    scene.trace("restore: kept")
    return _look(scene, target)


def _look(scene: Scene, target: str) -> Json:
    """The restored database must be another one, from before the migrations, with nothing half done; what it lacks is counted."""
    display = parse_url(target).display
    with closing_connection(scene) as old, closing_connection(scene, target) as new:
        if _identity(old) == _identity(new):
            message = f"{display} is the database that the app uses now"
            raise RefusedError(message, code="same-database", remedy="restore into a new database")
        rows = read_ledger(new, scene.spec.schema)
        if rows is None:
            raise FailedError(f"{display} has no _prisma_migrations table", code="no-ledger", remedy="choose another snapshot")
        found = {s.name: s.state for s in states((), rows)}
        late = [name for name in scene.spec.migrations if found.get(name) == "applied"]
        if late:
            message = f"{display} is from after the migration: it has {', '.join(late)}"
            raise FailedError(message, code="snapshot-after", remedy="choose an older snapshot")
        if failed := [name for name, state in found.items() if state == "failed"]:
            message = f"{display} was taken while {', '.join(failed)} was in flight: it may be half applied"
            remedy = f"roll it back there first (unmigrate rollback --url …: it is P3009), or choose an older snapshot than {failed[0]}"
            raise FailedError(message, code="in-flight", remedy=remedy)
        _same_history(old, new, scene)
        losses = _fewer(old, new)
    total = sum(x["rows"] for x in losses)
    said = [f"restored as {display}; it lacks {total} rows written since, in {len(losses)} tables" if losses else f"restored as {display}"]
    if losses and not scene.spec.accept_loss:
        named = ", ".join(f"{x['object']} ({x['rows']} rows)" for x in losses[:8])
        remedy = f"unmigrate abort {scene.spec.run}, then begin again with --accept-loss, or by the reverse way"
        raise RefusedError(f"this loses rows written since the snapshot: {named}", code="loss", remedy=remedy)
    return {"said": [*said, "the old database is kept"], "losses": losses, "database": display}


def _identity(connection: psycopg.Connection[Any]) -> tuple[Any, ...]:
    """Server and database; where the role may not ask the server, its address and start."""
    try:
        row = connection.execute(_SAME).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        row = connection.execute(
            "select inet_server_addr()::text, inet_server_port(), pg_postmaster_start_time()::text, current_database()"
        ).fetchone()
    return tuple(row or ())


def _same_history(old: psycopg.Connection[Any], new: psycopg.Connection[Any], scene: Scene) -> None:
    """What stays applied here must be applied there: an older snapshot would undo more than was asked for."""
    there = {s.name for s in states((), read_ledger(new, scene.spec.schema) or ()) if s.state == "applied"}
    here = {s.name for s in states((), read_ledger(old, scene.spec.schema) or ()) if s.state == "applied"}
    if missing := sorted(here - there - set(scene.spec.migrations)):
        message = f"the restored database lacks {', '.join(missing)} too"
        raise FailedError(message, code="snapshot-old", remedy=f"choose a newer snapshot, or roll back to before {missing[0]}")


def _fewer(old: psycopg.Connection[Any], new: psycopg.Connection[Any]) -> list[Json]:
    """Tables of which the old database has more rows than the restored one. Rows that were changed are not seen."""
    losses = []
    there = set(new.execute(_TABLES).fetchall())
    for schema, name in old.execute(_TABLES).fetchall():
        before = _count(old, schema, name)
        after = _count(new, schema, name) if (schema, name) in there else 0
        if before > after:
            losses.append({"object": f"{schema}.{name}", "rows": before - after})
    return losses


def _count(connection: psycopg.Connection[Any], schema: str, name: str) -> int:
    with connection.transaction():
        connection.execute(sql.SQL("set local statement_timeout = {}").format(sql.Literal(f"{_SECONDS}s")))
        row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, name))).fetchone()
    return int(row[0]) if row else 0


def _kept(scene: Scene, prepared: Json) -> Json:
    target = scene.keep.get("target")
    if target is None:
        return {"said": ["nothing had been restored"]}
    return {"said": [f"{parse_url(target).display} is kept"], "follow_up": f"drop {parse_url(target).display} when it is of no use"}


def _shown(scene: Scene) -> list[str]:
    target = scene.keep.get("target")
    if target is not None:
        return [f"look at {parse_url(target).display}: ledger, history, rows"]
    found = snapshots.source(scene.config.snapshot, restoring=True)
    return found.shown_restore(str((scene.spec.snapshot or {}).get("id", ""))) if found else ["(nobody restores: give --database)"]


def _shown_protect(scene: Scene) -> list[str]:
    found = snapshots.source(scene.config.snapshot, restoring=False)
    return found.shown_create() if found else []


PROTECT = Step("snapshot", "protective snapshot", _shown_protect, _protect, tries=2)
STEP = Step("restore", "restore into a new database", _shown, _restore, undo=_kept)
