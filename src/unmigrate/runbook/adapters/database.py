"""Keeping writers out at the database itself, and seeing whether any are left.

Both ways are known to be passed by some: read-only by whoever sets it off, both by superusers and owners. So `watch` observes.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.config.maintenance import Database
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import APPLICATION

_IDLE_REPORT = 11.0  # an idle session reports what it wrote after 10 s at the latest
_OWNS = "select pg_has_role(datdba, 'USAGE') from pg_database where datname = current_database()"
# Sessions of superusers can be ended by superusers alone, others' by their own role or pg_signal_backend.
_BEYOND = """
select array_agg(distinct r.rolname::text) from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
where a.datname = current_database() and a.backend_type = 'client backend'
  and not (select rolsuper from pg_roles where rolname = current_user)
  and (r.rolsuper or not (pg_has_role(r.oid, 'USAGE') or pg_has_role('pg_signal_backend', 'USAGE')))"""
_SETTING = """
select (select c from unnest(s.setconfig) c where c like 'default_transaction_read_only=%%')
from pg_database d left join pg_db_role_setting s on s.setdatabase = d.oid and s.setrole = 0 where d.datname = current_database()"""
_GRANTS = """
select case when a.grantee = 0 then '' else pg_get_userbyid(a.grantee)::text end, a.is_grantable
from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
where d.datname = current_database() and a.privilege_type = 'CONNECT' and a.grantee <> d.datdba order by 1"""
_OTHERS = """
select pid, coalesce(usename, '') as role, coalesce(application_name, '') as application, state, backend_xid is not null as writing,
  coalesce(xact_start < now() - interval '1 second' and state = 'idle in transaction', false) as waiting
from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and application_name <> %s
  and pid <> pg_backend_pid() order by pid"""
_COUNTERS = """
select s.schemaname || '.' || s.relname, s.n_tup_ins + s.n_tup_upd + s.n_tup_del from pg_stat_user_tables s
where s.schemaname <> 'unmigrate' and s.schemaname not like 'unmigrate\\_%%' and s.relname <> '_prisma_migrations'"""


def may(connection: psycopg.Connection[Any]) -> list[str]:
    """What the role lacks for this way of maintenance, each with its remedy; empty when it lacks nothing."""
    user, lacking = connection.info.user, []
    owns, beyond = connection.execute(_OWNS).fetchone(), connection.execute(_BEYOND).fetchone()
    if not (owns and owns[0]):
        lacking.append(f"{user} does not own the database {connection.info.dbname}")
    if beyond and beyond[0]:
        lacking.append(
            f"{user} may not end sessions of {', '.join(beyond[0])} (GRANT pg_signal_backend TO {ident(user)}; superusers' never)"
        )
    return lacking


def shown(config: Database, database: str) -> list[str]:
    if config.mode == "read-only":
        first = f"ALTER DATABASE {ident(database)} SET default_transaction_read_only = on"
    else:
        first = f"REVOKE CONNECT ON DATABASE {ident(database)} FROM PUBLIC and every role it was granted to"
    return [first, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE … other sessions of this database"]


def shown_undo(prepared: Json, database: str) -> list[str]:
    return _undo_sql(prepared, database)


def before(connection: psycopg.Connection[Any], config: Database) -> Json:
    """What stands now, to come back to."""
    setting = connection.execute(_SETTING).fetchone()
    grants = [[role, grantable] for role, grantable in connection.execute(_GRANTS).fetchall() if role not in config.keep]
    return {"mode": config.mode, "setting": setting[0] if setting else None, "grants": grants, "keep": list(config.keep)}


def enter(connection: psycopg.Connection[Any], prepared: Json, left: Callable[[], float]) -> list[str]:
    """Switch it on and end other sessions, until none is left. Raises EnvironmentProblem when sessions come back or stay."""
    database = ident(connection.info.dbname)
    if prepared["mode"] == "read-only":
        connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    else:
        roles = ", ".join(_role(role) for role, _ in prepared["grants"])
        if roles:
            connection.execute(f"REVOKE CONNECT ON DATABASE {database} FROM {roles}")
    old = {o.pid for o in others(connection, tuple(prepared["keep"]))}
    ended = len(old)
    while old:
        connection.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) pid", [sorted(old)])
        time.sleep(0.05)
        old &= {o.pid for o in others(connection)}
        left()
    return [f"database {connection.info.dbname}: {prepared['mode']}; {ended} sessions ended"]


def leave(connection: psycopg.Connection[Any], prepared: Json) -> list[str]:
    """Back to what stood before. Sessions that began meanwhile and read the setting are ended, so that they come back as writers."""
    for sql in _undo_sql(prepared, connection.info.dbname):
        connection.execute(sql)
    if prepared["mode"] == "read-only":
        pids = [o.pid for o in others(connection, tuple(prepared["keep"]))]
        connection.execute("select pg_terminate_backend(pid) from unnest(%s::int[]) pid", [pids])
    return [f"database {connection.info.dbname}: writers admitted again"]


def _undo_sql(prepared: Json, database: str) -> list[str]:
    if prepared["mode"] == "read-only":
        setting = prepared["setting"]
        value = f"SET default_transaction_read_only = {setting.partition('=')[2]}" if setting else "RESET default_transaction_read_only"
        return [f"ALTER DATABASE {ident(database)} {value}"]
    return [
        f"GRANT CONNECT ON DATABASE {ident(database)} TO {_role(role)}{' WITH GRANT OPTION' if grantable else ''}"
        for role, grantable in prepared["grants"]
    ]


def _role(name: str) -> str:
    return ident(name) if name else "PUBLIC"


@dataclass(frozen=True, slots=True)
class Other:
    """Another session of this database."""

    pid: int
    role: str
    application: str
    state: str
    writing: bool
    waiting: bool


def others(connection: psycopg.Connection[Any], keep: tuple[str, ...] = ()) -> list[Other]:
    """Client sessions other than ours."""
    return [o for row in connection.execute(_OTHERS, [APPLICATION]).fetchall() if (o := Other(*row)).role not in keep]


def counters(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows written so far by table, as the statistics have it."""
    connection.execute("select pg_stat_clear_snapshot()")
    return dict(connection.execute(_COUNTERS).fetchall())


def written(earlier: dict[str, int], later: dict[str, int]) -> dict[str, int]:
    """Rows written between two readings, by table; tables that went or came are left out."""
    return {t: n - earlier[t] for t, n in later.items() if t in earlier and n > earlier[t]}


def mark(connection: psycopg.Connection[Any]) -> Json:
    """Where writing stands now, to be compared by `since`."""
    return {"counters": counters(connection), "transaction": _next(connection)}


def since(connection: psycopg.Connection[Any], earlier: Json, pause: Callable[[float], None]) -> dict[str, int]:
    """Rows written by table since a mark. Where transactions took ids, sessions get the time to report what they wrote."""
    until = time.monotonic() + _IDLE_REPORT
    while True:
        if moved := written(earlier["counters"], counters(connection)):
            return moved
        if _next(connection) == earlier["transaction"] or time.monotonic() > until:
            return {}
        pause(0.5)


def watch(connection: psycopg.Connection[Any], quiet: float, wait: float, pause: Callable[[float], None]) -> Json:
    """Wait until nobody has written for `quiet` seconds. Raises RefusedError naming who or what still writes after `wait` seconds.

    Proof is one of two: no transaction of the whole server took an id meanwhile; or, where others write in other databases, the
    counters of this one stood still for longer than an idle session may keep its own to itself.
    """
    until = time.monotonic() + wait
    began, last, transaction = time.monotonic(), counters(connection), _next(connection)
    why = ""
    while True:
        pause(min(0.25, quiet / 4))
        now, next_, busy = counters(connection), _next(connection), [o for o in others(connection) if o.writing]
        moved = written(last, now)
        passed = time.monotonic() - began
        if busy or moved:
            why = _who(busy) if busy else "rows written in " + ", ".join(f"{t} ({n})" for t, n in sorted(moved.items())[:5])
            began, last, transaction = time.monotonic(), now, next_
        elif passed >= quiet and next_ == transaction:
            return _evidence(f"no transaction took an id for {passed:.1f} s", now, connection)
        elif passed >= max(quiet, _IDLE_REPORT):
            return _evidence(f"counters stood still for {passed:.1f} s, and no other session was in a writing transaction", now, connection)
        if time.monotonic() > until:
            message = (
                f"writers are not gone after {wait:.0f} s: {why or 'transactions go on, and the counters were not watched long enough'}"
            )
            raise RefusedError(message, code="writers", remedy="stop what still writes: add it to [maintenance], or end it by hand")


def _evidence(how: str, now: dict[str, int], connection: psycopg.Connection[Any]) -> Json:
    row = connection.execute("select pg_current_wal_lsn()::text").fetchone()
    sessions = len(others(connection))
    return {
        "said": [f"writers are gone: {how}; {sessions} other sessions"],
        "counters": now,
        "transaction": _next(connection),
        "lsn": row[0] if row else "",
    }


def _next(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::int8").fetchone()
    assert row is not None
    return int(row[0])


def _who(busy: list[Other]) -> str:
    return ", ".join(f"session {o.pid} of {o.role} ({o.application or 'unnamed'})" for o in busy[:3])


def require(connection: psycopg.Connection[Any]) -> None:
    """Raises EnvironmentProblem where the role lacks what maintenance at the database needs."""
    if lacking := may(connection):
        raise EnvironmentProblem(
            "; ".join(lacking), code="privilege", remedy="connect as the owner of the database, or another [maintenance]"
        )
