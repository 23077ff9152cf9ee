"""Finding a project: layouts of Prisma 6 and 7, monorepos, flags, variables."""

import json
from pathlib import Path
from typing import Any

import pytest

from unmigrate.errors import RefusedError, UsageError
from unmigrate.prisma.project import Project, find_project, prisma_version

SIX = 'datasource db {\n  provider = "postgresql"\n  url = env("DATABASE_URL")\n}\n'
SEVEN = 'datasource db {\n  provider = "postgresql"\n}\n'
MODEL = "model User {\n  id Int @id\n}\n"


def write(root: Path, **files: str) -> Path:
    """Files by path; a trailing slash makes a folder."""
    for name, text in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def find(root: Path, environ: dict[str, str] | None = None, **flags: Any) -> Project:
    given = {"package": None, "schema": None, "migrations": None, "url": None, **flags}
    return find_project(root, environ={"DATABASE_URL": "postgresql://h/db"} if environ is None else environ, **given)


def package(**content: object) -> str:
    return json.dumps(content)


def test_six(tmp_path: Path) -> None:
    found = find(
        write(
            tmp_path,
            **{"prisma/schema.prisma": SIX, "prisma/migrations/": "", "package.json": package(devDependencies={"prisma": "^6.19.3"})},
        )
    )
    assert found.schema_files == (tmp_path / "prisma/schema.prisma",)
    assert found.migrations_dir == tmp_path / "prisma/migrations"
    assert (found.url, found.url_source, found.version) == ("postgresql://h/db", "DATABASE_URL", (6, 19))


def test_the_schema_in_the_root_comes_first(tmp_path: Path) -> None:
    found = find(write(tmp_path, **{"prisma/schema.prisma": SIX, "schema.prisma": SIX}))
    assert found.schema_files == (tmp_path / "schema.prisma",)
    assert found.migrations_dir == tmp_path / "migrations"


def test_seven(tmp_path: Path) -> None:
    config = "export default { schema: 'db', datasource: { url: env('DIRECT') } }"
    write(tmp_path, **{"prisma.config.ts": config, "db/models/user.prisma": MODEL, "db/base/source.prisma": SEVEN, "db/migrations/": ""})
    found = find(tmp_path, {"DIRECT": "postgresql://d/db?schema=app"})
    assert len(found.schema_files) == 2
    assert found.migrations_dir == tmp_path / "db/migrations"
    assert (found.url, found.url_source, found.schema_name) == ("postgresql://d/db?schema=app", "DIRECT", "app")


def test_a_folder_of_six_has_its_migrations_beside_the_datasource(tmp_path: Path) -> None:
    setting = package(prisma={"schema": "./db"}, devDependencies={"prisma": "6.7.0"})
    write(
        tmp_path,
        **{"package.json": setting, "db/a.prisma": MODEL, "db/base/source.prisma": SIX, "db/base/migrations/": "", "db/migrations/": ""},
    )
    assert find(tmp_path).migrations_dir == tmp_path / "db/base/migrations"


def test_the_version_decides_where_both_places_are_there(tmp_path: Path) -> None:
    setting = package(prisma={"schema": "./db"}, devDependencies={"prisma": "7.1.0"})
    write(
        tmp_path,
        **{"package.json": setting, "db/a.prisma": MODEL, "db/base/source.prisma": SIX, "db/base/migrations/": "", "db/migrations/": ""},
    )
    assert find(tmp_path).migrations_dir == tmp_path / "db/migrations"


def test_the_preview_of_schema_folders(tmp_path: Path) -> None:
    write(tmp_path, **{"prisma/schema/user.prisma": MODEL, "prisma/schema/schema.prisma": SIX, "prisma/migrations/": ""})
    found = find(tmp_path)
    assert len(found.schema_files) == 2
    assert found.migrations_dir == tmp_path / "prisma/migrations"


def test_package_json_names_the_schema(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{"package.json": package(prisma={"schema": "src/db/schema.prisma"}), "src/db/schema.prisma": SIX, "prisma/schema.prisma": SIX},
    )
    assert find(tmp_path).schema_files == (tmp_path / "src/db/schema.prisma",)


def test_a_config_comes_before_package_json(tmp_path: Path) -> None:
    write(tmp_path, **{"package.json": package(prisma={"schema": "a.prisma"}), "a.prisma": SIX, "b.prisma": SIX})
    write(tmp_path, **{"prisma.config.js": "module.exports = { schema: 'b.prisma', migrations: { path: 'steps' } }"})
    found = find(tmp_path)
    assert found.schema_files == (tmp_path / "b.prisma",)
    assert found.migrations_dir == tmp_path / "steps"


def test_flags_win_over_everything(tmp_path: Path) -> None:
    write(tmp_path, **{"prisma.config.ts": "export default make()", "other/x.prisma": SIX})
    found = find(tmp_path, schema=Path("other/x.prisma"), migrations=Path("other/steps"), url="postgresql://flag/db")
    assert found.schema_files == (tmp_path / "other/x.prisma",)
    assert found.migrations_dir == tmp_path / "other/steps"
    assert (found.url, found.url_source) == ("postgresql://flag/db", "--url")


def test_migrations_alone_are_enough(tmp_path: Path) -> None:
    assert find(tmp_path, migrations=tmp_path / "steps").migrations_dir == tmp_path / "steps"


def test_a_computed_config_asks_for_flags(tmp_path: Path) -> None:
    write(tmp_path, **{"prisma.config.ts": "export default make()", "prisma/schema.prisma": SEVEN})
    with pytest.raises(UsageError) as caught:
        find(tmp_path)
    assert caught.value.code == "config"
    assert "--schema-file" in caught.value.remedy


def test_a_computed_url_is_not_guessed(tmp_path: Path) -> None:
    config = "export default { schema: 'prisma/schema.prisma', datasource: { url: secret() } }"
    found = find(write(tmp_path, **{"prisma.config.ts": config, "prisma/schema.prisma": SEVEN}))
    assert (found.url, found.url_source) == (None, "prisma.config.ts")


def test_direct_url_before_url(tmp_path: Path) -> None:
    schema = SIX.replace("}", '  directUrl = env("DIRECT_URL") // past the pooler\n}')
    write(tmp_path, **{"prisma/schema.prisma": schema})
    assert find(tmp_path, {"DATABASE_URL": "postgresql://pool/db", "DIRECT_URL": "postgresql://direct/db"}).url == "postgresql://direct/db"
    missing = find(tmp_path, {"DATABASE_URL": "postgresql://pool/db"})  # Prisma stops here, too
    assert (missing.url, missing.url_source) == (None, "DIRECT_URL")


def test_a_url_with_slashes_is_no_comment(tmp_path: Path) -> None:
    schema = SIX.replace('env("DATABASE_URL")', '"postgresql://me:x@h/db" // a comment')
    found = find(write(tmp_path, **{"prisma/schema.prisma": schema}))
    assert (found.url, found.url_source) == ("postgresql://me:x@h/db", "schema.prisma")


def test_a_datasource_in_a_comment_is_none(tmp_path: Path) -> None:
    old = 'datasource old {\n  provider = "mysql"\n}\n'
    write(tmp_path, **{"prisma/schema.prisma": "".join(f"// {line}\n" for line in old.splitlines()) + SIX})
    assert find(tmp_path).url == "postgresql://h/db"


def test_env_files_of_six(tmp_path: Path) -> None:
    write(tmp_path, **{"package.json": "{}", "prisma/schema.prisma": SIX, "prisma/.env": "DATABASE_URL=postgresql://inner/db\n"})
    assert find(tmp_path, {}).url == "postgresql://inner/db"
    write(tmp_path, **{".env": 'NAME=app\nDATABASE_URL="postgresql://${USER_}@outer/${NAME}"\n'})
    assert find(tmp_path, {"USER_": "me"}).url == "postgresql://me@outer/app"
    assert find(tmp_path, {"DATABASE_URL": "postgresql://set/db"}).url == "postgresql://set/db"


def test_env_files_are_not_read_where_there_is_a_config(tmp_path: Path) -> None:
    write(tmp_path, **{"prisma.config.ts": "export default {}", "prisma/schema.prisma": SIX, ".env": "DATABASE_URL=postgresql://file/db"})
    assert find(tmp_path, {}).url is None


def test_six_with_a_config_takes_the_schemas_url_unless_classic(tmp_path: Path) -> None:
    config = "export default { datasource: { url: env('OTHER') } }"
    write(tmp_path, **{"prisma.config.ts": config, "prisma/schema.prisma": SIX, "package.json": package(dependencies={"prisma": "6.19.0"})})
    environ = {"DATABASE_URL": "postgresql://schema/db", "OTHER": "postgresql://config/db"}
    assert find(tmp_path, environ).url == "postgresql://schema/db"
    write(tmp_path, **{"prisma.config.ts": config.replace("{ datasource", "{ engine: 'classic', datasource")})
    assert find(tmp_path, environ).url == "postgresql://config/db"


def monorepo(root: Path) -> Path:
    write(
        root,
        **{
            "package.json": package(name="root"),
            "packages/db/package.json": package(name="@app/db"),
            "packages/db/prisma/schema.prisma": SIX,
        },
    )
    write(root, **{"packages/api/package.json": package(name="@app/api"), "node_modules/x/package.json": package(name="hidden")})
    return write(root, **{"node_modules/x/prisma/schema.prisma": SIX, "broken/package.json": "{"})


def test_a_package_by_name(tmp_path: Path) -> None:
    assert find(monorepo(tmp_path), package="@app/db").root == tmp_path / "packages/db"


@pytest.mark.parametrize("name", ["db", "hidden", "none"])
def test_no_such_package(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        find(monorepo(tmp_path), package=name)
    assert caught.value.code == "no-package"
    assert "@app/db" in caught.value.remedy


def test_the_root_of_a_monorepo_says_where_the_project_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(monorepo(tmp_path))
    assert caught.value.code == "not-a-project"
    assert caught.value.remedy == f"give --project {tmp_path / 'packages/db'}"


def test_a_path_with_a_space_can_be_pasted(tmp_path: Path) -> None:
    monorepo(tmp_path / "my shop")
    with pytest.raises(UsageError) as caught:
        find(tmp_path)
    assert caught.value.remedy == f"give --project '{tmp_path / 'my shop/packages/db'}'"


def test_not_a_project(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError) as caught:
            find(root)
        assert (caught.value.code, caught.value.exit_status) == ("not-a-project", 2)
        assert "--project" in caught.value.remedy


def test_a_schema_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        find(tmp_path, schema=Path("none.prisma"))
    assert caught.value.code == "no-schema"


@pytest.mark.parametrize("provider", ['"mysql"', '"sqlite"', '"cockroachdb"', '"mongodb"'])
def test_another_provider(tmp_path: Path, provider: str) -> None:
    with pytest.raises(RefusedError) as caught:
        find(write(tmp_path, **{"prisma/schema.prisma": SIX.replace('"postgresql"', provider)}))
    assert (caught.value.code, caught.value.exit_status) == ("provider", 3)
    assert provider.strip('"') in str(caught.value)


@pytest.mark.parametrize("provider", ['"postgres"', '["postgresql", "sqlite"]', 'env("PROVIDER")'])
def test_ways_to_say_postgresql(tmp_path: Path, provider: str) -> None:
    schema = SIX.replace('"postgresql"', provider)
    write(tmp_path, **{"prisma/schema.prisma": schema, "prisma/migrations/migration_lock.toml": 'provider = "postgresql"\n'})
    assert find(tmp_path).provider == "postgresql"


def test_the_lock_file_speaks_where_no_schema_does(tmp_path: Path) -> None:
    write(tmp_path, **{"steps/migration_lock.toml": 'provider = "mysql"\n'})
    with pytest.raises(RefusedError, match="mysql"):
        find(tmp_path, migrations=tmp_path / "steps")


def test_the_installed_version_before_the_one_asked_for(tmp_path: Path) -> None:
    write(
        tmp_path,
        **{"package.json": package(devDependencies={"prisma": "^6.0.0"}), "node_modules/prisma/package.json": package(version="6.19.3")},
    )
    assert prisma_version(tmp_path) == (6, 19)
    write(tmp_path, **{"app/package.json": package(dependencies={"prisma": "catalog:"})})
    assert prisma_version(tmp_path / "app") == (6, 19)
