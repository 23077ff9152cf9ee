"""After our rollback the real Prisma says and does what the ledger's truth table promises."""

import pytest

from tests.oracle.conftest import SCRIPTS, Project

INIT, MORE = (name for name, _ in SCRIPTS)


@pytest.fixture
def rolled_back(project: Project) -> Project:
    assert project.prisma("migrate", "deploy").exit_code == 0
    said = project.unmigrate("rollback", MORE, "--yes", "--accept-loss")
    assert said.exit_code == 0, said.text
    return project


def test_with_the_folder_it_is_pending_and_applies_again(rolled_back: Project) -> None:
    said = rolled_back.prisma("migrate", "status")
    assert said.exit_code == 1
    assert MORE in said.text
    assert rolled_back.prisma("migrate", "deploy").exit_code == 0
    assert rolled_back.prisma("migrate", "status").exit_code == 0


def test_without_the_folder_all_is_up_to_date(rolled_back: Project) -> None:
    rolled_back.drop_folder(MORE)
    assert rolled_back.prisma("migrate", "status").exit_code == 0
    assert rolled_back.prisma("migrate", "deploy").exit_code == 0


def test_back_and_forth(rolled_back: Project) -> None:
    for _ in range(2):
        assert rolled_back.prisma("migrate", "deploy").exit_code == 0
        said = rolled_back.unmigrate("rollback", "--last", "1", "--yes", "--accept-loss")
        assert said.exit_code == 0, said.text


def test_a_failed_migration_is_undone_and_deploys_again(project: Project) -> None:
    file = project.root / "prisma" / "migrations" / MORE / "migration.sql"
    good = file.read_text()
    file.write_text(
        'BEGIN;\nCREATE TABLE "Half" ("id" SERIAL PRIMARY KEY);\nCOMMIT;\nINSERT INTO "User" ("id", "email") VALUES (1, NULL);\n'
    )
    assert project.prisma("migrate", "deploy").exit_code == 1
    said = project.unmigrate("rollback", "--yes", "--accept-loss")
    assert said.exit_code == 0, said.text
    with project.connect() as connection:
        row = connection.execute("select to_regclass('\"Half\"') is null").fetchone()
    assert row == (True,)
    file.write_text(good)
    deployed = project.prisma("migrate", "deploy")
    assert deployed.exit_code == 0, deployed.text
    assert project.prisma("migrate", "status").exit_code == 0
