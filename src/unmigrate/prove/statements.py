"""Which statement of a migration did what: observed one by one, so that people see each beside its inverse."""

from dataclasses import dataclass, field

import psycopg

from unmigrate.catalog.observer import Delta
from unmigrate.inverse.model import InverseStep
from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import History
from unmigrate.sql import script


@dataclass(slots=True)
class Undoes:
    """Statements of a migration in order, and which objects (kind, name) each touched."""

    statements: list[str] = field(default_factory=list)
    touched: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, step: InverseStep) -> str:
        """The statement that an inverse step undoes, or ""."""
        number = self.touched.get((step.kind, step.name))
        return self.statements[number] if number is not None else ""


def statement_map(history: History, migration: Migration) -> Undoes:
    """Run the migration statement by statement and roll it back. Empty where it cannot be run so."""
    result = Undoes()
    try:
        statements = [s for s in script.split(migration.sql) if not s.control]
    except script.ScriptError:
        return result
    connection, observer = history.connection, history.observer
    saved = observer.save()
    observer.begin()
    try:
        for number, statement in enumerate(statements):
            connection.execute(statement.text)
            result.statements.append(statement.text.strip())
            _note(result, observer.refresh(), number)
    except psycopg.Error:
        result = Undoes()
    finally:
        connection.execute("ROLLBACK")
        observer.restore(saved)
    return result


def _note(result: Undoes, delta: Delta, number: int) -> None:
    changed = [*delta.created, *delta.dropped, *(o for pair in delta.altered for o in pair)]
    for o in changed:
        result.touched.setdefault((o.kind, o.name), number)
