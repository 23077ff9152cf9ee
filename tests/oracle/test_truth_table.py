"""What the ledger's states mean to the real Prisma, and that we read and predict them the same way."""

import pytest

from tests.oracle.conftest import SCRIPTS, Project
from tests.support import record
from unmigrate.prisma.ledger import MigrationState, delete_rows, predict_status, read_ledger, states
from unmigrate.prisma.migrations import read_migrations

INIT, MORE = (name for name, _ in SCRIPTS)


def ours(project: Project) -> tuple[MigrationState, ...]:
    with project.connect() as connection:
        rows = read_ledger(connection, "public")
    return states(read_migrations(project.root / "prisma" / "migrations"), rows or ())


def agrees(project: Project) -> None:
    """`prisma migrate status` exits as predicted."""
    version = (6, 19) if project.version == "6" else (7, 10)
    said = project.prisma("migrate", "status")
    assert said.exit_code == predict_status(ours(project), minor=version).exit_code, said.text


@pytest.fixture
def deployed(project: Project) -> Project:
    said = project.prisma("migrate", "deploy")
    assert said.exit_code == 0, said.text
    return project


def test_what_prisma_deployed_is_read_as_applied(deployed: Project) -> None:
    assert [(s.name, s.state, s.edited) for s in ours(deployed)] == [(INIT, "applied", False), (MORE, "applied", False)]
    agrees(deployed)


def test_the_runbooks_step_fails_on_an_applied_migration(deployed: Project) -> None:
    said = deployed.prisma("migrate", "resolve", "--rolled-back", MORE)
    assert said.exit_code == 1
    assert "P3012" in said.text


def test_the_runbooks_step_fails_after_a_restore(deployed: Project) -> None:
    with deployed.connect() as connection:
        delete_rows(connection, "public", [MORE])
    said = deployed.prisma("migrate", "resolve", "--rolled-back", MORE)
    assert said.exit_code == 1
    assert "P3011" in said.text


def test_deleted_rows_are_right_with_and_without_the_folder(deployed: Project) -> None:
    with deployed.connect() as connection:
        connection.execute('DROP TABLE "Post"; ALTER TABLE "User" DROP COLUMN name')
        assert delete_rows(connection, "public", [MORE]) == 1
    assert [s.state for s in ours(deployed)] == ["applied", "pending"]
    agrees(deployed)
    assert deployed.prisma("migrate", "deploy").exit_code == 0
    assert [s.state for s in ours(deployed)] == ["applied", "applied"]


def test_a_failed_migration_blocks_and_is_read_as_failed(project: Project) -> None:
    broken = project.root / "prisma" / "migrations" / MORE / "migration.sql"
    broken.write_text('CREATE TABLE "Post" ("id" SERIAL PRIMARY KEY);\nSELECT 1 / 0;\n')
    assert project.prisma("migrate", "deploy").exit_code == 1
    assert [s.state for s in ours(project)] == ["applied", "failed"]
    agrees(project)
    said = project.prisma("migrate", "deploy")
    assert said.exit_code == 1
    assert "P3009" in said.text


def test_an_edited_file_is_seen_by_us_though_not_by_status(deployed: Project) -> None:
    file = deployed.root / "prisma" / "migrations" / MORE / "migration.sql"
    file.write_text(file.read_text() + "-- edited\n")
    assert [s.edited for s in ours(deployed)] == [False, True]
    agrees(deployed)


def test_line_ends_are_no_edit(deployed: Project) -> None:
    file = deployed.root / "prisma" / "migrations" / MORE / "migration.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert [s.edited for s in ours(deployed)] == [False, False]


def test_a_database_ahead_of_the_folder(deployed: Project) -> None:
    deployed.drop_folder(MORE)
    assert [(s.state, s.missing_folder) for s in ours(deployed)] == [("applied", False), ("applied", True)]
    agrees(deployed)


def test_a_second_row_counts_as_one_migration(deployed: Project) -> None:
    with deployed.connect() as connection:
        record(connection, MORE, SCRIPTS[1][1])
    assert [s.duplicate for s in ours(deployed)] == [False, True]
    agrees(deployed)
