"""The source's URL, turned to another database or server: user, password and parameters stay."""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from unmigrate.prisma.url import DatabaseUrl, parse_url


def moved(text: str, *, database: str | None = None, host: str | None = None, port: int | None = None) -> str:
    """The URL with another database, and another host and port."""
    parts = urlsplit(text.strip())
    path = f"/{quote(database, safe='')}" if database is not None else parts.path
    query, netloc = parts.query, parts.netloc
    if host is not None:
        kept = [(k, v) for k, v in parse_qsl(query, keep_blank_values=True) if k not in ("host", "hostaddr", "port")]
        query = urlencode(kept)
        user = parts.netloc.rpartition("@")[0]
        shown = f"[{host}]" if ":" in host else quote(host, safe="")
        netloc = f"{user}@{shown}:{port or 5432}" if user else f"{shown}:{port or 5432}"
    elif database is not None and any(k == "dbname" for k, _ in parse_qsl(query)):
        query = urlencode([(k, v) for k, v in parse_qsl(query, keep_blank_values=True) if k != "dbname"])
    return urlunsplit((parts.scheme, netloc, path, query, ""))


def secrets_of(text: str) -> tuple[str, ...]:
    """What of a URL must never be shown."""
    password = urlsplit(text.strip()).password
    return (password, unquote(password)) if password else ()


def beside(text: str, database: str) -> DatabaseUrl:
    """Another database of the same server."""
    return parse_url(moved(text, database=database))
