"""What [park] and [policy] change: how things are kept, what is forgotten, what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.guard.conftest import Live
from unmigrate.config.park import Park
from unmigrate.config.policy import Policy
from unmigrate.errors import RefusedError
from unmigrate.guard.policy import refuse_by_policy, strict

INIT = """CREATE TABLE person (id int PRIMARY KEY, name text NOT NULL, ssn text);
CREATE TABLE log (what text); CREATE TABLE note (id int PRIMARY KEY, "userSsn" text, body text);"""
ROWS = """INSERT INTO person SELECT g, 'n' || g, 'secret' || g FROM generate_series(1, 5) g;
INSERT INTO note SELECT g, 'secret' || g, 'b' FROM generate_series(1, 5) g; INSERT INTO log VALUES ('x')"""
EXCLUDED = Park(exclude=("person.ssn", "public.note.userSsn"))
FORGET = {
    "dropped": "ALTER TABLE person DROP COLUMN ssn",
    "dropped with another": "ALTER TABLE person DROP COLUMN ssn, DROP COLUMN name",
    "dropped with its table": "DROP TABLE note; DROP TABLE person",
    "overwritten": "UPDATE person SET ssn = NULL, name = upper(name)",
    "deleted": "DELETE FROM person",
    "converted": "ALTER TABLE person ALTER COLUMN ssn TYPE int USING (length(ssn))",
    "in a block": 'DO $$ BEGIN UPDATE person SET ssn = NULL; ALTER TABLE note DROP COLUMN "userSsn"; END $$',
}


def secrets_in(it: Live) -> list[str]:
    """Tables, the vault's among them, that hold a secret value anywhere."""
    tables = it.rows(
        "select format('%I.%I', nspname, relname) from pg_class c join pg_namespace n on n.oid = relnamespace "
        "where relkind = 'r' and nspname !~ '^(pg_|information_schema)'"
    )
    return [t for (t,) in tables if it.value(f"select exists (select from {t} t where t::text ~ 'secret')")]


@pytest.mark.parametrize("name", FORGET)
def test_what_is_excluded_is_kept_nowhere(live: Callable[..., Live], name: str) -> None:
    it = live(INIT, ROWS)
    it.park = EXCLUDED
    it.deploy(FORGET[name])
    one = it.guarded[-1]
    assert one.verdict == "lossy"
    assert {loss.object for loss in one.forgets} & {"public.person.ssn", 'public.note."userSsn"'}
    assert [t for t in secrets_in(it) if t not in ("public.note", "public.person")] == []
    assert one.back is not None, one.why
    it.rollback()
    assert it.value("select count(*) from person") == 5
    assert it.value("select string_agg(name, ',' order by id) from person") == "n1,n2,n3,n4,n5"


def test_an_excluded_name_that_no_column_bears_is_said(live: Callable[..., Live]) -> None:
    from tests.support import migration
    from unmigrate.guard.build import guard

    it, said = live(INIT, ROWS), list[str]()
    next(guard(it.work, it.history, [migration("2", "SELECT 1")], said.append, Park(exclude=("person.snn",))))
    assert "note: park.exclude names person.snn, which is no column" in said


SIDE = {
    "a column": "ALTER TABLE person DROP COLUMN name",
    "a table": "DROP TABLE note",
    "a type": "ALTER TABLE person ALTER COLUMN name TYPE int USING (length(name))",
}


@pytest.mark.parametrize("name", SIDE)
def test_side_tables(live: Callable[..., Live], name: str) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode="side-table")
    shape, rows = it.shape(), it.rows("select id, name, ssn from person order by id") + it.rows("table note order by id")
    it.deploy(SIDE[name])
    assert it.value("select count(*) from pg_attribute where attname ~ '^_unmigrate' and attrelid = 'person'::regclass") == 0
    assert it.value("select count(*) from pg_class where relnamespace::regnamespace::text ~ '_old$'") == 0
    it.rollback()
    assert it.shape() == shape
    assert it.rows("select id, name, ssn from person order by id") + it.rows("table note order by id") == rows


def test_mode_off_deploys_as_it_is_and_needs_consent(live: Callable[..., Live]) -> None:
    it = live(INIT, ROWS)
    it.park = Park(mode="off")
    with pytest.raises(RefusedError) as refusal:
        it.deploy(SIDE["a column"])
    assert refusal.value.code == "loss"
    assert it.guarded[-1].why == "park.mode is off"


BROKEN: dict[str, tuple[Policy, str, str]] = {
    "no guarded way back": (Policy(unproved="refuse"), "COMMIT; ALTER TABLE person ADD COLUMN x int", "no guarded way back"),
    "destroys": (Policy(lossy="refuse"), "UPDATE log SET what = 'y'", "destroys public.log"),
    "strict": (strict(Policy()), "UPDATE log SET what = 'y'", "destroys public.log"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_policy_refuses(live: Callable[..., Live], name: str) -> None:
    policy, sql, reason = BROKEN[name]
    one = live(INIT, ROWS).guard(sql)
    with pytest.raises(RefusedError, match=reason) as refusal:
        refuse_by_policy(policy, [one])
    assert refusal.value.code == "policy"
    refuse_by_policy(Policy(), [one])


def test_policy_lets_lossless_migrations_pass(live: Callable[..., Live]) -> None:
    refuse_by_policy(strict(Policy()), [live(INIT, ROWS).guard("ALTER TABLE person DROP COLUMN name")])


def test_sections_are_read(tmp_path: Path) -> None:
    from unmigrate.config.load import load
    from unmigrate.errors import UsageError

    file = tmp_path / "unmigrate.toml"
    file.write_text('[policy]\nlossy = "refuse"\nmax_lock_seconds = 2.5\n')
    assert load(tmp_path).policy == Policy(lossy="refuse", max_lock_seconds=2.5)
    for wrong in ('lossy = "never"', "max_lock_seconds = 0", 'unproved = "ask "'):
        file.write_text(f"[policy]\n{wrong}\n")
        with pytest.raises(UsageError, match=r"unmigrate\.toml:2"):
            load(tmp_path)
