"""Images: the rows as they were before a statement changed them, and as it left them, kept in the vault; and the way back from them.

Two ways to take them. By triggers, for INSERT, UPDATE and DELETE: only rows that change are written, cascades included. By copies
before and after, for everything else (TRUNCATE, DO, functions, conversions). Both give one table per table changed:

    op 'I', 'U', 'D';  o1, o2, …  the old values;  w1, w2, …  those the statement left

Going back, a value is restored only where it is bit by bit (`*=`) what the migration left. What was changed since is kept, and stays
listed in the table `restored_<n>` with the flags f1, f2, … that say which columns could go back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unmigrate.guard.keys import ForeignKey


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an image. before/after: its name in the table (SQL), None where it was not there, or is not kept.

    type_before: its type before; text_before/text_after: kept as text, as its type is not PostgreSQL's own; fixed: no UPDATE may set it;
    number: in its table; retyped: its type is another one afterwards, not only in length or precision;
    rewritten: its values change with the table's shape, which no trigger sees; passing: the migration added it, and dropped it later.
    """

    before: str | None
    after: str | None
    type_before: str = ""
    text_before: bool = False
    text_after: bool = False
    fixed: bool = False
    number: int = 0
    retyped: bool = False
    rewritten: bool = False
    passing: bool = False

    def old(self, alias: str) -> str:
        return f"{alias}.{self.before}::text" if self.text_before else f"{alias}.{self.before}"

    def new(self, alias: str) -> str:
        return f"{alias}.{self.after}::text" if self.text_after else f"{alias}.{self.after}"


@dataclass(frozen=True, slots=True)
class Image:
    """The image of one table over one statement.

    table/table_after: its name before and after the statement, None where it is gone; key: positions (from 0) of what identifies a row;
    oid: of the table. uniques: its keys, where ON CONFLICT cannot tell whether they are taken, as one of them is deferrable.
    passing: of the keys that refer to it, those whose columns or tables the migration added, and its way back takes away.
    """

    number: int
    schema: str
    table: str
    table_after: str | None
    columns: tuple[Column, ...]
    key: tuple[int, ...]
    foreign: tuple[ForeignKey, ...] = ()
    referring: tuple[ForeignKey, ...] = ()
    triggers: tuple[tuple[str, str], ...] = ()
    oid: int = 0
    uniques: tuple[tuple[str, ...], ...] = ()
    passing: tuple[ForeignKey, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.schema}.image_{self.number}"

    @property
    def restored(self) -> str:
        return f"{self.schema}.restored_{self.number}"

    @property
    def numbered(self) -> list[tuple[int, Column]]:
        return list(enumerate(self.columns, 1))

    def olds(self) -> list[tuple[int, Column]]:
        return [(i, c) for i, c in self.numbered if c.before]

    def news(self) -> list[tuple[int, Column]]:
        return [(i, c) for i, c in self.numbered if c.after]


def arm(image: Image) -> list[str]:
    """Triggers that record what the next statement changes."""
    olds = ", ".join(f"{c.old('t')} AS o{i}" for i, c in image.olds())
    news = ", ".join(f"{c.new('t')} AS w{i}" for i, c in image.news())
    function = f"{image.schema}.record_{image.number}"
    return [
        f'CREATE TABLE {image.name} AS SELECT NULL::"char" AS op, {olds}, {news} FROM {image.table} t WITH NO DATA',
        said(image),
        f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
        f"SET row_security = off AS $unmigrate$ {_recorder(image)} $unmigrate$",
        f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC",
        *(sql for event in _EVENTS for sql in _trigger(image, event, function)),
    ]


_EVENTS = {
    "INSERT": "NEW TABLE AS new_rows",
    "UPDATE": "OLD TABLE AS old_rows NEW TABLE AS new_rows",
    "DELETE": "OLD TABLE AS old_rows",
}


def _trigger(image: Image, event: str, function: str) -> list[str]:
    name = f"_unmigrate_record_{event.lower()}"
    return [
        f"CREATE TRIGGER {name} AFTER {event} ON {image.table} REFERENCING {_EVENTS[event]} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        f"ALTER TABLE {image.table} ENABLE ALWAYS TRIGGER {name}",
    ]


def _recorder(image: Image) -> str:
    olds, news = image.olds(), image.news()
    o_names, w_names = ", ".join(f"o{i}" for i, _ in olds), ", ".join(f"w{i}" for i, _ in news)
    o_cells, w_cells = ", ".join(f"{c.old('t')} AS o{i}" for i, c in olds), ", ".join(f"{c.new('t')} AS w{i}" for i, c in news)
    return f"""BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO {image.name} (op, {w_names}) SELECT 'I', {w_cells} FROM new_rows t;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO {image.name} (op, {o_names}) SELECT 'D', {o_cells} FROM old_rows t;
  ELSE
    INSERT INTO {image.name} (op, {o_names}, {w_names})
    SELECT 'U', {o_names}, {w_names} FROM (SELECT row_number() OVER () AS r, {o_cells} FROM old_rows t) o
    JOIN (SELECT row_number() OVER () AS r, {w_cells} FROM new_rows t) w USING (r);
  END IF;
  RETURN NULL;
END"""


def disarm(image: Image) -> list[str]:
    """Take the triggers away; a row changed more than once has no one image, and is refused."""
    drops = [f"DROP TRIGGER _unmigrate_record_{event.lower()} ON {image.table}" for event in _EVENTS]
    twice = " OR ".join(
        f"EXISTS (SELECT FROM {image.name} WHERE op {ops} GROUP BY {', '.join(f'{side}{k + 1}' for k in image.key)} HAVING count(*) > 1)"
        for side, ops in (("o", "<> 'I'"), ("w", "<> 'D'"))
    )
    refusal = f"DO $unmigrate$ BEGIN IF {twice} THEN RAISE EXCEPTION 'rows of % were changed twice by one statement', "
    return [*drops, f"DROP FUNCTION {image.schema}.record_{image.number}()", f"{refusal}{_quoted(image.table)}; END IF; END $unmigrate$"]


def said(image: Image) -> str:
    """By this comment the purge knows whose retention counts."""
    return f"COMMENT ON TABLE {image.name} IS {_quoted(f'rows of {image.table}')}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def before(image: Image) -> list[str]:
    """A copy of the table, taken before the statement."""
    cells = ", ".join(f"{c.old('t')} AS o{i}" for i, c in image.olds())
    copied = f"CREATE TABLE {image.schema}.before_{image.number} AS SELECT {cells} FROM {image.table} t"
    return [_still(image.table), *whole(copied)]


def whole(*statements: str) -> list[str]:
    """Where row security would show a part of the rows only, this fails."""
    return ["SET LOCAL row_security = off", *statements, "SET LOCAL row_security = on"]


def _still(table: str) -> str:
    """Nobody may write between the look at the rows and the statement that changes them: an edit from between would be overwritten."""
    return f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"


def after(image: Image, more: Sequence[str] = ()) -> list[str]:
    """The image, from the copy and what the statement left. more: cells of it that are made of others, of a row r."""
    copy = f"{image.schema}.before_{image.number}"
    if image.table_after is None:
        return [f"CREATE TABLE {image.name} AS {joined(image, copy, '')}", f"DROP TABLE {copy}", said(image)]
    w_cells = ", ".join(f"{c.new('t')} AS w{i}" for i, c in image.news())
    rows = joined(image, copy, f"(SELECT {w_cells} FROM {image.table_after} t)")
    if more:
        rows = f"SELECT r.*, {', '.join(more)} FROM ({rows}) r"
    return whole(f"CREATE TABLE {image.name} AS {rows}", f"DROP TABLE {copy}", said(image))


def joined(image: Image, olds: str, news: str) -> str:
    """A SELECT of the image. olds: a source of o1, o2, … as the rows were; news: of w1, w2, … as they were left."""
    o_names = ", ".join(f"o.o{i}" for i, _ in image.olds())
    if image.table_after is None:
        return f"SELECT 'D'::\"char\" AS op, {o_names} FROM {olds} o"
    keys = " AND ".join(f"o.o{k + 1} = w.w{k + 1}" for k in image.key)
    first = image.key[0] + 1
    both = [i for i, c in image.numbered if c.before and c.after]
    lost = any(c.before and not c.after for c in image.columns)
    changed = "true" if lost else " OR ".join(_differs(f"o.o{i}", f"w.w{i}", image.columns[i - 1]) for i in both)
    op = f"CASE WHEN o.o{first} IS NULL THEN 'I' WHEN w.w{first} IS NULL THEN 'D' ELSE 'U' END::\"char\" AS op"
    return (
        f"SELECT {op}, {o_names}, {', '.join(f'w.w{i}' for i, _ in image.news())} FROM {olds} o "
        f"FULL JOIN {news} w ON {keys} WHERE (o.o{first} IS NULL OR w.w{first} IS NULL OR {changed})"
    )


def _differs(old: str, new: str, column: Column) -> str:
    """Whether a value changed, bit by bit where the types are one."""
    if column.text_before == column.text_after:
        return f"({old}::text IS DISTINCT FROM {new}::text)"
    return "true"


def compare(image: Image) -> list[str]:
    """Before the way back: what the migration left, beside what is there now, as flags per column."""
    restored = [f"DROP TABLE IF EXISTS {image.restored}"]
    if image.table_after is None:
        return [*restored, f"CREATE TABLE {image.restored} AS SELECT i.* FROM {image.name} i"]
    flags = ", ".join(f"coalesce(ROW({c.new('t')})::record *= ROW(i.w{i})::record, false) AS f{i}" for i, c in image.news())
    there = f"t.{image.columns[image.key[0]].after} IS NOT NULL AS there"
    joined = " AND ".join(f"{image.columns[k].new('t')} = i.w{k + 1}" for k in image.key)
    source = f"{image.name} i LEFT JOIN {image.table_after} t ON {joined}"
    return [_still(image.table_after), *restored, f"CREATE TABLE {image.restored} AS SELECT i.*, {there}, {flags} FROM {source}"]


def remove(image: Image) -> list[str]:
    """Rows that the statement inserted go, where they are as it left them and nobody refers to them who stays.

    What goes itself neither holds them nor falls with them: a redo wants it as it was, and brings them back.
    """
    if image.table_after is None:
        return []
    joined, passing = _joined(image), image.passing
    staying = (fk for fk in image.referring if fk not in passing)
    referring = (f"SELECT FROM {fk.child} c WHERE {_pairs('c', fk.columns, 't', fk.referenced)}" for fk in staying)
    free = "".join(f" AND NOT EXISTS ({rows})" for rows in referring)
    unchanged = " AND ".join(f"r.f{i}" for i, c in image.news() if not c.passing)
    sql = f"DELETE FROM {image.table} t USING {image.restored} r WHERE r.op = 'I' AND r.there AND {unchanged} AND {joined}{free}"
    dropped = [f"ALTER TABLE {fk.child} DROP CONSTRAINT {fk.label}" for fk in passing]
    return [*dropped, sql, *(f"ALTER TABLE {fk.child} ADD CONSTRAINT {fk.label} {_unvalidated(fk)}" for fk in passing)]


def _unvalidated(fk: ForeignKey) -> str:
    return f"{fk.definition.removesuffix(' NOT VALID')} NOT VALID"


def put_back(image: Image) -> list[str]:
    """Rows that the statement deleted return, unless their key was taken since or what they refer to is gone."""
    cells = ", ".join(f"r.o{i}{_cast(c)}" for i, c in image.olds())
    listed = ", ".join(str(c.before) for _, c in image.olds())
    position = {c.before: i for i, c in image.olds()}
    alive = "".join(_alive(fk, position) for fk in image.foreign if fk.parent != image.table)
    sql = f"INSERT INTO {image.table} ({listed}) OVERRIDING SYSTEM VALUE SELECT {cells} FROM {image.restored} r WHERE r.op = 'D'{alive}"
    if not image.uniques:
        return [f"{sql} ON CONFLICT DO NOTHING"]
    taken = (" AND ".join(f"x.{c} = r.o{position[c]}{_cast(image.columns[position[c] - 1])}" for c in key) for key in image.uniques)
    return [sql + "".join(f" AND NOT EXISTS (SELECT FROM {image.table} x WHERE {same})" for same in taken)]


def _alive(fk: ForeignKey, position: dict[str | None, int]) -> str:
    if not all(c in position for c in fk.columns):
        return ""
    cells = [f"r.o{position[c]}" for c in fk.columns]
    missing = " OR ".join(f"{cell} IS NULL" for cell in cells)
    matching = " AND ".join(f"p.{name}::text = {cell}::text" for name, cell in zip(fk.referenced, cells, strict=True))
    return f" AND ({missing} OR EXISTS (SELECT FROM {fk.parent} p WHERE {matching}))"


def change_back(image: Image) -> list[str]:
    """Values that the statement changed return, where they are as it left them."""
    if image.table_after is None:
        return []
    sets, any_changed = [], []
    for i, c in image.olds():
        if c.fixed:
            continue
        unchanged = f"r.f{i}" if c.after else "true"
        differs = _differs(f"r.o{i}", f"r.w{i}", c) if c.after else "true"
        sets.append(f"{c.before} = CASE WHEN {differs} AND {unchanged} THEN r.o{i}{_cast(c)} ELSE t.{c.before} END")
        any_changed.append(f"({differs} AND {unchanged})")
    return [
        f"UPDATE {image.table} t SET {', '.join(sets)} FROM {image.restored} r "
        f"WHERE r.op = 'U' AND r.there AND {_joined(image)} AND ({' OR '.join(any_changed)})"
    ]


def _joined(image: Image) -> str:
    """The rows there now (t, in the shape of before) by the keys that the statement left."""
    return " AND ".join(f"{image.columns[k].old('t')} = r.w{k + 1}" for k in image.key)


def _cast(column: Column) -> str:
    return f"::{column.type_before}" if column.text_before else ""


def _pairs(left: str, lefts: Sequence[str], right: str, rights: Sequence[str]) -> str:
    return " AND ".join(f"{left}.{a} = {right}.{b}" for a, b in zip(lefts, rights, strict=True))


def restore(images: Iterable[Image]) -> list[str]:
    """All images of one statement go back; `images` with parents before children. User triggers must not fire."""
    ordered = list(images)
    quiet = [f"ALTER TABLE {i.table} DISABLE TRIGGER {name}" for i in ordered for name, _ in i.triggers]
    loud = [f"ALTER TABLE {i.table} ENABLE {_MODES[mode]}TRIGGER {name}" for i in ordered for name, mode in i.triggers]
    back = [sql for i in reversed(ordered) for sql in remove(i)]
    back += [sql for i in ordered for sql in put_back(i)]
    back += [sql for i in ordered for sql in change_back(i)]
    back += [sql for i in ordered for sql in put_back(i) if i.table_after is not None]  # whose key was free only then
    return [*quiet, *back, "SET CONSTRAINTS ALL IMMEDIATE", *loud]


_MODES = {"O": "", "A": "ALWAYS ", "R": "REPLICA "}
