"""The data half of a proof: the same history on a database with generated rows, and what each way back does to them.

The schema half runs without them, since a migration may refuse rows that its own history would never have had.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg

from unmigrate.catalog.sqltext import UNCHECKED_BODIES, ident, literal
from unmigrate.inverse import replay, unseen
from unmigrate.inverse.losses import losses
from unmigrate.inverse.model import Loss
from unmigrate.prove.history import SchemaProof
from unmigrate.scratch.appease import Appeaser
from unmigrate.scratch.contents import TableContents, contents, row_counts
from unmigrate.scratch.rows import PER_TABLE, fill
from unmigrate.scratch.shape import query
from unmigrate.sql import prepared, script

Data = Literal["lossless", "lossy", "unknown"]

NEWER_ROWS = 6  # rows per table once those written after the migration are there

_TABLE = """
select {name}, c.oid::int8,
  array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum),
  c.relkind = 'p'
from {source}
where c.relkind in ('r', 'p') and n.nspname !~ '^(pg_|information_schema$|unmigrate)' and c.relname <> '_prisma_migrations'"""

TABLES = _TABLE.format(name="format('%I.%I', n.nspname, c.relname)", source="pg_class c join pg_namespace n on n.oid = c.relnamespace")

# By index: without statistics the planner would rather write out the names of all tables.
NAMED = _TABLE.format(
    name="u.name",
    source="""unnest($1) u (name) cross join lateral parse_ident(u.name) p join pg_namespace n on n.nspname = p[1] cross join lateral (
  select * from pg_class where relname = p[2] and relnamespace = n.oid offset 0) c""",
)

# The view pg_stat_xact_user_tables would say the same, and read every index for it.
WRITTEN = """
select c.oid::int8, format('%I.%I', n.nspname, c.relname), w.count
from pg_class c join pg_namespace n on n.oid = c.relnamespace cross join lateral (select pg_stat_get_xact_tuples_inserted(c.oid)
  + pg_stat_get_xact_tuples_updated(c.oid) + pg_stat_get_xact_tuples_deleted(c.oid) as count offset 0) w
where c.oid >= 16384 and c.relkind in ('r', 'p', 'm') and w.count > 0 and c.relname <> '_prisma_migrations'
  and n.nspname !~ '^(pg_|information_schema$|unmigrate)'"""


@dataclass(frozen=True, slots=True)
class DataProof:
    """lossless: shown on generated rows in every table concerned, and nothing predicted. lost: what may not come back.

    not_covered: why something was not shown, and what no rows of ours would show (`inverse.unseen`). blocked: rows made the way back fail
    (PostgreSQL's words), "" otherwise.
    """

    verdict: Data
    losses: tuple[Loss, ...]
    not_covered: tuple[str, ...] = ()
    blocked: str = ""

    @property
    def lost(self) -> tuple[str, ...]:
        return tuple(sorted(loss.object for loss in self.losses))


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    oid: int
    columns: tuple[str, ...]
    partitioned: bool

    @property
    def source(self) -> str:
        """How its own rows are read: the children of plain inheritance are tables of their own, partitions are not."""
        return self.name if self.partitioned else f"ONLY {self.name}"


class RowsHistory:
    """One scratch database with rows, brought forward migration by migration."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        connection.execute("SET plan_cache_mode = force_generic_plan")
        self._stopped = ""
        self._empty: dict[str, str] = {}
        self._base: dict[int, tuple[str, int]] = {}  # rows written when the migration began, and when it had run
        self._now: dict[int, tuple[str, int]] = {}

    @property
    def stopped(self) -> str:
        """Why it goes no further with rows, "" while it does."""
        return self._stopped

    def begin(self) -> None:
        """Fill the tables of a database whose history was replayed without rows."""
        self._fill(None)

    def prove(self, proof: SchemaProof, *, written_after: bool = False) -> DataProof:
        """Apply the migration on rows, try its way back, compare. The database is left with the migration applied.

        written_after: try it once more with rows written after the migration, which must all be there afterwards.
        """
        migration = proof.migration
        predicted = losses(migration.name, migration.sql, proof.delta)
        if not self._stopped:
            try:
                return self._prove(proof, predicted, written_after)
            except psycopg.Error as error:
                self._stopped = f"on generated rows {migration.name} fails: {_message(error)}"
                if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self.connection.execute("ROLLBACK")
        return DataProof("lossy" if predicted else "unknown", predicted, (self._stopped, *unseen.told(migration.sql, proof.delta)))

    def _prove(self, proof: SchemaProof, predicted: tuple[Loss, ...], written_after: bool) -> DataProof:
        concerned = concerned_tables(proof, predicted)
        before = self._tables(concerned)
        text = script.without_control(proof.migration.sql) if proof.mode == "transaction" else None
        content, refused = self._up(proof.migration.sql, text, before)
        if text is None:
            self.connection.execute("BEGIN")
        written: set[str] = set()
        if text is not None:
            renamed = {new.name: old.name for old, new in proof.delta.altered if new.kind == "table"}
            names = {name for oid, (name, count) in self._now.items() if count != self._base.get(oid, ("", 0))[1]}
            written = {renamed.get(name, name) for name in names if self._was_there(name, proof)} - concerned
        found = list(predicted)
        found += [Loss(proof.migration.name, name, "values", "the migration was seen to write to it") for name in sorted(written)]
        blocked = ""
        if not proof.refused:
            blocked, changed = self._down(proof, before, content, {loss.object for loss in found})
            found += [Loss(proof.migration.name, name, "values", "its content was seen to differ after the way back") for name in changed]
        after = self._after(proof, concerned | written)
        newer = self._newer_rows(proof, [t.oid for t in after]) if written_after and not proof.refused and not blocked else ()
        bare = {name: self._empty[name] for name in before.keys() & self._empty.keys()}  # now, and below: once what can be was filled
        self._fill(self._commit(after))
        bare |= {name: self._empty[name] for name in before.keys() & self._empty.keys()}
        uncovered = [*refused, *newer, *(f"{name} has no rows: {bare[name]}" for name in sorted(bare))]
        uncovered += [f"{name} cannot be read: {content[name].problem}" for name in sorted(content) if content[name].problem]
        sure = not (uncovered or blocked or proof.refused) and unseen.sure(proof.migration.sql, proof.delta)
        verdict: Data = "lossy" if found else "lossless" if sure else "unknown"
        return DataProof(verdict, tuple(found), (*uncovered, *unseen.told(proof.migration.sql, proof.delta)), blocked)

    def _newer_rows(self, proof: SchemaProof, oids: list[int]) -> tuple[str, ...]:
        """Write rows after the migration, go back, and count: what is not there, or what stopped, in words."""
        self.connection.execute("SAVEPOINT unmigrate_newer")
        try:
            fill(self.connection, oids, per_table=NEWER_ROWS)
            try:  # of another transaction: what is deferred was asked when that one ended
                self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            except psycopg.Error as error:
                return (f"rows written after the migration were not tried: none could be made ({_message(error)})",)
            names = {table.oid: name for name, table in self._tables(None).items()}
            wanted = row_counts(self.connection, oids)
            for sql in [UNCHECKED_BODIES, *proof.statements]:
                self.connection.execute(sql)
            self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            left = {table.oid for table in self._tables(None).values()}
            found = row_counts(self.connection, [oid for oid in oids if oid in left])
            gone = [(names[oid], count, wanted[oid]) for oid, count in found.items() if count != wanted[oid]]
            return tuple(f"rows written to {name} after the migration are gone: {n} of {total} stay" for name, n, total in gone)
        except psycopg.Error as error:
            return (f"rows written after the migration can stop the way back: {_message(error)}",)
        finally:
            self.connection.execute("ROLLBACK TO SAVEPOINT unmigrate_newer")

    def _was_there(self, name: str, proof: SchemaProof) -> bool:
        renamed = {new.name: old.name for old, new in proof.delta.altered if new.kind == "table"}
        before = {o.name for o in proof.delta.before.of_kind("table").values()}
        return renamed.get(name, name) in before and name not in {o.name for o in proof.delta.created if o.kind == "table"}

    def _up(self, sql: str, text: str | None, before: dict[str, _Table]) -> tuple[dict[str, TableContents], list[str]]:
        """Run the migration, after changing rows that it cannot stand: (contents just before it ran, what had to be emptied)."""
        appeaser = Appeaser(self.connection, sql)
        emptied: list[str] = []
        while True:
            content = self._contents(before)
            try:
                self._run(sql, text)
                return content, emptied
            except psycopg.Error as error:
                if self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    self.connection.execute("ROLLBACK")
                change = appeaser.appease(error)
                if change is None:
                    raise
                emptied += [f"the migration fails on any row of {name}: {_message(error)}" for name in change.emptied]

    def _run(self, sql: str, text: str | None) -> None:
        """Run the migration, and name what it wrote: rows per table, by this backend, not yet reported. Earlier ones may be among them.

        By oid: what earlier transactions wrote to a table that is renamed now is not the migration's.
        """
        if text is not None:
            before, after = prepared.run_between(self.connection, prepared.Call(WRITTEN), f"{text}\n{replay.left_behind(text)}")
            self._base, self._now = ({oid: (name, int(count)) for oid, name, count in rows} for rows in (before, after))
            return
        try:
            self.connection.execute(sql)
        except (psycopg.errors.ActiveSqlTransaction, psycopg.errors.UnsafeNewEnumValueUsage):
            for statement in script.split(sql):
                self.connection.execute(statement.text)
        self.connection.execute(replay.left_behind(sql))
        prepared.look_again(self.connection)

    def _down(
        self, proof: SchemaProof, before: dict[str, _Table], content: dict[str, TableContents], lost: set[str]
    ) -> tuple[str, list[str]]:
        """Try the way back on the rows: (what blocked it, tables that differ though nothing was predicted). `_after` rolls it back."""
        kept = before.keys() - lost
        way_back = ";\n".join(["SAVEPOINT unmigrate_rows", UNCHECKED_BODIES, *proof.statements, "SET CONSTRAINTS ALL IMMEDIATE"])
        try:
            return "", self._changed(before, content, lost, self._tables(kept, enter=way_back))
        except psycopg.Error as error:
            return _message(error), []

    def _changed(
        self, before: dict[str, _Table], content: dict[str, TableContents], lost: set[str], present: dict[str, _Table]
    ) -> list[str]:
        now = self._contents(present)
        changed = []
        for name in sorted(before.keys() - lost):
            if name not in present:
                changed.append(name)
                continue
            gone = {entry.rpartition(".")[2] for entry in lost if entry.startswith(f"{name}.")}
            kept = [c for c in before[name].columns if ident(c) not in gone and c not in gone]
            same_rows = content[name].rows == now[name].rows
            columns_same = all(content[name].columns.get(c) == now[name].columns.get(c) for c in kept)
            whole_same = (
                bool(gone) or content[name].row_hash == now[name].row_hash or set(before[name].columns) != set(present[name].columns)
            )
            if not (same_rows and columns_same and whole_same):
                changed.append(name)
        return changed

    def _tables(self, names: Iterable[str] | None, *, enter: str = "") -> dict[str, _Table]:
        """Those that are there, after running `enter`; None: all."""
        wanted = sorted(names) if names is not None else None
        if wanted == []:
            if enter:
                self.connection.execute(enter)
            return {}
        array = f"ARRAY[{', '.join(map(literal, wanted or ()))}]"
        call = prepared.Call(TABLES) if wanted is None else prepared.Call(NAMED, "text[]", array)
        (rows,) = prepared.run(self.connection, [call], enter=enter)
        return {name: _Table(name, oid, tuple(columns), partitioned) for name, oid, columns, partitioned in rows}

    def _contents(self, tables: dict[str, _Table]) -> dict[str, TableContents]:
        if not tables:
            return {}
        shape = {t.oid: sorted(t.columns) for t in tables.values()}
        found = contents(self.connection, shape, {t.oid: t.source for t in tables.values()})
        return {name: found[table.oid] for name, table in tables.items()}

    def _after(self, proof: SchemaProof, concerned: set[str]) -> list[_Table]:
        """What may lack rows, once the way back is rolled back; the way forward is still open."""
        renamed = {old.name: new.name for old, new in proof.delta.altered if new.kind == "table"}
        names = {renamed.get(name, name) for name in concerned} | {o.name for o in proof.delta.created if o.kind == "table"}
        return [*self._tables(names, enter="" if proof.refused else "ROLLBACK TO SAVEPOINT unmigrate_rows").values()]

    def _commit(self, tables: Sequence[_Table]) -> list[int]:
        """Commit; of these tables, those that lack rows."""
        parts = [f"(SELECT {t.oid}::int8 FROM {t.source} LIMIT {PER_TABLE})" for t in tables]
        counted = query(self.connection, f"{' UNION ALL '.join(parts) or 'SELECT 0 LIMIT 0'}; COMMIT")
        counts = Counter(oid for (oid,) in counted)
        for table in tables:
            if counts[table.oid]:
                self._empty.pop(table.name, None)
        return [t.oid for t in tables if counts[t.oid] < PER_TABLE]

    def _fill(self, oids: list[int] | None) -> None:
        if oids == []:
            return
        coverage = fill(self.connection, oids)
        for name in coverage.filled:
            self._empty.pop(name, None)
        self._empty.update(coverage.empty)


def concerned_tables(proof: SchemaProof, predicted: tuple[Loss, ...]) -> set[str]:
    """Tables of before that the migration touched or may have written, by name."""
    delta = proof.delta
    tables = {o.key.oid: o.name for o in delta.before.of_kind("table").values()}
    names = {tables[k.oid] for k in delta.keys if k.catalog == "pg_class" and k.oid in tables}
    for key in delta.keys:
        for o in (delta.before.get(key), delta.after.get(key)):
            if o is not None and o.parent is not None and o.parent.oid in tables:
                names.add(tables[o.parent.oid])
    by_name = sorted(tables.values(), key=len, reverse=True)
    for loss in predicted:
        if table := next((t for t in by_name if loss.object == t or loss.object.startswith(f"{t}.")), None):
            names.add(table)
    return names


def _message(error: psycopg.Error) -> str:
    return " ".join(str(error.diag.message_primary or error).split())
