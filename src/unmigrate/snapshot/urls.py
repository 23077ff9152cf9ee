"""The source's URL, turned to another database or server: user, password and parameters stay."""

from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

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
    return _joined(parts.scheme, netloc, path, query)


def ported(text: str, *, port: int, host: str | None = None) -> str:
    """The URL with another port, wherever it says its host; and with another host, if given."""
    if host is not None:
        return moved(text, host=host, port=port)
    parts = urlsplit(text.strip())
    user, at, place = parts.netloc.rpartition("@")
    bare = place[: place.index("]") + 1] if place.startswith("[") else place.partition(":")[0]
    pairs = [(k, v) for k, v in parse_qsl(parts.query, keep_blank_values=True) if k != "port"]
    query = urlencode(pairs if bare else [*pairs, ("port", str(port))], quote_via=quote)
    return _joined(parts.scheme, f"{user}{at}{bare}:{port}" if bare else f"{user}{at}", parts.path, query)


def _joined(scheme: str, netloc: str, path: str, query: str) -> str:
    """With its two slashes where there is no host, which libpq asks for."""
    return f"{scheme}://{netloc}{path}{f'?{query}' if query else ''}"


def secrets_of(text: str) -> tuple[str, ...]:
    """What of a URL must never be shown."""
    password = urlsplit(text.strip()).password
    return (password, unquote(password)) if password else ()


def beside(text: str, database: str) -> DatabaseUrl:
    """Another database of the same server."""
    return parse_url(moved(text, database=database))
