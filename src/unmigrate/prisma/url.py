"""Prisma's database URLs, as libpq understands them."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from unmigrate.errors import EnvironmentProblem, RefusedError, UsageError

# libpq's own parameters that make sense in a URL; everything else is Prisma's and would be refused by libpq.
_LIBPQ = frozenset(
    {"host", "hostaddr", "port", "user", "password", "dbname", "application_name", "options", "sslmode", "sslrootcert", "sslkey",
     "sslcrl", "sslpassword", "target_session_attrs", "keepalives", "keepalives_idle", "channel_binding", "gssencmode", "krbsrvname",
     "service", "passfile", "connect_timeout", "sslnegotiation", "load_balance_hosts"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """conninfo: a libpq string, secrets included. schema: Prisma's ?schema=. display: for people, without the password."""

    conninfo: str
    schema: str
    display: str
    database: str

    def __repr__(self) -> str:
        return f"DatabaseUrl({self.display})"


def quoted(name: str) -> str:
    """A name as SQL wants it."""
    return sql.Identifier(name).as_string()


def parse_url(text: str) -> DatabaseUrl:
    """Translate a URL. Raises UsageError, RefusedError for other databases' URLs."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise UsageError("the database URL cannot be read", code="url", remedy="percent-encode special characters of the password") from error
    if parts.scheme not in ("postgresql", "postgres"):
        message = f"the database URL is for {parts.scheme or 'no scheme'}; unmigrate is for PostgreSQL"
        raise RefusedError(message, code="provider", remedy="give a postgresql:// URL")
    query = dict(parse_qsl(parts.query))
    database = unquote(parts.path.lstrip("/")) or query.get("dbname") or "postgres"
    host = unquote(parts.hostname) if parts.hostname else "localhost"
    values: dict[str, Any] = {k: v for k, v in query.items() if k in _LIBPQ}
    values.setdefault("host", host)
    values |= {"dbname": database, "port": port or 5432}
    if parts.username:
        values["user"] = unquote(parts.username)
    if parts.password:
        values["password"] = unquote(parts.password)
    values.setdefault("connect_timeout", 5)
    if query.get("sslaccept") == "strict":
        values["sslmode"] = "verify-full"
    if "sslcert" in query:  # Prisma's sslcert is the authority's certificate
        values["sslrootcert"] = query["sslcert"]
    display = f"postgresql://{values.get('user', '')}{'@' if parts.username else ''}{values['host']}:{values['port']}/{database}"
    return DatabaseUrl(make_conninfo("", **values), query.get("schema", "public"), display, database)


def connect(url: DatabaseUrl, **kwargs: Any) -> psycopg.Connection[Any]:
    """Connect as Prisma does, search_path included. Raises EnvironmentProblem in one line, without secrets."""
    try:
        connection = psycopg.connect(url.conninfo, autocommit=True, prepare_threshold=None, application_name="unmigrate", **kwargs)
    except psycopg.OperationalError as error:
        raise _unreachable(url, str(error)) from None
    connection.execute(f"SET search_path = {quoted(url.schema)}")
    return connection


def _unreachable(url: DatabaseUrl, text: str) -> EnvironmentProblem:
    last = text.strip().splitlines()[-1]
    if "password authentication failed" in text or "no password supplied" in text:
        return EnvironmentProblem(f"{url.display} refuses the password", code="password", remedy="check user and password in the URL")
    if "does not exist" in text and "database" in text:
        return EnvironmentProblem(f"there is no database {url.database} at {url.display}", code="no-database", remedy="check the URL's path")
    return EnvironmentProblem(f"{url.display} cannot be reached: {last}", code="unreachable", remedy="check host and port, and that it runs")
