"""Refill: what a migration destroyed is brought back from a snapshot into the live database, and rows written since are kept.

Rows deleted since stay deleted; what was written since stays, and is listed. What the migration itself did to rows is found out by
rehearsing it on the restored snapshot.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import psycopg

from unmigrate.catalog.sqltext import ident
from unmigrate.errors import FailedError
from unmigrate.snapshot import merge, merging, staging
from unmigrate.snapshot.databases import mark_of, translated
from unmigrate.snapshot.job import Asked, Job, Report
from unmigrate.snapshot.lost import Found, Part, Undone
from unmigrate.snapshot.provider import Say
from unmigrate.snapshot.rehearse import Rehearsal, rehearse, unfit

Connect = Callable[[], psycopg.Connection[Any]]


def refill(
    connect: Connect, source: psycopg.Connection[Any], undone: Undone, found: Found, asked: Asked, *,
    up: Sequence[str] | str = "its text is not at hand", copy: Connect | None = None,
) -> Report:  # fmt: skip
    """Bring `found` back from `source` into what `connect` connects to. Raises as `merging.run`.

    up: the undone migrations' text, oldest first, or why it is not to be had; copy: one more connection to the snapshot's database, on
    which they may be run and rolled back; None: they may not, and what only that would tell is left out.
    """
    with closing(connect()) as live, translated("while asking for rights"):
        staging.require_privileges(live, source, found.parts)
    _require_rows(source, found)
    source.execute(merge.SETTINGS)
    with ExitStack() as stack:
        rehearsal, found = _rehearsed(stack, undone, found, asked, up, copy)

        def stage(live: psycopg.Connection[Any], job: str, part: Part, say: Say) -> None:
            if not part.rehearsed:
                staging.stage(live, source, job, part, say)
            elif rehearsal:
                rehearsal.stage(live, job, part, say)

        def begin(live: psycopg.Connection[Any]) -> None:
            staging.advance_sequences(live, source, merge.sequences([p for p in found.parts if not p.rehearsed]))

        job = Job(staging.identity(undone, found), "refill", undone.migrations, found, stage, begin, undone.xid)
        return merging.run(connect, job, asked)


def _require_rows(source: psycopg.Connection[Any], found: Found) -> None:
    """Of what we restored with the rows of some tables only, no other one is taken for empty."""
    there = (mark_of(source, source.info.dbname) or {}).get("tables")
    away = [p.table for p in found.parts if there is not None and (p.rehearsed or p.table not in there)]
    if away:
        message = f"the restored copy was made without the rows of {', '.join(away)}"
        raise FailedError(message, code="some-rows", remedy=f"DROP DATABASE {ident(source.info.dbname)}, and run the same command again")


def _rehearsed(
    stack: ExitStack, undone: Undone, found: Found, asked: Asked, up: Sequence[str] | str, copy: Connect | None
) -> tuple[Rehearsal | None, Found]:  # fmt: skip
    """The rehearsal, and what is left to be brought back with or without it."""
    parts = [p for p in found.parts if p.rehearsed]
    if not parts:
        return None, found
    rehearsal, why = None, _unfit(undone, up, copy)
    if not why and copy and not isinstance(up, str):
        rehearsal, why = rehearse(stack, copy, up, undone.down, parts, asked.say)
    if rehearsal is None:
        return None, _without(found, {p.number: f"the migration changed or deleted rows of it: {why}" for p in parts})
    told = "rows of it were renumbered or replaced: which ones returned cannot be told"
    return rehearsal, _without(found, {p.number: told for p in parts if p.number in rehearsal.renumbered})


def _unfit(undone: Undone, up: Sequence[str] | str, copy: Connect | None) -> str:
    if isinstance(up, str):
        return up
    if copy is None:
        return "it may be run only on a copy that we restored (--snapshot instead of --from)"
    if undone.failed or not undone.operation:
        return "it was half applied, or rolled back by hand"
    return unfit(up)


def _without(found: Found, left: dict[int, str]) -> Found:
    """Numbers stay: they name staging tables."""
    named = {p.table: left[p.number] for p in found.parts if p.number in left}
    return replace(found, parts=tuple(p for p in found.parts if p.number not in left), left_out=(*found.left_out, *named.items()))
