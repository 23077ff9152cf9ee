"""After `unmigrate deploy`, a rollback from the vault and a redo, the real Prisma agrees with the ledger."""

from tests.oracle.conftest import SCRIPTS, Project

INIT, MORE = (name for name, _ in SCRIPTS)
DROP = "20240301000000_drop"


def guarded(project: Project) -> Project:
    """Two migrations deployed by Prisma, rows, and one that destroys, deployed by us."""
    assert project.prisma("migrate", "deploy").exit_code == 0
    with project.connect() as connection:
        connection.execute("INSERT INTO \"User\" (email, name) SELECT 'u' || g, 'n' || g FROM generate_series(1, 5) g")
    folder = project.root / "prisma" / "migrations" / DROP
    folder.mkdir()
    (folder / "migration.sql").write_text('ALTER TABLE "User" DROP COLUMN "name";\nDROP TABLE "Post";\n')
    said = project.unmigrate("deploy", "--yes")
    assert said.exit_code == 0, said.text
    return project


def names(project: Project) -> list[str]:
    with project.connect() as connection:
        return [n for (n,) in connection.execute('SELECT name FROM "User" ORDER BY id')]


def test_prisma_agrees_all_the_way(project: Project) -> None:
    guarded(project)
    assert project.prisma("migrate", "status").exit_code == 0
    deployed = project.prisma("migrate", "deploy")
    assert deployed.exit_code == 0
    assert "No pending migrations" in deployed.text
    said = project.unmigrate("rollback", "--last", "1", "--yes")
    assert said.exit_code == 0, said.text
    assert names(project) == [f"n{g}" for g in range(1, 6)]
    status = project.prisma("migrate", "status")
    assert status.exit_code == 1
    assert DROP in status.text
    said = project.unmigrate("redo", "--yes")
    assert said.exit_code == 0, said.text
    assert project.prisma("migrate", "status").exit_code == 0
    assert project.unmigrate("status").exit_code == 0


def test_applied_again_by_prisma_the_way_in_the_vault_is_not_used(project: Project) -> None:
    """The column is really gone then: the plain way back is planned, and says what is lost."""
    guarded(project)
    assert project.unmigrate("rollback", "--last", "1", "--yes").exit_code == 0
    assert project.prisma("migrate", "deploy").exit_code == 0
    said = project.unmigrate("rollback", "--last", "1", "--yes")
    assert said.exit_code == 3
    assert "this loses" in said.text
    said = project.unmigrate("rollback", "--last", "1", "--yes", "--accept-loss")
    assert said.exit_code == 0, said.text
    assert names(project) == [None] * 5


def test_an_empty_database_is_deployed_whole(project: Project) -> None:
    said = project.unmigrate("deploy", "--yes")
    assert said.exit_code == 0, said.text
    assert project.prisma("migrate", "status").exit_code == 0
    said = project.unmigrate("rollback", "--to", INIT, "--yes")
    assert said.exit_code == 0, said.text
    assert MORE in project.prisma("migrate", "status").text
