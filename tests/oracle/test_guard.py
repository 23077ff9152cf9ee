"""`unmigrate guard`, the real `prisma migrate deploy`, `guard finish`, and a rollback, with an application that never stops writing."""

import threading

import psycopg

from tests.oracle.conftest import Project

NEXT = "20240301000000_destroy"
SQL = """ALTER TABLE "User" DROP COLUMN "name";
DROP TABLE "Post";
UPDATE "User" SET "email" = upper("email") WHERE "id" <= 3;
"""


def test_around_the_real_deploy(project: Project) -> None:
    assert project.prisma("migrate", "deploy").exit_code == 0
    with project.connect() as connection:
        connection.execute("INSERT INTO \"User\" (email, name) SELECT 'u' || g, 'n' || g FROM generate_series(1, 9) g")
        connection.execute('INSERT INTO "Post" SELECT FROM generate_series(1, 4)')
    folder = project.root / "prisma" / "migrations" / NEXT
    folder.mkdir()
    (folder / "migration.sql").write_text(SQL)
    stop, failed, written = threading.Event(), [], []

    def write() -> None:
        with project.connect() as connection:
            while not stop.is_set():
                try:
                    row = connection.execute("INSERT INTO \"User\" (email) VALUES ('w') RETURNING id").fetchone()
                    written.append(row[0] if row else None)
                    connection.execute("UPDATE \"User\" SET email = email || '.' WHERE id = 9")
                except psycopg.Error as error:
                    failed.append(error)
                    return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        said = project.unmigrate("guard")
        assert said.exit_code == 0, said.text
        deployed = project.prisma("migrate", "deploy")
        assert deployed.exit_code == 0, deployed.text
        assert project.prisma("migrate", "status").exit_code == 0
        said = project.unmigrate("rollback", "--last", "1", "--yes")
        assert said.exit_code == 3
        assert "unmigrate guard finish" in said.text
        said = project.unmigrate("guard", "finish")
        assert said.exit_code == 0, said.text
        said = project.unmigrate("rollback", "--last", "1", "--yes")
        assert said.exit_code == 0, said.text
    finally:
        stop.set()
        writer.join()
    assert not failed
    with project.connect() as connection:
        rows = connection.execute('SELECT id, email, name FROM "User" WHERE id <= 8 ORDER BY id').fetchall()
        kept = {i for (i,) in connection.execute('SELECT id FROM "User" WHERE id > 9')}
        posts = connection.execute('SELECT count(*) FROM "Post"').fetchone()
    assert rows == [(g, f"u{g}", f"n{g}") for g in range(1, 9)]
    assert kept == set(written)
    assert posts == (4,)
    status = project.prisma("migrate", "status")
    assert status.exit_code == 1
    assert NEXT in status.text
    said = project.unmigrate("redo", "--yes", "--dry-run")
    assert said.exit_code in (0, 3), said.text
