"""--setup and --trusted: what a history needs on scratch that is not in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import check, run
from tests.support import deploy, prisma_url, record, write_project
from unmigrate.prove.workspace import Workspace
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server

EVENTS = """CREATE TABLE t (id int PRIMARY KEY);
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$;
CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted();"""
ASKING = [("1_events", EVENTS), ("2_more", "ALTER TABLE t ADD COLUMN x int")]
SETUP = """CREATE ROLE um_set_up; CREATE TABLE legacy (id int PRIMARY KEY); SET work_mem = '8MB';"""
EXPECTING = [("1_ref", "CREATE TABLE t (id int REFERENCES legacy)"), ("2_grant", "GRANT SELECT ON t TO um_set_up")]


@pytest.fixture
def privileged(pool: Pool) -> Iterator[str]:
    """The URL of a database where a superuser deployed the first of ASKING."""
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, [])
    with pool.connect_superuser(name) as connection:
        connection.execute(f"SET search_path = public; {EVENTS} ALTER TABLE t OWNER TO {pool.role}")
    with pool.connect(name) as connection:
        record(connection, *ASKING[0])
        connection.execute(ASKING[1][1])
        record(connection, *ASKING[1])
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)


@pytest.fixture
def expecting(pool: Pool) -> Iterator[str]:
    """The URL of a database where EXPECTING was deployed beside a table that no migration made."""
    name = pool.create()
    with pool.connect(name) as connection:
        connection.execute(SETUP)
        deploy(connection, EXPECTING)
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)
    pool.drop_new_roles()


@pytest.mark.parametrize("command", ["plan", "prove", "down", "verify", "rollback --dry-run"])
def test_without_the_privilege_the_flag_is_named(command: str, tmp_path: Path, privileged: str) -> None:
    project = write_project(tmp_path / "app", ASKING)
    status, printed = run(*command.split(), "--project", project, "--url", privileged)
    assert status == 4, printed
    assert "--trusted" in printed.split("what to do", 1)[1]


def test_an_audit_names_the_flag_and_where_it_stopped(tmp_path: Path) -> None:
    project = write_project(tmp_path / "app", ASKING)
    status, printed = run("audit", "--project", project, "--no-cache")
    assert status == 1
    assert "Stopped at 1_events" in printed
    assert "--trusted" in printed.split("what to do", 1)[1]


@pytest.mark.parametrize(("command", "expected"), [("plan", 0), ("prove", 0), ("down", 0), ("verify", 0), ("audit --no-cache", 0)])
def test_with_the_flag_the_history_replays(command: str, expected: int, tmp_path: Path, privileged: str) -> None:
    project = write_project(tmp_path / "app", ASKING)
    status, printed = run(*command.split(), "--trusted", "--project", project, "--url", privileged)
    assert status == expected, printed
    if command == "verify":
        assert "database and history: agree" in printed
    if command == "plan":
        assert "--trusted: on scratch a superuser" in printed  # whoever reads the plan must know


def test_a_rollback_with_the_flag(tmp_path: Path, privileged: str) -> None:
    project = write_project(tmp_path / "app", ASKING)
    status, printed = run("rollback", "--trusted", "--yes", "--accept-loss", "--project", project, "--url", privileged)
    assert status == 0, printed
    assert "Rolled back 2_more" in printed


def test_never_on_the_target_server(tmp_path: Path, privileged: str) -> None:
    project = write_project(tmp_path / "app", ASKING)
    check(3, "trusted", "plan", "--trusted", "--scratch", "target", "--project", project, "--url", privileged)


def test_the_help_says_what_the_flag_gives_up() -> None:
    for command in ("audit", "plan", "prove", "down", "verify", "rollback"):
        _, printed = run(command, "--help")
        assert "never for a pull request from a fork" in " ".join(printed.split()), command


@pytest.mark.parametrize(
    ("command", "expected"), [("plan", 0), ("prove", 0), ("down", 0), ("verify", 0), ("rollback --yes --accept-loss", 0)]
)
def test_what_the_set_up_makes_is_there(command: str, expected: int, tmp_path: Path, expecting: str) -> None:
    project, setup = write_project(tmp_path / "app", EXPECTING), tmp_path / "setup.sql"
    setup.write_text(SETUP)
    status, printed = run(*command.split(), "--project", project, "--url", expecting)
    assert status in (3, 4), printed
    status, printed = run(*command.split(), "--setup", setup, "--project", project, "--url", expecting)
    assert status == expected, printed
    if command == "verify":
        assert "database and history: agree" in printed


def test_a_script_is_proved_after_the_set_up(tmp_path: Path) -> None:
    project, setup, script = write_project(tmp_path / "app", EXPECTING), tmp_path / "setup.sql", tmp_path / "down.sql"
    setup.write_text(SETUP)
    script.write_text("REVOKE SELECT ON t FROM um_set_up")
    status, printed = run("prove", "--down", script, "--setup", setup, "--project", project)
    assert status == 0, printed


def test_the_configuration_names_the_set_up(tmp_path: Path) -> None:
    project = write_project(tmp_path / "app", EXPECTING)
    (project / "unmigrate.toml").write_text('[scratch]\nsetup = "sql/setup.sql"\n')
    check(2, "unreadable", "prove", "--project", project)
    (project / "sql").mkdir()
    (project / "sql" / "setup.sql").write_text(SETUP)
    status, printed = run("prove", "--project", project)
    assert status == 0, printed


def test_a_set_up_that_fails(tmp_path: Path) -> None:
    project, setup = write_project(tmp_path / "app", EXPECTING), tmp_path / "setup.sql"
    setup.write_text("CREATE TABEL x ()")
    check(2, "setup", "plan", "--setup", setup, "--project", project)
    setup.write_bytes(b"\xff\xfe")
    check(2, "not-utf8", "plan", "--setup", setup, "--project", project)


def test_a_kept_database_has_the_settings_and_is_not_set_up_twice(server: Server) -> None:
    with Pool(server) as pool:  # of its own: one whose migrations made roles keeps nothing
        work = Workspace(pool, setup="CREATE TABLE legacy (id int); SET work_mem = '8MB'")
        assert work.keep(work.fresh(), "set up")
        again = work.at("set up")
        assert again is not None
        with again:
            assert again.execute("show work_mem").fetchone() == ("8MB",)
            assert again.execute("select count(*) from legacy").fetchone() == (0,)
