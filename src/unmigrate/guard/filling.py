"""Values for a parked column in rows that were written or edited while it was parked: worked out online, before the switch.

A trigger keeps it current from then on, and one UPDATE brings the older rows up to date; so no row keeps a value that went stale while
it could not be seen. The switch takes the trigger away again. NOT NULL returns in it as a CHECK that is not validated, and as itself
afterwards, so that the table is read under no lock.

None of this may refuse or alter what the application writes meanwhile: a value that cannot be worked out, or that a parked index or
foreign key would refuse, is left as it is and listed in `refused_<n>`; it stops the way back, not the application.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.catalog.sqltext import ident, literal
from unmigrate.guard.statement import inlined
from unmigrate.guard.types import by_now
from unmigrate.plan.model import VALUES_OF

LAST = "~~"  # triggers fire in the order of their names; ours must see what the application's own have made of a row


@dataclass(frozen=True, slots=True)
class Later:
    """A statement of the migration's that wrote to the converted column after its conversion, by the image that goes back in the switch.

    key: (number of the image's column, the same of a row t); number: of the converted column there; type: to which that, kept as text, is
    cast, or "".
    """

    image: str
    key: tuple[tuple[int, str], ...]
    number: int
    type: str = ""


@dataclass(frozen=True, slots=True)
class Filling:
    """How a parked column gets its values. All names are SQL.

    table, column: as they are now (parked); wanted: the column's own name, "schema.table.column".
    source: the column that it is worked out from, "" where there is none; value: the expression, over `source`, all names qualified.
    forward: what the migration made of it, over `column`: a row is up to date where that is bit by bit what `source` holds; without
    it, where the column is bit by bit `value`.
    notnull: NOT NULL returns. missing_only: values that are there stay as they are, as nobody can say that they went stale.
    binding: the parked column is NOT NULL even now. refusals: conditions over `unmigrate_made`, a new value, under which an index or a
    foreign key of the parked column would refuse it. bitwise: values compared are equal only if they are so bit by bit (see `bitwise`).
    later: what the migration itself made of `source` after that, which is no edit. tried: `value` is right only where `forward` leads back.
    """

    number: int
    schema: str
    table: str
    column: str
    wanted: str
    source: str
    value: str
    forward: str
    notnull: bool
    missing_only: bool = False
    binding: bool = False
    refusals: tuple[str, ...] = ()
    bitwise: bool = False
    later: tuple[Later, ...] = ()
    tried: bool = False

    @property
    def unknown(self) -> bool:
        """Rows may be stale, and nobody knows how to work them out."""
        return bool(self.source) and not self.value

    @property
    def function(self) -> str:
        return f"{self.schema}.sync_{self.number}"

    @property
    def trigger(self) -> str:
        return ident(f"{LAST}{self.schema}_sync_{self.number}")

    @property
    def refused(self) -> str:
        return f"{self.schema}.refused_{self.number}"


def prepare(filling: Filling) -> Iterator[tuple[str, str]]:
    """(object, SQL) of the steps before the switch; each may be run again."""
    f = filling
    if not f.value:
        return
    yield f"table {f.refused}", f"DROP TABLE IF EXISTS {f.refused}; CREATE TABLE {f.refused} (source text, why text)"
    pinned = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
    made = f"CREATE OR REPLACE FUNCTION {f.function}() RETURNS trigger {pinned} AS $unmigrate$ {_body(f)} $unmigrate$"
    yield f"routine {f.function}()", f"{made}; REVOKE ALL ON FUNCTION {f.function}() FROM PUBLIC"
    trigger = f"CREATE TRIGGER {f.trigger} BEFORE INSERT OR UPDATE ON {f.table} FOR EACH ROW EXECUTE FUNCTION {f.function}()"
    always = f"ALTER TABLE {f.table} ENABLE ALWAYS TRIGGER {f.trigger}"  # writes of replication workers too
    yield f"trigger {f.table}.{f.trigger}", f"DROP TRIGGER IF EXISTS {f.trigger} ON {f.table}; {trigger}; {always}"
    yield f"column {f.table}.{f.column}", _fill(f)
    yield f"{VALUES_OF}{f.wanted}", _none_refused(f)


def _body(f: Filling) -> str:
    """NEW := OLD: a row that is only filled stays as it is, whatever the application's own triggers made of it."""
    source = f"NEW.{f.source}::text" if f.source else "NULL"
    record = f"INSERT INTO {f.refused} VALUES ({source}, "
    wrong = ["unmigrate_made IS NULL"] if f.notnull or f.binding else []
    changed = f"(TG_OP = 'INSERT' OR unmigrate_made IS DISTINCT FROM OLD.{f.column})"
    wrong += [f"{changed} AND {condition}" for condition in f.refusals]
    made = inlined(f.forward, plain(f.column), "unmigrate_made") if f.tried else ""
    astray = f"NOT (ROW(NEW.{f.source})::record *= ROW({made})::record)" if f.tried else "false"
    return f"""DECLARE unmigrate_made {f.table}.{f.column}%TYPE; unmigrate_filling boolean := false;
BEGIN
  IF TG_OP = 'UPDATE' AND current_setting('unmigrate.filling', true) = {literal(f.function)} THEN
    NEW := OLD;
    unmigrate_filling := true;
  END IF;
  IF unmigrate_filling OR {_changed(f)} THEN
    BEGIN
      unmigrate_made := {_of_new(f)};
      IF {" OR ".join(f"({w})" for w in wrong) or "false"} THEN
        {record}coalesce('the parked column would refuse ' || unmigrate_made::text, 'there is no value'));
      ELSIF {astray} THEN
        {record}'nobody knows from which value the migration makes it');
      ELSE
        NEW.{f.column} := unmigrate_made;
      END IF;
    EXCEPTION WHEN OTHERS THEN
      {record}SQLERRM);
    END;
  END IF;
  RETURN NEW;
END"""


def _changed(f: Filling) -> str:
    if not f.source or f.missing_only:
        return f"NEW.{f.column} IS NULL"
    return f"TG_OP = 'INSERT' OR NOT (ROW(NEW.{f.source})::record *= ROW(OLD.{f.source})::record)"


def _of_new(f: Filling) -> str:
    return inlined(f.value, plain(f.source), f"new.{plain(f.source)}") if f.source else f.value


def _fill(f: Filling) -> str:
    """Bring older rows up to date, by the trigger. The application's triggers do not fire where the role may say so."""
    missing = f" OR {f.column} IS NULL" if f.notnull else ""
    return f"""DO $unmigrate$ BEGIN
  BEGIN PERFORM set_config('session_replication_role', 'replica', true); EXCEPTION WHEN insufficient_privilege THEN NULL; END;
  PERFORM set_config('unmigrate.filling', {literal(f.function)}, true);
  UPDATE {f.table} t SET {f.column} = t.{f.column} WHERE {stale(f)}{missing};
  PERFORM set_config('unmigrate.filling', '', true);
  IF current_setting('session_replication_role') = 'replica' THEN PERFORM set_config('session_replication_role', 'origin', true); END IF;
END $unmigrate$"""


def _none_refused(f: Filling) -> str:
    """Stop where a row has no value yet. It reads the table only where something was refused; what was put right since is let through."""
    same = f" AND t.{f.source}::text IS NOT DISTINCT FROM r.source" if f.source else ""
    missing = _missing(f)
    where = f"FROM {f.refused} r JOIN {f.table} t ON ({missing}){same}"
    what = f"'no value for {f.wanted.replace(chr(39), chr(39) * 2)} can be worked out where "
    source = f.source.replace("'", "''") or "it is missing"
    return f"""DO $unmigrate$ DECLARE missing record; BEGIN
  IF EXISTS (SELECT FROM {f.refused}) THEN
    SELECT r.source, r.why INTO missing {where} LIMIT 1;
    IF FOUND THEN RAISE EXCEPTION {what}{source} is %: %', coalesce(left(missing.source, 60), 'NULL'), missing.why; END IF;
  END IF;
END $unmigrate$"""


def _missing(f: Filling) -> str:
    """Of a row t whose value was refused: it has none by now either. What cannot be worked out is not asked for again: it would fail."""
    null = f"t.{f.column} IS NULL"
    if not f.source or f.missing_only:
        return null
    if not f.forward:
        return "true"
    differs = f"NOT (ROW(t.{f.source})::record *= ROW({_forward(f)})::record){_unexplained(f)}"
    return f"{null} OR {differs}" if f.notnull else differs


def stale(f: Filling) -> str:
    """The rows, of the table as t, whose parked value is not what belongs to the row."""
    if not f.source or f.missing_only:
        return f"{f.column} IS NULL AND ({f.value or 'NULL'}) IS NOT NULL" if f.missing_only else f"{f.column} IS NULL"
    return f"{_differ(f, f.source, f.forward)}{_unexplained(f)}" if f.forward else _differ(f, f.column, f.value)


def _forward(f: Filling) -> str:
    return inlined(f.forward, plain(f.column), f"t.{plain(f.column)}")


def _unexplained(f: Filling) -> str:
    """And not as the migration's own statements left what the parked value was converted to: those are undone by their images."""
    if not f.later:
        return ""
    made = f"(SELECT {_forward(f)} AS v) m0"
    for n, one in enumerate(f.later, 1):
        i, before = f"i{n}", f"m{n - 1}.v"
        same = " AND ".join(f"coalesce({i}.w{k}, {i}.o{k}) = {cell}" for k, cell in one.key)  # as it is indexed
        met, cast = (f"{before}::text", f"::{one.type}") if one.type else (before, "")
        made += f" LEFT JOIN {one.image} {i} ON {i}.op = 'U' AND {same} AND ROW({i}.o{one.number})::record *= ROW({met})::record"
        left = f"CASE WHEN {i}.op IS NULL THEN {before} ELSE {i}.w{one.number}{cast} END"
        made += f" CROSS JOIN LATERAL (SELECT {left} AS v) m{n}"
    return f" AND NOT EXISTS (SELECT FROM {made} WHERE ROW(m{len(f.later)}.v)::record *= ROW(t.{f.source})::record)"


def _differ(f: Filling, left: str, right: str) -> str:
    """Bit by bit. Rows of one column say so for every type, and take twice as long as `=` on a table of millions."""
    return f"{left} IS DISTINCT FROM ({right})" if f.bitwise else f"NOT (ROW({left})::record *= ROW({right})::record)"


# Not text: an expression may bring a collation under which 'a' equals 'A'.
_BITWISE = re.compile(r"^(smallint|integer|bigint|boolean|uuid|date|bytea|timestamp(\(\d\))? with(out)? time zone)$")


def bitwise(column: Object) -> bool:
    """Whether `=` on this column's type tells all values apart that differ in any bit."""
    return bool(_BITWISE.match(column.facts["type"]))


def first(filling: Filling) -> list[str]:
    """What the switch begins with."""
    if not filling.value:
        return []
    dropped = [f"DROP TRIGGER {filling.trigger} ON {filling.table}", f"DROP FUNCTION {filling.function}()"]
    return [_none_refused(filling), *dropped]


@dataclass(frozen=True, slots=True)
class Conversion:
    """A new column that a migration made from an old one. forward: over the old one; backward: over the new one, "" where nobody knows.

    now: the new column; parked: the old one, which the migration dropped, or kept beside the new type; stays: it did neither.
    tried: nobody knows that backward undoes forward; it does for the values for which forward leads back.
    lossless: the new values tell the old ones; these are kept so that the way back need not rewrite the table.
    """

    parked: Object
    now: Object
    forward: str
    backward: str
    stays: bool = False
    tried: bool = False
    lossless: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """Where the values of a parked column come from; the fields are those of Filling."""

    source: str
    value: str
    forward: str
    missing_only: bool = False
    tried: bool = False


def sources(conversions: Iterable[Conversion], now: Catalog) -> Iterator[tuple[Key, Source]]:
    """(parked column, source) for each conversion, whichever of its two columns is the parked one now."""
    for c in conversions:
        old, new = now.get(c.parked.key), now.get(c.now.key)
        if old is None or new is None or is_parked(old) == is_parked(new):
            continue
        here = {plain(c.parked.facts["label"]): plain(old.facts["label"]), plain(c.now.facts["label"]): plain(new.facts["label"])}
        forward = by_now(_renamed(c.forward, c.parked, here), now)
        if is_parked(old):
            backward = by_now(_renamed(c.backward, c.now, here), now) if c.backward else ""
            yield old.key, Source(new.facts["label"], backward, forward, tried=c.tried)
        else:
            yield new.key, Source(old.facts["label"], forward, "", missing_only=c.stays)


_TYPED = re.compile(r"^('(?:[^']|'')*')::.+$")


def default_now(default: str, type_: str) -> str:
    """A default for while its type may be parked itself. type_: its column's, as it is called by then."""
    match = _TYPED.match(default)
    return f"{match[1]}::{type_}" if match else default


def qualified(connection: psycopg.Connection[Any], table: str, expression: str) -> str:
    """The expression over this table as PostgreSQL writes it where nothing is searched: it means the same under every search_path.

    Its columns bare, as whoever uses it gives the table another name: PostgreSQL 14 names the table.
    """
    from pglast import ast, parse_sql
    from pglast.stream import RawStream
    from pglast.visitors import Visitor

    with connection.transaction(force_rollback=True):
        connection.execute(f"CREATE TEMP VIEW unmigrate_expression AS SELECT {expression} AS v FROM {table}")
        connection.execute("SELECT set_config('search_path', '', true)")
        row = connection.execute("SELECT pg_get_viewdef('pg_temp.unmigrate_expression'::regclass)").fetchone()
    tree: Any = parse_sql(str(row[0] if row else ""))[0].stmt
    own = tree.fromClause[0].relname

    class Bare(Visitor):
        def visit_ColumnRef(self, _: Any, node: Any) -> Any:
            is_own = len(node.fields) == 2 and getattr(node.fields[0], "sval", None) == own
            return ast.ColumnRef(fields=node.fields[1:]) if is_own and hasattr(node.fields[1], "sval") else None

    Bare()(tree)
    return str(RawStream()(tree.targetList[0].val))


def _renamed(expression: str, column: Object, names: dict[str, str]) -> str:
    label = plain(column.facts["label"])
    return inlined(expression, label, names[label])
