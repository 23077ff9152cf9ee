"""Keys that are used again, and keys that change, while old values wait in an image.

An image knows its rows by their keys. A row that is deleted must take its old values along, else whoever gets its key would get them too;
a row whose key changes must keep them. A trigger on the table sees to both: one lookup by an index per row deleted, one comparison per
row updated. It refuses the application nothing: where a later migration took or changed the key, it finds the column by its number, and
else writes into `lost_<n>` that it lost track, which stops the way back. What a later migration deletes in a deploy of ours is only set
aside (its op in small letters, which no way back looks at), and counts again when that one's way back brings the row back.

The trigger's name is that of a parked thing, so that catalogs are compared without it; it goes with the way back, and with the purge.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from unmigrate.catalog.model import Catalog, Key, Object
from unmigrate.catalog.parked import is_parked, plain
from unmigrate.catalog.sqltext import ident, literal
from unmigrate.guard.images import Image
from unmigrate.guard.names import Names

OPERATING = "unmigrate.operating"  # set in the switch, for deploys and ways back: what they delete may return


@dataclass(frozen=True, slots=True)
class Followed:
    """The images of one table by one key. All names are SQL. tables: it, and those that inherit from it; key: its columns now; text: which
    of them are kept as text; late: a key of it is checked late, so that keys may change places."""

    number: int
    schema: str
    tables: tuple[str, ...]
    key: tuple[str, ...]
    text: tuple[bool, ...]
    images: tuple[Image, ...]
    late: bool
    trigger: str

    @property
    def function(self) -> str:
        return f"{self.schema}.follow_{self.number}"

    @property
    def lost(self) -> str:
        return f"{self.schema}.lost_{self.number}"

    @property
    def names(self) -> str:
        return f"{self.schema}.key_{self.number}"


def followed(images: Iterable[Image], end: Catalog, names: Names) -> tuple[Followed, ...]:
    """What is to be followed. end: the catalog after the migration."""
    grouped: dict[tuple[int, tuple[int, ...]], list[Image]] = {}
    for image in images:
        table = end.get(Key("pg_class", image.oid))
        if image.table_after is None or not image.key or table is None or is_parked(table):
            continue  # nobody can write there
        grouped.setdefault((image.oid, tuple(image.columns[k].number for k in image.key)), []).append(image)
    found: list[Followed] = []
    for (oid, numbers), mine in grouped.items():
        table = end.objects[Key("pg_class", oid)]
        columns = [end.get(Key("pg_class", oid, number)) for number in numbers]
        if any(c is None or is_parked(c) for c in columns):
            continue  # new rows have no such key
        number = len(found) + 1
        found.append(
            Followed(
                number, mine[0].schema, (table.name, *_heirs(table, end)), tuple(c.facts["label"] for c in columns if c),
                tuple(mine[0].columns[k].text_before or _changed(c, mine[0], k) for c, k in zip(columns, mine[0].key, strict=True)),
                tuple(mine), any(i.uniques for i in mine), names.aside(f"keys_{number}", table.name),
            )
        )  # fmt: skip
    return tuple(found)


def _changed(column: Object | None, image: Image, position: int) -> bool:
    """Whether the key has another type by now than in the image."""
    return column is None or column.facts["type"] != image.columns[position].type_before


def _heirs(table: Object, catalog: Catalog) -> Iterator[str]:
    """Tables that inherit from it; the trigger of a partitioned table is on its partitions by itself."""
    for o in catalog:
        if o.kind == "table" and table.name in (o.facts["parents"] or []) and not o.facts["partition_bound"]:
            yield o.name
            yield from _heirs(o, catalog)


def follow(f: Followed) -> list[str]:
    """Statements for the end of the migration."""
    listed = ", ".join(f"({position}, {literal(plain(name))}, {str(not text).lower()})" for position, (name, text) in enumerate(_cells(f)))
    statements = [
        f"CREATE TABLE {f.lost} (why text)",
        f"CREATE TABLE {f.names} AS SELECT k.position, a.attname::text AS name, a.attnum::int AS number, a.attrelid::int8 AS relation, "
        f"CASE WHEN k.typed THEN a.atttypid::int8 END AS type FROM (VALUES {listed}) k (position, name, typed) "
        f"JOIN pg_attribute a ON a.attrelid = {literal(f.tables[0])}::regclass AND a.attname = k.name",
        *(sql for i in f.images for sql in indexed(i)),
        f"CREATE FUNCTION {f.function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
        f"AS $unmigrate$ {_body(f)} $unmigrate$",
        f"REVOKE ALL ON FUNCTION {f.function}() FROM PUBLIC",
    ]
    for table in f.tables:
        for event, name in triggers(f):
            each = "STATEMENT" if event == "TRUNCATE" else "ROW"
            when = f"WHEN (current_setting({literal(OPERATING)}, true) = 'on') " if event == "INSERT" else ""
            statements.append(f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH {each} {when}EXECUTE FUNCTION {f.function}()")
            statements.append(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    return statements


def indexed(image: Image) -> list[str]:
    """By its key, as the triggers look for it."""
    return [f"CREATE INDEX ON {image.name} ({', '.join(_of(image, ''))})"]


def triggers(f: Followed) -> list[tuple[str, str]]:
    """(event, name) of the triggers on each table."""
    named = {"DELETE": "gone", "UPDATE": "moved", "TRUNCATE": "emptied", "INSERT": "back"}
    return [(event, _named(f, what)) for event, what in named.items()]


def _named(f: Followed, what: str) -> str:
    return ident(f"{plain(f.trigger)}_{what}")


def _cells(f: Followed) -> list[tuple[str, bool]]:
    return list(zip(f.key, f.text, strict=True))


def _of(image: Image, alias: str) -> list[str]:
    """The key of an image's rows: what the migration left, or what it deleted."""
    return [f"(coalesce({alias}w{k + 1}, {alias}o{k + 1}))" for k in image.key]


def _row(f: Followed, record: str) -> list[str]:
    return [f"{record}.{name}::text" if text else f"{record}.{name}" for name, text in _cells(f)]


def _same(f: Followed, image: Image, record: str) -> str:
    """A row of the image i is that of a record."""
    mine = [f"{m}::text" if text else m for m, text in zip(_of(image, "i."), f.text, strict=True)]
    return " AND ".join(f"{a} = {b}" for a, b in zip(mine, _row(f, record), strict=True))


def _body(f: Followed) -> str:
    unchanged = " AND ".join(f"{a} IS NOT DISTINCT FROM {b}" for a, b in zip(_row(f, "OLD"), _row(f, "NEW"), strict=True))
    return f"""DECLARE fits boolean; names text[]; ours boolean := current_setting({literal(OPERATING)}, true) IS NOT DISTINCT FROM 'on';
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    IF TG_RELID::int8 <> (SELECT k.relation FROM {f.names} k LIMIT 1) THEN
      INSERT INTO {f.lost} VALUES (TG_RELID::regclass::text || ' was truncated');
    ELSIF ours THEN
      {" ".join(f"{_aside(i)};" for i in f.images)}
    ELSE
      {" ".join(f"DELETE FROM {i.name};" for i in f.images)}
    END IF;
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' THEN
    BEGIN
      IF {unchanged} THEN
        RETURN NULL;
      END IF;
    EXCEPTION WHEN OTHERS THEN NULL;
    END;
  END IF;
  SELECT count(*) = {len(f.key)} INTO fits FROM {f.names} k JOIN pg_attribute a ON a.attrelid = TG_RELID AND a.attname = k.name
    WHERE NOT a.attisdropped AND (a.attnum = k.number OR k.relation <> TG_RELID::int8) AND (k.type IS NULL OR a.atttypid::int8 = k.type);
  IF fits THEN
    IF TG_OP = 'UPDATE' THEN
      {" ".join(_moved(f, i) for i in f.images)}
    ELSIF TG_OP = 'INSERT' THEN
      {" ".join(f"{_back(i)} WHERE {_same(f, i, 'NEW')};" for i in f.images)}
    ELSIF ours THEN
      {" ".join(f"{_aside(i)} WHERE {_same(f, i, 'OLD')};" for i in f.images)}
    ELSE
      {" ".join(f"DELETE FROM {i.name} i WHERE {_same(f, i, 'OLD')};" for i in f.images)}
    END IF;
    RETURN NULL;
  END IF;
  BEGIN
    SELECT array_agg(a.attname ORDER BY k.position) INTO STRICT names FROM {f.names} k JOIN pg_attribute a
      ON a.attrelid = TG_RELID AND a.attnum = k.number AND NOT a.attisdropped WHERE k.relation = TG_RELID::int8;
    {" ".join(_by_number(f, i) for i in f.images)}
  EXCEPTION WHEN OTHERS THEN
    INSERT INTO {f.lost} SELECT SQLERRM WHERE NOT EXISTS (SELECT FROM {f.lost});
  END;
  RETURN NULL;
END"""


def _aside(image: Image) -> str:
    """Rows of an image i are not looked at until they are back."""
    return f'UPDATE {image.name} i SET op = lower(i.op::text)::"char"'


def _back(image: Image) -> str:
    return f'UPDATE {image.name} i SET op = upper(i.op::text)::"char"'


def _moved(f: Followed, image: Image) -> str:
    """A key changed: its image follows. Where keys are checked late, two may change places within a statement, and nobody knows whose is
    whose."""
    old, new = _same(f, image, "OLD"), _same(f, image, "NEW")
    if f.late:
        lost = f"UPDATE {image.name} i SET op = 'L' WHERE i.op IN ('U', 'I') AND (({old}) OR ({new}));"
        return f"{lost} IF FOUND THEN INSERT INTO {f.lost} VALUES ({_told(f)}); END IF;"
    values = [
        value if not text or image.columns[k].text_before else f"({value})::{image.columns[k].type_before}"
        for k, value, text in zip(image.key, _row(f, "NEW"), f.text, strict=True)
    ]
    # The old key too: a change made since is not undone.
    changes = ", ".join(f"w{k + 1} = {value}, o{k + 1} = {value}" for k, value in zip(image.key, values, strict=True))
    return f"UPDATE {image.name} i SET {changes} WHERE i.op IN ('U', 'I') AND {old};"


def _told(f: Followed) -> str:
    old, new = (f"concat_ws(', ', {', '.join(_row(f, record))})" for record in ("OLD", "NEW"))
    return f"left({old}, 60) || ' became ' || left({new}, 60)"


def _by_number(f: Followed, image: Image) -> str:
    """The same, for columns that have another name by now. $1, $2: the old and the new row; raises where there is no such column."""

    def same(record: str) -> str:
        return " AND ".join(f"{mine}::text = ({record}).%{k}$I::text" for k, mine in enumerate(_of(image, "i."), 1))

    names = ", ".join(f"names[{k}]" for k in range(1, len(image.key) + 1))
    differs = " OR ".join(f"($1).%{k}$I IS DISTINCT FROM ($2).%{k}$I" for k in range(1, len(image.key) + 1))
    either = f"({differs}) AND (({same('$1')}) OR ({same('$2')}))"
    lost = (
        f"WITH lost AS (UPDATE {image.name} i SET op = 'L' WHERE i.op IN ('U', 'I') AND {either} RETURNING 1) "
        f"INSERT INTO {f.lost} SELECT 'a key changed that has another name by now' FROM lost LIMIT 1"
    )
    gone, aside, back = (f"{verb} WHERE {same('$1')}" for verb in (f"DELETE FROM {image.name} i", _aside(image), _back(image)))
    return (
        f"IF TG_OP = 'UPDATE' THEN EXECUTE format({literal(lost)}, {names}) USING OLD, NEW; "
        f"ELSIF TG_OP = 'INSERT' THEN EXECUTE format({literal(back)}, {names}) USING NEW; "
        f"ELSIF ours THEN EXECUTE format({literal(aside)}, {names}) USING OLD; "
        f"ELSE EXECUTE format({literal(gone)}, {names}) USING OLD; END IF;"
    )


def reconcile(images: Sequence[tuple[Image, Image]]) -> list[str]:
    """Before a way forward again, of (image, mirror): rows that were deleted since the way back are forgotten here too."""
    return [
        f"DELETE FROM {image.name} i WHERE i.op <> 'I' AND NOT EXISTS (SELECT FROM {mirror.table} t WHERE "
        + " AND ".join(f"{mirror.columns[k].new('t')} = i.o{k + 1}" for k in image.key)
        + ")"
        for image, mirror in images
        if image.key
    ]
