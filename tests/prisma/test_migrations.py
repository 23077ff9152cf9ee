"""Reading a migrations folder: what counts, what is said of what cannot be read."""

import hashlib
from pathlib import Path

import pytest

from unmigrate.errors import RefusedError, UsageError
from unmigrate.prisma.migrations import Migration, checksums, read_migrations

SQL = b"CREATE TABLE a (id int);\nSELECT 1;\n"


def put(folder: Path, name: str, content: bytes = SQL, file: str = "migration.sql") -> Path:
    path = folder / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def refused(folder: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        read_migrations(folder)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)
    return caught.value


def only(folder: Path) -> Migration:
    (found,) = read_migrations(folder)
    return found


def test_in_prismas_order(tmp_path: Path) -> None:
    for name in ("10_b", "1_a", "2_c", "0_init"):
        put(tmp_path, name)
    (tmp_path / "migration_lock.toml").write_text('provider = "postgresql"\n')
    assert [m.name for m in read_migrations(tmp_path)] == ["0_init", "1_a", "10_b", "2_c"]


def test_the_checksum_is_that_of_the_bytes(tmp_path: Path) -> None:
    put(tmp_path, "1_a")
    assert only(tmp_path).checksum == hashlib.sha256(SQL).hexdigest()


def test_a_byte_order_mark_counts_in_the_checksum_and_not_in_the_sql(tmp_path: Path) -> None:
    put(tmp_path, "1_a", b"\xef\xbb\xbf" + SQL)
    found = only(tmp_path)
    assert found.sql == SQL.decode()
    assert found.checksum == hashlib.sha256(b"\xef\xbb\xbf" + SQL).hexdigest()
    assert not found.matches(hashlib.sha256(SQL).hexdigest())


def test_line_ends_are_no_edit(tmp_path: Path) -> None:
    windows = SQL.replace(b"\n", b"\r\n")
    put(tmp_path, "1_a", windows)
    found = only(tmp_path)
    assert found.sql == windows.decode()
    assert found.matches(hashlib.sha256(SQL).hexdigest())
    assert found.matches(hashlib.sha256(windows).hexdigest())
    assert not found.matches(hashlib.sha256(SQL + b"\n").hexdigest())


def test_hex_without_leading_zeros_is_an_old_versions() -> None:
    raw = next(b"SELECT %d" % n for n in range(1000) if any(byte < 16 for byte in hashlib.sha256(b"SELECT %d" % n).digest()))
    exact, variants = checksums(raw)
    short = "".join(f"{byte:x}" for byte in hashlib.sha256(raw).digest())
    assert len(short) < 64 == len(exact)
    assert short in variants


@pytest.mark.parametrize("file", ["down.sql", "rollback.sql", "down/migration.sql"])
def test_a_hand_written_way_back(tmp_path: Path, file: str) -> None:
    put(tmp_path, "1_a")
    put(tmp_path, "1_a", b"DROP TABLE a;", file)
    assert only(tmp_path).down_sql == "DROP TABLE a;"


def test_without_one_there_is_none(tmp_path: Path) -> None:
    put(tmp_path, "1_a")
    assert only(tmp_path).down_sql is None


def test_an_empty_file_is_a_migration(tmp_path: Path) -> None:
    put(tmp_path, "1_a", b"")
    assert only(tmp_path).sql == ""


def test_other_folders_links_and_files_are_overlooked(tmp_path: Path) -> None:
    migrations = tmp_path / "migrations"
    put(migrations, "1_a")
    put(tmp_path, "2_elsewhere")
    (migrations / "2_link").symlink_to(tmp_path / "2_elsewhere")  # Prisma overlooks links too
    put(migrations, ".idea", b"", "workspace.xml")
    put(migrations, "archive", b"", "notes.md")
    (migrations / "README.md").write_text("about")
    assert [m.name for m in read_migrations(migrations)] == ["1_a"]


def test_no_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "migrations").code == "no-migrations"


def test_an_empty_folder(tmp_path: Path) -> None:
    assert refused(tmp_path).code == "no-migrations"


@pytest.mark.parametrize("content", ["caf\u00e9".encode("latin-1"), "SELECT 1".encode("utf-16"), b"SELECT 1\0"])
def test_not_utf8(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "1_a", content)
    error = refused(tmp_path)
    assert (error.code, error.exit_status) == ("not-utf8", 2)
    assert "1_a" in str(error)


def test_a_typescript_step(tmp_path: Path) -> None:
    put(tmp_path, "1_a")
    put(tmp_path, "2_code", b"export default 1", "migration.ts")
    error = refused(tmp_path)
    assert error.code == "code-migration"
    assert "2_code" in str(error)


def test_a_migration_without_its_script(tmp_path: Path) -> None:
    put(tmp_path, "1_a")
    (tmp_path / "2_lost").mkdir()
    assert refused(tmp_path).code == "no-sql"


def test_a_script_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "1_a" / "migration.sql").mkdir(parents=True)
    assert refused(tmp_path).code == "unreadable"


def test_a_script_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "1_a")

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)  # the tests may run as root, whom nothing is denied
    assert "Permission denied" in str(refused(tmp_path))


@pytest.mark.parametrize("sql", ["CREATE TABLE {{name}} (id int);", "{{up}}", "GRANT SELECT ON a TO ${ROLE};", "SELECT <%= id %>;"])
def test_a_template_that_was_not_filled_in(tmp_path: Path, sql: str) -> None:
    put(tmp_path, "1_a", sql.encode())
    assert refused(tmp_path).code == "placeholder"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE rule SET prompt = '{{' || label || '}}';",
        "-- Name the org 'personal-{{user.id}}'\nSELECT 1;",
        "/* ${x} */ SELECT 1;",
        "DO $$ BEGIN PERFORM '${x} {{y}}'; END $$;",
        "DO $body$ BEGIN RAISE '<%= x %>'; END $body$;",
        r"SELECT E'it\'s {{x}}', '{1,2}'::int[], '{{1},{2}}'::int[];",
        'CREATE TABLE "{{odd}}" (id int);',
        "SELECT 'a' <% 'b', 'b' %> 'a';",
    ],
)
def test_braces_that_are_sql(tmp_path: Path, sql: str) -> None:
    put(tmp_path, "1_a", sql.encode())
    assert only(tmp_path).sql == sql


def test_migrations_for_another_database(tmp_path: Path) -> None:
    put(tmp_path, "1_a")
    (tmp_path / "migration_lock.toml").write_text('# a comment\nprovider = "mysql"\n')
    with pytest.raises(RefusedError, match="mysql") as caught:
        read_migrations(tmp_path)
    assert (caught.value.code, caught.value.exit_status) == ("provider", 3)
