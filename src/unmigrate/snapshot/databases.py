"""Databases of one server as whole things: making, marking, renaming and dropping them. What we made says so in its comment.

A database is made under a name that nobody takes for whole, and gets its own name and its mark in one transaction at the end.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident, literal
from unmigrate.errors import EnvironmentProblem, FailedError, RefusedError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot.urls import beside

MARK = "unmigrate "
_LIST = """
select d.datname::text, shobj_description(d.oid, 'pg_database'), d.datistemplate,
  case when has_database_privilege(d.oid, 'CONNECT') then pg_database_size(d.oid) end
from pg_database d where shobj_description(d.oid, 'pg_database') like 'unmigrate {%%' order by d.datname"""
_SETTINGS = """
select s.setrole = 0, case when s.setrole = 0 then '' else pg_get_userbyid(s.setrole)::text end, unnest(s.setconfig)
from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase where d.datname = %s"""
_ACL = """
select case when a.grantee = 0 then '' else pg_get_userbyid(a.grantee)::text end, a.privilege_type, a.is_grantable
from pg_database d, aclexplode(d.datacl) a where d.datname = %s and a.grantee <> d.datdba"""


@contextmanager
def admin(url: str, *, own: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """A session of the same server and user in another database than the URL's; own: that one will do too.

    Raises EnvironmentProblem where there is none that lets us in.
    """
    source = parse_url(url).database
    problem: EnvironmentProblem | None = None
    for name in ("postgres", "template1", *([source] if own else [])):
        if name == source and not own:
            continue
        try:
            connection = connect(beside(url, name))
        except EnvironmentProblem as error:
            problem = problem or error
            continue
        try:
            with translated(f"on {beside(url, name).display}"):
                yield connection
        finally:
            connection.close()
        return
    assert problem is not None
    raise problem


@contextmanager
def translated(what: str) -> Iterator[None]:
    """What the server says, in our words: rights and disk are the reader's to mend."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        remedy = "connect as a role that may: ALTER ROLE … CREATEDB by a superuser, as owner of the database"
        raise EnvironmentProblem(f"{error.diag.message_primary}, {what}", code="privilege", remedy=remedy) from None
    except psycopg.errors.DiskFull as error:
        remedy = "free space on the server, and try again; nothing was left behind"
        message = f"the server's disk is full, {what}: {error.diag.message_primary}"
        raise EnvironmentProblem(message, code="disk-full", remedy=remedy) from None


def exists(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("select exists (select from pg_database where datname = %s)", [name]).fetchone()
    return bool(row and row[0])


def mark_of(connection: psycopg.Connection[Any], name: str) -> dict[str, Any] | None:
    """What a database of ours says it is; None for any other."""
    row = connection.execute("select shobj_description(oid, 'pg_database') from pg_database where datname = %s", [name]).fetchone()
    return _mark(row[0]) if row else None


def _mark(comment: str | None) -> dict[str, Any] | None:
    if comment is None or not comment.startswith(MARK):
        return None
    try:
        found = json.loads(comment.removeprefix(MARK))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def marked(connection: psycopg.Connection[Any]) -> list[tuple[str, dict[str, Any], bool, int | None]]:
    """Databases of ours: name, mark, whether it is a template, size in bytes where it may be asked."""
    rows = connection.execute(_LIST).fetchall()
    return [(name, found, template, size) for name, comment, template, size in rows if (found := _mark(comment))]


def unfinished_name(to: str) -> str:
    """What a database is called until it is whole. No name of it is taken for a database of somebody's."""
    return f"unmigrate_unfinished_{hashlib.sha256(to.encode()).hexdigest()[:12]}"


def finish(
    connection: psycopg.Connection[Any], to: str, mark: dict[str, Any], *, extra: tuple[str, ...] = (), unfinished: str | None = None
) -> None:
    """Give what was made its name and its mark at once."""
    with connection.transaction():
        connection.execute(f"ALTER DATABASE {ident(unfinished or unfinished_name(to))} RENAME TO {ident(to)}")
        connection.execute(mark_sql(to, mark))
        for statement in extra:
            connection.execute(statement)


def mark_sql(name: str, mark: dict[str, Any]) -> str:
    return f"COMMENT ON DATABASE {ident(name)} IS {literal(MARK + json.dumps(mark, sort_keys=True))}"


def prepare(connection: psycopg.Connection[Any], to: str, mark: dict[str, Any], *, same: tuple[str, ...]) -> bool:
    """Whether a database of this name is to be made. False: an earlier call with the same marks (the keys `same`) made it.

    What was left unfinished is dropped. Raises RefusedError when the name is taken.
    """
    if exists(connection, to):
        found = mark_of(connection, to)
        if found and all(found.get(key) == mark.get(key) for key in same):
            return False
        message = f"there is a database {to} already{'' if not found else ', restored from ' + str(found.get('at', 'something else'))}"
        raise RefusedError(message, code="taken", remedy="give another name; nothing is ever restored over a database")
    drop(connection, unfinished_name(to))
    return True


def drop(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database, if it is there, and end its sessions."""
    if not exists(connection, name):
        return
    force = " WITH (FORCE)" if connection.info.server_version >= 130000 else ""
    try:
        connection.execute(f"DROP DATABASE IF EXISTS {ident(name)}{force}")
    except psycopg.errors.ObjectInUse as error:
        raise FailedError(f"{name} is in use", code="in-use", remedy="end its sessions, and try again") from error


def discard(url: str, to: str) -> None:
    """Drop what was restored under this name. Raises RefusedError for what was not restored by us."""
    with admin(url, own=True) as connection:
        drop(connection, unfinished_name(to))
        if not exists(connection, to):
            return
        found = mark_of(connection, to)
        if found is None or found.get("kind") != "restored":
            message = f"{to} was not restored by unmigrate"
            raise RefusedError(message, code="not-ours", remedy="drop it by hand if it is of no use")
        drop(connection, to)


def settings(connection: psycopg.Connection[Any], database: str) -> list[list[Any]]:
    """What ALTER DATABASE … SET and ALTER ROLE … IN DATABASE say: [role or "", name, value]. Maintenance's read-only is none of them."""
    rows = connection.execute(_SETTINGS, [database]).fetchall()
    found = [[role, *text.split("=", 1)] for _, role, text in rows]
    return [each for each in found if each[1] != "default_transaction_read_only"]


def grants(connection: psycopg.Connection[Any], database: str) -> list[list[Any]] | None:
    """Who was given what on a database: [role or "" for PUBLIC, privilege, grantable]; None for the default."""
    row = connection.execute("select datacl is null from pg_database where datname = %s", [database]).fetchone()
    if row and row[0]:
        return None
    return [list(each) for each in connection.execute(_ACL, [database]).fetchall()]


def furnish_sql(database: str, settings_: list[list[Any]], grants_: list[list[Any]] | None) -> tuple[str, ...]:
    """Statements that give a new database the settings and grants of another."""
    name = ident(database)
    found = []
    for role, key, value in settings_:
        whose = f"ROLE {ident(role)} IN DATABASE {name}" if role else f"DATABASE {name}"
        found.append(f"ALTER {whose} SET {ident(key)} = {_value(key, value)}")
    if grants_ is not None:
        found.append(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        for role, privilege, grantable in grants_:
            who, option = ident(role) if role else "PUBLIC", " WITH GRANT OPTION" if grantable else ""
            found.append(f"GRANT {privilege} ON DATABASE {name} TO {who}{option}")
    return tuple(found)


def _value(key: str, value: str) -> str:
    """Lists are kept as lists: search_path = '"$user", public' would be one odd name."""
    if key.lower() in ("search_path", "temp_tablespaces", "session_preload_libraries", "local_preload_libraries"):
        parts = [p.strip() for p in value.split(",")]
        return ", ".join(p if p.startswith('"') else literal(p) for p in parts) or "''"
    return literal(value)
