"""What the real Prisma shows of parked columns and tables, as docs/deploy.md says."""

from tests.oracle.conftest import Project
from tests.oracle.test_deploy import guarded

USER = "\nmodel User {\n  id    Int    @id @default(autoincrement())\n  email String\n}\n"


def differs(project: Project) -> bool:
    """Whether `migrate diff` from the live database to the schema finds anything."""
    said = project.prisma("migrate", "diff", "--from-config-datasource", "--to-schema", "prisma/schema.prisma", "--exit-code")
    assert said.exit_code in (0, 2), said.text
    return said.exit_code == 2


def test_what_prisma_shows_of_parked_things(project: Project) -> None:
    guarded(project)
    schema = project.root / "prisma" / "schema.prisma"
    bare = schema.read_text()
    schema.write_text(bare + USER)
    assert project.prisma("migrate", "status").exit_code == 0
    if project.version == "7":
        assert differs(project)
    pulled = project.prisma("db", "pull", "--force")
    assert pulled.exit_code == 0, pulled.text
    text = schema.read_text()
    assert "_old_name" in text and '@map("_unmigrate_' in text
    assert "model Post" not in text  # tables of the vault stay invisible
    schema.write_text(bare + USER)
    said = project.unmigrate("purge", "--now", "--yes")
    assert said.exit_code == 0, said.text
    if project.version == "7":
        assert not differs(project)
    assert project.prisma("db", "pull", "--force").exit_code == 0
    assert "_unmigrate_" not in schema.read_text()
