"""What the options say of themselves is so, and the one that loses least is recommended."""

from typing import Any

from unmigrate.inverse.model import Loss
from unmigrate.plan.model import Blocker, Lock, Option, Verdict
from unmigrate.plan.options import Candidate, Facts, Vaulted, options

DROPPED = Loss("m", "public.t.a", "column", "the migration dropped the column")
ADDED = Loss("m", "public.u", "added table", "the migration added it")
CHANGED = Loss("m", "public.v", "values", "the migration updated rows")
LOCK = Lock("public.t", "ACCESS EXCLUSIVE", "metadata", 8192, 0.01)
NEW = Candidate("new", 600, 41.0, "it took that long", 3_000_000_000, {"public.t": 7, "public.w": 0})
OLD = Candidate("old", 90_000)


def chosen(schema: str, *losses: Loss, facts: Facts | None = None) -> dict[str, Option]:
    found = options([Verdict("m", schema, "", "lossy", ())], losses, facts)
    assert sum(o.recommended for o in found) == 1
    return {f"{o.name} {o.of}".strip(): o for o in found}


def best(*args: Any, **kwargs: Any) -> Option:
    return next(o for o in chosen(*args, **kwargs).values() if o.recommended)


def test_a_column_that_was_dropped_never_makes_restoring_the_best_way() -> None:
    assert best("exact", DROPPED, ADDED).name == "reverse"
    assert "add --refill" in best("exact", DROPPED).reason
    found = best("exact", DROPPED, facts=Facts(locks=(LOCK,), candidates=(NEW, OLD)))
    assert (found.name, found.of) == ("reverse-refill", "new")
    assert best("exact", DROPPED, facts=Facts(candidates=())).name == "reverse"


def test_what_is_gone_is_gone_in_every_way_without_a_copy() -> None:
    found = chosen("exact", DROPPED, CHANGED)
    assert found["reverse"].loses == found["roll-forward"].loses == "the old values of public.t.a, public.v"
    assert found["reverse-refill"].loses == "of public.v what running the migration on a copy cannot tell"
    assert "every row written since" in found["restore"].loses


def test_each_snapshot_stands_beside_the_others_with_its_price() -> None:
    found = chosen("exact", DROPPED, facts=Facts(locks=(LOCK,), candidates=(NEW, OLD), batch=0.05))
    new, old, refill = found["restore new"], found["restore old"], found["reverse-refill new"]
    assert (new.rows_lost, new.seconds, new.basis, new.disk) == ({"public.t": 7}, 41.0, "it took that long", 3_000_000_000)
    assert new.loses == "7 rows written since: public.t 7"
    assert new.downtime == "about 41 seconds, until it is restored"
    assert old.rows_lost is None
    assert "25 hours" in old.loses
    assert "10 minutes between snapshot and migration" in refill.loses
    assert refill.needs == "unmigrate rollback --refill new"
    assert refill.downtime == "about 0.01 s for the reverse, then batches of about 0.05 s each"
    assert found["reverse"].seconds == 0.01


def test_without_a_proof_restoring_is_recommended_where_it_can_be() -> None:
    assert best("refused").name == "restore"
    assert best("refused", facts=Facts(candidates=(NEW,))).of == "new"
    without = chosen("refused", DROPPED, facts=Facts(candidates=()))
    assert without["roll-forward"].recommended
    assert not any(o.possible for name, o in without.items() if name != "roll-forward")


def test_the_vault_comes_first() -> None:
    facts = Facts(vault=Vaulted((), (), (LOCK,)), candidates=(NEW,))
    assert best("exact", DROPPED, facts=facts).name == "reverse-vault"
    assert best("refused", DROPPED, facts=facts).name == "reverse-vault"
    lossy = Facts(vault=Vaulted((CHANGED,), (), (LOCK,)), candidates=(NEW,))
    assert best("exact", DROPPED, facts=lossy).name == "reverse-refill"


def test_restoring_is_best_only_where_nothing_was_written_since_and_values_changed() -> None:
    still = Candidate("still", 10, 5.0, "", 10, {})
    assert best("exact", CHANGED, facts=Facts(candidates=(still,))).of == "still"
    assert best("exact", DROPPED, facts=Facts(candidates=(still,))).name == "reverse-refill"
    assert best("exact", CHANGED, facts=Facts(candidates=(NEW,))).name == "reverse-refill"
    assert best("exact", ADDED, facts=Facts(candidates=(still,))).name == "reverse"


def test_rows_that_block_are_counted() -> None:
    blockers = (Blocker("m", "public.t", "why", 3, (), ()), Blocker("m", "public.t", "why", 4, (), ()))
    found = chosen("exact", ADDED, facts=Facts(blockers=blockers, candidates=()))["reverse"]
    assert found.blocked == 7
    assert "7 rows block it first" in found.reason
    assert chosen("exact", facts=Facts(blockers=(Blocker("m", "t", "w", -1, (), ()),)))["reverse"].blocked == -1


def test_what_could_not_be_asked_is_said() -> None:
    found = chosen("exact", DROPPED, facts=Facts(trouble="no access"))
    assert "no access" in found["restore"].needs
    assert "no access" in found["reverse-refill"].needs
