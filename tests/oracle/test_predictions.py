"""Every state the ledger can be in: Prisma's own status, deploy and resolve against our predictions of them, for both versions.

The CLI is what takes time, so many migrations, each in its own state, are judged by one run of it.
"""

import re
import shutil
from collections.abc import Iterator, Sequence

import psycopg
import pytest

from tests.oracle.conftest import CONFIG, ROOT, Project, Said
from tests.support import prisma_url
from unmigrate.prisma.ledger import MigrationState, predict_deploy, predict_resolve, predict_status, read_ledger, states
from unmigrate.prisma.migrations import read_migrations
from unmigrate.scratch.pool import Pool

MINOR = {"6": (6, 19), "7": (7, 10)}
SCRIPT = "SELECT 1;\n"  # harmless when deploy runs it again

# Rows of one name, oldest first. undone: an applied row that somebody marked as rolled back by hand.
SOUND = [
    (), ("applied",), ("rolled-back",), ("undone",), ("rolled-back", "applied"), ("undone", "applied"), ("applied", "applied"),
    ("rolled-back", "rolled-back"),
]  # fmt: skip
FAILED = [("failed",), ("applied", "failed"), ("failed", "applied"), ("rolled-back", "failed")]
FINISHED, BACK = {"applied", "undone"}, {"rolled-back", "undone"}


@pytest.fixture(scope="module", params=["6", "7"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, pool: Pool) -> Iterator[Project]:
    version: str = request.param
    if shutil.which("node") is None or not (ROOT / version / "node_modules" / ".bin" / "prisma").exists():
        pytest.skip(f"the Prisma CLI {version} is not installed (tests/oracle/install.sh)")
    root = tmp_path_factory.mktemp(f"prisma{version}")
    database = pool.create()
    line = '  url = env("DATABASE_URL")\n' if version == "6" else ""
    (root / "prisma").mkdir()
    (root / "prisma" / "schema.prisma").write_text(f'datasource db {{\n  provider = "postgresql"\n{line}}}\n')
    (root / "package.json").write_text("{}")
    (root / "node_modules").symlink_to(ROOT / version / "node_modules")
    if version == "7":
        (root / "prisma.config.ts").write_text(CONFIG)
    project = Project(root, version, prisma_url(pool.conninfo(database)), pool, database)
    put(project, {"00_first": ()})
    said = project.prisma("migrate", "deploy")  # makes the ledger
    assert said.exit_code == 0, said.text
    yield project
    pool.drop(database)


def put(project: Project, rows: dict[str, Sequence[str]], without_folder: Sequence[str] = ()) -> None:
    """Folders and ledger as wanted: {name: its rows}."""
    folder = project.root / "prisma" / "migrations"
    shutil.rmtree(folder, ignore_errors=True)
    for name in rows:
        if name not in without_folder:
            (folder / name).mkdir(parents=True)
            (folder / name / "migration.sql").write_text(SCRIPT)
    (folder / "migration_lock.toml").write_text('provider = "postgresql"\n')
    with project.connect() as connection:
        if read_ledger(connection, "public") is None:
            return
        connection.execute("DELETE FROM _prisma_migrations")
        for name, kinds in rows.items():
            for at, kind in enumerate(kinds):
                connection.execute(
                    "INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, rolled_back_at, applied_steps_count)"
                    " VALUES (gen_random_uuid(), 'x', %s, now() + %s * interval '1 s', CASE WHEN %s THEN now() END, CASE WHEN %s THEN now() END, 1)",
                    [name, at, kind in FINISHED, kind in BACK],
                )


def numbered(found: Sequence[Sequence[str]], prefix: str = "") -> dict[str, Sequence[str]]:
    return {f"{at:02}_{prefix}{'_'.join(kinds) or 'none'}": kinds for at, kinds in enumerate(found, start=1)}


def ours(project: Project) -> tuple[MigrationState, ...]:
    with project.connect() as connection:
        rows = read_ledger(connection, "public")
    return states(read_migrations(project.root / "prisma" / "migrations"), rows or ())


def named(said: Said, known: Sequence[str]) -> list[str]:
    """Names of migrations that stand alone in a line, in order."""
    words = (re.sub(r"^[\s└─]+|/$", "", line) for line in said.text.splitlines())
    return [word for word in words if word in known]


def ledger(project: Project) -> list[tuple[object, ...]]:
    with project.connect() as connection:
        return connection.execute("SELECT * FROM _prisma_migrations ORDER BY id").fetchall()


def agree(said: Said, exit_code: int, code: str = "") -> None:
    assert said.exit_code == exit_code, said.text
    assert code in said.text


def test_status_without_failed_ones(real: Project) -> None:
    rows = numbered(SOUND)
    gone = {name.replace("_", "_gone_", 1): kinds for name, kinds in rows.items() if kinds}
    put(real, {**rows, **gone}, list(gone))
    found = predict_status(ours(real), minor=MINOR[real.version])
    said = real.prisma("migrate", "status")
    agree(said, found.exit_code)
    assert named(said, list(rows)) == list(found.names)
    assert len(found.names) == (1 if real.version == "6" else 4)


def test_status_when_nothing_is_pending(real: Project) -> None:
    rows = numbered([kinds for kinds in SOUND if "applied" in kinds])
    gone = numbered([kinds for kinds in SOUND if kinds], "gone_")
    put(real, {**rows, **gone}, list(gone))
    found = predict_status(ours(real), minor=MINOR[real.version])
    said = real.prisma("migrate", "status")
    agree(said, found.exit_code)
    assert "up to date" in said.text
    assert found.exit_code == 0


def test_status_with_failed_ones(real: Project) -> None:
    rows = numbered([("applied",), *FAILED])
    gone = {"09_gone": ("failed",)}
    put(real, {**rows, **gone}, list(gone))
    found = predict_status(ours(real), minor=MINOR[real.version])
    said = real.prisma("migrate", "status")
    agree(said, found.exit_code)
    assert set(named(said, [*rows, *gone])) == set(found.names) == {*rows, *gone} - {"01_applied"}


def test_deploy_without_failed_ones(real: Project) -> None:
    rows = numbered(SOUND)
    gone = {name.replace("_", "_gone_", 1): kinds for name, kinds in rows.items() if kinds}
    put(real, {**rows, **gone}, list(gone))
    found = predict_deploy(ours(real))
    said = real.prisma("migrate", "deploy")
    agree(said, found.exit_code)
    assert named(said, list(rows)) == list(found.names)
    assert {s.state for s in ours(real) if not s.missing_folder} == {"applied"}
    again = real.prisma("migrate", "deploy")
    agree(again, predict_deploy(ours(real)).exit_code)
    assert "No pending migrations" in again.text


@pytest.mark.parametrize("kinds", [*FAILED, "gone"])
def test_deploy_with_a_failed_one(real: Project, kinds: Sequence[str] | str) -> None:
    gone = kinds == "gone"
    put(real, {"1_a": ("applied",), "2_b": ("failed",) if gone else kinds, "3_c": ()}, ["2_b"] if gone else [])
    found = predict_deploy(ours(real))
    said = real.prisma("migrate", "deploy")
    agree(said, found.exit_code, "P3009")
    assert found.names == ("2_b",)
    assert "2_b" in said.text


@pytest.mark.parametrize(
    "kinds", [(), ("applied",), ("rolled-back",), ("undone",), ("rolled-back", "applied"), ("failed",), ("applied", "failed")]
)
def test_the_runbooks_step(real: Project, kinds: Sequence[str]) -> None:
    """`migrate resolve --rolled-back` after a restore, after reverse SQL, and where it is right."""
    put(real, {"1_a": ("applied",), "2_b": kinds})
    before = ledger(real)
    found = predict_resolve(ours(real), "2_b")
    agree(real.prisma("migrate", "resolve", "--rolled-back", "2_b"), found.exit_code, found.code)
    assert (ledger(real) != before) == ("failed" in kinds)


def test_a_failed_one_that_was_resolved_deploys_again(real: Project) -> None:
    put(real, {"1_a": ("applied",), "2_b": ("failed",)})
    agree(real.prisma("migrate", "resolve", "--rolled-back", "2_b"), 0)
    agree(real.prisma("migrate", "deploy"), 0)
    (_, state) = ours(real)
    assert (state.state, len(state.rows)) == ("applied", 2)


def test_a_failed_one_hides_behind_a_pending_one(real: Project) -> None:
    put(real, {"1_a": ("failed",), "2_b": ()})
    found = predict_status(ours(real), minor=MINOR[real.version])
    said = real.prisma("migrate", "status")
    agree(said, found.exit_code)
    assert named(said, ["1_a", "2_b"]) == list(found.names) == ["2_b"]
    assert "have failed" not in said.text


def test_without_a_ledger(real: Project) -> None:
    put(real, {"1_a": ("applied",)})
    with real.connect() as connection:
        connection.execute("ALTER TABLE _prisma_migrations RENAME TO kept")
        try:
            assert read_ledger(connection, "public") is None
            found = predict_status(ours(real), minor=MINOR[real.version], ledger=False)
            said = real.prisma("migrate", "status")
            agree(said, found.exit_code)
            assert named(said, ["1_a"]) == list(found.names)
        finally:
            connection.execute("ALTER TABLE kept RENAME TO _prisma_migrations")


def test_a_url_with_another_schema_sees_everything_pending(real: Project) -> None:
    put(real, {"1_a": ("applied",)})
    elsewhere = Project(real.root, real.version, f"{real.url}&schema=other", real.pool, real.database)
    said = elsewhere.prisma("migrate", "status")
    agree(said, 1)
    assert named(said, ["1_a"]) == ["1_a"]
    with real.connect() as connection:
        assert read_ledger(connection, "other") is None
        connection.execute("DROP SCHEMA IF EXISTS other")


def test_the_order_is_prismas(real: Project) -> None:
    """What Prisma lists as pending, in its order, is what we read, in ours."""
    names = ["10_z", "2_b-a", "2_B", "2_b_a", "2_bb", "20_x", "3_É", "3_e", "3_f", "a_1", "A_2", "0"]
    put(real, dict.fromkeys(names, ()))
    listed = named(real.prisma("migrate", "status"), names)
    assert listed == [m.name for m in read_migrations(real.root / "prisma" / "migrations")]
    assert len(listed) == len(names)


@pytest.fixture(autouse=True)
def _no_stray_session(real: Project) -> Iterator[None]:
    """A session of the CLI that outlived its command would hold the deploy lock against the next test."""
    yield
    with psycopg.connect(real.pool.conninfo(real.database), autocommit=True) as connection:
        found = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 72707369").fetchone()
    assert found == (0,)
