"""What the options say of themselves is so."""

from unmigrate.inverse.model import Loss
from unmigrate.plan.model import Option, Verdict
from unmigrate.plan.options import options

DROPPED = Loss("m", "public.t.a", "column", "the migration dropped the column")
ADDED = Loss("m", "public.u", "added table", "the migration added it")


def chosen(schema: str, *losses: Loss) -> dict[str, Option]:
    return {o.name: o for o in options([Verdict("m", schema, "", "lossy", ())], losses)}


def test_a_proved_reverse_is_recommended_though_something_is_gone() -> None:
    found = chosen("exact", DROPPED, ADDED)
    assert [o.name for o in found.values() if o.recommended] == ["reverse"]
    assert "only way that brings back the old values of public.t.a" in found["restore"].reason


def test_what_is_gone_is_gone_in_every_way_but_restoring() -> None:
    found = chosen("exact", DROPPED)
    assert found["reverse"].loses == found["roll-forward"].loses == "the old values of public.t.a"
    assert "every row written since" in found["restore"].loses


def test_without_a_proof_restoring_is_recommended() -> None:
    assert [o.name for o in chosen("refused").values() if o.recommended] == ["restore"]
