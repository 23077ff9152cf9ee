"""A history that also tells which statement each step of a way back undoes, as people read it. Costs one more run of each migration."""

from dataclasses import dataclass, field
from typing import Any

from unmigrate.inverse.replay import ReplayError
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import History, SchemaProof
from unmigrate.prove.statements import statement_map
from unmigrate.sql import script


@dataclass(slots=True)
class BesideHistory(History):
    """beside: {migration: [{"statement", "inverse": [SQL]}]} in the file's order; under an empty statement what undoes several."""

    beside: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def prove(self, migration: Migration) -> SchemaProof:
        """As History, and notes what undoes what. Raises ReplayError."""
        undoes = statement_map(self, migration)
        try:
            proof = History.prove(self, migration)
        except ReplayError:
            self.beside[migration.name] = [{"statement": text, "inverse": []} for text in _texts(migration)]
            raise
        inverse: dict[str, list[str]] = {}
        for step in proof.steps:
            inverse.setdefault(undoes.of(step), []).append(step.sql)
        listed = [{"statement": text, "inverse": inverse.pop(text, [])} for text in undoes.statements or _texts(migration)]
        rest = [sql for left in inverse.values() for sql in left]
        self.beside[migration.name] = listed + ([{"statement": "", "inverse": rest}] if rest else [])
        return proof


def _texts(migration: Migration) -> list[str]:
    try:
        return [s.text.strip() for s in script.split(migration.sql) if not s.control]
    except script.ScriptError:
        return [migration.sql.strip()]
