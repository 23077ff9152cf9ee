"""What a script written by hand really does: run as psql would, statement by statement, and compared with before."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from unmigrate.prisma.migrations import Migration
from unmigrate.prove.history import History
from unmigrate.prove.schema import Verdict, differences, out_of_order
from unmigrate.prove.workspace import Workspace
from unmigrate.sql import script


@dataclass(frozen=True, slots=True)
class ScriptProof:
    """verdict: as for any way back. remarks: statements that failed or did nothing, and what is not as it was."""

    verdict: Verdict
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"verdict": self.verdict, "remarks": list(self.remarks)}


def prove_script(work: Workspace, migrations: Sequence[Migration], count: int, text: str) -> ScriptProof:
    """Run `text` after these migrations; it should undo the last `count`. Like psql without ON_ERROR_STOP, it goes on after errors.

    Raises ReplayError where the history does not replay, ScriptError where the text does not parse.
    """
    connection = work.fresh()
    history = History(connection)
    for migration in migrations[:-count]:
        history.skip(migration)
    wanted = history.observer.catalog
    for migration in migrations[-count:]:
        history.skip(migration)
    remarks = _run(connection, history, text)
    history.observer.reset()
    found = differences(wanted, history.observer.catalog)
    order = out_of_order(wanted, history.observer.catalog, wanted.objects.keys())
    connection.close()
    remarks += [str(d) for d in found]
    if found:
        return ScriptProof("refused", tuple(remarks))
    return ScriptProof("column-order" if order else "exact", tuple(remarks + [f"{t} stand in another order" for t in order]))


def _run(connection: psycopg.Connection[Any], history: History, text: str) -> list[str]:
    remarks = []
    for statement in script.split(text):
        first = " ".join(statement.text.split())[:100]
        before = history.observer.catalog
        try:
            connection.execute(statement.text)
        except psycopg.Error as error:
            remarks.append(f"fails: {first} ({error.diag.message_primary})")
            continue
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            continue
        history.observer.reset()
        if not statement.control and history.observer.catalog.objects == before.objects:
            remarks.append(f"does nothing: {first}")
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        connection.execute("ROLLBACK")
        remarks.append("the script leaves a transaction open: psql would lose it")
    return remarks
