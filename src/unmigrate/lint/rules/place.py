"""Where in a migration's text a finding belongs."""

import re

from unmigrate.inverse.model import Loss
from unmigrate.lint.model import Subject
from unmigrate.sql.script import ScriptError, Statement, split
from unmigrate.sql.writes import writes


def statements(subject: Subject) -> tuple[Statement, ...]:
    """Its statements; none where it does not parse."""
    try:
        return split(subject.migration.sql)
    except ScriptError:
        return ()


def place_of_loss(subject: Subject, loss: Loss) -> int | None:
    """The statement that lost it: for changed rows the one that writes to their table, or to the one that they refer to."""
    if loss.kind == "values" and "its type" not in loss.reason:
        carried = re.search(r"the change of (.+) to it$", loss.reason)
        table = carried[1] if carried else loss.object
        for statement in statements(subject):
            if any(_is(w.table, table) for w in writes(statement.text).tables):
                return statement.start
    return place_of(subject, loss.object)


def _is(plain: str, name: str) -> bool:
    quoted = '"' + plain.replace('"', '""') + '"'
    return name.endswith((f".{plain}", f".{quoted}"))


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
