"""Bad input: one line of what is wrong, what to do, the right exit status, nothing changed."""

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.command import check, run
from tests.support import SCHEMA, connect, deploy, prisma_url, record, write_project
from unmigrate.scratch.pool import Pool
from unmigrate.scratch.server import Server

SCRIPTS = [("1_init", 'CREATE TABLE "User" (id int PRIMARY KEY, email text)'), ("2_more", 'ALTER TABLE "User" ADD COLUMN name text')]


@pytest.fixture(autouse=True)
def _no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path / "app", SCRIPTS)


@pytest.fixture
def url(pool: Pool) -> Iterator[str]:
    name = pool.create()
    with pool.connect(name) as connection:
        deploy(connection, SCRIPTS)
    yield prisma_url(pool.conninfo(name))
    pool.drop(name)


def test_not_a_prisma_project(tmp_path: Path) -> None:
    check(2, "not-a-project", "plan", "--project", tmp_path)


def test_another_provider(tmp_path: Path) -> None:
    write_project(tmp_path / "app", SCRIPTS, SCHEMA.replace("postgresql", "mysql"))
    check(3, "provider", "plan", "--project", tmp_path / "app")


def test_no_server(project: Path) -> None:
    check(4, "unreachable", "status", "--project", project, "--url", "postgresql://me:secret@127.0.0.1:1/app")


def test_no_secret_is_printed(project: Path) -> None:
    _, printed = run("status", "--project", project, "--url", "postgresql://me:s3cr3t@127.0.0.1:1/app")
    assert "s3cr3t" not in printed


def test_no_url(project: Path) -> None:
    check(2, "no-url", "status", "--project", project)


def test_not_utf8(project: Path) -> None:
    (project / "prisma/migrations/2_more/migration.sql").write_bytes(b"-- \xff\xfe\nSELECT 1;")
    check(2, "not-utf8", "plan", "--project", project)


def test_sql_that_fails_on_scratch(project: Path) -> None:
    (project / "prisma/migrations/2_more/migration.sql").write_text("ALTER TABLE nothing ADD COLUMN x int")
    printed = check(4, "replay", "plan", "--project", project, "--last", "1")
    assert "nothing" in printed


def test_sql_that_does_not_parse(project: Path) -> None:
    (project / "prisma/migrations/2_more/migration.sql").write_text("ALTER TABEL x")
    for command in ("plan", "prove", "down"):
        assert "correct the file" in check(2, "syntax", command, "--project", project)
    status, printed = run("audit", "--no-cache", "--project", project)
    assert status == 1
    assert "correct the file" in printed


def test_a_transaction_that_is_never_committed(project: Path) -> None:
    (project / "prisma/migrations/2_more/migration.sql").write_text("BEGIN; CREATE TABLE x (id int)")
    assert "never commits" in check(2, "syntax", "plan", "--project", project)


def test_template_placeholders(project: Path) -> None:
    (project / "prisma/migrations/2_more/migration.sql").write_text("{{ statements }}\n")
    status, printed = run("plan", "--project", project)
    assert status == 2
    assert "placeholder" in printed


def test_steps_in_typescript(project: Path) -> None:
    folder = project / "prisma/migrations/3_code"
    folder.mkdir()
    (folder / "migration.ts").write_text("export {}")
    status, printed = run("plan", "--project", project)
    assert status == 2
    assert "3_code" in printed
    status, printed = run("audit", "--no-cache", "--project", project)
    assert status == 1  # the rest is judged
    assert "left out: 3_code" in printed


def test_an_unknown_name(project: Path, url: str) -> None:
    check(2, "unknown-migration", "rollback", "9_nothing", "--project", project, "--url", url, "--yes")
    printed = check(2, "unknown-migration", "plan", "more", "--project", project)
    assert "did you mean 2_more?" in printed


def test_not_the_last_one(project: Path, url: str) -> None:
    printed = check(3, "not-last", "rollback", "1_init", "--project", project, "--url", url, "--yes")
    assert "2_more" in printed


def test_more_than_there_are(project: Path, url: str) -> None:
    check(2, "count", "rollback", "--last", "7", "--project", project, "--url", url, "--yes")


def test_an_edited_migration(project: Path, url: str) -> None:
    (project / "prisma/migrations/2_more/migration.sql").write_text('ALTER TABLE "User" ADD COLUMN other text')
    check(3, "edited", "rollback", "--project", project, "--url", url, "--yes")


def test_a_database_ahead_of_the_folder(project: Path, url: str) -> None:
    with connect(url) as connection:
        record(connection, "9_elsewhere", "SELECT 1")
    check(3, "ahead", "rollback", "--project", project, "--url", url, "--yes")


def test_a_wrong_schema_in_the_url(project: Path, url: str) -> None:
    check(3, "no-ledger", "status", "--project", project, "--url", url + "&schema=elsewhere")


def test_nobody_to_say_yes(project: Path, url: str) -> None:
    check(3, "no-terminal", "rollback", "--project", project, "--url", url)


def test_yes_does_not_accept_loss(project: Path, url: str) -> None:
    with connect(url) as connection:
        connection.execute("INSERT INTO \"User\" VALUES (1, 'a', 'b')")
    check(3, "loss", "rollback", "--project", project, "--url", url, "--yes")


def test_a_plan_that_was_edited(project: Path, url: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    run("plan", "--project", project, "--url", url, "--out", file)
    file.write_text(file.read_text().replace("DROP COLUMN name", "DROP COLUMN email"))
    check(2, "plan-file", "rollback", "--plan", file, "--project", project, "--url", url, "--yes")


def test_a_plan_after_the_database_moved_on(project: Path, url: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    run("plan", "--project", project, "--url", url, "--out", file)
    with connect(url) as connection:
        record(connection, "3_later", "SELECT 1")
    check(3, "moved-on", "rollback", "--plan", file, "--project", project, "--url", url, "--yes")


def test_a_plan_file_is_carried_out(project: Path, url: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    run("plan", "--project", project, "--url", url, "--out", file)
    status, printed = run("rollback", "--plan", file, "--project", project, "--url", url, "--yes")
    assert status == 0, printed
    assert run("status", "--project", project, "--url", url)[0] == 1  # the folder still ships it


def test_the_scratch_server_must_not_be_the_target(project: Path, url: str, server: Server) -> None:
    """Refused before anything is made there, even by a role that could."""
    from unmigrate.prisma.url import parse_url

    own = prisma_url(psycopg.conninfo.make_conninfo(server.conninfo, dbname=parse_url(url).database))
    with server.connect() as connection:
        made = "select array_agg(datname order by oid) from pg_database"
        before = connection.execute(made).fetchone()
        status, printed = run("plan", "--project", project, "--url", url, "--scratch", own)
        assert status == 3, printed
        assert connection.execute(made).fetchone() == before


def test_help_of_every_command_has_an_example() -> None:
    from unmigrate.cli.main import COMMANDS

    for name in COMMANDS:
        status, printed = run(name, "--help")
        assert status == 0
        assert f"unmigrate {name}" in printed.split("Example:", 1)[1], name


@pytest.mark.parametrize(
    "words", [("frobnicate",), ("plan", "--frob"), ("plan", "--last", "x"), ("prove", "--down", "nowhere.sql"), ("rollback", "a", "b")]
)
def test_wrong_words_on_the_command_line(words: tuple[str, ...]) -> None:
    printed = check(2, "usage", *words)
    assert len(printed.strip().splitlines()) == 2
    assert f"unmigrate{'' if words[0] == 'frobnicate' else f' {words[0]}'} --help" in printed


def test_no_words_show_the_help() -> None:
    status, printed = run()
    assert status == 2
    assert "rollback" in printed and "error" not in printed


def test_every_error_has_a_remedy(project: Path, tmp_path: Path) -> None:
    for words in (("--last", "0"), ("1_init",), ("2_more", "--last", "1"), ("--fill", "x"), ("--url", "nonsense")):
        status, printed = run("plan", "--project", project, *words)
        assert status in (2, 3), printed
        assert re.search(r"what to do: \w", printed), printed
        assert "--last 2" in printed or words != ("1_init",)


def test_doctor_says_what_comes_first(tmp_path: Path) -> None:
    status, printed = run("doctor", "--project", tmp_path)
    assert status == 4
    assert printed.count("is not a Prisma project") == 1
    assert printed.count("not looked at: project comes first") == 2


def test_a_role_without_any_right(project: Path, url: str, server: Server) -> None:
    with server.connect() as connection:
        connection.execute("CREATE ROLE um_without LOGIN")
    other = url.replace("unmigrate_migrator@", "um_without@")
    assert other != url
    for command in ("status", "plan", "rollback --yes", "verify"):
        printed = check(4, "privilege", *command.split(), "--project", project, "--url", other)
        assert "um_without" in printed or "_prisma_migrations" in printed
    status, printed = run("doctor", "--project", project, "--url", other)
    assert (status, "Traceback" in printed) == (4, False), printed
    with server.connect() as connection:
        connection.execute("DROP ROLE um_without")


def test_a_vault_that_may_not_be_read_is_not_taken_for_none(project: Path, url: str) -> None:
    where = ("--project", project, "--url", url)
    assert run("rollback", "--yes", *where)[0] == 0
    with connect(url) as connection:
        connection.execute("REVOKE USAGE ON SCHEMA unmigrate FROM CURRENT_USER")
    for words in (["rollback", "--yes"], ["redo", "--yes"], ["run", "rollback", "--yes"]):
        check(4, "privilege", *words, *where)
    assert "what a guarded deploy kept is not known" in run("plan", *where)[1]
