"""Where in a migration's text a finding belongs."""

from unmigrate.lint.model import Subject
from unmigrate.sql.script import ScriptError, Statement, split


def statements(subject: Subject) -> tuple[Statement, ...]:
    """Its statements; none where it does not parse."""
    try:
        return split(subject.migration.sql)
    except ScriptError:
        return ()


def place_of(subject: Subject, name: str) -> int | None:
    """The statement that first touched the object of this name ("schema.table" or "schema.table.column"), else the one that names it."""
    for effect in subject.effects:
        if any(each == name for _, each in effect.touched):
            return effect.statement.start
    owner = name.rpartition(".")[0]
    for effect in subject.effects:
        if any((kind == "table" and each == owner) or each.startswith(f"{name}.") for kind, each in effect.touched):
            return effect.statement.start
    plain = name.rpartition(".")[2].strip('"')
    return next((s.start for s in statements(subject) if plain and plain in s.text), None)
