"""The whole story with real parts: releases in git, the app as a process, a database, a webhook."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runbook.shop import BAD_NAME, TOML, Shop, shop
from unmigrate.scratch.pool import Pool


@pytest.fixture
def made(tmp_path: Path, pool: Pool) -> Iterator[Shop]:
    with shop(tmp_path, pool) as opened:
        yield opened


def test_a_dry_run_prints_the_whole_runbook_and_changes_nothing(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--dry-run", "--maintenance", "--accept-loss")
    assert said.exit_code == 0, said.text
    for word in (
        "default_transaction_read_only = on",
        "echo on >> maintenance.log",
        "UNMIGRATE_TAG=v1 sh bin/deploy",
        "POST ${HOOK}",
        "DROP COLUMN discount",
        "DELETE FROM public._prisma_migrations WHERE migration_name IN ('20240201000000_discounts')",
        "SELECT migration_name, finished_at, rolled_back_at FROM public._prisma_migrations",
        f"FROM pg_stat_activity WHERE datname = '{made.database}' AND",
        "GET http://127.0.0.1:${PORT}/version",
    ):
        assert word in said.text.replace('"', ""), said.text
    assert "…" not in said.text, "what is elided cannot be run"
    assert made.ledger()[-1] == BAD_NAME
    assert made.deploys() == ["v2"]
    assert not made.told()
    assert not (made.root / "maintenance.log").exists()
    (made.root / "unmigrate.toml").write_text(TOML.replace('mode = "read-only"', 'mode = "revoke-connect"'))
    said = made.unmigrate("run", "rollback", "--dry-run", "--maintenance", "--accept-loss")
    for word in (f"REVOKE CONNECT ON DATABASE {made.database} FROM PUBLIC\n", f"GRANT CONNECT ON DATABASE {made.database} TO PUBLIC\n"):
        assert word in said.text.replace('"', ""), said.text


def test_a_dry_run_says_that_no_version_is_known_to_go_back_to(made: Shop) -> None:
    made.git("tag", "-d", "v1")
    said = made.unmigrate("run", "rollback", "--dry-run", "--accept-loss")
    assert said.exit_code == 3 and "[no-tag]" in said.text and "give --tag" in said.text, said.text


def test_rollback_by_the_reverse_way(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--yes", "--maintenance", "--accept-loss")
    assert said.exit_code == 0, said.text
    assert made.ledger() == ["20240101000000_init"]
    assert made.ask("/version") == {"version": "v1"}
    with made.connect() as connection:
        assert [r[0] for r in connection.execute('select item from "Order" order by id limit 3')] == ["a", "b", "c"]
        assert connection.execute("show default_transaction_read_only").fetchone() == ("off",)
    assert [t.split(": ", 1)[1].split(" ")[0] for t in made.told()] == ["begins", "has"]
    assert (made.root / "maintenance.log").read_text() == "on\noff\n"
    assert (made.root / "flags.log").read_text() == "off\n"
    report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
    for word in (BAD_NAME, "Writers away", "default_transaction_read_only", "orders are there", "an order", "v1", "writers are gone"):
        assert word in report, report
    assert next((made.root / "unmigrate-reports").glob("*.html")).read_text().startswith("<!doctype html>")
    made.ask("/orders", {"item": "afterwards"})


def test_without_being_asked_there_is_no_maintenance(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--yes", "--accept-loss")
    assert said.exit_code == 0, said.text
    assert not (made.root / "maintenance.log").exists()
    assert made.ask("/version") == {"version": "v1"}


def test_asked_for_again_it_does_not_go_on_with_the_migration_before(made: Shop) -> None:
    assert made.unmigrate("run", "rollback", "--yes", "--accept-loss").exit_code == 0
    for way in ("reverse", "restore"):
        said = made.unmigrate("run", "rollback", "--way", way, "--yes", "--accept-loss", "--approve", "gate")
        assert said.exit_code == 3, said.text
        assert "next would be 20240101000000_init" in said.text
    assert made.ledger() == ["20240101000000_init"]


def test_a_dry_run_names_the_losses_and_the_consent_that_is_needed(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--dry-run")
    assert said.exit_code == 3, said.text
    assert "[inside-checks]" in said.text, "the whole runbook is shown all the same"
    for word in ("Lost (needs --accept-loss", 'public."Order".discount (3 rows)', "what to do: add --accept-loss"):
        assert word in said.text, said.text
    said = made.unmigrate("run", "rollback", "--dry-run", "--accept-loss", "--json")
    found = json.loads(said.text)
    assert said.exit_code == 0, said.text
    assert (found["consents"], [(x["object"], x["rows"]) for x in found["losses"]]) == (True, [('public."Order".discount', 3)])


def test_loss_is_not_accepted_by_yes(made: Shop) -> None:
    said = made.unmigrate("run", "rollback", "--yes")
    assert said.exit_code == 3, said.text
    assert "--accept-loss" in said.text
    assert made.ledger()[-1] == BAD_NAME
    assert made.deploys() == ["v2"]
    assert not made.told()


def test_approval_stops_and_resume_goes_on(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool, toml=TOML + '\n[run]\napprove = ["reverse"]\n') as made:
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss")
        assert said.exit_code == 6, said.text
        assert "--approve reverse" in said.text
        assert made.ledger()[-1] == BAD_NAME
        assert made.unmigrate("resume").exit_code == 6
        said = made.unmigrate("resume", "--approve", "reverse")
        assert said.exit_code == 0, said.text
        assert made.ledger() == ["20240101000000_init"]
        assert len(made.told()) == 2


def test_a_failing_inside_check_stops_before_maintenance_is_lifted(tmp_path: Path, pool: Pool) -> None:
    toml = TOML.replace("count(*) >= 3", "count(*) >= 300")
    with shop(tmp_path, pool, toml=toml) as made:
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss", "--maintenance")
        assert said.exit_code == 6, said.text
        assert "orders are there" in said.text
        assert "resume" in said.text
        assert "it does not go back by itself" in said.text
        with made.connect() as connection:
            assert connection.execute("show default_transaction_read_only").fetchone() == ("on",)
        assert (made.root / "maintenance.log").read_text() == "on\n"
        (made.root / "unmigrate.toml").write_text(TOML)
        said = made.unmigrate("resume")
        assert said.exit_code == 0, said.text
        assert (made.root / "maintenance.log").read_text() == "on\noff\n"


def test_a_failing_outside_check_puts_maintenance_back_on(tmp_path: Path, pool: Pool) -> None:
    toml = TOML.replace('expect = { item = "check" }', 'expect = { item = "other" }') + "\n[checks]\nattempts = 2\n"
    with shop(tmp_path, pool, toml=toml) as made:
        said = made.unmigrate("run", "rollback", "--yes", "--accept-loss", "--maintenance")
        assert said.exit_code == 6, said.text
        assert (made.root / "maintenance.log").read_text() == "on\noff\non\n"
        assert "it does not go back by itself" in said.text, "deployed plainly: nothing in the vault leads forward again"
        assert "unmigrate abort" not in said.text
        report = next((made.root / "unmigrate-reports").glob("*.md")).read_text()
        assert "- [ ] End this run: unmigrate resume" in report
        assert "| after | an order | **failed** |" in report
        with made.connect() as connection:
            assert connection.execute("show default_transaction_read_only").fetchone() == ("on",)
        (made.root / "unmigrate.toml").write_text(TOML)
        said = made.unmigrate("resume")
        assert said.exit_code == 0, said.text
        assert (made.root / "maintenance.log").read_text() == "on\noff\non\noff\n"


def test_abort_before_the_way_undoes_everything(tmp_path: Path, pool: Pool) -> None:
    with shop(tmp_path, pool, toml=TOML + '\n[run]\napprove = ["reverse"]\n') as made:
        assert made.unmigrate("run", "rollback", "--yes", "--accept-loss", "--maintenance").exit_code == 6
        said = made.unmigrate("abort", "--yes")
        assert said.exit_code == 0, said.text
        assert made.ledger()[-1] == BAD_NAME
        assert (made.root / "maintenance.log").read_text() == "on\noff\n"
        assert (made.root / "flags.log").read_text() == "off\non\n"
        with made.connect() as connection:
            assert connection.execute("show default_transaction_read_only").fetchone() == ("off",)
        assert made.ask("/version") == {"version": "v2"}
        assert "gave up" in made.told()[-1]
        assert made.unmigrate("resume").exit_code == 2
