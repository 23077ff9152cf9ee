"""Keeping writers out at the database itself, and seeing whether any are left.

Both ways are known to be passed by some: read-only by whoever sets it off, both by superusers and owners. So `watch` observes.
PostgreSQL hides nearly all of other roles' sessions from who may not read all statistics, but not that they have a transaction id.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.config.maintenance import Database
from unmigrate.errors import EnvironmentProblem, RefusedError
from unmigrate.runbook.model import Json
from unmigrate.runbook.scene import APPLICATION
from unmigrate.words import amount

_IDLE_REPORT = 11.0  # an idle session reports what it wrote after 10 s at the latest
_OWNS = "select pg_has_role(datdba, 'USAGE') from pg_database where datname = current_database()"
# Sessions of superusers can be ended by superusers alone, others' by their own role or pg_signal_backend.
_BEYOND = """
select array_agg(distinct r.rolname::text) from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
where a.datname = current_database() and coalesce(a.backend_type, 'client backend') = 'client backend'
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
select pid, usename::text as role, coalesce(application_name, '') as application,
  case when state = 'idle' then extract(epoch from clock_timestamp() - state_change)::float8 end as idle
from pg_stat_activity where datname = current_database() and coalesce(backend_type, 'client backend') = 'client backend'
  and usename is not null and application_name <> %s and pid <> pg_backend_pid() order by pid"""
_WRITING = """
select format('session %%s of %%s (%%s)', pid, coalesce(usename, backend_type), coalesce(nullif(application_name, ''), 'unnamed'))
from pg_stat_activity where datname = current_database() and backend_xid is not null and application_name <> %s
  and pid <> pg_backend_pid() and backend_type is distinct from 'autovacuum worker'
union all select format('the prepared transaction %%s of %%s', gid, owner) from pg_prepared_xacts where database = current_database()"""
_COUNTERS = """
select s.schemaname || '.' || s.relname, s.n_tup_ins + s.n_tup_upd + s.n_tup_del from pg_stat_user_tables s
where s.schemaname <> 'unmigrate' and s.schemaname not like 'unmigrate\\_%%' and s.schemaname not like 'pg\\_%%'
  and s.relname <> '_prisma_migrations'"""
_EPOCH = """
select concat_ws(' ', pg_postmaster_start_time(), (select stats_reset from pg_stat_database where datname = current_database()))"""


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


def shown(config: Database, database: str, prepared: Json) -> list[str]:
    """prepared: as `before` found it, or nothing."""
    if config.mode == "read-only":
        first = f"ALTER DATABASE {ident(database)} SET default_transaction_read_only = on"
    else:
        roles = ", ".join(_role(role) for role, _ in prepared["grants"]) if prepared else "PUBLIC and every role it was granted to"
        first = f"REVOKE CONNECT ON DATABASE {ident(database)} FROM {roles}"
    kept = f" AND usename NOT IN ({', '.join(map(literal, config.keep))})" if config.keep else ""
    where = f"datname = {literal(database)} AND backend_type = 'client backend' AND application_name <> {literal(APPLICATION)}{kept}"
    return [first, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}"]


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
    return [f"database {connection.info.dbname}: {prepared['mode']}; {amount(ended, 'session')} ended"]


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
    """Another session of this database. idle: seconds since it did something; None while it does, or where we may not know."""

    pid: int
    role: str
    application: str
    idle: float | None


def others(connection: psycopg.Connection[Any], keep: tuple[str, ...] = ()) -> list[Other]:
    """Client sessions other than ours."""
    return [o for row in connection.execute(_OTHERS, [APPLICATION]).fetchall() if (o := Other(*row)).role not in keep]


def counters(connection: psycopg.Connection[Any]) -> dict[str, int]:
    """Rows written so far by table, as the statistics have it."""
    connection.execute("select pg_stat_clear_snapshot()")
    return dict(connection.execute(_COUNTERS).fetchall())


def written(earlier: dict[str, int], later: dict[str, int]) -> dict[str, int]:
    """Rows written between two readings, by table. A table that came since had none before."""
    return {t: n - earlier.get(t, 0) for t, n in later.items() if n > earlier.get(t, 0)}


def writing(connection: psycopg.Connection[Any]) -> list[str]:
    """Transactions of others in this database that have an id, so have written or are about to: sessions, and prepared ones."""
    return [row[0] for row in connection.execute(_WRITING, [APPLICATION]).fetchall()]


def mark(connection: psycopg.Connection[Any]) -> Json:
    """Where writing stands now, to be compared by `since`. What is written while this is read counts as written since."""
    transaction = _next(connection)
    epoch = connection.execute(_EPOCH).fetchone()
    return {"counters": counters(connection), "transaction": transaction, "epoch": epoch[0] if epoch else ""}


def since(connection: psycopg.Connection[Any], earlier: Json, pause: Callable[[float], None]) -> dict[str, int]:
    """Rows written by table since a mark. Where transactions took ids, sessions get the time to report what they wrote.

    Raises RefusedError where it cannot be known: a transaction that writes is open, or the statistics began anew.
    """
    until = time.monotonic() + _IDLE_REPORT
    while True:
        busy, now = writing(connection), mark(connection)
        over = time.monotonic() > until
        if moved := written(earlier["counters"], now["counters"]):
            return moved
        if not busy and now["transaction"] == earlier["transaction"]:
            return {}
        if now["epoch"] != earlier.get("epoch", now["epoch"]) or any(n < earlier["counters"].get(t, 0) for t, n in now["counters"].items()):
            message = "the server's statistics began anew meanwhile (a restart, or a reset): what was written is not known"
            raise RefusedError(message, code="writes-unknown", remedy="look yourself, then decide")
        if over and busy:
            message = f"a transaction that writes is open: {', '.join(busy[:3])}"
            raise RefusedError(message, code="writers", remedy="end it, and try again")
        if not busy and (over or all((o.idle or 0.0) > _IDLE_REPORT for o in others(connection))):
            return {}
        pause(0.5)


def watch(connection: psycopg.Connection[Any], quiet: float, wait: float, pause: Callable[[float], None]) -> Json:
    """Wait until nobody has written for `quiet` seconds. Raises RefusedError naming who or what still writes after `wait` seconds.

    No transaction with an id is open in this database; and either none of the whole server ended meanwhile, or, where others write in
    other databases, the counters of this one stood still for longer than an idle session may keep its own to itself.
    """
    until = time.monotonic() + wait
    began, last = time.monotonic(), mark(connection)
    why = ""
    while True:
        pause(min(0.25, quiet / 4))
        now, busy = mark(connection), writing(connection)
        moved = written(last["counters"], now["counters"])
        passed = time.monotonic() - began
        if busy or moved:
            rows = ", ".join(f"{t} ({n})" for t, n in sorted(moved.items())[:5])
            why = ", ".join(busy[:3]) or f"rows written in {rows}"
            began, last = time.monotonic(), now
        elif passed >= quiet and now["transaction"] == last["transaction"]:
            return _evidence(f"no transaction ended for {passed:.1f} s, and none that writes is open", now, connection)
        elif passed >= max(quiet, _IDLE_REPORT):
            return _evidence(f"counters stood still for {passed:.1f} s, and no transaction that writes is open", now, connection)
        if time.monotonic() > until:
            message = (
                f"writers are not gone after {wait:.0f} s: {why or 'transactions go on, and the counters were not watched long enough'}"
            )
            raise RefusedError(message, code="writers", remedy="stop what still writes: add it to [maintenance], or end it by hand")


def _evidence(how: str, now: Json, connection: psycopg.Connection[Any]) -> Json:
    row = connection.execute("select pg_current_wal_lsn()::text").fetchone()
    return {"said": [f"writers are gone: {how}; {len(others(connection))} other sessions"], **now, "lsn": row[0] if row else ""}


def _next(connection: psycopg.Connection[Any]) -> int:
    """One more than the last transaction id that ended: an open transaction does not move it."""
    row = connection.execute("select pg_snapshot_xmax(pg_current_snapshot())::text::int8").fetchone()
    assert row is not None
    return int(row[0])


def require(connection: psycopg.Connection[Any]) -> None:
    """Raises EnvironmentProblem where the role lacks what maintenance at the database needs."""
    if lacking := may(connection):
        raise EnvironmentProblem(
            "; ".join(lacking), code="privilege", remedy="connect as the owner of the database, or another [maintenance]"
        )
