"""After the statement-by-statement fallback the migration has been applied anew: what is judged then must be what is there then."""

from tests.support import migration
from unmigrate.prove.history import History
from unmigrate.prove.workspace import Workspace

OPERATOR = "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)"
CHANGE = "DROP OPERATOR === (int, int); CREATE TABLE extra (id int);"


def test_a_down_sql_that_forgets_a_table_is_found_out_where_nothing_else_proves(work: Workspace) -> None:
    history = History(work.fresh())
    history.skip(migration("1", OPERATOR))
    proof = history.prove(migration("2", CHANGE, down=OPERATOR))
    assert proof.handwritten is not None
    assert proof.handwritten.verdict == "refused"
    assert "extra is left over" in proof.handwritten.reason
    assert proof.refused
    history.connection.close()


def test_the_delta_speaks_of_what_is_there(work: Workspace) -> None:
    history = History(work.fresh())
    history.skip(migration("1", OPERATOR))
    proof = history.prove(migration("2", CHANGE, down=f"{OPERATOR}; DROP TABLE extra"))
    assert proof.source == "hand-written"
    assert all(o.key in history.observer.catalog.objects for o in proof.delta.created)
    assert history.observer.check() == []
    history.connection.close()
