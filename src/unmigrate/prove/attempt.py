"""One try of a way back, inside the open transaction that holds the migration, always rolled back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg

from unmigrate.catalog.kinds import KINDS
from unmigrate.catalog.kinds.base import CannotInvert
from unmigrate.catalog.model import Catalog, Key
from unmigrate.catalog.observer import Delta, Observer
from unmigrate.catalog.sqltext import UNCHECKED_BODIES
from unmigrate.prove.schema import Difference, Verdict, differences, out_of_order

ROWS = ("22", "23")  # classes of SQLSTATE: data exception, integrity constraint violation
SETTLING = frozenset({"constraint", "index", "view", "materialized view", "policy", "trigger", "rule", "routine", "statistics", "column"})
SYSTEM = "the migration changes what belongs to PostgreSQL itself (grants on pg_catalog, say): that is not undone, put it back by hand"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a way back led to. reason: why it is not exact, "" where it is; by_rows: it was refused because rows stopped it."""

    verdict: Verdict
    reason: str
    by_rows: bool = False


def emptying(catalog: Catalog) -> str:
    """A statement that takes the rows of all tables away, on scratch."""
    tables = [o.name for o in catalog.of_kind("table").values()]
    return f"TRUNCATE {', '.join(tables)} CASCADE" if tables else ""


def attempt(
    connection: psycopg.Connection[Any],
    observer: Observer,
    delta: Delta,
    statements: Sequence[str],
    *,
    savepoint: str | None = None,
    last: bool = False,
) -> Attempt:
    """Run `statements` after the migration that made `delta`, compare with before, roll back to where we are.

    savepoint: where we are, if there is one; last: commit too, in the same round trip, unless the way back is refused.
    """
    saved = observer.save()
    observer.look_again()  # a claim depends on it
    if savepoint is None:
        savepoint = "unmigrate_attempt"
        connection.execute(f"SAVEPOINT {savepoint}")
    end = ""
    try:
        outcome = _attempt(connection, observer, delta, statements, savepoint)
        end = "; COMMIT" if last and outcome.verdict != "refused" else ""
        return outcome
    finally:
        connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}{end}")
        observer.restore(saved)


def _attempt(connection: psycopg.Connection[Any], observer: Observer, delta: Delta, statements: Sequence[str], savepoint: str) -> Attempt:
    statements = [UNCHECKED_BODIES, *statements]
    try:  # all at once; if that fails, one by one, to know which it was
        way_back = observer.refresh(";\n".join([*statements, "SET CONSTRAINTS ALL IMMEDIATE"]))
    except psycopg.Error:
        connection.execute(f"ROLLBACK TO SAVEPOINT {savepoint}")
        if failure := _run(connection, statements):
            return failure
        way_back = observer.refresh()
    if delta.system or way_back.system:
        return Attempt("refused", SYSTEM)
    keys = delta.keys | way_back.keys
    found = differences(delta.before, observer.catalog, keys)
    if real := [d for d in found if not d.derived_only]:
        return Attempt("refused", f"the way back leaves: {real[0]}")
    if order := out_of_order(delta.before, observer.catalog, keys):
        if found and not settles(connection, observer, found):
            return Attempt("refused", f"text differs and does not settle: {found[0]}")
        return Attempt("column-order", f"{', '.join(order)} stand in another order")
    if not found:
        return Attempt("exact", "")
    if settles(connection, observer, found):
        return Attempt("equivalent", f"reads differently until it is loaded again: {found[0]}")
    return Attempt("refused", f"text differs and does not settle: {found[0]}")


def _run(connection: psycopg.Connection[Any], statements: Sequence[str]) -> Attempt | None:
    """One by one: what fails, and at what."""
    running = ""
    try:
        for running in statements:
            connection.execute(running)
        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.Error as error:
        message = error.diag.message_primary or str(error)
        by_rows = (error.sqlstate or "")[:2] in ROWS
        stop = "rows stop the way back" if by_rows else "the way back fails"
        return Attempt("refused", f"{stop}: {message} at: {' '.join(running.split())[:160]}", by_rows)
    return None


def settles(connection: psycopg.Connection[Any], observer: Observer, found: list[Difference]) -> bool:
    """Whether both texts become one when loaded again: the text from before, and what we made of it."""
    ours = _loaded(connection, observer, [d.found for d in found])
    return ours is not None and ours == _loaded(connection, observer, [d.wanted for d in found])


def _loaded(connection: psycopg.Connection[Any], observer: Observer, objects: list[Any]) -> dict[tuple[str, str], dict[str, Any]] | None:
    """Facts of these objects once they were dropped and made again; None where that cannot be."""
    try:
        for o in objects:
            if o is None or o.kind not in SETTLING:
                return None
            for sql in _reload(o, observer.catalog):
                connection.execute(sql)
    except (psycopg.Error, CannotInvert):
        return None
    observer.refresh()
    settled = [observer.catalog.named(o.kind, o.name) for o in objects]
    return None if None in settled else {(o.kind, o.name): o.facts for o in settled if o is not None}


def _reload(now: Any, catalog: Catalog) -> list[str]:
    if now.kind == "column":
        bare = replace(now, key=Key(now.key.catalog, 0), facts={**now.facts, "default": None}, raw={})
        return KINDS["column"].alter(bare, now, frozenset({"default"})) or []
    return [*KINDS[now.kind].drop(now), *KINDS[now.kind].create(now, catalog)]
