"""What a migration asks the server (`sql.questions`), and whether the target answers as scratch did: a proof holds for one answer only."""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from unmigrate.catalog.model import Catalog
from unmigrate.catalog.sqltext import bare, literal
from unmigrate.inverse.model import SERVER, Check
from unmigrate.sql.questions import Question, questions
from unmigrate.sql.writes import identifiers, writes

SHOWN = 160
WAYS_OUT = ("prove it on a server that answers the same: --setup FILE makes what is missing (roles, extensions), or --scratch URL",)


def asks(sql: str, *catalogs: Catalog) -> tuple[Question, ...]:
    """Of the text itself, and of functions in these catalogs that it calls."""
    called = writes(sql)
    names = called.calls | {name for body in called.opaque for name in identifiers(body)}
    return questions(sql, bodies(names, catalogs)) if names else questions(sql)


def bodies(names: Iterable[str], catalogs: Iterable[Catalog]) -> list[str]:
    """Definitions of the routines of these names."""
    wanted = set(names)
    return sorted({o.facts["definition"] for c in catalogs for o in c.of_kind("routine").values() if bare(o.facts["label"]) in wanted})


def told(sql: str, *catalogs: Catalog) -> tuple[str, ...]:
    """In words."""
    listed = "; ".join(_short(q.text) for q in asks(sql, *catalogs))
    return (f"what is said holds for scratch's answer: the migration asks the server: {listed}",) if listed else ()


def answers(connection: psycopg.Connection[Any], asked: Iterable[Question]) -> dict[Question, str]:
    """How a scratch database answers now; without those that cannot be asked by themselves. Nothing may be open."""
    found = {}
    for question in asked:
        if question.query:
            try:
                row = connection.execute(_digest(question)).fetchone()
                found[question] = str(row[0]) if row else ""
            except psycopg.Error:  # it speaks of variables
                continue
    return found


def checks(migration: str, *given: Mapping[Question, str]) -> tuple[Check, ...]:
    """Whether the target answers so, where all of these answers are the same: what the migration itself changes tells nothing."""
    first, *others = given
    return tuple(_check(migration, q, a) for q, a in first.items() if all(other.get(q) == a for other in others))


def _check(migration: str, question: Question, answer: str) -> Check:
    count = f"select count(*) from ({_digest(question)}) a (answer) where answer <> {literal(answer)}"
    reason = f"the migration asks {_short(question.text)}, and the answer here is not the one of scratch, for which all was proved"
    return Check(migration, SERVER, reason, count, f"select left(q::text, 120) from (\n{question.query}\n) q limit 5", WAYS_OUT)


def _digest(question: Question) -> str:
    return f"select coalesce(md5(string_agg(q::text, chr(10) order by q::text)), '') from (\n{question.query}\n) q"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
