"""Prisma's database URLs, as libpq understands them.

Only what libpq knows is passed on; Prisma's own parameters (schema, connection_limit, pgbouncer, ...) would make it refuse. `sslcert` is
Prisma's name for the authority's certificate, `sslaccept=strict` for verify-full. Prisma's client certificate (`sslidentity`, PKCS#12)
cannot be read by libpq, which takes PGSSLCERT and PGSSLKEY from the environment instead.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from unmigrate.errors import EnvironmentProblem, RefusedError, UnmigrateError, UsageError
from unmigrate.prisma.pooler import shares_servers

_LIBPQ = frozenset(
    {"host", "hostaddr", "port", "user", "password", "dbname", "application_name", "options", "sslmode", "sslrootcert", "sslkey",
     "sslcrl", "sslpassword", "target_session_attrs", "keepalives", "keepalives_idle", "channel_binding", "gssencmode", "krbsrvname",
     "service", "passfile", "connect_timeout", "sslnegotiation", "load_balance_hosts"}
)  # fmt: skip
OLDEST_MAJOR = 14  # the oldest that the tests run on; before it, a dropped column is not told from one that is there (has_column_privilege)
_ESCAPE = "percent-encode special characters of the password, as in %23 for # and %40 for @"


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """conninfo: a libpq string, secrets included; schema: Prisma's ?schema=; display: for people, without the password; pooled: the
    URL says that a transaction-mode pooler stands in between."""

    conninfo: str
    schema: str
    display: str
    database: str
    pooled: bool = False

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.display})"


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return sql.Identifier(name).as_string()


def schema_of(text: str | None) -> str:
    """The schema that holds the ledger and new tables: the URL's ?schema=, else public."""
    try:
        return dict(parse_qsl(urlsplit(text.strip()).query)).get("schema", "public") if text else "public"
    except ValueError:
        return "public"


def parse_url(text: str) -> DatabaseUrl:
    """Translate a URL. Raises UsageError for what is none, RefusedError for what is not PostgreSQL's. No message holds a password."""
    parts, port = _split(text.strip())
    query = dict(parse_qsl(parts.query))
    database = unquote(parts.path.lstrip("/")) or query.get("dbname") or "postgres"
    values: dict[str, Any] = {key: value for key, value in query.items() if key in _LIBPQ}
    values.setdefault("host", _host(parts))
    values |= {"dbname": database, "port": port or values.get("port") or 5432}
    if parts.username:
        values["user"] = unquote(parts.username)
    if parts.password:
        values["password"] = unquote(parts.password)
    values.setdefault("connect_timeout", 5)  # Prisma's default
    if query.get("sslaccept") == "strict":
        values["sslmode"] = "verify-full"
    if "sslcert" in query:
        values["sslrootcert"] = query["sslcert"]
    user = f"{values['user']}@" if "user" in values else ""
    display = f"postgresql://{user}{values['host']}:{values['port']}/{database}"
    try:
        conninfo = make_conninfo("", **values)
    except psycopg.ProgrammingError as error:
        raise UsageError("the database URL cannot be read", code="url", remedy=_ESCAPE) from error
    return DatabaseUrl(conninfo, query.get("schema", "public"), display, database, query.get("pgbouncer") == "true")


def _split(text: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError("the database URL cannot be read", code="url", remedy=_ESCAPE) from error
    if parts.scheme in ("prisma", "prisma+postgres"):
        message = "the database URL is Prisma Accelerate's, which takes no migrations"
        raise RefusedError(message, code="provider", remedy="give the database's own URL: directUrl in the datasource, or --url")
    if parts.scheme not in ("postgresql", "postgres"):
        remedy = "give one like postgresql://user:password@host:5432/database"
        if "://" not in text and not text.startswith("file:"):
            raise UsageError("the database URL given is none", code="url", remedy=remedy)
        given = parts.scheme or "something unknown"
        raise RefusedError(f"the database URL is for {given}; unmigrate is for PostgreSQL", code="provider", remedy=remedy)
    if "@" in parts.path + parts.fragment or ("@" in parts.query and "@" not in parts.netloc):
        raise UsageError("the database URL cannot be read: its password ends too early", code="url", remedy=_ESCAPE)
    return parts, port


def _host(parts: SplitResult) -> str:
    """The host with its own capitals, which `hostname` loses: it may be a socket's folder, percent-encoded."""
    if not parts.hostname:
        return "localhost"
    authority = parts.netloc.rpartition("@")[2]
    return parts.hostname if authority.startswith("[") else unquote(authority.partition(":")[0])


def connect(url: DatabaseUrl, **kwargs: Any) -> psycopg.Connection[Any]:
    """Connect as Prisma does, search_path included. Raises EnvironmentProblem (unreachable, not supported) in one line, without secrets."""
    if url.pooled:
        raise _pooler(url, "pgbouncer=true")

    def open_session() -> psycopg.Connection[Any]:
        return psycopg.connect(url.conninfo, autocommit=True, prepare_threshold=None, application_name="unmigrate", **kwargs)

    try:
        connection = open_session()
        if shares_servers(connection, open_session):
            connection.close()
            raise _pooler(url, "two sessions share one server process")
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise _unreachable(url, str(error)) from None
    require_supported(connection, url.display)
    connection.execute(f"SET search_path = {quoted(url.schema)}")
    return connection


_COUNTS = """
select current_setting('track_counts')::bool and not exists (
  select from pg_db_role_setting s, unnest(s.setconfig) c where c ilike 'track\\_counts=%' and not split_part(c, '=', 2)::bool)"""


def require_supported(connection: psycopg.Connection[Any], display: str) -> None:
    """Raises EnvironmentProblem, and closes the connection, where the server is older than what is tested, or does not count rows."""
    version = connection.info.server_version
    if version < OLDEST_MAJOR * 10000:
        connection.close()
        message = f"{display} runs PostgreSQL {version // 10000}.{version % 10000}, which is older than {OLDEST_MAJOR}"
        raise EnvironmentProblem(message, code="old-server", remedy=f"upgrade the server: unmigrate needs {OLDEST_MAJOR} or newer")
    if connection.execute(_COUNTS).fetchone() != (True,):
        connection.close()
        message = f"{display} does not count the rows that are written (track_counts is off): what a migration does could not be seen"
        raise EnvironmentProblem(message, code="track-counts", remedy="set track_counts = on, for the server and every role and database")


def _pooler(url: DatabaseUrl, seen: str) -> RefusedError:
    message = f"{url.display} goes through a pooler in transaction mode ({seen}), where locks and settings do not hold"
    remedy = "give the database's own URL: directUrl in the datasource, or --url; on hosted databases often another port (5432 for 6543)"
    return RefusedError(message, code="pooler", remedy=remedy)


# What libpq says, what it means, and what to do. The first that is found counts; {0} is the URL without password, {1} the database.
_REASONS = (
    (r"password authentication|no password supplied|SCRAM", "password", "{0} refuses the password", "check the URL's user and password"),
    (r'role "[^"]*" does not exist', "password", "{0} does not know this user", "check the user in the URL"),
    (r'database "[^"]*" does not exist', "no-database", "there is no database {1} at {0}", "check the URL's path"),
    (r"permission denied for database", "privilege", "{0} may not be connected to", "GRANT CONNECT ON DATABASE to the user in the URL"),
    (r"valid client certificate", "certificate", "{0} asks for a client certificate", "set PGSSLCERT and PGSSLKEY"),
    (r"no pg_hba\.conf entry", "not-admitted", "{0} does not admit this machine, user or way", "check pg_hba.conf, and the URL's sslmode"),
    (r"certificate verify failed|root certificate", "certificate", "the certificate of {0} is not trusted", "check sslcert and sslmode"),
    (r"too many clients|connection slots", "no-slot", "{0} has no connection left", "end some sessions, or raise max_connections"),
    (r"starting up|shutting down|recovery mode", "not-ready", "{0} is not ready", "wait until it has started, and try again"),
)  # fmt: skip


def _unreachable(url: DatabaseUrl, text: str) -> UnmigrateError:
    for pattern, code, message, remedy in _REASONS:
        if re.search(pattern, text):
            return EnvironmentProblem(message.format(url.display, url.database), code=code, remedy=remedy)
    reasons = [line.strip() for line in text.strip().splitlines() if not line.strip().startswith(("Is the server", "Multiple connection"))]
    reason = reasons[-1].rpartition("failed: ")[2] if reasons else "no answer"
    message = f"{url.display} cannot be reached: {reason}"
    return EnvironmentProblem(
        message, code="unreachable", remedy="check host and port, and that the server runs and may be reached from here"
    )
