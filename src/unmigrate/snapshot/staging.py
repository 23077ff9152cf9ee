"""From the snapshot's server into the live one: rights asked beforehand, sequences, rows by COPY."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import EnvironmentProblem
from unmigrate.park import vault
from unmigrate.snapshot import merge
from unmigrate.snapshot.lost import Found, Part, Undone
from unmigrate.snapshot.provider import Say
from unmigrate.words import amount

BLOCK = 1 << 20
_OWNED = """
select quote_ident(a.attname), format('%%I.%%I', n.nspname, s.relname), seq.seqincrement
from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S' join pg_namespace n on n.oid = s.relnamespace
join pg_sequence seq on seq.seqrelid = s.oid join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
where d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass and d.deptype in ('a', 'i')
  and d.refobjid = %s::regclass and quote_ident(a.attname) = any (%s)"""
_RIGHTS = """
select pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, %s), current_user::text, pg_get_userbyid(c.relowner)::text
from pg_class c where c.oid = %s::regclass"""


def identity(undone: Undone, found: Found) -> str:
    """The same for the same rollback and the same things to bring back."""
    what = [undone.operation, *undone.migrations, *(f"{p.table} {p.kind} {[c.name for c in p.columns]}" for p in found.parts)]
    return hashlib.sha256("\n".join(what).encode()).hexdigest()[:12]


def require_privileges(live: psycopg.Connection[Any], source: psycopg.Connection[Any], parts: Sequence[Part]) -> None:
    """Raises EnvironmentProblem for the first right that is missing."""
    row = live.execute("select pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE')").fetchone()
    assert row is not None
    if row[0]:
        raise EnvironmentProblem("this server is a standby: it can only be read", code="standby", remedy="give the primary's URL")
    if not row[1]:
        raise EnvironmentProblem("the journal cannot be made here", code="privilege", remedy=vault.grant_create(live))
    for part in parts:
        verb = {"rows": "INSERT", "deletes": "DELETE"}.get(part.kind, "UPDATE")
        owns, may, user, owner = _rights(live, part, verb)
        if not may or (part.triggers and not owns):
            what = "whose triggers must not fire" if may else f"lacks {verb}"
            remedy = f"connect as {owner}, or GRANT {ident(owner)} TO {ident(user)}"
            raise EnvironmentProblem(f"{user} may not fill {part.table} ({what})", code="privilege", remedy=remedy)
        owns, may, user, owner = _rights(source, part, "SELECT")
        if not may:
            remedy = f"connect to it as {owner}, or GRANT SELECT ON {part.table} TO {ident(user)} there"
            raise EnvironmentProblem(f"{user} may not read {part.table} of the snapshot", code="privilege", remedy=remedy)


def _rights(connection: psycopg.Connection[Any], part: Part, verb: str) -> tuple[bool, bool, str, str]:
    row = connection.execute(_RIGHTS, [verb, part.table]).fetchone()
    assert row is not None
    return row[0], row[1], row[2], row[3]


def advance_sequences(
    live: psycopg.Connection[Any], source: psycopg.Connection[Any], wanted: Sequence[tuple[str, Sequence[str]]]
) -> None:  # fmt: skip
    """No number that a returning row has is given out again."""
    for table, columns in wanted:
        here = {column: (name, step) for column, name, step in live.execute(_OWNED, [table, list(columns)])}
        for column, name, _ in source.execute(_OWNED, [table, list(columns)]).fetchall():
            row = source.execute(f"select last_value, is_called from {name}").fetchone()
            if column in here and row and row[1]:
                mine, step = here[column]
                beyond = "greatest" if step > 0 else "least"
                live.execute(f"select setval(%s, {beyond}((select last_value from {mine}), %s), true)", [mine, row[0]])


def stage(live: psycopg.Connection[Any], source: psycopg.Connection[Any], job: str, part: Part, say: Say) -> None:
    """Copy the part's rows, unless an earlier run did and they are all still there."""

    def fill(name: str) -> int:
        say(f"copying {part.table} from the snapshot")
        out, into = f"COPY ({merge.source(part)}) TO STDOUT", f"COPY {name} ({merge.cells(part)}) FROM STDIN"
        return copy(live, source, out, into, part.table, say)

    stage_with(live, job, part, fill)


def stage_with(live: psycopg.Connection[Any], job: str, part: Part, fill: Callable[[str], int]) -> None:
    """Make the staging table and let `fill` write its rows, unless that was done. fill: returns how many."""
    name, mine = merge.stage(job, part), [job, part.number]
    row = live.execute(f"select staged, done from {merge.SCHEMA}.part where refill = %s and number = %s", mine).fetchone()
    assert row is not None
    staged, done = row
    if staged is not None and (done >= staged or _whole(live, name, staged)):
        return
    if not part.key and _has_rows(live, part):
        with live.transaction():
            live.execute(merge.keyless(job, part))
            live.execute(f"update {merge.SCHEMA}.part set staged = 0 where refill = %s and number = %s", mine)
        return
    drop, create = merge.create_stage(job, part)
    with live.transaction():
        if staged is not None:  # a crash of the server emptied it: all is merged once more, and what was filled is as it must be
            live.execute(merge.SETTLED, {"refill": job, "part": part.number, "done": 0})
            live.execute(f"update {merge.SCHEMA}.part set gone = 0 where refill = %s and number = %s", mine)
            live.execute(f"delete from {merge.SCHEMA}.conflict where refill = %s and part = %s", mine)
        live.execute(drop)
        live.execute(create)
        count = fill(name)
        live.execute(merge.index_stage(job, part))
        live.execute(f"update {merge.SCHEMA}.part set staged = %s where refill = %s and number = %s", [count, *mine])
    live.execute(f"ANALYZE {name}")


def _has_rows(live: psycopg.Connection[Any], part: Part) -> bool:
    row = live.execute(f"select exists (select from {part.table})").fetchone()
    return bool(row and row[0])


def _whole(live: psycopg.Connection[Any], name: str, staged: int) -> bool:
    row = live.execute("select to_regclass(%s) is not null", [name]).fetchone()
    if not row or not row[0]:
        return False
    count = live.execute(f"select count(*) from {name}").fetchone()
    return bool(count and count[0] == staged)


def copy(live: psycopg.Connection[Any], source: psycopg.Connection[Any], out: str, into: str, table: str, say: Say) -> int:
    """COPY from one server to the other; how many rows. The source is read in one snapshot of its own."""
    rows, told, waiting = 0, 0, bytearray()
    with source.transaction():
        source.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        with source.cursor() as reading, live.cursor() as writing, reading.copy(out) as reader, writing.copy(into) as writer:
            for row in reader:
                waiting += row
                rows += 1
                if len(waiting) >= BLOCK:
                    writer.write(bytes(waiting))
                    waiting.clear()
                    if rows - told >= 100_000:
                        told = rows
                        say(f"copying {table}: {amount(rows, 'row')}")
            if waiting:
                writer.write(bytes(waiting))
    return rows
