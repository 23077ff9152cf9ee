"""The SQL of merging: values wait as text in a staging table, and are merged by key, some rows at a time.

Kinds of parts: "rows" are inserted; "columns" set where the row's last writer is the rollback that brought the column back (or we);
"edits" set, and "deletes" deleted, where the value or row here is still the one from before, which is staged too (b1, b2, …). What anybody
wrote since stays as it is, and is listed. Compared are texts, under settings that make them exact (SETTINGS).
"""

from collections.abc import Sequence

from unmigrate.catalog.sqltext import literal
from unmigrate.snapshot.lost import Column, Part

SCHEMA = "unmigrate_refill"
SETTINGS = (
    "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; "
    "SET TimeZone = 'UTC'; SET lc_monetary = 'C'; SET xmloption = 'content'; SET row_security = off; SET statement_timeout = 0; "
    "SET idle_in_transaction_session_timeout = 0"
)
# Values are filled into rows 1, 9, 17, … first, then into 2, 10, …: the versions that move away leave room in their page for those of the
# others, which then need no new entries in indexes (HOT).
LEAP = 8
JOURNAL = f"""
CREATE TABLE IF NOT EXISTS {SCHEMA}.refill (
  id text PRIMARY KEY, migrations text[] NOT NULL, snapshot text NOT NULL, touched boolean NOT NULL,
  began_at timestamptz NOT NULL DEFAULT clock_timestamp(), done_at timestamptz, report jsonb);
CREATE TABLE IF NOT EXISTS {SCHEMA}.part (
  refill text NOT NULL REFERENCES {SCHEMA}.refill, number int NOT NULL, table_name text NOT NULL, kind text NOT NULL,
  columns text[] NOT NULL,
  staged bigint, done bigint NOT NULL DEFAULT 0, filled bigint NOT NULL DEFAULT 0, gone bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (refill, number));
CREATE TABLE IF NOT EXISTS {SCHEMA}.lane (
  refill text NOT NULL, part int NOT NULL, low bigint NOT NULL, high bigint NOT NULL, merged bigint NOT NULL DEFAULT 0,
  filled bigint NOT NULL DEFAULT 0, gone bigint NOT NULL DEFAULT 0, PRIMARY KEY (refill, part, high));
CREATE TABLE IF NOT EXISTS {SCHEMA}.batch (xid xid NOT NULL);
CREATE INDEX IF NOT EXISTS batch_xid ON {SCHEMA}.batch USING hash (xid);
CREATE TABLE IF NOT EXISTS {SCHEMA}.waiting (refill text NOT NULL, part int NOT NULL, n bigint NOT NULL, PRIMARY KEY (refill, part, n));
CREATE TABLE IF NOT EXISTS {SCHEMA}.conflict (
  refill text NOT NULL, part int NOT NULL, n bigint NOT NULL, column_name text NOT NULL, table_name text NOT NULL, key jsonb NOT NULL,
  reason text NOT NULL, here text, snapshot text, PRIMARY KEY (refill, part, n, column_name));
"""
# The lanes of a part are done with, or begun anew: what they counted goes to the part.
SETTLED = f"""
with lane as (delete from {SCHEMA}.lane where refill = %(refill)s and part = %(part)s returning filled, gone)
update {SCHEMA}.part set done = %(done)s, filled = filled + coalesce((select sum(filled) from lane), 0),
  gone = gone + coalesce((select sum(gone) from lane), 0) where refill = %(refill)s and number = %(part)s"""
OURS = f"insert into {SCHEMA}.batch values ((txid_current() % 4294967296)::text::xid)"
_MODES = {"O": "", "A": "ALWAYS ", "R": "REPLICA "}


def stage(refill: str, part: Part) -> str:
    return f"{SCHEMA}.stage_{refill}_{part.number}"


def source(part: Part) -> str:
    """What is asked of the snapshot."""
    listed = ", ".join(f"{c.name}::text" for c in (*part.key, *part.columns))
    some = " OR ".join(f"{c.name} IS NOT NULL" for c in part.columns)
    where = "" if part.nulls else f" WHERE {some}"
    return f"SELECT {listed} FROM {part.source}{where}"


def cells(part: Part) -> str:
    keys = [f"k{i}" for i, _ in enumerate(part.key, 1)]
    new = [f"c{i}" for i, _ in enumerate(part.columns, 1)] if part.kind != "deletes" else []
    before = [f"b{i}" for i, _ in enumerate(part.columns, 1)] if part.kind in ("edits", "deletes") else []
    return ", ".join([*keys, *new, *before])


def create_stage(refill: str, part: Part) -> tuple[str, str]:
    """Values may be merged once more, so that what a crash of the server emptied can be staged again; rows may not: they are logged."""
    name = stage(refill, part)
    listed = ", ".join(f"{cell} text" for cell in cells(part).split(", "))
    kind = "UNLOGGED TABLE" if part.kind == "columns" else "TABLE"
    return f"DROP TABLE IF EXISTS {name}", f"CREATE {kind} {name} (n bigint GENERATED ALWAYS AS IDENTITY, {listed})"


def leap(part: Part) -> int:
    return LEAP if part.kind == "columns" else 1


def index_stage(refill: str, part: Part) -> str:
    """By which the rows of a batch are found."""
    columns = f"(n % {LEAP}), n" if leap(part) > 1 else "n"
    return f"CREATE INDEX ON {stage(refill, part)} ({columns})"


def _joined(part: Part) -> str:
    return " AND ".join(f"t.{k.name} = b.k{i}::{k.type}" for i, k in enumerate(part.key, 1))


def quiet(part: Part) -> tuple[str, ...]:
    """Triggers of people are off within the transaction of a batch, and never beyond it: the table is locked for writers meanwhile."""
    return tuple(f"ALTER TABLE {part.table} DISABLE TRIGGER {name}" for name, _ in part.triggers)


def loud(part: Part) -> tuple[str, ...]:
    return tuple(f"ALTER TABLE {part.table} ENABLE {_MODES[mode]}TRIGGER {name}" for name, mode in part.triggers)


def _open(column: Column, xid: str | None, *, touched: bool) -> str:
    """Whether a value may be replaced."""
    ours = f"EXISTS (SELECT FROM {SCHEMA}.batch x WHERE x.xid = t.xmin)"
    still_empty = _still_empty(column)
    if xid is None:
        return f"({still_empty} OR {ours})"
    untouched = f"age(t.xmin) >= age({literal(xid)}::xid) OR {ours}"
    return f"({untouched} OR {still_empty})" if touched else f"({untouched})"


def _differs(i: int, column: Column) -> str:
    return f"t.{column.name}::text IS DISTINCT FROM b.c{i}"


def numbered(part: Part) -> list[tuple[int, Column]]:
    return list(enumerate(part.columns, 1))


def _free(part: Part) -> str:
    """Nothing here refers to the row: deleting it takes nothing along."""
    pairs = ((fk, " AND ".join(f"r.{a} = t.{b}" for a, b in zip(fk.columns, fk.referenced, strict=True))) for fk in part.referring)
    return "".join(f" AND NOT EXISTS (SELECT FROM {fk.child} r WHERE {joined})" for fk, joined in pairs)


def _is(i: int, column: Column, cell: str) -> str:
    return f"t.{column.name}::text IS NOT DISTINCT FROM b.{cell}{i}"


def _edited(i: int) -> str:
    return f"b.c{i} IS DISTINCT FROM b.b{i}"


def _as_before(part: Part) -> str:
    return " AND ".join(_is(i, c, "b") for i, c in enumerate(part.columns, 1))


def _key_json(part: Part) -> str:
    pairs = ", ".join(f"{literal(k.name.strip(chr(34)))}, b.k{i}" for i, k in enumerate(part.key, 1))
    return f"jsonb_build_object({pairs})"


def conflicts(job: str, part: Part, where: str) -> str:
    """After `apply`: what differs between here and there was kept as it is. Rows that were merged are locked, and as they are there."""
    head = f"INSERT INTO {SCHEMA}.conflict SELECT {literal(job)}, {part.number}, b.n"
    source = f"FROM {part.source} t JOIN {stage(job, part)} b ON {_joined(part)}"
    table = literal(part.table)
    if part.kind == "rows":
        any_ = " OR ".join(_differs(i, c) for i, c in numbered(part))
        reason = "'a row with this key was written since'"
        return f"{head}, '', {table}, {_key_json(part)}, {reason}, NULL, to_jsonb(b)::text {source} WHERE {where} AND ({any_})"
    if part.kind == "deletes":
        reason = "'deleted there, and written here since, or referred to'"
        return f"{head}, '', {table}, {_key_json(part)}, {reason}, NULL, NULL {source} WHERE {where}"
    if part.kind == "edits":
        cells_ = ", ".join(f"({literal(c.name)}, t.{c.name}::text, b.c{i}, {_edited(i)}, 'edited in both')" for i, c in numbered(part))
    else:
        cells_ = ", ".join(f"({literal(c.name)}, t.{c.name}::text, b.c{i}, true, {_why(c)})" for i, c in numbered(part))
    values = f"CROSS JOIN LATERAL (VALUES {cells_}) v (name, here, there, wanted, why)"
    differing = "v.wanted AND v.here IS DISTINCT FROM v.there"
    return f"{head}, v.name, {table}, {_key_json(part)}, v.why, v.here, v.there {source} {values} WHERE {where} AND {differing}"


def _why(column: Column) -> str:
    untold = "'its row was written since; whether this value was meant is not known'"
    return f"CASE WHEN {_still_empty(column)} THEN {untold} ELSE 'edited since' END"


def _still_empty(column: Column) -> str:
    return f"t.{column.name}::text IS NOT DISTINCT FROM {column.empty}" if column.empty is not None else "false"


def whole(part: Part, xid: str | None, *, touched: bool) -> bool:
    """Whether a row to which `apply` writes gets all that is staged for it: nothing of it is a conflict then."""
    if part.kind in ("rows", "deletes") or len(part.columns) == 1:
        return True
    return part.kind == "columns" and xid is not None and not touched


def absent(job: str, part: Part, where: str) -> str:
    """How many of these staged rows have no row here any more."""
    return f"SELECT count(*) FROM {stage(job, part)} b WHERE {where} AND NOT EXISTS (SELECT FROM {part.source} t WHERE {_joined(part)})"


def apply(refill: str, part: Part, where: str, xid: str | None, *, touched: bool) -> str:
    """Bring back these rows, or these rows' values. What somebody writes to them at the same time is waited for, and looked at again:
    READ COMMITTED evaluates the conditions anew for a row that was changed meanwhile."""
    name = stage(refill, part)
    if part.kind == "rows":
        listed = ", ".join(c.name for c in part.columns)
        values = ", ".join(f"b.c{i}::{c.type}" for i, c in enumerate(part.columns, 1))
        taken = f" AND NOT EXISTS (SELECT FROM {part.table} t WHERE {_joined(part)})" if part.key else ""
        return (
            f"INSERT INTO {part.table} ({listed}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {name} b WHERE {where}{taken} ORDER BY b.n"
        )
    if part.kind == "deletes":
        return f"DELETE FROM {part.source} t USING {name} b WHERE {where} AND {_joined(part)} AND {_as_before(part)}{_free(part)}"
    if part.kind == "edits":
        opens = [f"{_edited(i)} AND {_is(i, c, 'b')}" for i, c in numbered(part)]
    else:
        opens = [_open(c, xid, touched=touched) for c in part.columns]
    new = [f"b.c{i}::{c.type}" for i, c in numbered(part)]
    if not whole(part, xid, touched=touched):
        new = [f"CASE WHEN {o} THEN {v} ELSE t.{c.name} END" for o, v, c in zip(opens, new, part.columns, strict=True)]
    sets = ", ".join(f"{c.name} = {v}" for c, v in zip(part.columns, new, strict=True))
    any_ = " OR ".join(f"({_differs(i, c)} AND {o})" for (i, c), o in zip(numbered(part), opens, strict=True))
    return f"UPDATE {part.source} t SET {sets} FROM {name} b WHERE {where} AND {_joined(part)} AND ({any_})"


def failed(refill: str, part: Part, where: str, reason: str) -> str:
    """One row that a constraint does not let in."""
    key = _key_json(part) if part.key else "jsonb_build_object()"
    return (
        f"INSERT INTO {SCHEMA}.conflict SELECT {literal(refill)}, {part.number}, b.n, '', {literal(part.table)}, {key}, {literal(reason)}, "
        f"NULL, to_jsonb(b)::text FROM {stage(refill, part)} b WHERE {where} ON CONFLICT DO NOTHING"
    )


def keyless(refill: str, part: Part) -> str:
    """A table whose rows nothing identifies, and that has some again."""
    return (
        f"INSERT INTO {SCHEMA}.conflict SELECT {literal(refill)}, {part.number}, 0, '', {literal(part.table)}, '{{}}', "
        "'it has rows again, and nothing identifies a row: left as it is', NULL, NULL"
    )


def sequences(parts: Sequence[Part]) -> list[tuple[str, list[str]]]:
    """(table, columns) whose owned sequences must not give out again what the snapshot's had given."""
    return [(p.table, [c.name for c in p.columns]) for p in parts]
