"""prisma.config files: the plain ones are read, the others are said to be unreadable. Nothing is run."""

from pathlib import Path

import pytest

from unmigrate.prisma import dotenv
from unmigrate.prisma.config import Config, find_config, read_config

ENVIRON = {"DATABASE_URL": "postgresql://h/db", "DIRECT_URL": "postgresql://direct/db"}


def read(root: Path, text: str, name: str = "prisma.config.ts", environ: dict[str, str] = ENVIRON) -> Config:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return read_config(file, root, environ)


def test_the_usual_one(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        import "dotenv/config";
        import { defineConfig, env } from "prisma/config"; // the usual import
        export default defineConfig({
          schema: "prisma/schema.prisma",
          migrations: { path: 'db/migrations', seed: `tsx prisma/seed.ts` },
          datasource: { url: env("DATABASE_URL") },
        });
        """,
    )
    assert (found.schema, found.migrations) == (tmp_path / "prisma/schema.prisma", tmp_path / "db/migrations")
    assert (found.url, found.url_source, found.unreadable) == ("postgresql://h/db", "DATABASE_URL", frozenset())


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ('path.join("a", "b.prisma")', "a/b.prisma"),
        ('join(__dirname, "..", "up.prisma")', "../up.prisma"),
        ('path.resolve(__dirname, "a.prisma")', "a.prisma"),
        ('path.join(import.meta.dirname, "a.prisma")', "a.prisma"),
        ('path.join(path.dirname(fileURLToPath(import.meta.url)), "a.prisma")', "a.prisma"),
        ("`${folder}/a.prisma`", "libs/a.prisma"),
        ("folder + '/a.prisma'", "libs/a.prisma"),
        ('("a.prisma" as string)', "a.prisma"),
        ("existsSync('none') ? 'b.prisma' : 'c.prisma'", "c.prisma"),
    ],
)
def test_paths(tmp_path: Path, expression: str, path: str) -> None:
    text = f'const folder: string = "libs"\nexport default {{ schema: {expression}, migrations: {{ path: "m" }} }}'
    found = read(tmp_path / "app", text)
    assert found.schema is not None
    assert found.schema.resolve() == (tmp_path / "app" / path).resolve()
    assert found.migrations == tmp_path / "app" / "m"


@pytest.mark.parametrize(
    ("expression", "url", "source"),
    [
        ("process.env.DATABASE_URL!", "postgresql://h/db", "DATABASE_URL"),
        ("process.env['DATABASE_URL']", "postgresql://h/db", "DATABASE_URL"),
        ("process.env.DATABASE_URL as string", "postgresql://h/db", "DATABASE_URL"),
        ("process.env.NONE ?? process.env.DIRECT_URL", "postgresql://direct/db", "DIRECT_URL"),
        ("process.env.EMPTY || process.env.DATABASE_URL", "postgresql://h/db", "DATABASE_URL"),
        ('process.env.NONE ?? ""', None, "prisma.config.ts"),
        ("env<Env>('DATABASE_URL')", "postgresql://h/db", "DATABASE_URL"),
        ("'postgresql://written/db'", "postgresql://written/db", "prisma.config.ts"),
        ("chosen", "postgresql://direct/db", "DIRECT_URL"),
        ("process.env.DATABASE_URL ?? compute({ a: 1 })", "postgresql://h/db", "DATABASE_URL"),
    ],
)
def test_urls(tmp_path: Path, expression: str, url: str | None, source: str) -> None:
    text = f"const chosen =\n  process.env.PREVIEW ||\n  process.env.DIRECT_URL;\nexport default defineConfig({{ datasource: {{ url: {expression} }} }})"
    found = read(tmp_path, text, environ={**ENVIRON, "EMPTY": ""})
    assert (found.url, found.url_source, found.unreadable) == (url, source, frozenset())


@pytest.mark.parametrize(
    "expression",
    ["await secret()", "process.env.NONE ?? compute()", "make`x`", "new URL(x).href", "a === b ? 'x' : 'y'", "`${who()}`", "x.y.z"],
)
def test_what_is_computed_is_unreadable(tmp_path: Path, expression: str) -> None:
    found = read(tmp_path, f"export default defineConfig({{ datasource: {{ url: {expression} }}, schema: 'a.prisma' }})")
    assert (found.url, found.unreadable) == (None, frozenset({"url"}))
    assert found.schema == tmp_path / "a.prisma"


def test_what_is_spread_in_may_hold_anything(tmp_path: Path) -> None:
    found = read(tmp_path, "import base from './base'\nexport default { ...base, migrations: { path: 'm' } }")
    assert found.unreadable == {"schema", "url"}
    assert found.migrations == tmp_path / "m"


def test_what_is_spread_in_and_known_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, "const base = { schema: 's' }\nmodule.exports = { ...base }")
    assert (found.schema, found.unreadable) == (tmp_path / "s", frozenset())


@pytest.mark.parametrize(
    "text", ["export default make()", "", "export default async () => ({ schema: 'x' })", "}}}", f"export default {'([' * 3000}"]
)
def test_a_program_that_is_not_plain(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).unreadable == {"schema", "migrations", "url"}


def test_a_constant_that_refers_to_itself(tmp_path: Path) -> None:
    assert "schema" in read(tmp_path, "const a = a + b; const b = a;\nexport default { schema: a }").unreadable


def test_members_assigned_later(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        const config: PrismaConfig = { schema: './s.prisma' }
        if (process.env.DATABASE_URL) { config.datasource = { url: env('DATABASE_URL') } }
        export default defineConfig(config)
        """,
    )
    assert (found.schema, found.url) == (tmp_path / "s.prisma", "postgresql://h/db")


def test_strings_are_not_code(tmp_path: Path) -> None:
    text = "// schema: 'wrong'\n/* export default { schema: 'wrong' } */\nconst s = \"export default { schema: 'no' }\"\nexport default { schema: 'right' }"
    assert read(tmp_path, text).schema == tmp_path / "right"


def test_the_classic_engine(tmp_path: Path) -> None:
    found = read(tmp_path, "export default { engine: 'classic', datasource: { url: env('DATABASE_URL'), directUrl: env('DIRECT_URL') } }")
    assert (found.classic, found.url) == (True, "postgresql://direct/db")


def test_paths_count_from_the_files_own_folder(tmp_path: Path) -> None:
    found = read(tmp_path, "export default { schema: '../prisma/schema.prisma' }", ".config/prisma.ts")
    assert found.schema is not None
    assert found.schema.resolve() == tmp_path / "prisma" / "schema.prisma"


@pytest.mark.parametrize(
    "loading",
    [
        'import "dotenv/config"',
        "require('dotenv/config')",
        "import dotenv from 'dotenv'\ndotenv.config()",
        "import dotenv from 'dotenv'\ndotenv.config({ path: path.resolve(__dirname, './.env') })",
        "import { config } from 'dotenv'\nconfig({ path: ['.env'], quiet: true })",
        "import { config as load } from 'dotenv'\nload({ path: '.env' })",
        "process.loadEnvFile()",
        "import { loadEnvFile } from 'node:process'\nif (!process.env.STAGE) { loadEnvFile(path.resolve('.env')) }",
    ],
)
def test_env_files_that_it_loads(tmp_path: Path, loading: str) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://file/db\n")
    found = read(tmp_path, f"{loading}\nexport default {{ datasource: {{ url: process.env.DATABASE_URL }} }}", environ={})
    assert found.url == "postgresql://file/db"


def test_env_files_that_it_does_not_load(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://file/db\n")
    assert read(tmp_path, "export default { datasource: { url: process.env.DATABASE_URL } }", environ={}).url is None


def test_the_environment_before_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://file/db\n")
    found = read(tmp_path, "import 'dotenv/config'\nexport default { datasource: { url: env('DATABASE_URL') } }")
    assert found.url == "postgresql://h/db"


@pytest.mark.parametrize(
    "names",
    [
        ["prisma7.config.ts", "prisma.config.ts"],
        ["prisma.config.js", "prisma.config.ts"],
        [".config/prisma7.mts", "prisma.config.cjs"],
        ["prisma.config.cts", ".config/prisma.ts", ".config/prisma.config.ts"],
    ],
)
def test_which_file_counts(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert find_config(tmp_path) == tmp_path / names[0]


def test_dotenv_files() -> None:
    text = """
    # a comment
    PLAIN=value # and a comment
    export EXPORTED = spaced
    SINGLE='with # and \\n'
    DOUBLE="line\\nline"
    EMPTY=
    COLON: yes
    BACK=`tick`
    URL="postgresql://h/db?a=b#c"
    PLAIN=last
    """
    assert dotenv.parse(text) == {
        "PLAIN": "last", "EXPORTED": "spaced", "SINGLE": "with # and \\n", "DOUBLE": "line\nline", "EMPTY": "", "COLON": "yes", "BACK": "tick",
        "URL": "postgresql://h/db?a=b#c",
    }  # fmt: skip


def test_expansion() -> None:
    values = {
        "USER": "file",
        "URL": "postgresql://${USER}:${PASSWORD}@${HOST}/db",
        "KEPT": "\\${USER}",
        "LOOP": "${LOOP}x",
        "A": "${B}",
        "B": "${USER}",
    }
    found = dotenv.expand(values, {"PASSWORD": "p", "USER": "environment"})
    assert found["URL"] == "postgresql://environment:p@/db"
    assert (found["KEPT"], found["A"]) == ("${USER}", "environment")
    assert set(found["LOOP"]) == {"x"}  # it ends
