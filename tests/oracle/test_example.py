"""The example project is one that Prisma would have: its migrations give exactly its schema.prisma, of either release."""

import shutil
from pathlib import Path

import pytest

from tests.oracle.conftest import Project

HUB = Path(__file__).parents[2] / "examples" / "hub"
PRISMA = HUB / "packages" / "db" / "prisma"
EPIC = "20250601120000_pm05_project_health"


@pytest.fixture
def hub(project: Project) -> Project:
    if project.version != "6":
        pytest.skip("the example is a Prisma 6 project")
    shutil.rmtree(project.root / "prisma")
    shutil.copytree(PRISMA, project.root / "prisma")
    return project


@pytest.mark.parametrize("release", ["epic", "previous"])
def test_migrations_give_the_schema(hub: Project, release: str) -> None:
    if release == "previous":
        hub.drop_folder(EPIC)
        shutil.copy(HUB / "previous-release" / "schema.prisma", hub.root / "prisma" / "schema.prisma")
    said = hub.prisma("migrate", "deploy")
    assert said.exit_code == 0, said.text
    said = hub.prisma("db", "push", "--skip-generate")
    assert said.exit_code == 0, said.text
    assert "already in sync" in said.text
