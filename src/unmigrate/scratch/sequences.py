"""What a transaction that is rolled back leaves behind all the same: sequences that counted on, and rows that then get other numbers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

_READ = "SELECT format('%I.%I', schemaname, sequencename), last_value, start_value FROM pg_catalog.pg_sequences WHERE schemaname !~ '^pg_'"


@contextmanager
def left_as_they_were(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Around what is tried and rolled back."""
    before = _read(connection)
    yield
    for name, (last, start) in _read(connection).items():
        if name in before and before[name][0] != last:
            value = before[name][0]
            connection.execute("SELECT setval(%s, %s, %s)", [name, start if value is None else value, value is not None])


def _read(connection: psycopg.Connection[Any]) -> dict[str, tuple[int | None, int]]:
    return {name: (last, start) for name, last, start in connection.execute(_READ).fetchall()}
