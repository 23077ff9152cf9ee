"""A snapshot to read from: restored beside the source for a while, or restored by somebody already."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from unmigrate.errors import PartialError, UnmigrateError
from unmigrate.prisma.url import connect, parse_url
from unmigrate.snapshot.provider import At, Provider, Say


@dataclass(frozen=True, slots=True)
class Beside:
    """name: of the snapshot, or of the database given, for people and journals. copy: one more connection to what we restored ourselves;
    None where it is somebody's."""

    connection: psycopg.Connection[Any]
    name: str
    display: str
    copy: Callable[[], psycopg.Connection[Any]] | None = None


@contextmanager
def restored(provider: Provider, at: At, database: str, say: Say, *, keep: bool = False) -> Iterator[Beside]:
    """Restore into a database of our own, which goes afterwards; of what is only partly done it stays for the next try.

    keep: it is for people then, with all its rows.
    """
    at = replace(at, tables=None) if keep else at
    tail = hashlib.sha256(str((str(at), at.tables)).encode()).hexdigest()[:8]
    name = f"{database.encode()[:40].decode(errors='ignore')}-refill-{tail}".replace("_", "-")
    say(f"restoring {at} beside the database")
    made = provider.restore(at, name, say)
    url = parse_url(made.url)
    try:
        with closing(connect(url)) as connection:
            yield Beside(connection, str(at), made.display, lambda: connect(url))
    except PartialError:
        raise
    except UnmigrateError:
        _discard(provider, name)
        raise
    if not keep:
        say(f"dropping {made.display}")
        _discard(provider, name)


def _discard(provider: Provider, name: str) -> None:
    with suppress(UnmigrateError):  # it is in nobody's way
        provider.discard(name)


@contextmanager
def given(text: str) -> Iterator[Beside]:
    """What this URL leads to. It is only read."""
    url = parse_url(text)
    with closing(connect(url)) as connection:
        yield Beside(connection, url.display, url.display)
