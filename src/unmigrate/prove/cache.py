"""What an earlier audit of the same beginning proved, and the databases it ended with.

The entries stand in a JSON file of the user's cache, the databases on the persistent scratch server. Both go by a chain of checksums:
a migration that changed, or came in between, ends what is known at the one before it.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg

from unmigrate import __version__
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.account import cache_dir
from unmigrate.scratch.templates import template_key


class AuditCache:
    """The cache for one history under one set-up. A damaged file counts as none."""

    def __init__(self, work: Workspace, migrations: Sequence[Migration], *, rows: bool, beside: bool = False) -> None:
        self._work = work
        self._rows = rows
        chain = template_key(
            work.pool.server, [__version__, code_digest(), work.schema, work.setup, str(rows), str(work.pool.trusted), str(beside)]
        )
        self._keys = [chain]
        for migration in migrations:
            text = f"{self._keys[-1]} {migration.name} {migration.checksum} {migration.down_sql}"
            self._keys.append(hashlib.sha256(text.encode()).hexdigest())
        first = migrations[0].name if migrations else ""
        name = hashlib.sha256(f"{chain} {first}".encode()).hexdigest()[:32]
        self._file = cache_dir(os.environ) / "audits" / f"{name}.json"

    def load(self) -> list[dict[str, Any]]:
        """Entries of the longest beginning that is known whole, databases included."""
        try:
            content = json.loads(self._file.read_text(encoding="utf-8"))
            keys, entries = content["keys"], content["entries"]
        except (OSError, ValueError, KeyError):
            return []
        count = len(keys) - 1
        same = self._keys[: count + 1] == keys and len(entries) == count
        if not same or not all(self._work.pool.find_template(self._name(half, count)) for half in self._halves()):
            return []
        return list(entries)

    def database(self, half: str, count: int) -> psycopg.Connection[Any]:
        """A database with the first `count` migrations: from the cache, or a fresh one for none."""
        kept = self._work.at(self._name(half, count)) if count else None
        return kept or self._work.fresh()

    def store(self, entries: list[dict[str, Any]], schema: psycopg.Connection[Any], rows: psycopg.Connection[Any] | None) -> None:
        """Keep what was proved, if the databases can be kept (those that made roles cannot). Both connections are closed."""
        count = len(entries)
        kept = self._work.keep(schema, self._name("schema", count))
        if rows is not None:
            kept = self._work.keep(rows, self._name("rows", count)) and kept
        if not kept:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({"keys": self._keys[: count + 1], "entries": entries}), encoding="utf-8")
        partial.replace(self._file)

    def _halves(self) -> tuple[str, ...]:
        return ("schema", "rows") if self._rows else ("schema",)

    def _name(self, half: str, count: int) -> str:
        return f"{half} {self._keys[count]}"


def code_digest() -> str:
    """A digest of this package's own code: a verdict is only as good as the code that gave it."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
