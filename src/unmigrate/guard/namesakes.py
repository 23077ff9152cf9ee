"""What bears the name of something that returns: a column or table that the migration made under a name it had taken away.

The application goes on writing under that name, to the new one. The way back parks that (or, where it is of the same shape, writes the old
values over it), and the old one returns as it was: who asks by that name does not find what was written since. Such rows stop the way until
a person says what becomes of them.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.parked import is_parked
from unmigrate.catalog.sqltext import literal
from unmigrate.guard.again import moment, written_since
from unmigrate.guard.filling import Conversion
from unmigrate.inverse.checks import sample
from unmigrate.plan.model import Check

_CONSTANT = re.compile(r"^('(?:[^']|'')*'|-?[\d.]+|true|false)(::[\w \"().\[\],]+)?$")
_LEFT = "it then comes back as it was, without what was written since"


@dataclass(frozen=True, slots=True)
class Namesake:
    """stands: what bears the name now; returns: what will bear it; parked: that column as it stands now, None where it is not there."""

    stands: Object
    returns: Object
    parked: Object | None

    @property
    def name(self) -> str:
        return self.returns.name


def namesakes(now: Catalog, then: Catalog, conversions: Collection[Conversion]) -> list[Namesake]:
    """Between two states; conversions: whose values are worked out from one another."""
    made = {frozenset((c.parked.key, c.now.key)) for c in conversions}
    returning = {_place(o): o for o in _living(then) if _away(now.get(o.key))}
    found = []
    for stands in _living(now):
        returns = returning.get(_place(stands))
        if returns is not None and _away(then.get(stands.key)) and frozenset((stands.key, returns.key)) not in made:
            found.append(Namesake(stands, returns, now.get(returns.key)))
    return sorted(found, key=lambda n: n.returns.key)


def _living(catalog: Catalog) -> Iterator[Object]:
    for o in catalog:
        parent = catalog.get(o.parent) if o.kind == "column" else None
        if o.kind in ("table", "column") and not is_parked(o) and not (parent and is_parked(parent)) and not o.facts.get("generated"):
            yield o


def _away(o: Object | None) -> bool:
    return o is None or is_parked(o)


def _place(o: Object) -> tuple[Key | None, str]:
    return (o.parent, str(o.facts["label"])) if o.kind == "column" else (None, o.name)


def marks(schema: str, name: str, found: Sequence[Namesake]) -> list[str]:
    """Statements that remember, in table `name`, the present moment and how many rows a table has, as the application goes on.

    found: seen from the other side: what returns is what stands from now on.
    """
    if not found:
        return []
    rows = [f"({literal(n.name)}, {f'(SELECT count(*) FROM {n.stands.name})' if n.stands.kind == 'table' else 'NULL'})" for n in found]
    made = f"SELECT n.name, n.rows::int8 AS rows, m.* FROM (VALUES {', '.join(rows)}) n (name, rows), ({moment()}) m"
    return [f"DROP TABLE IF EXISTS {schema}.{name}", f"CREATE TABLE {schema}.{name} AS {made}"]


def checks(migration: str, schema: str, name: str, found: Sequence[Namesake]) -> Iterator[Check]:
    """Rows written since the moment that `marks` remembered."""
    for one in found:
        mark = f"{schema}.{name}"
        written = written_since(mark, one.name)
        leave = f"DELETE FROM {mark} WHERE name = {literal(one.name)}: {_LEFT}"
        yield _table(migration, mark, one, written, leave) if one.stands.kind == "table" else _column(migration, one, written, leave)


def told(found: Sequence[Namesake]) -> Iterator[str]:
    """What these checks cannot see."""
    for one in found:
        if one.stands.kind == "column":
            yield f"{one.name}: a value put back to NULL or to the default since is not told from one that was never written"


def _table(migration: str, mark: str, one: Namesake, written: str, leave: str) -> Check:
    """Rows that went leave no other trace than their number."""
    counted = f"select count(*) filter (where {written}) w, count(*) filter (where not {written}) o from {one.stands.name} t"
    count = f"select coalesce((select greatest(w, m.rows - o) from ({counted}) c, {mark} m where m.name = {literal(one.name)}), 0)"
    reason = "rows were written since to another table of that name, which is parked: this one comes back without them"
    return Check(migration, one.name, reason, count, sample(f"from {one.stands.name} t where {written}"), (leave,))


def _column(migration: str, one: Namesake, written: str, leave: str) -> Check:
    table, label, default = one.stands.facts["table"], one.stands.facts["label"], one.stands.facts["default"]
    where = [written, f"t.{label} IS NOT NULL"]
    ways, columns, new = [leave], tuple[str, ...](), ""
    if one.parked is not None:
        columns = (str(one.parked.facts["label"]),)
        new = f"t.{columns[0]} IS NULL OR "  # a row of its own since, maybe, whose value is the default
        where.append(f"t.{label}::text IS DISTINCT FROM t.{columns[0]}::text")
        ways.insert(0, f"--fill '{one.name} = <SQL>'")
    if default is not None and _CONSTANT.match(default):
        where.append(f"({new}t.{label}::text IS DISTINCT FROM ({default})::text)")
    rows = f"from {table} t where {' AND '.join(where)}"
    reason = f"rows were written since to another column of that name (in SQL: {label}), and nobody knows which value of this one follows"
    count, some = f"select count(*) {rows}", sample(rows, (label,))
    return Check(migration, one.name, reason, count, some, tuple(ways), table, columns, " AND ".join(where), still="")
