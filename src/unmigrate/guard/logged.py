"""Keeping what a migration destroys although somebody else runs it: triggers and a copy beforehand, an image of the rows afterwards.

For pipelines that keep `prisma migrate deploy`. Before it, each table that the migration changes gets a row trigger that only appends
to a log in the vault; where columns or the table itself go, a copy is taken after that. What a log entry means is decided when it is
written:

    who   written by                      holds
    f     the application, before it      the row as it left it (o1, o2, …): newer than the copy
    m     the migration                   the row as it was, and as it left it (w1, w2, …)
    n     the migration, once the table   the row as it left it
          has its new shape
    t     the application, after it       the row as it was: the migration had left it so
    ?     nobody can tell                 nothing is claimed then

The migration's own session is known by Prisma's advisory lock while the ledger shows the migration begun; the shape by a column that is
gone or of another type. Older than the copy is nothing in the log: the triggers were there first. So all that is asked afterwards is
answered by one SELECT over copy, log and table, which blocks nobody.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from unmigrate.catalog.parked import plain
from unmigrate.catalog.sqltext import ident, literal
from unmigrate.guard import images
from unmigrate.guard.images import Column, Image
from unmigrate.guard.reused import OPERATING
from unmigrate.prisma.ledger import LOCK

_PINNED = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off"
_FIRST = "!"  # triggers fire in the order of their names: what the application's own write in turn comes after, in the log too
_EVENTS = {
    "logged": "AFTER INSERT OR UPDATE OR DELETE ON {} FOR EACH ROW",
    "emptied": "BEFORE TRUNCATE ON {} FOR EACH STATEMENT",
}
TRIGGERS = len(_EVENTS)


@dataclass(frozen=True, slots=True)
class Marker:
    """A column by which the new shape of a table is known, as it is on the target before: attnum and its type's oid."""

    column: Column
    number: int
    type: int


def copied(image: Image) -> bool:
    """Whether a copy is needed: the table goes, or columns of it go or become others. Else the triggers see all that changes."""
    return image.table_after is None or any(_changes(c) for c in image.columns)


def _changes(column: Column) -> bool:
    return column.after != column.before or column.text_before != column.text_after or column.retyped or column.rewritten


def marking(image: Image) -> Column | None:
    """The column that tells the new shape from the old one; None where there is none to tell it by."""
    later = {c.after for c in image.columns}
    gone = [c for c in image.columns if c.after is None]
    retyped = [c for c in image.columns if c.retyped]
    renamed = [c for c in image.columns if c.before not in later]
    return next(iter([*gone, *retyped, *renamed]), None)


def session(schema: str, ledger: str, migration: str) -> list[str]:
    """The function that says who writes: asked once per transaction. ledger: its table; migration: the name in it.

    What a migration deletes may return: images of earlier ones are told, as in a deploy of ours.
    """
    setting = literal(f"unmigrate.session_{schema}")
    begun = f"SELECT FROM {ledger} WHERE migration_name = {literal(migration)} AND finished_at IS NULL AND rolled_back_at IS NULL"
    database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
    held = f"locktype = 'advisory' AND classid = 0 AND objid = {LOCK} AND objsubid = 1 AND granted AND database = {database}"
    body = f"""DECLARE unmigrate_who text := current_setting({setting}, true);
BEGIN
  IF unmigrate_who IS NULL OR unmigrate_who = '' THEN
    unmigrate_who := CASE WHEN NOT EXISTS ({begun}) THEN 'f'
      WHEN EXISTS (SELECT FROM pg_locks WHERE {held} AND pid = pg_backend_pid()) THEN 'm'
      WHEN EXISTS (SELECT FROM pg_locks WHERE {held}) THEN 'f'
      ELSE '?' END;
    -- asked anew: it may have ended since the first question saw it, and its lock with it
    IF unmigrate_who = '?' AND NOT EXISTS ({begun}) THEN unmigrate_who := 'f'; END IF;
    PERFORM set_config({setting}, unmigrate_who, true);
    IF unmigrate_who = 'm' THEN PERFORM set_config({literal(OPERATING)}, 'on', true); END IF;
  END IF;
  RETURN unmigrate_who;
END"""
    return _function(f"{schema}.who()", "text", body)


def _function(name: str, returns: str, body: str) -> list[str]:
    made = f"CREATE FUNCTION {name} RETURNS {returns} {_PINNED} AS $unmigrate$ {body} $unmigrate$"
    return [made, f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC"]


def arm(image: Image, marker: Marker | None) -> Iterator[str]:
    """Log, functions and triggers of one table; short locks only. Writers wait until it is committed."""
    keys = [f"{image.columns[k].old('t')} AS k{k + 1}" for k in image.key]
    olds = [f"{c.old('t')} AS o{i}" for i, c in image.olds()]
    news = [f"{_logged(c)} AS w{i}" for i, c in image.news()]
    shape = f'SELECT NULL::bigint AS seq, NULL::"char" AS who, NULL::"char" AS op, {", ".join([*keys, *olds, *news])}'
    yield f"CREATE TABLE {log(image)} AS {shape} FROM {image.table} t WITH NO DATA"
    yield f"ALTER TABLE {log(image)} ALTER COLUMN seq SET NOT NULL, ALTER COLUMN seq ADD GENERATED ALWAYS AS IDENTITY"
    yield from _function(f"{image.schema}.logged_{image.number}()", "trigger", _body(image, marker))
    yield from _function(f"{image.schema}.emptied_{image.number}()", "trigger", _emptied(image, marker))
    for what, event in _EVENTS.items():
        name = ident(f"{_FIRST}{image.schema}_{what}_{image.number}")
        yield f"CREATE TRIGGER {name} {event.format(image.table)} EXECUTE FUNCTION {image.schema}.{what}_{image.number}()"
        yield f"ALTER TABLE {image.table} ENABLE ALWAYS TRIGGER {name}"  # writes of replication workers too


def log(image: Image) -> str:
    return f"{image.schema}.log_{image.number}"


def base(image: Image) -> str:
    return f"{image.schema}.base_{image.number}"


def copy(image: Image) -> list[str]:
    """The rows as they are now, where a copy is needed; where row security would show a part of them only, this fails."""
    cells = ", ".join(f"{c.old('t')} AS o{i}" for i, c in image.olds())
    return images.whole(f"CREATE TABLE {base(image)} AS SELECT {cells} FROM {image.table} t") if copied(image) else []


def _logged(column: Column) -> str:
    """A value that the migration leaves, in the type in which the image keeps it; the old column stands for the new one's type."""
    return f"t.{column.before}::text" if column.text_after else f"t.{column.before}"


# what the triggers do


def _body(image: Image, marker: Marker | None) -> str:
    who = f"{image.schema}.who()"
    if not copied(image):
        gone = _entry(image, who, "D", "OLD", "", "", "before")
        return (
            f"BEGIN IF {who} <> 'f' THEN {_entries(image, who, olds='OLD', news='NEW')} ELSIF TG_OP = 'DELETE' THEN {gone} "
            f"ELSIF TG_OP = 'UPDATE' THEN IF {_moved(image, 'before')} THEN {gone} END IF; END IF; RETURN NULL; END"
        )
    before = f"IF {who} = 'm' THEN {_entries(image, literal('m'), olds='OLD')} ELSE {_entries(image, who, olds='NEW')} END IF;"
    if marker is None:
        return f"BEGIN {before} RETURN NULL; END"
    after = (
        f"IF {who} = 'm' THEN {_entries(image, literal('n'), news='NEW', shape='after')} "
        f"ELSE {_entries(image, _met(who), news='OLD', shape='after')} END IF;"
    )
    return (
        f"DECLARE unmigrate_new_shape boolean := false; BEGIN {_shape(marker)} "
        f"IF unmigrate_new_shape THEN {after} ELSE {before} END IF; RETURN NULL; END"
    )


def _met(who: str) -> str:
    return f"replace({who}, 'f', 't')"


def _shape(marker: Marker) -> str:
    """Catalog queries would see what the snapshot of an older transaction shows; these do not. Nothing is written inside the block."""
    if marker.column.after is None:
        return _gone(marker)
    name = marker.column.before
    return (
        f"BEGIN IF TG_OP = 'DELETE' THEN unmigrate_new_shape := pg_typeof(OLD.{name})::oid <> {marker.type}; "
        f"ELSE unmigrate_new_shape := pg_typeof(NEW.{name})::oid <> {marker.type}; END IF; "
        "EXCEPTION WHEN undefined_column THEN unmigrate_new_shape := true; END;"
    )


def _gone(marker: Marker) -> str:
    return f"unmigrate_new_shape := has_column_privilege(TG_RELID, {marker.number}::smallint, 'SELECT') IS NULL;"


def _entries(image: Image, who: str, *, olds: str = "", news: str = "", shape: str = "before") -> str:
    """What is logged of one row changed. olds, news: OLD or NEW, whence the row's o- and w-values are taken; shape: by whose names."""
    made = _entry(image, who, "I", "NEW", olds, news, shape)
    gone = _entry(image, who, "D", "OLD", olds, news, shape)
    changed = _entry(image, who, "U", "", olds, news, shape)
    other = f"ELSIF {_moved(image, shape)} THEN {gone} {made} ELSE {changed} END IF;"
    return f"IF TG_OP = 'INSERT' THEN {made} ELSIF TG_OP = 'DELETE' THEN {gone} {other}"


def _moved(image: Image, shape: str) -> str:
    return " OR ".join(f"{_cell(image, k, 'OLD', shape)} IS DISTINCT FROM {_cell(image, k, 'NEW', shape)}" for k in image.key)


def _entry(image: Image, who: str, op: str, only: str, olds: str, news: str, shape: str) -> str:
    """only: the side that an INSERT or a DELETE has; values of the other are left out."""
    names = ["who", "op", *(f"k{k + 1}" for k in image.key)]
    cells = [f'{who}::"char"', f"'{op}'", *(_cell(image, k, only or "NEW", shape) for k in image.key)]
    for side, letter, listed in ((olds, "o", image.olds()), (news, "w", image.news())):
        if side and only in ("", side):
            names += [f"{letter}{i}" for i, _ in listed]
            cells += [c.old(side) if letter == "o" else _new(c, side, shape) for _, c in listed]
    return f"INSERT INTO {log(image)} ({', '.join(names)}) VALUES ({', '.join(cells)});"


def _cell(image: Image, k: int, side: str, shape: str) -> str:
    """A column of the key, which has one type before and afterwards."""
    column = image.columns[k]
    return column.old(side) if shape == "before" else column.new(side)


def _new(column: Column, side: str, shape: str) -> str:
    return column.new(side) if shape == "after" else _logged(column).replace("t.", f"{side}.", 1)


def _emptied(image: Image, marker: Marker | None) -> str:
    """TRUNCATE by the migration is a deletion of every row; by the application it makes everything before it void."""
    who = f"{image.schema}.who()"
    keys, rows = ", ".join(f"k{k + 1}" for k in image.key), [c.old("t") for _, c in image.olds()]
    void = f"INSERT INTO {log(image)} (who, op) VALUES ({{}}::\"char\", 'T');"

    def each(letter: str, shape: str, more: Iterable[str] = (), names: str = "") -> str:
        cells = ", ".join([f"''{letter}''", "''D''", *(_cell(image, k, "t", shape) for k in image.key), *more])
        return f"EXECUTE format('INSERT INTO {log(image)} (who, op, {keys}{names}) SELECT {cells} FROM %s t', TG_RELID::regclass);"

    were = each("m", "before", rows, "".join(f", o{i}" for i, _ in image.olds()))
    if not copied(image):
        return f"BEGIN IF {who} = 'm' THEN {were} ELSE {void.format(who)} END IF; RETURN NULL; END"
    before = f"IF {who} = 'm' THEN {were} ELSE {void.format(who)} END IF;"
    if marker is None:
        return f"BEGIN {before} RETURN NULL; END"
    after = f"IF {who} = 'm' THEN {each('n', 'after')} ELSE {void.format(_met(who))} END IF;"
    name = literal(plain(str(marker.column.before)))
    same = f"SELECT FROM pg_attribute WHERE attrelid = TG_RELID AND attname = {name} AND atttypid = {marker.type}"
    shape = _gone(marker) if marker.column.after is None else f"unmigrate_new_shape := NOT EXISTS ({same});"
    return (
        f"DECLARE unmigrate_new_shape boolean := false; BEGIN {shape} "
        f"IF unmigrate_new_shape THEN {after} ELSE {before} END IF; RETURN NULL; END"
    )


# the image, afterwards


def unsure(image: Image) -> str:
    """SELECT of the number of writes of which nobody can tell whether the migration made them."""
    return f"SELECT count(*) FROM {log(image)} WHERE who = '?'"


def empty(image: Image) -> list[str]:
    """The image without rows: what keeps its keys up to date is put on it first."""
    return [f"CREATE TABLE {image.name} AS {_rows(image)} WITH NO DATA", images.said(image)]


def fill(image: Image) -> list[str]:
    """Its rows, as if they had been taken around the migration itself."""
    analyzed = [f"ANALYZE {log(image)}", *([f"ANALYZE {base(image)}"] if copied(image) else [])]
    return [*analyzed, *images.whole(f"INSERT INTO {image.name} {_rows(image)}")]


def settle(image: Image) -> list[str]:
    """Rows that went while it was filled; those that go later, it is told of."""
    if image.table_after is None:
        return []
    return [f"DELETE FROM {image.name} i WHERE {_gone_since(image, lambda k: f'coalesce(i.w{k}, i.o{k})')}"]


def _rows(image: Image) -> str:
    return images.joined(image, f"({_olds(image)})", f"({_news(image)})") + _still_there(image)


def _keys(image: Image, letter: str, alias: str) -> str:
    return ", ".join(f"{alias}.{letter}{k + 1}" for k in image.key)


def _one_of(image: Image, who: str, *, newest: bool, since: str = "") -> str:
    """A SELECT of the first or the newest entry of each key."""
    keys = _keys(image, "k", "l")
    order = f"ORDER BY {keys}, l.seq{' DESC' if newest else ''}"
    return f"SELECT DISTINCT ON ({keys}) l.* FROM {log(image)} l WHERE l.who = '{who}' AND l.op <> 'T'{since} {order}"


def _logged_as(image: Image, who: str, letter: str, alias: str) -> str:
    """EXISTS of an entry with the row's key."""
    same = " AND ".join(f"x.k{k + 1} = {alias}.{letter}{k + 1}" for k in image.key)
    return f"EXISTS (SELECT FROM {log(image)} x WHERE x.who IN ({who}) AND {same})"


def _olds(image: Image) -> str:
    """The rows as they were before the migration: as it met them, else as the application left them last, else as copied."""
    cells = ", ".join(f"s.o{i}" for i, _ in image.olds())
    met = f"SELECT {cells} FROM ({_one_of(image, 'm', newest=False)}) s WHERE s.op <> 'I'"
    if not copied(image):
        return met
    emptied = f"SELECT max(seq) FROM {log(image)} WHERE who = 'f' AND op = 'T'"
    followed = _one_of(image, "f", newest=True, since=f" AND l.seq > coalesce(({emptied}), 0)")
    left = f"SELECT {cells} FROM ({followed}) s WHERE s.op <> 'D' AND NOT {_logged_as(image, literal('m'), 'k', 's')}"
    newer = _logged_as(image, "'m', 'f'", "o", "s")
    kept = f"SELECT {cells} FROM {base(image)} s WHERE NOT {newer} AND ({emptied}) IS NULL"
    return f"{met} UNION ALL {left} UNION ALL {kept}"


def _news(image: Image) -> str:
    """The rows as the migration left them: as it wrote them last, else as the application met them, else as they are."""
    if image.table_after is None:
        return ""
    cells = ", ".join(f"s.w{i}" for i, _ in image.news())
    if not copied(image):
        return f"SELECT {cells} FROM ({_one_of(image, 'm', newest=True)}) s WHERE s.op <> 'D'"
    wrote = f"SELECT {cells} FROM ({_one_of(image, 'n', newest=True)}) s WHERE s.op <> 'D'"
    first = _one_of(image, "t", newest=False)
    met = f"SELECT {cells} FROM ({first}) s WHERE s.op <> 'I' AND NOT {_logged_as(image, literal('n'), 'k', 's')}"
    now = ", ".join(f"{c.new('t')} AS w{i}" for i, c in image.news())
    newer = _logged_as(image, "'n', 't'", "w", "s")
    untouched = f"SELECT {cells} FROM (SELECT {now} FROM {image.table_after} t) s WHERE NOT {newer}"
    return f"{wrote} UNION ALL {met} UNION ALL {untouched}"


def _still_there(image: Image) -> str:
    """Rows that the application deleted since stay deleted, and who takes their key gets nothing of theirs; nor are rows that the
    application inserted taken for the migration's, even where it changed them afterwards.
    """
    if image.table_after is None:
        return ""
    kept = f" AND NOT ({_gone_since(image, lambda k: f'coalesce(o.o{k}, w.w{k})')})"
    same = " AND ".join(f"x.k{k + 1} = w.w{k + 1}" for k in image.key)
    made = f"EXISTS (SELECT FROM {log(image)} x WHERE x.who IN ('m', 'n') AND x.op = 'I' AND {same})"
    return f"{kept} AND (o.o{image.key[0] + 1} IS NOT NULL OR {made})"


def _gone_since(image: Image, cell: Callable[[int], str]) -> str:
    """Whether the application deleted a row after the migration had been there. cell: the row's key, by its number."""
    same = " AND ".join(f"x.k{k + 1} = {cell(k + 1)}" for k in image.key)
    if copied(image):
        gone = f"FROM {log(image)} x WHERE x.who = 't'"
        return f"EXISTS (SELECT {gone} AND x.op = 'T') OR EXISTS (SELECT {gone} AND x.op = 'D' AND {same})"
    since = f"EXISTS (SELECT FROM {log(image)} y WHERE y.who = 'm' AND y.seq < x.seq AND {same.replace('x.k', 'y.k')})"
    return f"EXISTS (SELECT FROM {log(image)} x WHERE x.who = 'f' AND (x.op = 'T' OR {same}) AND {since})"


def drop(image: Image) -> Iterator[str]:
    """Copy, log and functions, once the image is there and the triggers are gone."""
    yield f"DROP TABLE IF EXISTS {log(image)}, {base(image)}"
    yield f"DROP FUNCTION IF EXISTS {image.schema}.logged_{image.number}(), {image.schema}.emptied_{image.number}()"
