"""pgBackRest beyond what all providers do: points in time, what a copy must not do, what it refuses, kills. Real repository, real server."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.command import run
from tests.snapshot.archived import DATABASE, STANZA, Archived
from tests.snapshot.kit import BAD, INIT, SECRET, Kit, quiet
from tests.support import record, write_project
from unmigrate.config import load
from unmigrate.errors import EnvironmentProblem, RefusedError, UnmigrateError
from unmigrate.park import restore_points, vault
from unmigrate.prisma.url import parse_url
from unmigrate.runbook.adapters.snapshots import choose
from unmigrate.snapshot.find import moments
from unmigrate.snapshot.pgbackrest import PgBackRest
from unmigrate.snapshot.provider import At
from unmigrate.snapshot.urls import ported


@pytest.fixture
def kit(backrest: Archived) -> Kit:
    made = backrest.kit()
    made.begin()
    return made


def deploy_recorded(kit: Kit) -> None:
    """As `deploy` does: with the position in the vault."""
    with kit.source() as connection:
        vault.create(connection)
        with connection.transaction():
            restore_points.record_now(connection, ["2_bad"])
            connection.execute(BAD)
            record(connection, "2_bad", BAD)
        connection.execute("insert into \"User\" (email) values ('since')")


def project(backrest: Archived, folder: Path) -> Path:
    made = write_project(folder / "app", [("1_init", INIT), ("2_bad", BAD)])
    lines = [f'stanza = "{STANZA}"', f'restore_root = "{backrest.root}/restored"', f'config = "{backrest.root}/pgbackrest.conf"']
    lines += [
        f"port = {backrest.port + 1}",
        'settings = ["shared_buffers=8MB"]',
        *([f'user = "{backrest.account}"'] if backrest.account else []),
    ]
    (made / "unmigrate.toml").write_text("[snapshot.pgbackrest]\n" + "\n".join(lines) + "\n")
    return made


def test_by_the_commands_to_right_before_a_deploy(backrest: Archived, kit: Kit, tmp_path: Path) -> None:
    """What was written between the backup and the deploy is there; a tablespace does not land where the source's is; a copy is quiet."""
    space, app = backrest.folder("space"), ("--project", str(project(backrest, tmp_path)), "--url", backrest.url)
    with backrest.superuser(DATABASE) as connection:
        connection.execute(f"CREATE TABLESPACE fast LOCATION '{space}'")
        connection.execute("CREATE TABLE away TABLESPACE fast AS SELECT generate_series(1, 9) AS n; ALTER TABLE away OWNER TO app")
    assert run("snapshot", "create", "--label", "nightly", *app)[0] == 0
    kit.run("insert into \"User\" (email, note) values ('between', 'kept')")
    deploy_recorded(kit)
    status, printed = run("snapshot", "list", "--before", "2_bad", "--json", *app)
    (listed,) = json.loads(printed)["snapshots"]
    assert (status, listed["qualifies"], listed["detail"]["label"]) == (0, True, "nightly")
    status, printed = run("snapshot", "drop", listed["id"], "--yes", *app)
    assert (status, "restore point before 2_bad" in printed) == (3, True), printed
    status, printed = run("restore", "--before", "2_bad", "--to", "before", "--dry-run", *app)
    assert "--type=lsn" in printed
    assert "--target-exclusive" in printed
    assert SECRET not in printed
    secret = tmp_path / "url"
    status, printed = run("restore", "--before", "2_bad", "--to", "before", "--url-file", str(secret), "--json", *app)
    assert status == 0, printed
    assert SECRET not in printed
    told = json.loads(printed)
    assert told["look"]["ledger"] == ["1_init"]
    assert told["look"]["fewer"] == {"public.User": 1}
    with backrest.kit().restored(replace_url(kit, secret.read_text().strip())) as new:
        assert new.execute('select note from "User" order by id').fetchall() == [("n1",), ("n2",), ("n3",), ("kept",)]
        assert new.execute("select count(*) from away").fetchone() == (9,)
        settings = {name: new.execute(f"show {name}").fetchone() for name in ("archive_mode", "max_logical_replication_workers")}
        assert settings == {"archive_mode": ("off",), "max_logical_replication_workers": ("0",)}
        assert new.execute("show shared_buffers").fetchone() == ("8MB",)
        where = new.execute("select pg_tablespace_location(oid) from pg_tablespace where spcname = 'fast'").fetchone()
        assert where is not None
        assert where[0].startswith(f"{backrest.root}/restored/before/")
        new.execute("select pg_switch_wal()")
    assert not list(backrest.root.glob("repo/archive/**/00000002*")), "the copy archives nothing"
    assert kit.value("select count(*) from away") == 9
    config = load(tmp_path / "app")
    with kit.source() as connection:
        chosen = choose(config, backrest.url, tmp_path, os.environ, connection, "public", "2_bad", None)
        lsn = moments(connection, "public", "2_bad").lsn
        assert chosen == f"lsn:{lsn}", "a run restores to there too"
        named = choose(config, backrest.url, tmp_path, os.environ, connection, "public", "2_bad", listed["id"])
        assert named == listed["id"]
    status, printed = run("doctor", *app)
    assert "pgbackrest: 1 there" in printed, printed


def replace_url(kit: Kit, url: str) -> "object":
    from unmigrate.snapshot.provider import Restored

    return Restored("x", url, "x", True, 0.0)


def test_to_a_time(backrest: Archived, kit: Kit) -> None:
    early = kit.value("select clock_timestamp()")
    kit.provider.create("good", quiet)
    time.sleep(1.1)  # its end is told in whole seconds
    kit.run("insert into \"User\" (email, note) values ('between', 'kept')")
    moment = kit.value("select clock_timestamp()")
    kit.deploy_bad()
    restored = kit.provider.restore(At(time=moment), "then", quiet)
    with kit.restored(restored) as new:
        assert new.execute('select email, note from "User" where id = 4').fetchone() == ("between", "kept")
    for at, code in ((At(time=early), "no-snapshot"), (At(lsn="0/100"), "no-snapshot"), (At(time=moment + timedelta(days=1)), "time")):
        with pytest.raises(RefusedError) as refused:
            kit.provider.restore(at, "never", quiet)
        assert refused.value.code == code
        assert not (backrest.root / "restored" / "never").exists()
    with pytest.raises(RefusedError) as taken:
        kit.provider.restore(At(time=moment + timedelta(seconds=1)), "then", quiet)
    assert taken.value.code == "taken"


def test_a_source_that_is_gone(backrest: Archived, kit: Kit) -> None:
    """What is archived is restored without it, with and what is not is said to be missing."""
    made = kit.provider.create("good", quiet)
    kit.run("insert into \"User\" (email, note) values ('between', 'kept')")
    kit.run("select pg_switch_wal()")
    moment = datetime.now(UTC) + timedelta(minutes=1)
    backrest.stop("immediate")
    restored = kit.provider.restore(At(made.id), "alone", quiet)
    with kit.restored(restored) as new:
        assert new.execute('select count(*) from "User"').fetchone() == (3,)
    with pytest.raises(RefusedError) as refused:
        kit.provider.restore(At(time=moment), "later", quiet)
    assert refused.value.code == "not-archived"
    assert "pg_switch_wal" in refused.value.remedy
    kit.provider.discard("later")
    assert not (backrest.root / "restored" / "later").exists()


def test_configuration_kept_elsewhere(backrest: Archived) -> None:
    """As Debian does it: nothing but data is in the data directory."""
    elsewhere = backrest.folder("etc")
    backrest.stop()
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (backrest.data / name).rename(elsewhere / name)
    with (elsewhere / "postgresql.conf").open("a") as conf:
        conf.write(f"data_directory = '{backrest.data}'\nhba_file = '{elsewhere}/pg_hba.conf'\nident_file = '{elsewhere}/pg_ident.conf'\n")
        conf.write("work_mem = '5MB'\n")
    backrest.start(conf=("-o", f"-c config_file={elsewhere}/postgresql.conf"))
    kit = backrest.kit()
    kit.begin()
    made = kit.provider.create("good", quiet)
    restored = kit.provider.restore(At(made.id), "new", quiet)
    with kit.restored(restored) as new:
        assert new.execute("show work_mem").fetchone() == ("5MB",)
        assert new.execute("show data_directory").fetchone() != (str(backrest.data),)
        assert new.execute('select count(*) from "User"').fetchone() == (3,)


def test_killed_anywhere_the_same_again(backrest: Archived, kit: Kit, tmp_path: Path) -> None:
    """kill -9 while pgbackrest copies, while it recovers, and right after: never taken for whole, and whole in the end."""
    app = project(backrest, tmp_path)
    kit.provider.create("good", quiet)
    deploy_recorded(kit)
    command = [sys.executable, "-m", "unmigrate", "restore", "--before", "2_bad", "--to", "again", "--project", str(app), "--json"]
    environ = {**os.environ, "DATABASE_URL": backrest.url}
    killed = 0
    for seconds in (0.6, 1.0, 1.4, 1.8, 2.4):
        process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        assert kit.value('select count(*) from "User"') == 4
    assert killed
    for _ in range(20):  # what pgbackrest was killed in may still hold its lock
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        if "another pgbackrest" not in done.stderr:
            break
        time.sleep(0.5)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["look"]["ledger"] == ["1_init"]
    tries = [path for path in (backrest.root / "restored" / "again").iterdir() if path.is_dir()]
    assert len(tries) == 1, "what earlier tries left is gone"


def test_what_it_refuses(backrest: Archived, kit: Kit, fresh_url: str) -> None:
    full = kit.provider.create("full", quiet)
    upon = kit.provider.create("upon", quiet)
    with pytest.raises(RefusedError) as refused:
        kit.provider.drop(full.id)
    assert (refused.value.code, upon.id in str(refused.value)) == ("needed", True)
    kit.provider.drop(upon.id)
    with pytest.raises(RefusedError) as refused:
        kit.provider.drop(full.id)
    assert refused.value.code == "last"
    kit.provider.protect(full.id, True)
    backrest.provider(backup_type="full").create("second", quiet)
    conf = backrest.root / "pgbackrest.conf"
    text = conf.read_text()
    conf.write_text(text.replace("retention-full=9", "retention-full=3"))
    assert "after 2 more full backups: raise repo1-retention-full, now 3" in kit.provider.protect(full.id, True).detail["note"]
    assert not [each for each in kit.provider.lacking() if full.id in each]
    conf.write_text(text.replace("retention-full=9", "retention-full=2"))
    assert [s.detail["note"] for s in kit.provider.snapshots() if "with the next full backup" in s.detail.get("note", "")]
    assert any(f"{full.id} is protected, but" in each for each in kit.provider.lacking()), "while it can still be helped"
    conf.write_text(text.replace("retention-full=9", "retention-full=1"))
    assert any(f"{full.id} is protected, but" in each and "prunes it now" in each for each in kit.provider.lacking())
    kit.provider.protect(full.id, False)
    with pytest.raises(RefusedError) as refused:
        kit.provider.protect(full.id, True)
    assert refused.value.code == "retention"
    assert next(s.id for s in kit.provider.snapshots()) == full.id, "nothing of ours let pgbackrest prune it"
    other = PgBackRest(backrest.config(), fresh_url, os.environ)
    for call in (lambda: other.create("x", quiet), lambda: other.restore(At(full.id), "x", quiet)):
        with pytest.raises(RefusedError, match="of another server"):
            call()
    assert "of another server" in other.lacking()[0]


def test_what_is_missing_is_told(backrest: Archived, kit: Kit) -> None:
    found = replace(backrest.config(), stanza="none")
    for provider, code in (
        (PgBackRest(found, backrest.url, os.environ), "no-stanza"),
        (PgBackRest(backrest.config(), backrest.url, {"PATH": "/nowhere"}), "no-program"),
        (backrest.provider(user="nobody-of-this-name"), "no-account"),
    ):
        with pytest.raises(EnvironmentProblem) as missing:
            provider.create("x", quiet)
        assert missing.value.code == code
        assert missing.value.remedy
        assert provider.lacking()
    with backrest.superuser(DATABASE) as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_switch_wal() FROM app")
    kit.provider.create("good", quiet)
    deploy_recorded(kit)
    with kit.source() as connection:
        lsn = moments(connection, "public", "2_bad").lsn
    try:  # the backup's own end may have had the file archived; then it is right
        restored = kit.provider.restore(At(lsn=lsn), "x", quiet)
        with kit.restored(restored) as new:
            assert new.execute("select count(*) from _prisma_migrations").fetchone() == (1,)
    except UnmigrateError as error:
        assert error.code == "not-archived"
    with backrest.superuser() as connection:
        connection.execute("ALTER SYSTEM SET archive_command = 'false'")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SELECT txid_current()")  # its commit is what is switched away from: an empty file is not archived
        connection.execute("SELECT pg_switch_wal()")
    for _ in range(300):
        if any("not archived" in each for each in kit.provider.lacking()):
            return
        time.sleep(0.1)
    raise AssertionError("doctor tells when archiving fails")


@pytest.mark.parametrize(
    ("given", "port", "host", "wanted"),
    [
        ("postgresql://u:p%40@db:5432/app?schema=x", 5500, None, "postgresql://u:p%40@db:5500/app?schema=x"),
        ("postgresql://u@db/app", 5500, None, "postgresql://u@db:5500/app"),
        ("postgresql://u@localhost:5432/app?host=/run/pg&port=5432", 5500, None, "postgresql://u@localhost:5500/app?host=%2Frun%2Fpg"),
        ("postgresql:///app?host=/run/pg", 5500, None, "postgresql:///app?host=%2Frun%2Fpg&port=5500"),
        ("postgresql://u@%2Frun%2FPg/app", 5500, None, "postgresql://u@%2Frun%2FPg:5500/app"),
        ("postgresql://u@[::1]:5432/app", 5500, None, "postgresql://u@[::1]:5500/app"),
        ("postgresql://u@db:5432/app?host=10.0.0.1", 5500, "db2", "postgresql://u@db2:5500/app"),
    ],
)
def test_the_url_of_what_was_restored(given: str, port: int, host: str | None, wanted: str) -> None:
    """Wherever a URL says its port: one that led back to the source would pass for the copy."""
    found = ported(given, port=port, host=host)
    assert parse_url(found).conninfo.count(f"port={port}") == 1
    assert unquote(found) == unquote(wanted)
